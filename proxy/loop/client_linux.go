package loop

import (
	"errors"
	"net/netip"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/telemetry"
)

// client is a connection from a client.
type client struct {
	conn
	entry       *Entry
	tls         *tlsSide
	ex          *exchange.Exchange // the request under way
	srv         *server            // asked for it
	peer, local netip.AddrPort
	born        int64
	writeBy     int64 // end of the write timeout, 0 for none
	requests    int
	seen        int   // bytes of an incomplete head that were searched for its end
	headBy      int64 // when an incomplete head must be complete
	budget      int   // bytes that may still be dropped

	trusted  bool
	closing  bool // no further request after this one
	headSent bool // the final head of the answer is out
	bodyDone bool // the request has been read to its end
	cont     bool // 100 (Continue) is owed to the client
	handed   uint8
	mode     bodyMode
	// lastFail is why the server asked before could not be reached.
	lastFail exchange.Reason
	first    []byte // the whole body, kept for a repetition; nil if it cannot be repeated
	behind   []byte // what was read behind part, during ask

	tally tally
	asked []telemetry.Header // fields of the request that the record wants
}

// tally is what the record needs beside the exchange.
type tally struct {
	reqBytes, respBytes, respHead, reqHead int64
	originBytes, originAt, originTime      int64
	originStatus                           int
	forwardedFor, method, upgrade          string
	eventStream                            bool
}

const clientSlab = 32

func (l *loop) newClient() *client {
	if len(l.clients) == 0 {
		slab := make([]client, clientSlab)
		for i := range slab {
			l.clients = append(l.clients, &slab[i])
		}
	}
	n := len(l.clients) - 1
	cl := l.clients[n]
	l.clients = l.clients[:n]
	cl.conn.cl, cl.timer.c, cl.fd = cl, &cl.conn, -1
	return cl
}

func (l *loop) freeClient(cl *client) {
	*cl = client{}
	l.clients = append(l.clients, cl)
}

// admit takes a new connection.
func (l *loop) admit(e *Entry, fd int32, peer netip.AddrPort) {
	cl := l.newClient()
	cl.entry, cl.peer, cl.born = e, peer, l.now
	if !l.register(&cl.conn, fd) {
		l.k.close(fd)
		l.freeClient(cl)
		return
	}
	l.count(cl, 1)
	cl.state = cHead
	if e.readsProxy() {
		cl.state = cProxy
	}
	l.known(cl)
	if cl.state == cHead && e.raw() {
		l.handOver(cl, CauseRaw, nil) // at once: the server may have to speak first
		return
	}
	if t := e.cfg.ReadTimeout; t > 0 {
		l.wheel.set(&cl.timer, l.now+int64(t))
	}
	cl.readable = true // what came with the handshake needs no event
	l.clientReadable(cl)
}

// known is called once the client's address is certain.
func (l *loop) known(cl *client) {
	if cl.state == cProxy {
		return
	}
	cl.trusted = cl.entry.cfg.Forwarding.Trusts(cl.peer.Addr())
}

// count notes that a client came to the loop or left it.
func (l *loop) count(cl *client, d int) {
	cl.entry.open.Add(int64(d))
	l.open += d
	l.load.Store(int64(l.open))
}

// clientReadable lets a client's state machine read.
func (l *loop) clientReadable(cl *client) {
	switch cl.state {
	case cProxy, cHead:
		l.readHead(cl)
	case cBody:
		l.readBody(cl)
	case cWait:
		if cl.hup {
			l.watchClient(cl)
		}
	case cDiscard:
		l.discard(cl)
	case cTunnel:
		l.relay(&cl.conn)
	case cLinger:
		l.linger(cl)
	}
}

// readHead takes what was kept, or else what comes, as the beginning of a request.
func (l *loop) readHead(cl *client) {
	if len(cl.out) > 0 {
		return // one answer at a time
	}
	if in := cl.in; len(in) > 0 && cl.seen == 0 { // came behind the request before
		cl.in = nil
		l.keep(&cl.conn, in, l.input(cl, in), true)
		if cl.dead || cl.state > cHead {
			l.proceed(cl)
			return
		}
	}
	in, own := cl.in, len(cl.in) > 0
	var b []byte
	if own {
		in = l.grow(in, 2<<10)
		cl.in = in
		b = in[len(in):cap(in)]
	} else {
		b = l.rb[headroom : headroom+quantum]
	}
	n, r := l.recv(&cl.conn, b)
	switch r {
	case again:
		return
	case ended, failed:
		l.headEnded(cl)
		return
	}
	if own {
		cl.in = nil
		b = in[:len(in)+n]
	} else {
		b = b[:n]
	}
	l.keep(&cl.conn, b, l.input(cl, b), own)
	l.proceed(cl)
}

// proceed lets the client go on in the next turn if there is more to read and its state wants it.
func (l *loop) proceed(cl *client) {
	next := cl.state <= cHead && len(cl.in) > 0 && cl.seen == 0 // a further request is here already
	if !cl.dead && (next || cl.readable && cl.state != cWait && cl.state != cFlush) {
		l.later(&cl.conn)
	}
}

// headEnded ends a connection whose client has gone between or within heads.
func (l *loop) headEnded(cl *client) { l.kill(cl) }

// input takes requests off b until one needs to wait, and returns what is left.
func (l *loop) input(cl *client, b []byte) []byte {
	for len(b) > 0 {
		if cl.state == cProxy {
			var ok bool
			if b, ok = l.readProxy(cl, b); !ok {
				return b
			}
			continue
		}
		if cl.requests == 0 && cl.tls == nil {
			gone, more := l.leaves(cl, b)
			if gone {
				return nil
			}
			if more {
				l.headBegan(cl, len(b))
				return b
			}
		}
		ex, n, err := l.parse(cl, b)
		if err != nil {
			l.refuse(cl, err)
			return nil
		}
		if n == 0 {
			l.headBegan(cl, len(b))
			return b
		}
		cl.seen = 0
		b = l.request(cl, ex, b, n)
		if cl.dead || cl.state != cHead || len(cl.out) > 0 {
			break
		}
	}
	if cl.dead {
		return nil
	}
	return b
}

// smallHead is how much is copied and parsed before the end of a head is known. Most heads
// are smaller, and the search for their end is saved.
const smallHead = 1 << 10

// parse reads the head at the beginning of b into an exchange. n is 0 where it is not complete.
func (l *loop) parse(cl *client, b []byte) (ex *exchange.Exchange, n int, err error) {
	lim := &cl.entry.limits
	if cl.seen == 0 {
		ex = l.exchange()
		n, err = wire.ParseRequest(ex.Hold(b[:min(len(b), smallHead)]), &ex.Req, lim)
		if n > 0 {
			return ex, n, nil
		}
		l.putExchange(ex)
		if err != nil || len(b) <= smallHead {
			return nil, 0, err
		}
	}
	if n = wire.HeadEnd(b, cl.seen); n == 0 || n > lim.MaxHead {
		_, err = wire.ParseRequest(b, &l.trial.Req, lim) // what is wrong already is said at once
		return nil, 0, err
	}
	ex = l.exchange()
	k, err := wire.ParseRequest(ex.Hold(b[:n]), &ex.Req, lim)
	if err == nil && k != n {
		err = wire.ErrRequestLine
	}
	if err != nil {
		l.putExchange(ex)
		return nil, 0, err
	}
	return ex, n, nil
}

// headBegan notes that the first n bytes of a head are there.
func (l *loop) headBegan(cl *client, n int) {
	if cl.seen == 0 {
		if t := cl.entry.cfg.ReadTimeout; t > 0 && (cl.requests > 0 || cl.deadline == 0) {
			l.wheel.set(&cl.timer, l.now+int64(t))
		} else if t <= 0 {
			l.wheel.set(&cl.timer, 0)
		}
	}
	cl.seen = n
}

// readProxy takes the PROXY header off b. False: more is needed, or the connection is over.
func (l *loop) readProxy(cl *client, b []byte) ([]byte, bool) {
	h, n, err := wire.ParseProxy(b)
	switch {
	case err == wire.ErrNoProxy:
	case err != nil:
		l.kill(cl)
		return nil, false
	case n == 0:
		cl.seen = len(b)
		return b, false
	case !h.Local && cl.entry.believes(cl.peer.Addr()):
		cl.peer, cl.local = netip.AddrPortFrom(h.Src.Addr().Unmap(), h.Src.Port()), netip.AddrPortFrom(h.Dst.Addr().Unmap(), h.Dst.Port())
	}
	cl.seen, cl.state = 0, cHead
	l.known(cl)
	if cl.entry.raw() {
		l.handOver(cl, CauseRaw, b[n:])
		return nil, false
	}
	return b[n:], true
}

// leaves looks at the first bytes of a connection: TLS goes to its handshake, HTTP/2 with
// prior knowledge to the handler lane. more is set where b may be the beginning of that.
func (l *loop) leaves(cl *client, b []byte) (gone, more bool) {
	switch {
	case (b[0] == 0x16 || b[0] == 0x80) && cl.entry.cfg.TLS != nil: // 0x80 is SSL 2.0, which crypto/tls refuses
		if _, _, err := wire.PeekHello(b); err == wire.ErrHello {
			l.kill(cl) // without a word, as the reference does
		} else {
			l.handshake(cl, b)
		}
		return true, false
	case b[0] == 'P':
		yes, more := wire.IsPreface(b)
		if yes {
			l.handOver(cl, CausePreface, b)
		}
		return yes, more
	}
	return false, false
}

// request takes one request, whose head was the first n bytes of b, and returns what follows
// what it has used.
func (l *loop) request(cl *client, ex *exchange.Exchange, b []byte, n int) []byte {
	rest := b[n:]
	l.begin(cl, ex)
	cl.tally.reqHead = int64(n)
	if err := wire.PrepareRequest(ex, cl.entry.cfg.Forwarding); err != nil {
		var e *wire.Error
		if !errors.As(err, &e) {
			e = wire.ErrRequestLine
		}
		ex.Refused(e.Status, e.Reason)
		return l.reply(cl, rest)
	}
	if ex.Req.Path == "*" {
		ex.Able()
		return l.reply(cl, rest)
	}
	return l.route(cl, rest)
}

// begin makes ex the request under way.
func (l *loop) begin(cl *client, ex *exchange.Exchange) {
	req, cfg := &ex.Req, &cl.entry.cfg
	cl.ex = ex
	cl.requests++
	req.Peer, req.Local, req.PeerTrusted, req.EntryPoint = cl.peer, cl.local, cl.trusted, cfg.Name
	if cl.tls != nil {
		req.TLS = &cl.tls.state
	}
	ex.Now = l.now
	cl.framing, cl.left, cl.chunks = req.Framing, req.Length, wire.Chunks{}
	cl.bodyDone = req.Framing == exchange.NoBody || req.Framing == exchange.Sized && req.Length == 0
	cl.headSent, cl.cont, cl.first, cl.lastFail, cl.srv = false, req.Expect100, nil, "", nil
	cl.closing = !req.KeepAlive || l.leaving(cl) ||
		cfg.KeepAliveMaxRequests > 0 && cl.requests >= cfg.KeepAliveMaxRequests ||
		cfg.KeepAliveMaxTime > 0 && l.now-cl.born >= int64(cfg.KeepAliveMaxTime)
	cl.writeBy = 0
	if cfg.WriteTimeout > 0 {
		cl.writeBy = l.now + int64(cfg.WriteTimeout)
	}
	l.arrive(cl)
}

// route matches the request, runs its ops and goes where they lead.
func (l *loop) route(cl *client, rest []byte) []byte {
	ex := cl.ex
	var reason exchange.Reason
	ex.Route, reason = cl.entry.matcher.Load().Match(ex)
	switch {
	case ex.Route == nil && reason == exchange.Misdirected:
		ex.Reply(421, reason, "")
		return l.reply(cl, rest)
	case ex.Route == nil:
		ex.NotFound(reason)
		return l.reply(cl, rest)
	case ex.Route.Broken != exchange.NoReason:
		ex.Reply(503, ex.Route.Broken, "")
		return l.reply(cl, rest)
	}
	switch ex.RunOps() {
	case exchange.Answer:
		return l.reply(cl, rest)
	case exchange.Block:
		l.handOver(cl, CauseRoute, rest)
		return nil
	}
	switch {
	case ex.Route.Tail != nil:
		l.handOver(cl, CauseRoute, rest)
		return nil
	case ex.Route.To == nil:
		ex.Unavailable(exchange.NoServer)
		return l.reply(cl, rest)
	}
	return l.forward(cl, rest)
}

// forward sends the request, with what is there of its body, to a server.
func (l *loop) forward(cl *client, b []byte) []byte {
	ex := cl.ex
	if _, other := l.elsewhere[ex.Route.To]; other {
		l.handOver(cl, CauseRoute, b)
		return nil
	}
	var part []byte
	rest := b
	if !cl.bodyDone {
		var done bool
		var err error
		part, rest, done, err = cl.take(b)
		if err != nil { // found before a server is bothered
			l.badBody(cl, err)
			return nil
		}
		cl.bodyDone = done
		if len(part) > 0 {
			cl.cont = false
		}
		cl.tally.reqBytes += l.dataIn(cl, part)
	}
	cl.state = cWait
	if !cl.bodyDone {
		cl.state = cBody
	}
	l.waitFor(cl)
	ep, reason := ex.Route.To.Pick(ex)
	if ep == nil && holds(ex) {
		l.handOver(cl, CauseRoute, b)
		return nil
	}
	if ep != nil && ep.Scheme != "http" && ep.Scheme != "" {
		// The handler lane picks again; from now on it is asked first.
		ex.Release(exchange.Aborted)
		ex.Backend = exchange.Backend{}
		l.remember(ex.Route.To)
		l.handOver(cl, CauseRoute, b)
		return nil
	}
	if cl.bodyDone && ex.Req.Framing != exchange.NoBody {
		ex.Req.Fields.Del("Expect") // nobody waits for a continuation with the body in hand
	}
	wire.OutgoingRequest(ex)
	cl.tally.originAt = l.now
	cl.behind = rest
	l.ask(cl, ep, reason, part)
	cl.behind = nil
	if cl.dead || cl.state != cBody && cl.state != cWait {
		return l.after(cl, rest)
	}
	if cl.state == cBody && cl.chunks.AtTrailers() {
		rest = l.requestTrailers(cl, rest)
	}
	return rest
}

// maxElsewhere bounds what is remembered; tables come and go.
const maxElsewhere = 4096

func (l *loop) remember(s exchange.Service) {
	if len(l.elsewhere) >= maxElsewhere {
		clear(l.elsewhere)
	}
	l.elsewhere[s] = struct{}{}
}

// dataIn counts body bytes: those of the data, not of the framing.
func (l *loop) dataIn(cl *client, part []byte) int64 {
	if cl.framing == exchange.Streamed {
		return 0 // the scanner knows the sum at the end
	}
	return int64(len(part))
}

// waitFor sets the deadline of a request that is under way.
func (l *loop) waitFor(cl *client) {
	cfg := &cl.entry.cfg
	d := cl.writeBy
	switch {
	case cl.state != cBody:
	case cl.cont:
		d = sooner(d, l.now+int64(continueWait))
	case cfg.ReadTimeout <= 0:
	case cfg.ReadTotal:
		d = sooner(d, cl.ex.Now+int64(cfg.ReadTimeout))
	default:
		d = sooner(d, l.now+int64(cfg.ReadTimeout))
	}
	l.wheel.set(&cl.timer, d)
}

// continueWait is how long a server may take to say 100 (Continue) before the edge says it.
const continueWait = time.Second

// sooner is the earlier of two deadlines, of which 0 is none.
func sooner(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// readBody reads more of the request's body and passes it on.
func (l *loop) readBody(cl *client) {
	if u := cl.srv; u != nil && (len(u.out) > 0 || u.state == sDial || u.state == sResolve) {
		return // goes on when the server has taken what it got
	}
	in, own := cl.in, len(cl.in) > 0 // a piece of the trailers
	var b []byte
	if own {
		in = l.grow(in, 2<<10)
		cl.in = in
		b = in[len(in):cap(in)]
	} else {
		b = l.rb[headroom : headroom+quantum]
	}
	n, r := l.recv(&cl.conn, b)
	switch r {
	case again:
		return
	case ended, failed:
		l.clientGone(cl, r == ended)
		return
	}
	if own {
		cl.in = nil
		b = in[:len(in)+n]
	} else {
		b = b[:n]
	}
	cl.cont = false
	l.keep(&cl.conn, b, l.body(cl, b), own)
	l.proceed(cl)
}

// body passes on what b holds of the request's body, and returns what follows it.
func (l *loop) body(cl *client, b []byte) []byte {
	if cl.chunks.AtTrailers() {
		return l.requestTrailers(cl, b)
	}
	part, rest, done, err := cl.take(b)
	cl.tally.reqBytes += l.dataIn(cl, part)
	if err != nil {
		l.badBody(cl, err)
		return nil
	}
	if len(part) > 0 {
		l.toServer(cl, part)
	}
	switch {
	case cl.dead || cl.state != cBody:
		return l.after(cl, rest)
	case cl.chunks.AtTrailers():
		return l.requestTrailers(cl, rest)
	case done:
		l.bodyEnded(cl)
	default:
		l.waitFor(cl)
	}
	return rest
}

// toServer passes body bytes on. After sending has failed only the server's answer counts.
func (l *loop) toServer(cl *client, part []byte) {
	u := cl.srv
	if u == nil || u.deaf {
		return
	}
	if !l.send(&u.conn, part) {
		u.deaf, u.readable = true, true
		l.later(&u.conn)
	}
}

// requestTrailers reads the trailer section and passes on what was announced.
func (l *loop) requestTrailers(cl *client, b []byte) []byte {
	l.trailer.Reset()
	n, err := wire.ParseTrailers(b, &l.trailer)
	if err != nil {
		l.badBody(cl, err)
		return nil
	}
	if n == 0 {
		l.waitFor(cl)
		return b
	}
	l.ob = wire.AppendTrailers(l.ob[:0], &l.trailer, &cl.ex.Req.Fields)
	l.toServer(cl, l.ob)
	if !cl.dead && cl.state == cBody {
		l.bodyEnded(cl)
	}
	return l.after(cl, b[n:])
}

// bodyEnded notes that the request has been read.
func (l *loop) bodyEnded(cl *client) {
	cl.bodyDone = true
	cl.state = cWait
	if u := cl.srv; u != nil && u.state == sHead {
		l.expectHead(u)
	}
	l.waitFor(cl)
}

// badBody ends a request whose body is not well-formed.
func (l *loop) badBody(cl *client, err error) {
	reason := exchange.BadRequest
	var e *wire.Error
	if errors.As(err, &e) {
		reason = e.Reason
	}
	l.clientsFault(cl, reason)
}

// clientsFault ends a request that the client did not finish well: with an answer if none
// has begun, else by cutting the connection.
func (l *loop) clientsFault(cl *client, reason exchange.Reason) {
	if u := cl.srv; u != nil {
		cl.srv, u.client = nil, nil
		l.drop(u)
	}
	ex := cl.ex
	if cl.headSent {
		ex.Reason = reason
		l.cut(cl, exchange.Aborted)
		return
	}
	ex.Reason = reason
	ex.Release(exchange.Aborted)
	cl.closing = true
	ex.UpstreamFailed(reason)
	l.answer(cl)
}

// watchClient looks whether a client that waits for its answer has gone away.
func (l *loop) watchClient(cl *client) {
	if len(cl.in) > 0 {
		return // it has sent a further request and then its end; that counts when it is its turn
	}
	n, r := l.recv(&cl.conn, l.rb[headroom:headroom+quantum])
	switch r {
	case got:
		cl.in = append(l.buffer(n), l.rb[headroom:headroom+n]...)
		cl.seen = 0
	case ended:
		if !cl.entry.cfg.FinishHalfClosed {
			l.clientGone(cl, true)
		} else {
			cl.closing = true
		}
	case failed:
		l.clientGone(cl, false)
	}
}

// clientGone ends the request of a client that went away. One that has only closed its
// sending half still gets the answer that says so, as from the reference.
func (l *loop) clientGone(cl *client, half bool) {
	if half && !cl.headSent {
		l.clientsFault(cl, exchange.ClientGone)
		return
	}
	l.kill(cl)
}

// sendFailed is called when sending to c has failed.
func (l *loop) sendFailed(c *conn) {
	if c.cl != nil {
		l.kill(c.cl)
		return
	}
	// The server may have answered before it closed: what it said is read first.
	u := c.sv
	u.deaf = true
	l.recycle(u.out)
	u.out = nil
	if u.state == sTunnel {
		l.tunnelEnded(c)
		return
	}
	u.readable = true
	l.later(c)
	l.drained(c)
}

// drained is called when all that waited for c is sent.
func (l *loop) drained(c *conn) {
	if cl := c.cl; cl != nil {
		switch {
		case cl.state == cFlush:
			l.next(cl)
		case cl.state == cTunnel:
			l.tunnelDrained(c)
		case cl.srv != nil && cl.srv.readable:
			l.later(&cl.srv.conn)
		}
		return
	}
	u := c.sv
	if u.state == sTunnel {
		l.tunnelDrained(c)
	} else if cl := u.client; cl != nil && cl.state == cBody && cl.readable {
		l.waitFor(cl)
		l.later(&cl.conn)
	}
}
