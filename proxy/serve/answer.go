package serve

import (
	"errors"
	"net"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// answer writes an answer to an HTTP/1.1 connection: an upstream.Sink.
type answer struct {
	h       *h1
	sent    bool // the final head is out, or in the buffer
	ended   bool
	noBody  bool
	chunked bool
	sized   bool
	left    int64
	// wrote counts the bytes of the body; head those of the head.
	wrote, head int64
	// last is when the last piece was about to be sent, in ns since 1970.
	last int64
	vec  [3][]byte
}

func (a *answer) reset() { *a = answer{h: a.h} }

var errBodyTooLong = errors.New("the answer's body is longer than announced")

// goOn sends 100 (Continue) if it is owed, unless the answer has begun.
func (a *answer) goOn() error {
	a.h.wmu.Lock()
	defer a.h.wmu.Unlock()
	if a.sent || !a.h.body.expect.Swap(false) {
		return nil
	}
	_, err := a.h.c.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	return err
}

// begun reports whether the answer has begun; the reader of the body may ask.
func (a *answer) begun() bool {
	a.h.wmu.Lock()
	defer a.h.wmu.Unlock()
	return a.sent
}

// Info implements upstream.Sink. HTTP/1.0 clients know no interim answers.
func (a *answer) Info(status int, f *exchange.Fields) error {
	h := a.h
	if h.ex.Req.Proto == wire.HTTP10 {
		return nil
	}
	h.wmu.Lock()
	defer h.wmu.Unlock()
	resp := exchange.Response{Status: status, Fields: *f, StatusText: h.ex.Resp.StatusText}
	_, err := h.c.Write(wire.AppendResponse(nil, &resp, wire.ResponseOptions{}))
	return err
}

// Head implements upstream.Sink.
func (a *answer) Head() error {
	h := a.h
	ex := h.ex
	ex.RunResponse()
	resp := &ex.Resp
	o := wire.ResponseOptions{HTTP10: ex.Req.Proto == wire.HTTP10, Head: ex.Req.Method == "HEAD"}
	if o.Head || resp.Status == 204 || resp.Status == 304 || resp.Status < 200 {
		a.noBody = true
		if resp.Framing == exchange.Streamed {
			resp.Framing = exchange.NoBody
		}
	}
	switch {
	case a.noBody:
	case resp.Framing == exchange.Sized:
		a.sized, a.left = true, resp.Length
	case resp.Framing == exchange.NoBody:
		a.noBody = true
	case o.HTTP10:
		resp.Framing, h.closing = exchange.UntilClose, true
	default:
		resp.Framing, a.chunked = exchange.Streamed, true
	}
	h.wmu.Lock()
	a.sent = true
	// A client that still waits for 100 (Continue) may send its body or not (RFC 9110 §10.1.1).
	h.closing = h.closing || h.body.expect.Load() || h.s.draining.Load()
	h.wmu.Unlock()
	o.Close = h.closing
	_, o.Date = h.s.now()
	if h.c.TLS != nil {
		altSvc(&resp.Fields, h.s.cfg.AltSvc)
	}
	h.out = wire.AppendResponse(h.out[:0], resp, o)
	a.head = int64(len(h.out))
	return nil
}

// joined is up to how many bytes head and body are copied together for one write.
const joined = 16 << 10

// Write implements upstream.Sink.
func (a *answer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if a.noBody {
		return len(p), nil
	}
	h := a.h
	n := len(p)
	if a.sized {
		if a.left -= int64(n); a.left < 0 {
			return 0, errBodyTooLong
		}
	}
	a.wrote += int64(n)
	if a.chunked {
		h.out = wire.AppendChunk(h.out, n)
	}
	tail := ""
	if a.chunked {
		tail = "\r\n"
	}
	if len(h.out)+n <= joined {
		h.out = append(append(h.out, p...), tail...)
		// A small piece may be followed by the end; Flush or End sends it.
		if len(h.out) < joined/2 {
			return n, nil
		}
		return n, a.Flush()
	}
	if _, clear := h.c.Conn.(*net.TCPConn); !clear {
		if err := a.Flush(); err != nil {
			return 0, err
		}
		h.out = append(h.out, tail...)
		a.last = time.Now().UnixNano()
		_, err := h.c.Write(p)
		return n, err
	}
	a.vec = [3][]byte{h.out, p, []byte(tail)}
	bufs := net.Buffers(a.vec[:])
	a.last = time.Now().UnixNano()
	_, err := bufs.WriteTo(h.c.Conn)
	h.out = h.out[:0]
	return n, err
}

// Flush implements upstream.Sink.
func (a *answer) Flush() error {
	h := a.h
	if len(h.out) == 0 {
		return nil
	}
	a.last = time.Now().UnixNano()
	_, err := h.c.Write(h.out)
	h.out = h.out[:0]
	return err
}

// End implements upstream.Sink.
func (a *answer) End(trailers *exchange.Fields) error {
	h := a.h
	a.ended = true
	switch {
	case a.noBody:
	case a.sized && a.left > 0:
		h.closing = true
		_ = a.Flush()
		return errShort
	case a.chunked && (trailers == nil || trailers.Len() == 0):
		h.out = append(h.out, wire.LastChunk...)
	case a.chunked:
		h.out = append(h.out, "0\r\n"...)
		h.out = wire.AppendTrailers(h.out, trailers, nil)
	}
	return a.Flush()
}

var errShort = errors.New("the answer's body is shorter than announced")

// Upgrade implements upstream.Sink.
func (a *answer) Upgrade() (net.Conn, []byte, error) {
	h := a.h
	h.ex.RunResponse()
	h.wmu.Lock()
	a.sent, a.noBody, a.ended = true, true, true
	h.wmu.Unlock()
	_, date := h.s.now()
	h.out = wire.AppendResponse(h.out[:0], &h.ex.Resp, wire.ResponseOptions{Date: date})
	a.head = int64(len(h.out))
	_ = h.c.SetDeadline(time.Time{})
	if err := a.Flush(); err != nil {
		return nil, nil, err
	}
	h.taken = true
	early := h.buf[h.r:h.w]
	h.r = h.w
	return h.c.Conn, early, nil
}

// take gives the connection away before anything was answered.
func (a *answer) take() (net.Conn, []byte) {
	h := a.h
	h.wmu.Lock()
	a.sent = true
	h.wmu.Unlock()
	_ = h.c.SetDeadline(time.Time{})
	h.taken = true
	early := h.buf[h.r:h.w]
	h.r = h.w
	return h.c.Conn, early
}

func (a *answer) headSent() bool { return a.sent }

func (a *answer) doomed() { a.h.closing = true }

func (a *answer) stranded() bool {
	b := &a.h.body
	return !b.done && (b.err != nil || b.stopped || b.framing == exchange.Sized && b.left > maxDrain)
}
