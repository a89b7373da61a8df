package loop

import (
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// bodyMode is how a body goes from the server to the client.
type bodyMode uint8

const (
	passOn  bodyMode = iota // bytes as they come
	enChunk                 // until the server closes, sent in chunks
	unChunk                 // chunks, for a client that does not know them
	dropIt                  // the answer must not have a body
)

// readAnswerHead reads until the final head of the answer is there.
func (l *loop) readAnswerHead(u *server) {
	cl := u.client
	in, own := u.in, len(u.in) > 0
	var b []byte
	if own {
		in = l.grow(in, 4<<10)
		u.in = in
		b = in[len(in):cap(in)]
	} else {
		b = l.rb[headroom : headroom+max(l.mayRead(cl), 4<<10)]
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
	if cl.st != nil {
		l.streamHead(cl, &ex.Resp, false)
		return true
	}
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
		if !l.pass(cl, head, nil, true) {
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
	case cl.st != nil && u.framing == exchange.Streamed:
		cl.mode = unChunk
	case cl.st != nil:
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
	if cl.st != nil {
		cl.st.headDue = true // pass sends it
		return noBytes
	}
	l.ob = wire.AppendResponse(l.ob[:0], resp, o)
	cl.tally.respHead = int64(len(l.ob))
	if cl.mode == dropIt {
		resp.Framing = exchange.Streamed // the server's body is still to be read
	}
	return l.ob
}

// noBytes stands for a head that is sent by pass.
var noBytes = []byte{}

// altSvc offers HTTP/3, before what the server says itself.
func (l *loop) altSvc(cl *client) {
	v, f := cl.entry.cfg.AltSvc, &cl.ex.Resp.Fields
	if v == "" || cl.secure() == nil {
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
	room := l.mayRead(cl)
	if room == 0 {
		return // goes on when its windows open
	}
	in, own := u.in, len(u.in) > 0 // a piece of the trailers
	var b []byte
	if own {
		in = l.grow(in, 4<<10)
		u.in = in
		b = in[len(in):cap(in)]
	} else {
		b = l.rb[headroom : headroom+room]
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
	if !l.pass(cl, head, out, done && !u.chunks.AtTrailers()) {
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
	if cl.st != nil {
		l.tailOf(cl, &l.trailer)
	} else if cl.mode == passOn {
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
	if cl.st != nil {
		l.passStream(cl, nil, true)
		if cl.dead {
			return
		}
	}
	l.complete(u)
}

var lastChunk = []byte(wire.LastChunk)
