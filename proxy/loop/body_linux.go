package loop

import (
	"errors"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

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
	if cl.st != nil {
		l.readStream(cl)
		return
	}
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
