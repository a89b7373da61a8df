package upstream

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// upload is the body of a request on its way to the server.
type upload struct {
	body  Source
	began bool
	done  chan struct{}
	err   *Error // valid once done is closed
	// failed is set before an error of the client's side ends the connection.
	failed atomic.Bool
}

func (u *upload) running() bool {
	if !u.began {
		return false
	}
	select {
	case <-u.done:
		return false
	default:
		return true
	}
}

// bodyBuf is the size of buffers for bodies: it stays in the second-level cache, and larger ones are slower.
const bodyBuf = 64 << 10

// bodyBufs lends buffers for the time of a copy.
var bodyBufs = sync.Pool{New: func() any { b := make([]byte, bodyBuf); return &b }}

// roomy lends the connection a large buffer while it carries a body.
func (c *conn) roomy() {
	if c.small == nil && c.r == c.w && len(c.buf) < bodyBuf {
		c.small = c.buf
		c.buf = *bodyBufs.Get().(*[]byte)
		c.r, c.w = 0, 0
	}
}

// lean takes the large buffer back. Bytes left in it are lost; the connection is then not kept.
func (c *conn) lean() {
	if c.small == nil {
		return
	}
	if len(c.buf) == bodyBuf {
		b := c.buf
		bodyBufs.Put(&b)
	}
	c.buf, c.small = c.small, nil
	c.r, c.w = 0, 0
}

// appendWhole appends a body that is known as a whole.
func appendWhole(out []byte, ex *exchange.Exchange, body []byte, trailers *exchange.Fields) []byte {
	if ex.Req.Framing != exchange.Streamed {
		return append(out, body...)
	}
	if len(body) > 0 {
		out = wire.AppendChunk(out, len(body))
		out = append(append(out, body...), '\r', '\n')
	}
	return appendLast(out, ex, trailers)
}

// appendLast ends a chunked body. Only trailers that the head has announced are passed on.
func appendLast(out []byte, ex *exchange.Exchange, trailers *exchange.Fields) []byte {
	if trailers == nil || trailers.Len() == 0 {
		return append(out, wire.LastChunk...)
	}
	out = append(out, "0\r\n"...)
	return wire.AppendTrailers(out, trailers, &ex.Req.Fields)
}

// startUpload begins to send a body that is still coming.
func (t *talk) startUpload() {
	if t.up.body == nil || t.up.began {
		return
	}
	t.up.began = true
	t.up.done = make(chan struct{})
	go t.sendBody()
}

// sendBody copies the body. A failure of the client's side ends the exchange with the
// server; one of the server's side does not end the reading of its answer, which may
// already be on its way and say why.
func (t *talk) sendBody() {
	defer close(t.up.done)
	defer t.sent()
	ex, nc, body := t.call.Ex, t.conn.nc, t.up.body
	bp := bodyBufs.Get().(*[]byte)
	defer bodyBufs.Put(bp)
	const room = 32 // before the data for the size of the chunk, behind it for its end
	chunked, left := ex.Req.Framing == exchange.Streamed, ex.Req.Length
	var frame [room]byte
	for {
		n, err := body.Read((*bp)[room : bodyBuf-room])
		data := (*bp)[room : room+n]
		if n > 0 {
			if chunked {
				f := wire.AppendChunk(frame[:0], n)
				copy((*bp)[room-len(f):], f)
				data = append((*bp)[room-len(f):room+n], '\r', '\n')
			} else if left -= int64(n); left < 0 {
				err = errBodyLength
			}
			if _, werr := nc.Write(data); werr != nil {
				t.up.err = t.uploadError(werr)
				return
			}
		}
		switch {
		case err == nil:
			continue
		case err != io.EOF:
			t.failUpload(sourceError(err))
		case !chunked && left != 0:
			t.failUpload(errBodyLength)
		case chunked:
			if _, werr := nc.Write(appendLast(nil, ex, body.Trailers())); werr != nil {
				t.up.err = t.uploadError(werr)
			}
		}
		t.watch.released()
		return
	}
}

// uploaded reports whether the request has been sent to its end, for which it gives it a moment.
func (t *talk) uploaded() bool {
	u := &t.up
	switch {
	case u.body == nil:
		return true
	case !u.began:
		return false
	}
	w := time.NewTimer(grace)
	defer w.Stop()
	select {
	case <-u.done:
		return u.err == nil
	case <-w.C:
		return false
	}
}

func (t *talk) failUpload(err *Error) {
	t.up.err = err
	t.up.failed.Store(true)
	t.conn.abort()
}

func (t *talk) uploadError(err error) *Error {
	return &Error{Reason: exchange.UpstreamEOF, Err: err}
}

// grace is how long the last bytes of a body may take once the whole answer is there.
const grace = 5 * time.Millisecond

// finishUpload waits for the upload to end and says how: an upload that goes on after the
// answer was complete is stopped, and then neither connection can be used again.
func (t *talk) finishUpload(answered bool) *Error {
	u := &t.up
	if u.body != nil && !u.began {
		return errUnread
	}
	if u.failed.Load() {
		<-u.done
	}
	if u.running() {
		if answered {
			w := time.NewTimer(grace)
			select {
			case <-u.done:
			case <-w.C:
			}
			w.Stop()
		}
		if u.running() {
			t.conn.abort()
			u.body.Stop()
			<-u.done
			return errUnread
		}
	}
	return u.err
}

var (
	// errUnread says that the server answered without reading the whole body.
	errUnread     = &Error{Reason: exchange.NoReason, Err: errors.New("the server has not read the whole body")}
	errBodyLength = &Error{Reason: exchange.BadRequest, Err: errors.New("the body is not as long as announced")}
)

// sourceError says why the client's body could not be read.
func sourceError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Reason: exchange.ClientGone, Err: err}
}
