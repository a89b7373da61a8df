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

// bodyMode is how a body goes from the server to the client.
type bodyMode uint8

const (
	passOn  bodyMode = iota // bytes as they come
	enChunk                 // until the server closes, sent in chunks
	unChunk                 // chunks, for a client that does not know them
	dropIt                  // the answer must not have a body
)

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
	cl.lastFail, ex.Reason = failure, failure
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
	if e := l.k.dialled(u.fd); e != 0 {
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

// readAnswerHead reads until the final head of the answer is there.
func (l *loop) readAnswerHead(u *server) {
	in, own := u.in, len(u.in) > 0
	var b []byte
	if own {
		in = l.grow(in, 4<<10)
		u.in = in
		b = in[len(in):cap(in)]
	} else {
		b = l.rb[headroom : headroom+quantum]
	}
	n, r := l.recv(&u.conn, b)
	switch r {
	case again:
		return
	case ended, failed:
		l.serverFailed(u, exchange.UpstreamEOF)
		return
	}
	if own {
		u.in = nil
		b = in[:len(in)+n]
	} else {
		b = b[:n]
	}
	cl := u.client
	u.got = true
	l.keep(&u.conn, b, l.answerHeads(u, b), own)
	if !u.dead && u.readable && u.client != nil {
		if u.state == sBody && u.framing == exchange.Sized && u.left <= quantum {
			l.readAnswer(u) // the end is near: while its bytes are in the cache
			return
		}
		l.later(&u.conn)
	}
	l.settle(cl)
}

// maxInterim bounds the interim answers to one request.
const maxInterim = 32

// answerHeads takes heads off b until the final one, and returns what is left to be kept.
func (l *loop) answerHeads(u *server, b []byte) []byte {
	cl := u.client
	ex := cl.ex
	for len(b) > 0 {
		n, err := l.parseAnswer(u, b)
		if err != nil {
			l.serverFailed(u, exchange.UpstreamBad)
			return nil
		}
		if n == 0 {
			u.seen = len(b)
			return b
		}
		u.seen = 0
		b = b[n:]
		switch s := ex.Resp.Status; {
		case s == 101:
			l.switchProtocols(u, b)
			return nil
		case s >= 200:
			return l.answerHead(u, b)
		}
		if u.interim++; u.interim > maxInterim || !l.passInterim(cl) {
			if !u.dead {
				l.serverFailed(u, exchange.UpstreamBad)
			}
			return nil
		}
	}
	return nil
}

// parseAnswer reads the head at the beginning of b into the exchange. n is 0 where it is not complete.
func (l *loop) parseAnswer(u *server, b []byte) (n int, err error) {
	ex, lim := u.client.ex, &l.g.responseLimits
	if u.seen == 0 {
		n, err = wire.ParseResponse(ex.Hold(b[:min(len(b), smallHead)]), &ex.Resp, ex.Req.Method, lim)
		if n > 0 || err != nil || len(b) <= smallHead {
			return n, err
		}
	}
	if n = wire.HeadEnd(b, u.seen); n == 0 || n > lim.MaxHead {
		_, err = wire.ParseResponse(b, &l.trial.Resp, ex.Req.Method, lim)
		return 0, err
	}
	k, err := wire.ParseResponse(ex.Hold(b[:n]), &ex.Resp, ex.Req.Method, lim)
	if err == nil && k != n {
		err = wire.ErrStatusLine
	}
	return n, err
}

// passInterim passes a 1xx answer on. HTTP/1.0 clients know none, and 100 goes only to those that wait for it.
func (l *loop) passInterim(cl *client) bool {
	ex := cl.ex
	if ex.Req.Proto == wire.HTTP10 || ex.Resp.Status == 100 && !cl.cont {
		return true
	}
	if ex.Resp.Status == 100 {
		cl.cont = false
		l.waitFor(cl)
	}
	wire.OutgoingResponse(ex)
	l.ob = wire.AppendResponse(l.ob[:0], &ex.Resp, wire.ResponseOptions{})
	if !l.send(&cl.conn, l.ob) {
		l.kill(cl)
		return false
	}
	return true
}

// answerHead passes the final head on, with what b holds of the body, and returns what is left to be kept.
func (l *loop) answerHead(u *server, b []byte) []byte {
	cl := u.client
	ex := cl.ex
	resp := &ex.Resp
	cl.tally.originStatus = resp.Status
	u.alive = resp.KeepAlive && ex.Req.Upgrade == ""
	u.framing, u.left, u.chunks = resp.Framing, resp.Length, wire.Chunks{AllowPad: true}
	u.state = sBody
	l.wheel.set(&u.timer, 0)
	wire.OutgoingResponse(ex)
	ex.RunResponse()
	if resp.Status < 200 {
		resp.Status = 502 // an op has done what it must not
	}
	head := l.head(cl, u)
	cl.headSent = true
	if cl.state == cWait {
		cl.budget = 0
	}
	if resp.Framing == exchange.NoBody || u.framing == exchange.Sized && u.left == 0 {
		if len(b) > 0 {
			u.alive = false // more than was announced
		}
		if !l.send(&cl.conn, head) {
			l.kill(cl)
			return nil
		}
		l.complete(u)
		return nil
	}
	return l.answerBody(u, head, b)
}

// head decides how the body goes to the client and builds the head in l.ob.
func (l *loop) head(cl *client, u *server) []byte {
	ex := cl.ex
	resp := &ex.Resp
	o := wire.ResponseOptions{HTTP10: ex.Req.Proto == wire.HTTP10, Head: ex.Req.Method == "HEAD", Date: l.date}
	cl.mode = passOn
	switch {
	case u.framing == exchange.NoBody:
	case resp.Status == 204 || resp.Status == 304: // an op changed the status
		cl.mode, resp.Framing = dropIt, exchange.Streamed
	case u.framing == exchange.UntilClose && !o.HTTP10:
		cl.mode, resp.Framing = enChunk, exchange.Streamed
	case u.framing == exchange.UntilClose:
		cl.closing = true
	case u.framing == exchange.Streamed && o.HTTP10:
		cl.mode, cl.closing = unChunk, true
	}
	if cl.mode == dropIt {
		resp.Framing = exchange.NoBody
	}
	if cl.cont { // it still waits, and will not send its body after this
		cl.closing = true
	}
	if l.leaving(cl) {
		cl.closing = true
	}
	o.Close = cl.closing
	l.altSvc(cl)
	l.ob = wire.AppendResponse(l.ob[:0], resp, o)
	cl.tally.respHead = int64(len(l.ob))
	if cl.mode == dropIt {
		resp.Framing = exchange.Streamed // the server's body is still to be read
	}
	return l.ob
}

// altSvc offers HTTP/3, before what the server says itself.
func (l *loop) altSvc(cl *client) {
	v, f := cl.entry.cfg.AltSvc, &cl.ex.Resp.Fields
	if v == "" || cl.tls == nil {
		return
	}
	if i := f.Index("Alt-Svc", 0); i >= 0 {
		own := f.At(i)
		v, own.Value = own.Value, v
	}
	f.Add("Alt-Svc", v)
}

// readAnswer reads more of the answer's body and passes it on.
func (l *loop) readAnswer(u *server) {
	cl := u.client
	if len(cl.out) > 0 {
		return // goes on when the client has taken what it got
	}
	in, own := u.in, len(u.in) > 0 // a piece of the trailers
	var b []byte
	if own {
		in = l.grow(in, 4<<10)
		u.in = in
		b = in[len(in):cap(in)]
	} else {
		b = l.rb[headroom : headroom+quantum]
	}
	n, r := l.recv(&u.conn, b)
	switch {
	case r == again:
		return
	case r == ended && u.framing == exchange.UntilClose:
		l.answerEnded(u)
		l.settle(cl)
		return
	case r != got:
		l.serverFailed(u, exchange.UpstreamEOF)
		return
	}
	if own {
		u.in = nil
		b = in[:len(in)+n]
	} else {
		b = b[:n]
	}
	l.keep(&u.conn, b, l.answerBody(u, nil, b), own)
	if !u.dead && u.readable && u.state == sBody && u.client == cl {
		l.later(&u.conn)
	}
	l.settle(cl)
}

// answerBody passes on head and what b holds of the body, and returns what is to be kept.
func (l *loop) answerBody(u *server, head, b []byte) []byte {
	cl := u.client
	if u.chunks.AtTrailers() {
		return l.answerTrailers(u, b)
	}
	var part, rest []byte
	var done bool
	var err error
	if cl.mode == unChunk {
		part, rest, done, err = u.decode(b)
	} else {
		part, rest, done, err = u.take(b)
	}
	if err != nil {
		if head != nil {
			cl.headSent = false // nothing of it has left
		}
		l.serverFailed(u, exchange.UpstreamBad)
		return nil
	}
	l.tallyAnswer(cl, u, part)
	out := part
	switch cl.mode {
	case enChunk:
		if len(part) > 0 {
			out = l.chunk(part)
		}
	case dropIt:
		out = nil
	}
	if head != nil {
		out = l.join(head, out)
	}
	if len(out) > 0 && !l.send(&cl.conn, out) {
		l.kill(cl)
		return nil
	}
	switch {
	case u.chunks.AtTrailers():
		return l.answerTrailers(u, rest)
	case done:
		if len(rest) > 0 {
			u.alive = false // more than was announced
		}
		l.complete(u)
		return nil
	}
	if cl.entry.cfg.WriteTimeout <= 0 && cl.state == cWait {
		l.wheel.set(&cl.timer, 0)
	}
	return rest
}

// decode takes chunked framing away, in place.
func (u *server) decode(b []byte) (part, rest []byte, done bool, err error) {
	w := 0
	for r := 0; r < len(b); {
		data, n, d, e := u.chunks.Decode(b[r:])
		if e != nil {
			return nil, nil, false, e
		}
		w += copy(b[w:], data)
		r += n
		if d || u.chunks.AtTrailers() {
			return b[:w], b[r:], d, nil
		}
	}
	return b[:w], nil, false, nil
}

// chunk frames part, which is in the read buffer, as one chunk.
func (l *loop) chunk(part []byte) []byte {
	var size [20]byte
	h := wire.AppendChunk(size[:0], len(part))
	at := l.offset(part)
	if at < len(h) || at+len(part)+2 > len(l.rb) {
		b := append(l.buffer(len(h)+len(part)+2), h...)
		b = append(append(b, part...), '\r', '\n')
		return b // not recycled: rare, and the caller may keep it
	}
	copy(l.rb[at-len(h):], h)
	copy(l.rb[at+len(part):], "\r\n")
	return l.rb[at-len(h) : at+len(part)+2]
}

// answerTrailers reads the trailer section and passes it on.
func (l *loop) answerTrailers(u *server, b []byte) []byte {
	cl := u.client
	l.trailer.Reset()
	n, err := wire.ParseTrailers(b, &l.trailer)
	if err != nil {
		l.serverFailed(u, exchange.UpstreamBad)
		return nil
	}
	if n == 0 {
		return b
	}
	if cl.mode == passOn {
		l.ob = wire.AppendTrailers(l.ob[:0], &l.trailer, nil)
		if !l.send(&cl.conn, l.ob) {
			l.kill(cl)
			return nil
		}
	}
	if len(b) > n {
		u.alive = false
	}
	l.complete(u)
	return nil
}

// answerEnded is the end of a body that ends with its connection.
func (l *loop) answerEnded(u *server) {
	cl := u.client
	u.alive = false
	if cl.mode == enChunk && !l.send(&cl.conn, lastChunk) {
		l.kill(cl)
		return
	}
	l.complete(u)
}

var lastChunk = []byte(wire.LastChunk)

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
