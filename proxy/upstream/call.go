package upstream

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// Source is the body of a request, decoded, as it comes from the client. Its errors are
// *Error where the client is at fault.
type Source interface {
	io.Reader
	// Complete reports whether Read can give the rest without waiting.
	Complete() bool
	// Trailers are the trailer fields, known once Read has returned io.EOF; nil if none.
	Trailers() *exchange.Fields
	// Stop makes a Read that waits, and those that follow, return an error.
	Stop()
}

// Sink takes an answer. Only one goroutine uses it, but for Continue. Its errors mean that
// the client has gone.
type Sink interface {
	// Info passes an interim (1xx) head on.
	Info(status int, f *exchange.Fields) error
	// Head takes the head that is in ex.Resp; it may wait for the first bytes of the body.
	Head() error
	// Write takes bytes of the body.
	Write(p []byte) (int, error)
	// Flush sends what was taken so far.
	Flush() error
	// End ends the answer; trailers may be nil.
	End(trailers *exchange.Fields) error
	// Upgrade sends the 101 head that is in ex.Resp and gives the client's connection away,
	// with the bytes read from it so far. It is called instead of Head.
	Upgrade() (net.Conn, []byte, error)
}

// Call is one request for Do.
type Call struct {
	Ex *exchange.Exchange
	To exchange.Service
	// Body is nil where the request has none.
	Body Source
	Sink Sink
	// Watch is called once the answer takes its time: from then on the context should end
	// when the client goes away. It is nil where the context does so anyway. The function it
	// returns ends the watching.
	Watch func() (stop func())

	// Private, if not nil, has the connections to use, by HTTP/1.1.
	Private *Private

	// OriginStatus is the status the server sent, 0 if none answered; OriginBytes counts its body.
	OriginStatus int
	OriginBytes  int64
	// OriginDuration is the time spent with servers, in ns.
	OriginDuration int64
	// TunnelIn and TunnelOut count the bytes from and to the client after an upgrade.
	TunnelIn, TunnelOut int64

	*scratch
	ready    bool // the head is ready to be sent
	gathered bool // whole holds the body
}

// scratch is memory of a call that is lent for its time.
type scratch struct {
	out   []byte // the request as it goes over the wire
	whole []byte // a body that was there at once, kept for a repetition
	talk  talk
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// outgoing readies the head for servers, once.
func (call *Call) outgoing() {
	if !call.ready {
		call.ready = true
		if !call.Ex.Outgoing {
			wire.OutgoingRequest(call.Ex)
		}
		if call.Ex.Req.Expect100 && call.Body != nil && !call.Ex.Req.Fields.Has("Expect") {
			call.Ex.Req.Fields.Set("Expect", "100-continue")
		}
	}
}

// gather reads the body if it is here already, so that it goes out with the head and can
// be repeated.
func (call *Call) gather() *Error {
	if call.gathered || call.Body == nil || !call.Body.Complete() {
		return nil
	}
	// Nobody waits for a continuation with the body in hand.
	call.Ex.Req.Expect100 = false
	call.Ex.Req.Fields.Del("Expect")
	call.whole = call.whole[:0]
	for {
		call.whole = slices.Grow(call.whole, 2048)
		n, err := call.Body.Read(call.whole[len(call.whole):cap(call.whole)])
		call.whole = call.whole[:len(call.whole)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return sourceError(err)
		}
	}
	if r := &call.Ex.Req; r.Framing == exchange.Sized && r.Length != int64(len(call.whole)) {
		return errBodyLength
	}
	call.gathered = true
	return nil
}

// Result is how Do ended.
type Result uint8

const (
	// Done means that the answer was passed on completely.
	Done Result = iota
	// Answered means that nothing was passed on: ex.Resp and ex.Body hold an answer of the
	// edge, ex.Reason says why, and the caller sends it.
	Answered
	// Broken means that the head was passed on but not the whole body: the client must
	// notice, so its connection (or stream) is to be cut.
	Broken
	// Tunneled means that the connection was upgraded and has ended.
	Tunneled
)

// patience is how long a server may take before the client is watched for going away. It
// saves the watching for most requests.
const patience = 20 * time.Millisecond

// Do sends the request of call to a server that call.To picks, and its answer to
// call.Sink. The picked endpoint is released when it returns, with the outcome.
func (c *Client) Do(ctx context.Context, call *Call) Result {
	ex := call.Ex
	call.scratch = scratches.Get().(*scratch)
	defer call.giveBack()
	began := time.Now()
	defer func() { call.OriginDuration += int64(time.Since(began)) }()
	var last *Error
	if ex.Outgoing && ex.Failed != exchange.NoReason { // came from the loop lane to wait
		last = &Error{Reason: ex.Failed}
	}
	var h hold
	for {
		ep, reason := call.To.Pick(ex)
		if ep == nil {
			switch h.wait(ctx, call, last) {
			case held:
				continue
			case gone:
				ex.UpstreamFailed(exchange.ClientGone)
				return Answered
			}
			if last == nil || h.sure {
				ex.Unavailable(reason)
			} else {
				ex.UpstreamFailed(last.Reason)
			}
			return Answered
		}
		if last != nil {
			ex.Log.Retries++
		}
		res, err := c.ask(ctx, call, ep)
		if err == nil {
			ex.Release(exchange.OK)
			return res
		}
		if res == Broken {
			ex.Reason = err.Reason
			ex.Release(outcome(err))
			return Broken
		}
		last = err
		ex.Tried(ep)
		ex.Release(outcome(err))
		if !err.Unsent && !err.Repeat || !ex.MayTry() || ctx.Err() != nil || clientsFault(err) {
			ex.UpstreamFailed(err.Reason)
			return Answered
		}
	}
}

// maxScratch is how large scratch memory may be to be kept.
const maxScratch = 64 << 10

func (call *Call) giveBack() {
	call.talk = talk{}
	if cap(call.out) <= maxScratch && cap(call.whole) <= maxScratch {
		scratches.Put(call.scratch)
	}
	call.scratch = nil
}

// ask asks one server by the protocol it speaks.
func (c *Client) ask(ctx context.Context, call *Call, ep *exchange.Endpoint) (Result, *Error) {
	p := c.pool(ep)
	// An upgrade is HTTP/1.1's, for servers that speak HTTP/2 in clear text too, as in the reference.
	if call.Ex.Req.Upgrade == "" && (ep.Scheme == "h2c" || ep.Scheme == "https" && !ep.Transport.DisableHTTP2 && call.Private == nil) {
		res, tried, err := c.askH2(ctx, call, p)
		if tried {
			return res, err
		}
	}
	return c.askH1(ctx, call, p)
}

func clientsFault(e *Error) bool {
	switch e.Reason {
	case exchange.ClientGone, exchange.BadRequest, exchange.ReadTimeout, exchange.BodyTooLarge, exchange.HeadTooLarge:
		return true
	}
	return false
}

func outcome(e *Error) exchange.Outcome {
	if clientsFault(e) {
		return exchange.Aborted
	}
	return exchange.Failed
}
