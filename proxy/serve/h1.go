package serve

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/upstream"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// readBuf is the size of a connection's read buffer; heads larger than it grow it.
const readBuf = 4 << 10

// h1 is an HTTP/1.1 connection. Its goroutine owns everything but what is marked.
type h1 struct {
	s  *Server
	c  Conn
	ho Handover

	buf  []byte
	r, w int
	out  []byte

	ex       *exchange.Exchange
	requests int
	closing  bool // no further request on this connection
	gone     bool // the client has ended its sending half
	taken    bool // the connection was given away
	body     body
	ans      answer
	life     *life
	watcher  func() (stop func())
	private  *upstream.Private // nil until a request binds

	ctx    context.Context
	cancel context.CancelFunc

	idle atomic.Bool // waits for a request; hurry looks at it
	dead atomic.Bool
	wmu  sync.Mutex // orders "100 Continue" and the answer's head
}

func newH1(s *Server, ho Handover) *h1 {
	h := &h1{s: s, c: ho.Conn, ho: ho, requests: ho.Requests, ex: ho.Ex}
	h.buf = make([]byte, max(readBuf, len(ho.Buffered)))
	h.w = copy(h.buf, ho.Buffered)
	h.c.Buffered, h.ho.Buffered = nil, nil
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.body.h, h.ans.h = h, h
	h.watcher = h.watch
	return h
}

// hurry is called when the server drains.
func (h *h1) hurry() {
	if h.idle.Load() {
		_ = h.c.SetReadDeadline(time.Unix(1, 0))
	}
}

// kill ends the connection whatever it does.
func (h *h1) kill() {
	h.dead.Store(true)
	_ = h.c.Close()
}

func (h *h1) serve() {
	defer h.cancel()
	defer func() {
		if h.private != nil {
			h.private.Close()
		}
	}()
	if h.ex != nil {
		ex := h.ex
		h.start(ex)
		if !h.exchange(func(l *life) bool { return l.run(h.ctx) }) {
			return
		}
	} else {
		h.ex = new(exchange.Exchange)
	}
	for {
		if h.w == h.r && h.requests > 0 && h.ho.Return != nil && h.private == nil && !h.s.draining.Load() {
			_ = h.c.SetDeadline(time.Time{})
			if h.ho.Return(h.c.Conn, nil) {
				return
			}
		}
		if !h.next() {
			if !h.taken {
				h.finish()
			}
			return
		}
		if !h.exchange(func(l *life) bool { return l.begin(h.ctx) }) {
			return
		}
	}
}

// errDrained ends the wait for a request on a server that drains.
var errDrained = errors.New("draining")

// next waits for the next request and parses its head. False ends the connection.
func (h *h1) next() bool {
	if h.closing || h.gone && h.r == h.w {
		return false
	}
	if err := h.wait(); err != nil {
		return false
	}
	began := time.Now()
	if h.requests == 0 && h.c.TLS == nil {
		h.readBy(h.s.cfg.ReadTimeout) // what is here already was read under another bound
		if !h.s.cfg.NoH2C && h.preface() {
			return false
		}
		h.opening()
	}
	if err := h.head(began); err != nil {
		h.refuse(err)
		return false
	}
	h.ex.Now = began.UnixNano()
	h.start(h.ex)
	return true
}

// opening waits for as many bytes as any request has, or for the end of what comes.
func (h *h1) opening() {
	for h.w-h.r < wire.MinRequest {
		if h.fill() != nil {
			return
		}
	}
}

// preface looks for HTTP/2 with prior knowledge (RFC 9113 §3.3) and serves it.
func (h *h1) preface() bool {
	for {
		yes, more := wire.IsPreface(h.buf[h.r:h.w])
		if yes {
			h.taken = true
			c := h.c
			c.Buffered = h.buf[h.r:h.w]
			h.s.serveH2(c)
			return true
		}
		if !more {
			return false
		}
		if h.fill() != nil {
			h.taken = true
			_ = h.c.Close()
			return true
		}
	}
}

// start readies the connection's state for the request in ex.
func (h *h1) start(ex *exchange.Exchange) {
	h.requests++
	req := &ex.Req
	if ex.Now == 0 {
		ex.Now = time.Now().UnixNano()
	}
	cfg := &h.s.cfg
	if t := cfg.WriteTimeout; t > 0 {
		_ = h.c.SetWriteDeadline(time.Now().Add(t))
	}
	h.closing = !req.KeepAlive || h.s.draining.Load() ||
		cfg.KeepAliveMaxRequests > 0 && h.requests >= cfg.KeepAliveMaxRequests ||
		cfg.KeepAliveMaxTime > 0 && time.Since(h.ho.Since) >= cfg.KeepAliveMaxTime
	h.body.reset(req)
	h.ans.reset()
}

// describe fills in what the connection says about every request of it.
func (h *h1) describe(req *exchange.Request) {
	req.TLS, req.Peer, req.Local = h.c.TLS, h.c.Peer, h.c.Local
	req.EntryPoint = h.s.cfg.EntryPoint
	req.PeerTrusted = h.s.cfg.Forwarding.Trusts(h.c.Peer.Addr())
}

// wait waits for the first byte of a request.
func (h *h1) wait() error {
	if h.r < h.w {
		return nil
	}
	limit := h.s.cfg.IdleTimeout
	if h.requests == 0 || limit <= 0 {
		limit = h.s.cfg.ReadTimeout
	}
	h.idle.Store(true)
	defer h.idle.Store(false)
	h.readBy(limit)
	if h.s.draining.Load() {
		if h.requests > 0 {
			return errDrained
		}
		h.readBy(newConnGrace)
		return h.fill()
	}
	err := h.fill()
	if err != nil && h.requests == 0 && h.s.draining.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		h.readBy(newConnGrace)
		err = h.fill()
	}
	return err
}

// newConnGrace is how long a connection that was made just before the end may take to send
// its request, which may be on its way.
const newConnGrace = 500 * time.Millisecond

// readBy sets the read deadline; zero or less sets none.
func (h *h1) readBy(d time.Duration) {
	if d > 0 {
		_ = h.c.SetReadDeadline(time.Now().Add(d))
	} else {
		_ = h.c.SetReadDeadline(time.Time{})
	}
}

// fill reads more bytes.
func (h *h1) fill() error {
	if h.r == h.w {
		h.r, h.w = 0, 0
	}
	if h.w == len(h.buf) {
		if h.r > 0 {
			h.w = copy(h.buf, h.buf[h.r:h.w])
			h.r = 0
		} else {
			b := make([]byte, 2*len(h.buf))
			copy(b, h.buf)
			h.buf = b
		}
	}
	n, err := h.c.Read(h.buf[h.w:])
	h.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = errors.New("read without progress")
	}
	return err
}

// head reads and parses a head. Its strings live in the exchange's memory.
func (h *h1) head(began time.Time) error {
	lim := wire.Limits{MaxHead: h.s.cfg.MaxHead + wire.HeadSlack}
	for seen, timed := 0, false; ; {
		b := h.buf[h.r:h.w]
		n := wire.HeadEnd(b, seen)
		if n > 0 && n <= lim.MaxHead {
			h.ex.Reset()
			h.describe(&h.ex.Req)
			k, err := wire.ParseRequest(h.ex.Hold(b[:n]), &h.ex.Req, &lim)
			if err == nil && k == 0 {
				err = wire.ErrRequestLine
			}
			h.r += k
			return err
		}
		// What is wrong already is said at once.
		if _, err := wire.ParseRequest(b, &h.ex.Req, &lim); err != nil {
			return err
		}
		seen = len(b)
		if t := h.s.cfg.ReadTimeout; t > 0 && !timed {
			timed = true
			_ = h.c.SetReadDeadline(began.Add(t))
		} else if t <= 0 && !timed {
			timed = true
			_ = h.c.SetReadDeadline(time.Time{})
		}
		if err := h.fill(); err != nil {
			return &incomplete{err: err, line: hasLine(b)}
		}
	}
}

// incomplete is a head whose rest did not come.
type incomplete struct {
	err  error
	line bool // the request line was complete
}

func (e *incomplete) Error() string { return "incomplete head: " + e.err.Error() }

func hasLine(b []byte) bool {
	for _, c := range b {
		if c == '\n' {
			return true
		}
	}
	return false
}

// exchange runs one exchange to its end. False means that the connection is done with.
func (h *h1) exchange(run func(*life) bool) bool {
	ex := h.ex
	if h.life == nil {
		h.life = new(life)
	}
	l := h.life
	l.came.Reset()
	*l = life{s: h.s, ex: ex, front: &h.ans, watch: h.watcher, conn: h, came: l.came}
	if h.body.framing != exchange.NoBody {
		l.body = &h.body
	}
	cut := run(l)
	l.end(h.body.read, h.ans.wrote, h.ans.head, h.ans.last)
	if l.borrowed {
		h.ex, h.life = new(exchange.Exchange), nil
	}
	switch {
	case h.taken:
		return false
	case cut || h.dead.Load():
		h.cutOff()
		return false
	case h.closing || !h.body.drain():
		h.finish()
		return false
	}
	if cap(h.out) > 32<<10 {
		h.out = nil
	}
	return true
}

// refuse answers a request whose head is wrong, and ends the connection.
func (h *h1) refuse(err error) {
	status := 400
	var e *wire.Error
	var inc *incomplete
	switch {
	case errors.As(err, &e):
		status = e.Status
		h.s.record(&refusal{h: h, status: status, reason: e.Reason})
	case errors.As(err, &inc):
		if !errors.Is(inc.err, os.ErrDeadlineExceeded) || inc.line {
			// Nobody is there to read an answer, or the reference gives none.
			return
		}
		h.s.record(&refusal{h: h, status: 400, reason: exchange.ReadTimeout})
	}
	ex := new(exchange.Exchange)
	ex.Reply(status, exchange.BadRequest, badText(status))
	h.closing = true
	out := wire.AppendResponse(nil, &exchange.Response{
		Status: status, Fields: ex.Resp.Fields, Framing: exchange.Sized, Length: int64(len(ex.Body)),
	}, wire.ResponseOptions{Close: true})
	_ = h.c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, _ = h.c.Write(append(out, ex.Body...))
}

// The lingering close: a client that still sends when the connection is closed would get
// a reset and lose the answer.
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 256 << 10
)

// finish closes the connection so that the client gets all that was sent.
func (h *h1) finish() {
	type halfCloser interface{ CloseWrite() error }
	if hc, ok := h.c.Conn.(halfCloser); ok && !h.gone && h.requests > 0 || ok && h.closing {
		_ = h.c.SetWriteDeadline(time.Now().Add(lingerTime))
		if hc.CloseWrite() == nil && (h.r < h.w || !h.body.done) {
			_ = h.c.SetReadDeadline(time.Now().Add(lingerTime))
			for got := 0; got < lingerBytes; {
				n, err := h.c.Read(h.buf)
				if err != nil {
					break
				}
				got += n
			}
		}
	}
	_ = h.c.Close()
}

// cutOff closes the connection so that the client notices that its answer is not whole: an
// answer that ends with the connection is reset, others miss their end anyway.
func (h *h1) cutOff() {
	if h.ans.noBody || h.ans.sized || h.ans.chunked {
		_ = h.ans.Flush()
		_ = h.c.Close()
		return
	}
	if t, ok := h.c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = h.c.Close()
}

// watch makes the connection's context end when the client goes away. What the client
// sends meanwhile is kept for the next request. It must not run while the body is read.
func (h *h1) watch() (stop func()) {
	if h.gone || !h.body.done || h.r < h.w {
		return func() {}
	}
	h.r, h.w = 0, 0
	_ = h.c.SetReadDeadline(time.Time{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		n, err := h.c.Read(h.buf)
		h.w = n
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			h.gone = true
			if !h.s.cfg.FinishHalfClosed || !isEOF(err) {
				h.cancel()
			}
		}
	}()
	return func() {
		_ = h.c.SetReadDeadline(time.Unix(1, 0))
		<-done
	}
}
