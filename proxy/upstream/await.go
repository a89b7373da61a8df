package upstream

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// continueWait is how long to wait for 100 (Continue) before the body is sent unasked
// (RFC 9110 §10.1.1 tells not to wait for ever).
const continueWait = time.Second

// fill waits for bytes from the server: for a moment as it is, then with the client watched.
func (t *talk) fill(limit int) error {
	c := t.conn
	if !t.armed {
		_ = c.nc.SetReadDeadline(time.Now().Add(patience))
		err := c.fill(limit)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		t.arm()
	}
	if t.up.body != nil && !t.up.began && !t.headed {
		_ = c.nc.SetReadDeadline(time.Now().Add(continueWait))
		err := c.fill(limit)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		t.startUpload()
	}
	t.head.wait(c.nc)
	err := c.fill(limit)
	t.head.waited()
	return err
}

// sent begins the time in which the answer's head must come: the request is with the server.
func (t *talk) sent() {
	if h := t.conn.p.ep.Transport.ResponseHeaderTimeout; h > 0 {
		t.head.begin(t.conn.nc, h)
	}
}

// headLimit is the time in which the head of the answer must come. It begins with the end of
// the request, which another goroutine may be sending.
type headLimit struct {
	mu    sync.Mutex
	by    time.Time // zero for no limit
	reads bool      // somebody reads the connection
	there bool
}

func (l *headLimit) begin(nc net.Conn, limit time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.there {
		return
	}
	l.by = time.Now().Add(limit)
	if l.reads {
		_ = nc.SetReadDeadline(l.by)
	}
}

// wait readies nc for a Read, waited is called after it.
func (l *headLimit) wait(nc net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads = true
	_ = nc.SetReadDeadline(l.by)
}

func (l *headLimit) waited() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads = false
}

// came ends the time.
func (l *headLimit) came() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by, l.there = time.Time{}, true
}

// arm makes the connection end when the client goes away. While the body is read, reading
// it tells that; watching begins with its end.
func (t *talk) arm() {
	t.armed = true
	stop := context.AfterFunc(t.ctx, t.conn.abort)
	t.watch.want(t.call.Watch, t.up.body == nil)
	t.disarm = func() { stop(); t.watch.end() }
}

// watching is the watching of the client. It begins once it is wanted and nobody reads the
// body; the goroutine that sends the body says when that is.
type watching struct {
	mu    sync.Mutex
	watch func() (stop func()) // nil: not wanted
	free  bool
	stop  func()
}

func (w *watching) want(watch func() (stop func()), free bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watch = watch
	w.free = w.free || free
	w.begin()
}

// released tells that the body has been read.
func (w *watching) released() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = true
	w.begin()
}

func (w *watching) begin() {
	if w.watch != nil && w.free && w.stop == nil {
		w.stop = w.watch()
	}
}

// end waits until nobody reads from the client any more.
func (w *watching) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watch = nil
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// sent begins the time in which the answer's head must come: the request is with the server.
func (s *stream) sent() {
	h := s.p.ep.Transport.ResponseHeaderTimeout
	s.mu.Lock()
	defer s.mu.Unlock()
	if h > 0 && !s.over && s.late == nil {
		s.late = time.AfterFunc(h, s.slow)
	}
}

// came ends that time. It returns why the client did not take an interim answer, or nil.
func (s *stream) came() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.late != nil {
		s.late.Stop()
	}
	return s.gone
}

// read is called when the whole body has been read.
func (s *stream) read() {
	s.watch.released()
	s.sent()
}
