package serve

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/upstream"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// body is the body of a request on an HTTP/1.1 connection: an upstream.Source.
type body struct {
	h        *h1
	framing  exchange.Framing
	left     int64
	chunks   wire.Chunks
	trailers exchange.Fields
	// expect: 100 (Continue) is owed, and nothing of the body has come.
	expect  atomic.Bool
	stopped bool
	done    bool
	err     error
	total   bool // the deadline of the whole request is set
	// read counts the bytes of the body.
	read int64
}

func (b *body) reset(req *exchange.Request) {
	tr := b.trailers
	tr.Reset()
	*b = body{h: b.h, framing: req.Framing, left: req.Length, trailers: tr}
	b.expect.Store(req.Expect100)
	b.done = req.Framing == exchange.NoBody || req.Framing == exchange.Sized && req.Length == 0
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.done {
		return 0, io.EOF
	}
	n, err := b.read1(p)
	b.read += int64(n)
	if n > 0 && b.expect.Load() {
		b.expect.Store(false)
	}
	if err != nil && err != io.EOF {
		b.err = b.fault(err)
		if n > 0 {
			return n, nil
		}
		return 0, b.err
	}
	return n, err
}

func (b *body) read1(p []byte) (int, error) {
	h := b.h
	if b.framing == exchange.Streamed {
		return b.readChunked(p)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	var n int
	if h.r < h.w {
		n = copy(p, h.buf[h.r:h.w])
		h.r += n
	} else {
		if err := b.ready(); err != nil {
			return 0, err
		}
		var err error
		if n, err = h.c.Read(p); n == 0 && err != nil {
			return 0, noEOF(err)
		}
	}
	if b.left -= int64(n); b.left == 0 {
		b.done = true
		return n, io.EOF
	}
	return n, nil
}

func (b *body) readChunked(p []byte) (n int, err error) {
	h := b.h
	for n < len(p) {
		if b.chunks.AtTrailers() {
			if n > 0 {
				return n, nil
			}
			return 0, b.readTrailers()
		}
		if h.r == h.w {
			if n > 0 {
				return n, nil
			}
			if err := b.more(); err != nil {
				return 0, err
			}
		}
		// Decode gives no more data than fits: the view is as long as the room.
		view := h.buf[h.r:min(h.w, h.r+len(p)-n)]
		data, k, done, err := b.chunks.Decode(view)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], data)
		h.r += k
		if done {
			b.done = true
			return n, io.EOF
		}
	}
	return n, nil
}

func (b *body) readTrailers() error {
	h := b.h
	for {
		n, err := wire.ParseTrailers(h.buf[h.r:h.w], &b.trailers)
		if err != nil {
			return err
		}
		if n > 0 {
			b.trailers.Reset()
			_, _ = wire.ParseTrailers(h.ex.Hold(h.buf[h.r:h.r+n]), &b.trailers)
			h.r += n
			b.done = true
			return io.EOF
		}
		if err := b.more(); err != nil {
			return err
		}
	}
}

func (b *body) more() error {
	if err := b.ready(); err != nil {
		return err
	}
	return noEOF(b.h.fill())
}

// noEOF keeps the end of the connection apart from the end of the body.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// errStopped is what Read returns after Stop.
var errStopped = errors.New("reading the body was stopped")

// ready prepares for waiting: the client is told to go on, and the deadline is set.
func (b *body) ready() error {
	h := b.h
	if b.expect.Load() {
		if err := h.ans.goOn(); err != nil {
			return err
		}
	}
	switch t := h.s.cfg.ReadTimeout; {
	case !h.s.cfg.ReadTotal && h.ans.begun():
		h.readBy(0) // a stream both ways: silence is no fault
	case !h.s.cfg.ReadTotal:
		h.readBy(t)
	case !b.total:
		b.total = true
		if t > 0 {
			_ = h.c.SetReadDeadline(time.Unix(0, h.ex.Now).Add(t))
		} else {
			h.readBy(0)
		}
	}
	h.wmu.Lock()
	defer h.wmu.Unlock()
	if b.stopped {
		return errStopped
	}
	return nil
}

// Complete implements upstream.Source.
func (b *body) Complete() bool {
	h := b.h
	have := h.buf[h.r:h.w]
	switch {
	case b.done || b.err != nil:
		return true
	case b.framing == exchange.Sized:
		return b.left <= int64(len(have))
	}
	c := b.chunks
	n, done, err := c.Scan(have)
	if done || err != nil {
		return true // an error is better found before a server is bothered
	}
	if c.AtTrailers() {
		var tr exchange.Fields
		k, err := wire.ParseTrailers(have[n:], &tr)
		return k > 0 || err != nil
	}
	return false
}

// Trailers implements upstream.Source.
func (b *body) Trailers() *exchange.Fields {
	if b.trailers.Len() == 0 {
		return nil
	}
	return &b.trailers
}

// Stop implements upstream.Source.
func (b *body) Stop() {
	b.h.wmu.Lock()
	b.stopped = true
	b.h.wmu.Unlock()
	_ = b.h.c.SetReadDeadline(time.Unix(1, 0))
}

// fault says why the body could not be read.
func (b *body) fault(err error) error {
	e := &upstream.Error{Err: err, Reason: exchange.ClientGone}
	var we *wire.Error
	switch {
	case errors.As(err, &we):
		e.Reason = we.Reason
	case errors.Is(err, errStopped):
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.h.wmu.Lock()
		if !b.stopped {
			e.Reason = exchange.ReadTimeout
		}
		b.h.wmu.Unlock()
	case isEOF(err):
		b.h.gone = true
	}
	return e
}

// maxDrain is how much of a body that nobody read is read for the sake of the connection.
const maxDrain = 256 << 10

// drain reads what is left of the body after the answer. False means that the connection
// cannot be used again.
func (b *body) drain() bool {
	if b.done {
		return b.err == nil
	}
	if b.err != nil || b.stopped || b.expect.Load() || b.framing == exchange.Sized && b.left > maxDrain {
		return false
	}
	// A short time: the client may never send it.
	buf := make([]byte, 4<<10)
	by := time.Now().Add(drainTime)
	for sum := 0; sum <= maxDrain; {
		n, err := b.readQuick(buf, by)
		sum += n
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
	}
	return false
}

// drainTime bounds the reading of what is left of a body.
const drainTime = 500 * time.Millisecond

func (b *body) readQuick(p []byte, by time.Time) (int, error) {
	if b.h.r == b.h.w {
		_ = b.h.c.SetReadDeadline(by)
		if err := b.h.fill(); err != nil {
			return 0, noEOF(err)
		}
	}
	return b.Read(p)
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
