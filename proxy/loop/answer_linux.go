package loop

import (
	"errors"
	"net/http"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/proxy/wire/h2"
)

const (
	// maxDrain is how much of a body that nobody reads is read for the sake of the connection, and for how long.
	maxDrain  = 256 << 10
	drainTime = 500 * time.Millisecond
	// lingerTime bounds the wait for a client to take an answer after which we close; a close
	// with unread bytes would reset the connection, and the answer with it.
	lingerTime = 2 * time.Second
)

// reply sends the answer that is in the exchange and returns what of rest is not its request's body.
func (l *loop) reply(cl *client, rest []byte) []byte {
	l.answer(cl)
	return l.after(cl, rest)
}

// after returns what is left of b once its request was answered.
func (l *loop) after(cl *client, b []byte) []byte {
	switch {
	case cl.dead:
		return nil
	case cl.state == cDiscard:
		return l.skip(cl, b)
	}
	return b
}

// settle deals with bytes that wait in cl.in, after something that is not the client's own
// reading has changed its state.
func (l *loop) settle(cl *client) {
	if cl.dead || cl.state != cDiscard || len(cl.in) == 0 {
		return
	}
	in := cl.in
	cl.in = nil
	l.keep(&cl.conn, in, l.skip(cl, in), true)
	l.proceed(cl)
}

// answer sends an answer of the edge, which is in the exchange as a whole, and ends the exchange.
func (l *loop) answer(cl *client) {
	ex := cl.ex
	resp := &ex.Resp
	if cl.trusted && cl.entry.cfg.ReasonHeader && ex.Reason != exchange.NoReason && ex.Req.Fields.Has("X-Sluice-Reason") {
		resp.Fields.Set("X-Sluice-Reason", string(ex.Reason))
	}
	if fatal(ex.Reason) || l.leaving(cl) || !cl.bodyDone && (cl.cont || cl.framing == exchange.Sized && cl.left > maxDrain) {
		cl.closing = true
	}
	if dress := cl.entry.cfg.Dress; dress != nil && ex.Reason != exchange.NoReason {
		dress(ex)
	}
	body := ex.Body
	resp.Framing, resp.Length = exchange.Sized, int64(len(body))
	if resp.Status == http.StatusNoContent || resp.Status == http.StatusNotModified {
		resp.Framing, resp.Length, body = exchange.NoBody, 0, nil
	}
	ex.RunResponse()
	l.altSvc(cl)
	if cl.st != nil {
		l.answerStream(cl, body)
		return
	}
	o := wire.ResponseOptions{HTTP10: ex.Req.Proto == wire.HTTP10, Close: cl.closing, Head: ex.Req.Method == "HEAD", Date: l.date}
	out := wire.AppendResponse(l.ob[:0], resp, o)
	cl.tally.respHead = int64(len(out))
	if !o.Head {
		cl.tally.respBytes += int64(len(body))
		out = append(out, body...)
	}
	l.ob = out[:0]
	cl.headSent = true
	if !l.send(&cl.conn, out) {
		l.kill(cl)
		return
	}
	l.finished(cl, exchange.OK)
	l.next(cl)
}

// fatal reports the reasons after which a connection cannot go on: its next byte may be anything.
func fatal(r exchange.Reason) bool {
	switch r {
	case exchange.BadRequest, exchange.ReadTimeout, exchange.ClientGone, exchange.BodyTooLarge, exchange.HeadTooLarge:
		return true
	}
	return false
}

// refuse answers a head that is not good HTTP, and ends the connection: where its next
// request would begin nobody knows.
func (l *loop) refuse(cl *client, err error) {
	e := wire.ErrRequestLine
	_ = errors.As(err, &e)
	l.recordRefusal(cl, e.Status, e.Reason)
	ex := l.exchange()
	ex.Reply(e.Status, e.Reason, e.Body())
	ex.Resp.Framing, ex.Resp.Length = exchange.Sized, int64(len(ex.Body))
	out := wire.AppendResponse(l.ob[:0], &ex.Resp, wire.ResponseOptions{Close: true})
	out = append(out, ex.Body...)
	l.ob = out[:0]
	l.putExchange(ex)
	cl.closing, cl.bodyDone = true, false // what follows is dropped
	if !l.send(&cl.conn, out) {
		l.kill(cl)
		return
	}
	l.next(cl)
}

// finished ends the exchange of cl: endpoint, record, done ops.
func (l *loop) finished(cl *client, o exchange.Outcome) {
	ex := cl.ex
	if ex == nil {
		return
	}
	ex.Release(o)
	l.record(cl)
	ex.RunDone()
	cl.ex, cl.first = nil, nil
	cl.tally = tally{}
	cl.came.Reset()
	l.putExchange(ex)
}

// next readies the connection for what comes after an answer.
func (l *loop) next(cl *client) {
	cfg := &cl.entry.cfg
	switch {
	case cl.dead:
		return
	case cl.st != nil:
		l.streamNext(cl)
		return
	case len(cl.out) > 0:
		cl.state = cFlush
		l.wheel.set(&cl.timer, cl.writeBy)
		return
	case cl.closing || cl.eof && (len(cl.in) == 0 || !cl.bodyDone):
		l.finish(cl)
		return
	case !cl.bodyDone:
		if cl.framing == exchange.Sized && cl.left > maxDrain {
			l.finish(cl)
			return
		}
		cl.state, cl.budget = cDiscard, maxDrain
		l.wheel.set(&cl.timer, l.now+int64(drainTime))
		if cl.readable || len(cl.in) > 0 {
			l.later(&cl.conn)
		}
		return
	}
	cl.state, cl.seen = cHead, 0
	if l.leaving(cl) {
		l.finish(cl)
		return
	}
	d := cfg.IdleTimeout
	if d <= 0 {
		d = cfg.ReadTimeout
	}
	if d > 0 {
		l.wheel.set(&cl.timer, l.now+int64(d))
	} else {
		l.wheel.set(&cl.timer, 0)
	}
	if len(cl.in) > 0 || cl.readable {
		l.later(&cl.conn)
	}
}

// discard reads and drops what is left of a body.
func (l *loop) discard(cl *client) {
	l.settle(cl) // what came behind the head
	if cl.dead || cl.state != cDiscard {
		return
	}
	b, own, r := l.more(cl)
	switch r {
	case again:
		return
	case ended, failed:
		l.close(cl)
		return
	}
	l.keep(&cl.conn, b, l.skip(cl, b), own)
	l.proceed(cl)
}

// skip drops what b holds of the body and returns what follows it.
func (l *loop) skip(cl *client, b []byte) []byte {
	if !cl.chunks.AtTrailers() {
		part, rest, done, err := cl.take(b)
		cl.tally.reqBytes += l.dataIn(cl, part)
		if cl.budget -= len(part); err != nil || cl.budget < 0 {
			l.finish(cl)
			return nil
		}
		b = rest
		if !cl.chunks.AtTrailers() {
			if done {
				cl.bodyDone = true
				l.next(cl)
			}
			return b
		}
	}
	l.trailer.Reset()
	n, err := wire.ParseTrailers(b, &l.trailer)
	if err != nil {
		l.finish(cl)
		return nil
	}
	if n > 0 {
		cl.bodyDone = true
		l.next(cl)
	}
	return b[n:]
}

// finish closes the connection so that the client gets all that was sent.
func (l *loop) finish(cl *client) {
	if cl.dead || cl.state == cLinger {
		return
	}
	if cl.tls != nil {
		l.goodbye(cl)
	}
	if cl.eof || cl.bodyDone && len(cl.in) == 0 && !cl.readable {
		l.close(cl)
		return
	}
	l.recycle(cl.in)
	cl.in = nil
	cl.state, cl.budget = cLinger, maxDrain
	l.k.Shut(cl.fd)
	l.wheel.set(&cl.timer, l.now+int64(lingerTime))
	if cl.readable {
		l.later(&cl.conn)
	}
}

// linger drops what a client still sends, until it closes.
func (l *loop) linger(cl *client) {
	n, r := l.recvRaw(&cl.conn, l.rb[headroom:headroom+quantum])
	switch {
	case r == again:
	case r != got:
		l.close(cl)
	default:
		if cl.budget -= n; cl.budget < 0 {
			l.close(cl)
		} else if cl.readable {
			l.later(&cl.conn)
		}
	}
}

// kill ends a connection whatever it does. A request under way counts as left by its client.
func (l *loop) kill(cl *client) {
	if cl.dead {
		return
	}
	if cl.fr != nil {
		l.dropStreams(cl)
	}
	if cl.ex != nil && cl.headSent && cl.state != cTunnel || len(cl.out) > 0 {
		l.cut(cl, exchange.Aborted) // whoever still reads must not take the part for the whole
		return
	}
	l.leave(cl, exchange.Aborted)
	l.close(cl)
}

// cut ends a connection so that the client notices that its answer is not whole.
func (l *loop) cut(cl *client, o exchange.Outcome) {
	if cl.dead {
		return
	}
	l.leave(cl, o)
	if cl.st != nil {
		l.endStream(cl, h2.InternalError)
		return
	}
	fd := cl.fd
	l.bury(&cl.conn)
	l.count(cl, -1)
	l.k.Reset(fd)
}

// leave ends the exchange of a connection that goes in the midst of it.
func (l *loop) leave(cl *client, o exchange.Outcome) {
	if u := cl.srv; u != nil {
		cl.srv, u.client = nil, nil
		l.drop(u)
	}
	ex := cl.ex
	if ex == nil {
		return
	}
	if ex.Reason == exchange.NoReason && cl.state != cTunnel {
		ex.Reason = exchange.ClientGone
	}
	if !cl.headSent {
		ex.Resp.Status = exchange.StatusClientGone
		ex.Reason = exchange.ClientGone
	}
	l.finished(cl, o)
}

// close closes the connection to a client that has no request under way.
func (l *loop) close(cl *client) {
	switch {
	case cl.dead:
		return
	case cl.st != nil:
		l.endStream(cl, h2.InternalError)
		return
	case cl.fr != nil:
		l.dropStreams(cl)
	}
	fd := cl.fd
	l.bury(&cl.conn)
	l.count(cl, -1)
	l.k.Close(fd)
}

// expired is called when a deadline is over.
func (l *loop) expired(t *timer) {
	c := t.c
	l.current = c
	if c.sv != nil {
		l.serverExpired(c.sv)
		return
	}
	cl := c.cl
	switch cl.state {
	case cHead:
		l.headExpired(cl)
	case cBody:
		l.bodyExpired(cl)
	case cWait, cFlush, cBridge:
		l.kill(cl) // the write timeout
	case cTunnel:
		l.tunnelEnded(c)
	case cFrames:
		l.framesExpired(cl)
	default:
		l.close(cl)
	}
}

// headExpired ends a connection that is idle, or whose head does not come. The reference
// says 400 where not even the request line is complete, and nothing else.
func (l *loop) headExpired(cl *client) {
	if len(cl.in) == 0 || cl.seen == 0 {
		if cl.tls != nil {
			l.goodbye(cl)
		}
		l.close(cl)
		return
	}
	for _, c := range cl.in {
		if c == '\n' {
			l.close(cl)
			return
		}
	}
	l.refuse(cl, errHeadTimeout)
}

var errHeadTimeout = &wire.Error{Status: http.StatusBadRequest, Reason: exchange.ReadTimeout, Text: "the head did not come in time"}

// bodyExpired ends a request whose body does not come.
func (l *loop) bodyExpired(cl *client) {
	u := cl.srv
	switch {
	case cl.writeBy > 0 && l.now >= cl.writeBy:
		l.kill(cl)
	case u != nil && (len(u.out) > 0 || u.state == sDial || u.state == sResolve) && !cl.entry.cfg.ReadTotal:
		l.waitFor(cl) // it is the server that does not read
	case cl.cont:
		cl.cont = false
		if !l.send(&cl.conn, goAhead) {
			l.kill(cl)
			return
		}
		l.waitFor(cl)
	default:
		l.clientsFault(cl, exchange.ReadTimeout)
		l.settle(cl)
	}
}

var goAhead = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// serverExpired ends what takes a server too long.
func (l *loop) serverExpired(u *server) {
	switch u.state {
	case sResolve, sDial:
		u.alts = nil
		l.dialFailed(u, exchange.DialTimeout)
	case sHead:
		l.serverFailed(u, exchange.UpstreamSlow)
	case sIdle:
		l.drop(u)
	}
}
