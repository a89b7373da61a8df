package loop

import (
	"crypto/tls"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/loop/epoll"
)

// maxHanded is how many requests in a row may be handed over before the connection stays in
// the handler lane: moving it costs more than the loop saves.
const maxHanded = 3

// traveller is what is known of a connection while it is not on a loop.
type traveller struct {
	entry       *Entry
	tls         *tlsSide
	peer, local netip.AddrPort
	born        int64
	requests    int
	handed      uint8
}

// detach takes a client's descriptor off the loop. The client is gone afterwards.
func (l *loop) detach(cl *client) (int32, traveller) {
	tr := traveller{cl.entry, cl.tls, cl.peer, cl.local, cl.born, cl.requests, cl.handed}
	fd := cl.fd
	l.k.Unwatch(fd)
	l.bury(&cl.conn)
	l.count(cl, -1)
	return fd, tr
}

// handOver gives the connection to the handler lane, with the request under way, if any.
func (l *loop) handOver(cl *client, cause Cause, buffered []byte) {
	if cl.st != nil {
		l.bridge(cl, buffered)
		return
	}
	ex := cl.ex
	cl.ex = nil
	since := time.Unix(0, cl.born)
	buffered = append([]byte(nil), buffered...)
	fd, tr := l.detach(cl)
	if ex != nil {
		tr.requests--
	}
	h := &Handover{
		Cause: cause, EntryPoint: tr.entry.cfg.Name, Buffered: buffered,
		Peer: tr.peer, Local: tr.local, Ex: ex, Requests: tr.requests, Since: since,
	}
	l.g.helpers.Add(1)
	go func() {
		defer l.g.helpers.Done()
		tr.deliver(fd, h)
	}()
}

// deliver makes a net.Conn of fd and gives it away.
func (tr traveller) deliver(fd int32, h *Handover) {
	nc, err := epoll.Conn(fd)
	if err != nil {
		if h.Ex != nil {
			h.Ex.Release(exchange.Aborted)
			h.Ex.RunDone()
		}
		return
	}
	h.Conn = nc
	if t := tr.tls; t != nil {
		t.Conn, t.onLoop = nc, false
		t.pre, t.raw = t.raw, nil
		h.Conn, h.TLS = t.tc, &t.state
	}
	if h.Cause == CauseRoute {
		handed := tr.handed + 1
		h.Return = func(c net.Conn, buffered []byte) bool {
			if handed >= maxHanded {
				return false
			}
			back := tr
			back.handed, back.requests = handed, tr.requests+1
			return back.comeBack(c, buffered)
		}
	}
	tr.entry.cfg.HandOver(h)
}

// comeBack puts a connection onto a loop.
func (tr traveller) comeBack(c net.Conn, buffered []byte) bool {
	g := tr.entry.g
	nc := c
	if t := tr.tls; t != nil {
		if c != net.Conn(t.tc) || len(t.pre) > 0 {
			return false
		}
		nc = t.Conn
	}
	l := g.lightest()
	if l == nil || g.draining.Load() || tr.entry.ending.Load() {
		return false
	}
	fd, err := epoll.Descriptor(nc)
	if err != nil {
		return false
	}
	buffered = append([]byte(nil), buffered...)
	if t := tr.tls; t != nil {
		t.Conn, t.onLoop, t.idle = nil, true, false
	}
	if !l.post(func(l *loop) { l.adopt(tr, fd, buffered) }) {
		if t := tr.tls; t != nil {
			t.Conn, t.onLoop = nc, false
		}
		_ = syscall.Close(int(fd))
		return false
	}
	_ = nc.Close() // fd is a duplicate
	return true
}

// adopt takes a connection from another lane, between two requests.
func (l *loop) adopt(tr traveller, fd int32, buffered []byte) {
	cl := l.newClient()
	cl.entry, cl.tls, cl.peer, cl.local, cl.born, cl.requests, cl.handed = tr.entry, tr.tls, tr.peer, tr.local, tr.born, tr.requests, tr.handed
	if !l.register(&cl.conn, fd) {
		l.k.Close(fd)
		l.freeClient(cl)
		return
	}
	l.count(cl, 1)
	l.current = &cl.conn
	cl.state, cl.bodyDone = cHead, true
	l.known(cl)
	if len(buffered) > 0 {
		cl.in = append(l.buffer(len(buffered)), buffered...)
	}
	d := tr.entry.cfg.IdleTimeout
	if d <= 0 || tr.requests == 0 {
		d = tr.entry.cfg.ReadTimeout
	}
	if d > 0 {
		l.wheel.set(&cl.timer, l.now+int64(d))
	}
	if cl.tls != nil && cl.tls.state.NegotiatedProtocol == "h2" {
		l.speakFrames(cl)
	}
	cl.readable = true
	l.clientReadable(cl)
}

// handshakeLimit is the time for a handshake where the entry point has none.
const handshakeLimit = 10 * time.Second

// handshake takes a connection that begins with TLS through its handshake, in a goroutine of
// its own, and back to a loop, or to the handler lane for HTTP/2.
func (l *loop) handshake(cl *client, b []byte) {
	pre := append([]byte(nil), b...)
	fd, tr := l.detach(cl)
	l.g.helpers.Add(1)
	go func() {
		defer l.g.helpers.Done()
		tr.shake(fd, pre)
	}()
}

func (tr traveller) shake(fd int32, pre []byte) {
	e := tr.entry
	nc, err := epoll.Conn(fd)
	if err != nil {
		return
	}
	select {
	case e.g.handshakes <- struct{}{}:
		defer func() { <-e.g.handshakes }()
	case <-e.g.ctx.Done():
		_ = nc.Close()
		return
	}
	stop := e.g.closeOnEnd(nc)
	defer stop()
	limit := e.cfg.HandshakeTimeout
	if limit <= 0 {
		limit = handshakeLimit
	}
	_ = nc.SetDeadline(time.Now().Add(limit))
	t := &tlsSide{Conn: nc, pre: pre}
	t.tc = tls.Server(t, e.tlsConfig)
	if err := t.tc.HandshakeContext(e.g.ctx); err != nil {
		e.g.opts.Log.Debug().Err(err).Str("entryPointName", e.cfg.Name).Msg("TLS handshake failed")
		_ = nc.Close()
		return
	}
	_ = nc.SetDeadline(time.Time{})
	t.state = t.tc.ConnectionState()
	tr.tls = t
	if t.state.NegotiatedProtocol == "h2" && !e.framed() {
		e.cfg.HandOver(&Handover{
			Cause: CauseHTTP2, EntryPoint: e.cfg.Name, Conn: t.tc, TLS: &t.state,
			Peer: tr.peer, Local: tr.local, Since: time.Unix(0, tr.born),
		})
		return
	}
	rest := t.pre
	t.pre = nil
	t.raw = rest
	if !tr.comeBack(t.tc, nil) {
		_ = nc.Close()
	}
}
