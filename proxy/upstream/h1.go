package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// talk is one request on one HTTP/1.1 connection.
type talk struct {
	client *Client
	call   *Call
	ctx    context.Context
	conn   *conn

	// armed is set once the client is watched; disarm ends it.
	armed  bool
	disarm func()
	// head bounds the time to the answer's head.
	head headLimit
	// got is set once a byte of an answer has come.
	got bool
	// headed is set once the head was passed on.
	headed bool

	up    upload
	watch watching
}

// askH1 asks by HTTP/1.1. A kept connection that turns out to be stale is replaced by a
// new one where the request cannot have been acted upon, or may be repeated.
func (c *Client) askH1(ctx context.Context, call *Call, p *pool) (Result, *Error) {
	for again := false; ; again = true {
		var cn *conn
		switch { // after one stale connection a new one: a request must not kill server after server
		case again:
		case call.Private != nil:
			cn = call.Private.get(p, time.Now())
		default:
			cn = p.get(time.Now())
		}
		if cn == nil {
			var err *Error
			if cn, err = p.dial(ctx, call); err != nil {
				return Answered, err
			}
		}
		call.outgoing()
		t := &call.talk
		*t = talk{client: c, call: call, ctx: ctx, conn: cn}
		res, err := t.run()
		if err == nil {
			return res, nil
		}
		if !t.repeatable(err) {
			err.Repeat = err.Reason == exchange.UpstreamEOF && t.untouched() && idempotent(call.Ex.Req.Method)
			return res, err
		}
	}
}

// dial makes a new connection.
func (p *pool) dial(ctx context.Context, call *Call) (*conn, *Error) {
	if call.Watch != nil {
		defer call.Watch()()
	}
	var protos []string
	if p.ep.Scheme == "https" {
		protos = []string{"http/1.1"}
	}
	nc, err := Dial(ctx, p.ep, protos)
	if err != nil {
		return nil, asError(err)
	}
	return newConn(p, nc), nil
}

// repeatable reports whether the request may be sent again over another connection: the
// connection was a kept one that the server closed without a word, and either no byte was
// sent or the method is safe to repeat (RFC 9110 §9.2.2), and the body is still whole.
func (t *talk) repeatable(err *Error) bool {
	if !t.conn.reused || !t.untouched() || t.conn.p.ep.Leaving() {
		return false
	}
	return err.Unsent || err.Reason == exchange.UpstreamEOF && idempotent(t.call.Ex.Req.Method)
}

// untouched reports that no byte of an answer has come and the request is still whole.
func (t *talk) untouched() bool { return !t.got && !t.headed && t.ctx.Err() == nil && !t.up.began }

func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// run sends the request and passes the answer on. Afterwards the connection is back in
// its pool, closed, or was taken for a tunnel.
func (t *talk) run() (res Result, err *Error) {
	keep := false
	defer func() {
		if t.disarm != nil {
			t.disarm()
		}
		serr := t.finishUpload(err == nil && res == Done)
		if serr != nil && serr.Reason != exchange.NoReason && clientsFault(serr) {
			// The client's fault comes first: the failure of the server's side follows from it.
			err = serr
			if res = Answered; t.headed {
				res = Broken
			}
		}
		t.conn.lean()
		switch {
		case res == Tunneled:
		case !keep || err != nil || serr != nil || t.conn.aborted.Load():
			t.conn.close()
		case t.call.Private != nil:
			t.call.Private.put(t.conn)
		default:
			t.conn.p.put(t.conn)
		}
	}()
	if err := t.send(); err != nil {
		return Answered, err
	}
	return t.receive(&keep)
}

// send writes the head, and with it the body if that is already here; a body that is still
// coming is sent by a goroutine of its own, since the server may answer before its end.
func (t *talk) send() *Error {
	call, c := t.call, t.conn
	ex := call.Ex
	if err := call.gather(); err != nil {
		return err
	}
	out := wire.AppendRequest(call.out[:0], &ex.Req, wire.OptionsFor(ex))
	if call.gathered {
		out = appendWhole(out, ex, call.whole, call.Body.Trailers())
	} else {
		t.up.body = call.Body
	}
	call.out = out
	_ = c.nc.SetWriteDeadline(time.Time{})
	n, err := c.nc.Write(out)
	if err != nil {
		return t.ioError(err, n == 0)
	}
	if t.up.body == nil {
		t.sent()
	}
	if t.up.body != nil && !ex.Req.Expect100 {
		t.startUpload()
	}
	return nil
}

// maxInterim bounds the interim answers to one request.
const maxInterim = 32

// receive reads the answer and passes it on.
func (t *talk) receive(keep *bool) (Result, *Error) {
	ex := t.call.Ex
	for range maxInterim {
		if err := t.readHead(); err != nil {
			return Answered, err
		}
		s := ex.Resp.Status
		switch {
		case s == 101:
			return t.upgrade()
		case s == 100:
			t.startUpload()
			continue
		case s < 200:
			wire.OutgoingResponse(ex)
			if err := t.call.Sink.Info(s, &ex.Resp.Fields); err != nil {
				return Answered, t.clientGone(err)
			}
			continue
		}
		t.head.came()
		t.call.OriginStatus = s
		alive, framing, length := ex.Resp.KeepAlive, ex.Resp.Framing, ex.Resp.Length
		if framing == exchange.Streamed {
			// What is wrong already is told by a 502, not by an answer that is cut.
			ch := wire.Chunks{AllowPad: true}
			if _, _, err := ch.Scan(t.conn.buf[t.conn.r:t.conn.w]); err != nil {
				return Answered, &Error{Reason: exchange.UpstreamBad, Err: err}
			}
		}
		wire.OutgoingResponse(ex)
		t.headed = true
		if err := t.call.Sink.Head(); err != nil {
			return Broken, t.clientGone(err)
		}
		if err := t.relay(framing, length); err != nil {
			return Broken, err
		}
		*keep = alive && t.conn.r == t.conn.w && ex.Req.Upgrade == ""
		return Done, nil
	}
	return Answered, &Error{Reason: exchange.UpstreamBad, Err: errors.New("too many interim answers")}
}

// readHead reads the next head into ex.Resp; its strings live in the exchange's memory.
func (t *talk) readHead() *Error {
	ex, c := t.call.Ex, t.conn
	lim := wire.Limits{MaxHead: t.client.opts.MaxHead}
	for seen := 0; ; {
		b := c.buf[c.r:c.w]
		t.got = t.got || len(b) > 0
		if n := wire.HeadEnd(b, seen); n > 0 {
			n, err := wire.ParseResponse(ex.Hold(b[:n]), &ex.Resp, ex.Req.Method, &lim)
			if err == nil && n == 0 {
				err = wire.ErrStatusLine
			}
			if err != nil {
				return &Error{Reason: exchange.UpstreamBad, Err: err}
			}
			c.r += n
			return nil
		}
		if len(b) > 0 {
			if _, err := wire.ParseResponse(b, &ex.Resp, ex.Req.Method, &lim); err != nil {
				return &Error{Reason: exchange.UpstreamBad, Err: err}
			}
		}
		seen = len(b)
		if err := t.fill(t.client.opts.MaxHead); err != nil {
			return t.ioError(err, false)
		}
	}
}

// relay passes the body on.
func (t *talk) relay(f exchange.Framing, length int64) *Error {
	switch f {
	case exchange.Sized:
		return t.relaySized(length)
	case exchange.Streamed:
		return t.relayChunked()
	case exchange.UntilClose:
		return t.relayUntilClose()
	}
	return t.end(nil)
}

func (t *talk) end(trailers *exchange.Fields) *Error {
	if trailers != nil {
		// Its bytes are those of a buffer that is used again.
		t.call.Ex.Log.GRPCStatus = strings.Clone(trailers.Get("Grpc-Status"))
	}
	if err := t.call.Sink.End(trailers); err != nil {
		return t.clientGone(err)
	}
	return nil
}

// pass gives data to the client; what follows may take its time, so all is flushed that
// the sink would otherwise keep.
func (t *talk) pass(data []byte) *Error {
	t.call.OriginBytes += int64(len(data))
	if _, err := t.call.Sink.Write(data); err != nil {
		return t.clientGone(err)
	}
	return nil
}

// more reads more of the body, after everything buffered was passed on.
func (t *talk) more() *Error {
	if err := t.call.Sink.Flush(); err != nil {
		return t.clientGone(err)
	}
	t.conn.roomy()
	if err := t.fill(bodyBuf); err != nil {
		return t.ioError(err, false)
	}
	return nil
}

func (t *talk) relaySized(left int64) *Error {
	c := t.conn
	for left > 0 {
		if c.r == c.w {
			if err := t.more(); err != nil {
				return err
			}
		}
		n := int(min(left, int64(c.w-c.r)))
		if err := t.pass(c.buf[c.r : c.r+n]); err != nil {
			return err
		}
		c.r += n
		left -= int64(n)
	}
	return t.end(nil)
}

func (t *talk) relayUntilClose() *Error {
	c := t.conn
	for {
		if c.r < c.w {
			if err := t.pass(c.buf[c.r:c.w]); err != nil {
				return err
			}
			c.r = c.w
		}
		err := t.more()
		switch {
		case err == nil:
		case errors.Is(err.Err, io.EOF):
			return t.end(nil)
		default:
			return err
		}
	}
}

func (t *talk) relayChunked() *Error {
	c := t.conn
	ch := wire.Chunks{AllowPad: true}
	for {
		data, n, done, err := ch.Decode(c.buf[c.r:c.w])
		if err != nil {
			return &Error{Reason: exchange.UpstreamBad, Err: err}
		}
		c.r += n
		if len(data) > 0 {
			if err := t.pass(data); err != nil {
				return err
			}
		}
		switch {
		case done:
			return t.end(nil)
		case ch.AtTrailers():
			return t.relayTrailers()
		case c.r == c.w:
			if err := t.more(); err != nil {
				return err
			}
		}
	}
}

func (t *talk) relayTrailers() *Error {
	c, ex := t.conn, t.call.Ex
	for {
		var tr exchange.Fields
		n, err := wire.ParseTrailers(c.buf[c.r:c.w], &tr)
		if err != nil {
			return &Error{Reason: exchange.UpstreamBad, Err: err}
		}
		if n > 0 {
			tr.Reset()
			_, _ = wire.ParseTrailers(ex.Hold(c.buf[c.r:c.r+n]), &tr)
			c.r += n
			return t.end(&tr)
		}
		if err := t.fill(bodyBuf); err != nil {
			return t.ioError(err, false)
		}
	}
}

// clientGone is the error for a client that takes no more.
func (t *talk) clientGone(err error) *Error {
	return &Error{Reason: exchange.ClientGone, Err: err}
}

// ioError says why reading from or writing to the server failed.
func (t *talk) ioError(err error, unsent bool) *Error {
	e := &Error{Err: err, Unsent: unsent && t.conn.reused}
	switch {
	case t.ctx.Err() != nil:
		e.Reason, e.Unsent = exchange.ClientGone, false
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Reason = exchange.UpstreamSlow
	case errors.Is(err, errFull):
		e.Reason = exchange.UpstreamBad
	case isClosed(err):
		e.Reason = exchange.UpstreamEOF
	default:
		e.Reason = exchange.ServiceError
		if t.conn.tls {
			e.Reason = exchange.UpstreamTLS
		}
	}
	return e
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Reason: exchange.ServiceError, Err: fmt.Errorf("unexpected: %w", err)}
}
