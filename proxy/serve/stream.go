package serve

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Stream is a stream of HTTP/2 whose frames another lane sends and receives: the loop lane's
// Stream, which says what each method does.
type Stream interface {
	Exchange() *exchange.Exchange
	Context() context.Context

	Read(p []byte) (int, error)
	Complete() bool
	Trailers() *exchange.Fields
	Stop()

	Head(resp *exchange.Response, date string, end bool) error
	Write(p []byte) (int, error)
	Flush() error
	End(trailers *exchange.Fields) error
	Cut()
}

// ServeStream serves the request of st, which is matched, and whose ops up to NextOp have
// run, in the calling goroutine.
func (s *Server) ServeStream(st Stream) {
	ex := st.Exchange()
	f := &streamFront{st: st, s: s, ex: ex}
	defer f.stop()
	l := life{s: s, ex: ex, front: f}
	src := &streamSource{streamBody{body: streamCloser{st}, limit: s.cfg.ReadTimeout, answered: &f.sent}, st}
	if ex.Req.Framing != exchange.NoBody {
		l.body = src
	}
	cut := l.run(st.Context())
	src.Stop()
	l.end(src.read, f.wrote, 0, 0)
	if cut {
		st.Cut()
	}
}

// streamFront is the client's side of a Stream.
type streamFront struct {
	framed
	st   Stream
	s    *Server
	ex   *exchange.Exchange
	sent atomic.Bool

	mu      sync.Mutex // orders the flush timer and what is written
	timer   *time.Timer
	every   time.Duration // 0: flush at once
	pending bool
	dead    bool
	noBody  bool
	sized   bool
	left    int64
	wrote   int64
}

// Info implements upstream.Sink.
func (f *streamFront) Info(status int, fields *exchange.Fields) error {
	return f.st.Head(&exchange.Response{Status: status, Fields: *fields}, "", false)
}

// Head implements upstream.Sink.
func (f *streamFront) Head() error {
	ex := f.ex
	ex.RunResponse()
	resp := &ex.Resp
	if ex.Req.TLS != nil {
		altSvc(&resp.Fields, f.s.cfg.AltSvc)
	}
	f.noBody = ex.Req.Method == http.MethodHead || resp.Status == http.StatusNoContent || resp.Status == http.StatusNotModified
	if f.noBody && resp.Framing == exchange.Streamed {
		resp.Framing = exchange.NoBody
	}
	f.noBody = f.noBody || resp.Framing == exchange.NoBody
	f.sized, f.left = resp.Framing == exchange.Sized && !f.noBody, resp.Length
	if every := ex.Backend.FlushInterval; every > 0 && f.sized && !strings.HasPrefix(resp.Fields.Get("Content-Type"), "text/event-stream") {
		f.every = every
	}
	_, date := f.s.now()
	f.sent.Store(true)
	return f.st.Head(resp, date, f.noBody || f.sized && f.left == 0)
}

// Write implements upstream.Sink.
func (f *streamFront) Write(p []byte) (int, error) {
	if f.noBody || len(p) == 0 {
		return len(p), nil
	}
	if f.sized {
		if f.left -= int64(len(p)); f.left < 0 {
			return 0, errBodyTooLong
		}
	}
	n, err := f.st.Write(p)
	f.wrote += int64(n)
	return n, err
}

// Flush sends what was written: at once where the answer is a stream, else once the
// service's flush interval is over.
func (f *streamFront) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.every <= 0:
		return f.st.Flush()
	case f.pending:
	case f.timer == nil:
		f.pending = true
		f.timer = time.AfterFunc(f.every, f.flushLate)
	default:
		f.pending = true
		f.timer.Reset(f.every)
	}
	return nil
}

func (f *streamFront) flushLate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending && !f.dead {
		f.pending = false
		_ = f.st.Flush()
	}
}

func (f *streamFront) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = true
	if f.timer != nil {
		f.timer.Stop()
	}
}

// End implements upstream.Sink.
func (f *streamFront) End(trailers *exchange.Fields) error {
	f.stop()
	if f.sized && f.left > 0 {
		return errShort
	}
	return f.st.End(trailers)
}

// Upgrade implements upstream.Sink; HTTP/2 has no upgrades (RFC 9113 §8.6).
func (f *streamFront) Upgrade() (net.Conn, []byte, error) { return nil, nil, http.ErrNotSupported }

func (f *streamFront) headSent() bool { return f.sent.Load() }

// streamSource is the body of a Stream.
type streamSource struct {
	streamBody
	st Stream
}

// Complete implements upstream.Source.
func (b *streamSource) Complete() bool { return b.st.Complete() }

// Trailers implements upstream.Source.
func (b *streamSource) Trailers() *exchange.Fields { return b.st.Trailers() }

// streamCloser is a Stream as io.ReadCloser.
type streamCloser struct{ Stream }

// Close implements io.Closer.
func (c streamCloser) Close() error {
	c.Stop()
	return nil
}
