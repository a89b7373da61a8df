package serve

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/upstream"
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
	src := &streamSource{st: st, f: f, limit: s.cfg.ReadTimeout}
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
	st Stream
	s  *Server
	ex *exchange.Exchange

	mu      sync.Mutex // orders the flush timer and what is written
	timer   *time.Timer
	every   time.Duration // 0: flush at once
	pending bool
	dead    bool
	sent    bool
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
	f.mu.Lock()
	f.sent = true
	f.mu.Unlock()
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

func (f *streamFront) headSent() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

func (f *streamFront) doomed() {}

func (f *streamFront) stranded() bool { return false }

// streamSource is the body of a Stream.
type streamSource struct {
	st    Stream
	f     *streamFront
	limit time.Duration
	timer *time.Timer
	read  int64

	mu   sync.Mutex
	late bool
}

// Read implements upstream.Source.
func (b *streamSource) Read(p []byte) (int, error) {
	if b.limit > 0 && !b.f.headSent() {
		if b.timer == nil {
			b.timer = time.AfterFunc(b.limit, b.expire)
		} else {
			b.timer.Reset(b.limit)
		}
	}
	n, err := b.st.Read(p)
	b.read += int64(n)
	if b.timer != nil {
		b.timer.Stop()
	}
	if err == nil || err == io.EOF { //nolint:errorlint // io.Reader's own end
		return n, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := &upstream.Error{Reason: exchange.ClientGone, Err: err}
	if b.late {
		e.Reason = exchange.ReadTimeout
	}
	return n, e
}

func (b *streamSource) expire() {
	if b.f.headSent() {
		return // a stream both ways: silence is no fault
	}
	b.mu.Lock()
	b.late = true
	b.mu.Unlock()
	b.st.Stop()
}

// Complete implements upstream.Source.
func (b *streamSource) Complete() bool { return b.st.Complete() }

// Trailers implements upstream.Source.
func (b *streamSource) Trailers() *exchange.Fields { return b.st.Trailers() }

// Stop implements upstream.Source.
func (b *streamSource) Stop() {
	if b.timer != nil {
		b.timer.Stop()
	}
	b.st.Stop()
}
