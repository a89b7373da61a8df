package loop

import (
	"net/netip"
	"syscall"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// server is a connection to a server.
type server struct {
	conn
	pool   *pool
	client *client // who asked; nil while idle
	place  int     // in pool.idle
	// headLen is how much of conn.out is the request's head, until the connection is made.
	headLen int
	seen    int
	interim int
	alts    []netip.Addr // further addresses to try
	reused  bool
	got     bool // a byte of an answer has come
	alive   bool // the connection may serve another request
	deaf    bool // sending has failed; what the server said is still read
}

const serverSlab = 32

func (l *loop) newServer() *server {
	if len(l.servers) == 0 {
		slab := make([]server, serverSlab)
		for i := range slab {
			l.servers = append(l.servers, &slab[i])
		}
	}
	n := len(l.servers) - 1
	u := l.servers[n]
	l.servers = l.servers[:n]
	u.conn.sv, u.timer.c, u.fd = u, &u.conn, -1
	return u
}

func (l *loop) freeServer(u *server) {
	*u = server{}
	l.servers = append(l.servers, u)
}

// ask sends the request to ep, which was just picked, or to other servers where that cannot
// be reached, and answers the client if none is left. part is what there is of the body.
func (l *loop) ask(cl *client, ep *exchange.Endpoint, reason exchange.Reason, part []byte) {
	ex := cl.ex
	for {
		if ep == nil {
			if l.held(cl, part) {
				return
			}
			if cl.lastFail == exchange.NoReason {
				ex.Unavailable(reason)
			} else {
				ex.UpstreamFailed(cl.lastFail)
			}
			l.answer(cl)
			return
		}
		if cl.lastFail != exchange.NoReason {
			ex.Log.Retries++
		}
		failure := exchange.DialFailed
		if ep.Scheme == "http" || ep.Scheme == "" {
			if failure = l.open1(cl, ep, part); failure == exchange.NoReason {
				return
			}
		}
		if !l.another(cl, ep, failure) {
			return
		}
		ep, reason = ex.Route.To.Pick(ex)
	}
}

// another notes that ep could not be asked, and reports whether a further server may be.
func (l *loop) another(cl *client, ep *exchange.Endpoint, failure exchange.Reason) bool {
	ex := cl.ex
	cl.lastFail = failure // not the request's Reason: another server may answer it
	ex.Tried(ep)
	ex.Release(exchange.Failed)
	if ex.MayTry() {
		return true
	}
	ex.UpstreamFailed(failure)
	l.answer(cl)
	return false
}

// open1 sends the request over a kept connection to ep, or a new one. The reason is set
// where the server cannot be reached.
func (l *loop) open1(cl *client, ep *exchange.Endpoint, part []byte) exchange.Reason {
	ex := cl.ex
	p := l.pool(ep)
	for {
		u := l.idle(p, cl)
		if u == nil {
			var failure exchange.Reason
			if u, failure = l.dial(p); u == nil {
				return failure
			}
		}
		cl.srv, u.client = u, cl
		head := wire.AppendRequest(l.ob[:0], &ex.Req, wire.OptionsFor(ex))
		l.ob = head[:0]
		if u.state == sDial || u.state == sResolve {
			u.headLen = len(head)
			u.out = append(append(l.buffer(len(head)+len(part)), head...), part...)
			l.expectDial(u)
			return exchange.NoReason
		}
		u.state = sHead
		if u.reused && cl.bodyDone && len(part) > 0 && idempotent(ex.Req.Method) {
			cl.first = ex.Hold(part)
		}
		if l.send(&u.conn, l.join(head, part)) {
			l.asked(cl, u)
			return exchange.NoReason
		}
		// Nothing was taken: a kept connection was stale, a new one broke at once.
		stale := u.reused
		cl.srv, u.client = nil, nil
		l.drop(u)
		if !stale {
			return exchange.UpstreamEOF
		}
	}
}

// asked starts the wait for the answer.
func (l *loop) asked(cl *client, u *server) {
	if cl.bodyDone {
		l.expectHead(u)
	} else {
		l.wheel.set(&u.timer, 0)
	}
}

func (l *loop) expectHead(u *server) {
	d := int64(0)
	if t := u.pool.ep.Transport; t != nil && t.ResponseHeaderTimeout > 0 {
		d = l.now + int64(t.ResponseHeaderTimeout)
	}
	l.wheel.set(&u.timer, d)
}

func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// join returns head and body in one piece: the head is laid before the body where that is in
// the read buffer and there is room, else both are copied.
func (l *loop) join(head, body []byte) []byte {
	const small = 2 << 10
	if len(body) == 0 {
		return head
	}
	if len(body) > small {
		if at := l.offset(body); at >= len(head) {
			start := at - len(head)
			copy(l.rb[start:], head)
			return l.rb[start : at+len(body)]
		}
	}
	b := append(head, body...)
	l.ob = b[:0]
	if cap(l.ob) > 128<<10 {
		l.ob = make([]byte, 0, 16<<10)
	}
	return b
}

// dialled is called when a pending connection is made, or not.
func (l *loop) dialled(u *server) {
	if e := l.k.Dialled(u.fd); e != 0 {
		l.dialFailed(u, dialReason(e))
		return
	}
	u.state = sHead
	if len(u.out) > 0 && !l.flush(&u.conn) {
		l.serverFailed(u, exchange.UpstreamEOF)
		return
	}
	cl := u.client
	u.headLen = 0
	l.asked(cl, u)
	if cl.state == cBody {
		l.waitFor(cl)
		if cl.readable {
			l.later(&cl.conn)
		}
	}
}

func dialReason(e syscall.Errno) exchange.Reason {
	switch e {
	case syscall.ECONNREFUSED:
		return exchange.DialRefused
	case syscall.ETIMEDOUT:
		return exchange.DialTimeout
	}
	return exchange.DialFailed
}

// dialFailed goes on with the server's next address, or with another server.
func (l *loop) dialFailed(u *server, failure exchange.Reason) {
	cl, p := u.client, u.pool
	if len(u.alts) > 0 && failure != exchange.DialTimeout {
		next := u.alts[0]
		u.alts = u.alts[1:]
		if l.redial(u, next) {
			return
		}
	}
	p.forget()
	part := append(l.buffer(len(u.out)), u.out[min(u.headLen, len(u.out)):]...)
	cl.srv, u.client = nil, nil
	l.drop(u)
	if l.another(cl, p.ep, failure) {
		ep, reason := cl.ex.Route.To.Pick(cl.ex)
		l.ask(cl, ep, reason, part)
	}
	l.recycle(part)
	l.settle(cl)
	l.proceed(cl)
}

// serverReadable lets a server's state machine read.
func (l *loop) serverReadable(u *server) {
	switch u.state {
	case sHead:
		l.readAnswerHead(u)
	case sBody:
		l.readAnswer(u)
	case sTunnel:
		l.relay(&u.conn)
	case sIdle:
		// An idle server that says something says nothing that was asked for (a late answer,
		// a goodbye): the connection cannot be trusted any more.
		if u.readable && l.stale(u) {
			l.drop(u)
		}
	}
}

// complete ends an exchange whose answer was passed on as a whole.
func (l *loop) complete(u *server) {
	cl := u.client
	cl.srv, u.client = nil, nil
	if u.alive && cl.bodyDone && len(u.out) == 0 && !u.deaf && !u.hup && !u.eof {
		l.rest(u)
	} else {
		l.drop(u)
	}
	l.finished(cl, exchange.OK)
	l.next(cl)
}

// serverFailed ends what was asked of u: over another connection if it was a kept one that
// the server had closed, at another server if nothing came and nothing is harmed, with an answer of the edge, or by cutting the client off if the
// answer had begun.
func (l *loop) serverFailed(u *server, failure exchange.Reason) {
	cl := u.client
	ep := u.pool.ep
	repeat := !u.got && failure == exchange.UpstreamEOF && idempotent(cl.ex.Req.Method) && cl.bodyDone &&
		(cl.first != nil || cl.ex.Req.Framing == exchange.NoBody || cl.ex.Req.Framing == exchange.Sized && cl.ex.Req.Length == 0)
	elsewhere := repeat && (!u.reused || ep.Leaving())
	cl.srv, u.client = nil, nil
	l.drop(u)
	ex := cl.ex
	switch {
	case cl.headSent:
		ex.Reason = failure
		l.cut(cl, exchange.Failed)
	case elsewhere:
		if l.another(cl, ep, failure) {
			next, reason := ex.Route.To.Pick(ex)
			l.ask(cl, next, reason, cl.first)
		}
	case repeat:
		first := cl.first
		if f := l.open1(cl, ep, first); f != exchange.NoReason && l.another(cl, ep, f) {
			next, reason := ex.Route.To.Pick(ex)
			l.ask(cl, next, reason, first)
		}
	default:
		ex.Reason = failure
		ex.Tried(ep)
		ex.Release(exchange.Failed)
		ex.UpstreamFailed(failure)
		l.answer(cl)
	}
	l.settle(cl)
}
