package loop

import (
	"errors"
	"net/netip"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// readHead takes what was kept, or else what comes, as the beginning of a request.
func (l *loop) readHead(cl *client) {
	if len(cl.out) > 0 {
		return // one answer at a time
	}
	if in := cl.in; len(in) > 0 && cl.seen == 0 { // came behind the request before
		cl.in = nil
		l.keep(&cl.conn, in, l.input(cl, in), true)
		if cl.fr != nil {
			l.framesRead(cl)
			return
		}
		if cl.dead || cl.state > cHead {
			l.proceed(cl)
			return
		}
	}
	b, own, r := l.more(cl)
	switch r {
	case again:
		return
	case ended:
		if len(cl.in) > 0 && len(cl.in) < wire.MinRequest && cl.requests == 0 && cl.tls == nil && cl.state == cHead {
			if _, _, err := l.parse(cl, cl.in); err != nil {
				l.refuse(cl, err) // what input has put off
				return
			}
		}
		fallthrough
	case failed:
		l.kill(cl)
		return
	}
	l.keep(&cl.conn, b, l.input(cl, b), own)
	if cl.fr != nil {
		l.framesRead(cl)
		return
	}
	l.proceed(cl)
}

// more reads from a client, behind the bytes that it keeps (own) or into the loop's buffer,
// and returns all that is at hand. Where r is again, ended or failed nothing was taken.
func (l *loop) more(cl *client) (b []byte, own bool, r received) {
	in := cl.in
	own = len(in) > 0
	if own {
		in = l.grow(in, 2<<10)
		cl.in = in
		b = in[len(in):cap(in)]
	} else {
		b = l.rb[headroom : headroom+quantum]
	}
	n, r := l.recv(&cl.conn, b)
	switch {
	case r == again || r == ended || r == failed:
		return nil, own, r
	case own:
		cl.in = nil
		return in[:len(in)+n], own, r
	}
	return b[:n], own, r
}

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
			if cl.fr != nil {
				return l.takeFrames(cl, b)
			}
			if more || len(b) < wire.MinRequest {
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
	case wire.OpensTLS(b[0]) && cl.entry.cfg.TLS != nil:
		if _, _, err := wire.PeekHello(b); err == wire.ErrHello {
			l.kill(cl) // without a word, as the reference does
		} else {
			l.handshake(cl, b)
		}
		return true, false
	case b[0] == 'P':
		yes, more := wire.IsPreface(b)
		switch {
		case yes && cl.entry.framed():
			l.speakFrames(cl)
			return false, false
		case yes:
			l.handOver(cl, CausePreface, b)
		}
		return yes, more
	}
	return false, false
}

// request takes one request, whose head was the first n bytes of b, and returns what follows
// what it has used.
func (l *loop) request(cl *client, ex *exchange.Exchange, b []byte, n int) []byte {
	l.begin(cl, ex)
	cl.tally.reqHead = int64(n)
	return l.prepared(cl, b[n:])
}

// prepared applies the entry point's rules to the request under way and goes on with it. rest
// is what there is behind its head.
func (l *loop) prepared(cl *client, rest []byte) []byte {
	ex := cl.ex
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
	if t := cl.secure(); t != nil {
		req.TLS = &t.state
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
	case ex.Route.Tail != nil || ex.Req.Binds && cl.st == nil: // where a connection is bound, it stays
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
	if _, other := l.elsewhere[ex.Route]; other {
		l.handOver(cl, CauseRoute, b)
		return nil
	}
	var part []byte
	rest := b
	switch {
	case cl.bodyDone:
	case cl.st != nil:
		if cl.cont {
			l.goOnStream(cl)
		}
		part, cl.bodyDone = l.streamBody(cl, b)
		rest = nil
	default:
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
		l.remember(ex.Route)
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

func (l *loop) remember(r *exchange.Route) {
	if len(l.elsewhere) >= maxElsewhere {
		clear(l.elsewhere)
	}
	l.elsewhere[r] = struct{}{}
}
