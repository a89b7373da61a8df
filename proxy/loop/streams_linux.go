package loop

import (
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/proxy/wire/h2"
)

// take counts n bytes of a stream's body as taken by a server: the client may send as many more.
func (l *loop) take(s *client, n int) {
	if n == 0 {
		return
	}
	st := s.st
	l.takeAll(st.on, n)
	if st.credit += n; st.credit >= streamWindow/4 && !st.ended {
		l.room(st.on, 64)
		st.on.fr.out = h2.AppendWindow(st.on.fr.out, st.id, st.credit)
		st.recv += st.credit
		st.credit = 0
		l.touch(st.on)
	}
}

// takeAll is take for the connection alone.
func (l *loop) takeAll(cl *client, n int) {
	fr := cl.fr
	if fr.credit += n; fr.credit >= frameWindow/4 {
		l.room(cl, 64)
		fr.out = h2.AppendWindow(fr.out, 0, fr.credit)
		fr.recv += fr.credit
		fr.credit = 0
		l.touch(cl)
	}
}

// bodyCame takes a piece of a stream's body, and its end.
func (l *loop) bodyCame(s *client, p []byte, end bool) {
	st := s.st
	st.ended = end
	switch {
	case st.bridge != nil:
		l.bridgeBody(s, p)
		return
	case st.started && s.state != cBody:
		l.take(s, len(p)) // it is answered already
		return
	case st.started && len(s.in) == 0 && l.takesBody(s):
		l.passBody(s, p)
		return
	}
	if len(p) > 0 {
		if s.in == nil {
			s.in = l.buffer(len(p))
		}
		s.in = append(l.grow(s.in, len(p)), p...)
	}
	s.readable = st.started // for who waits for the server
}

// takesBody reports whether the server takes more of the body now.
func (l *loop) takesBody(s *client) bool {
	u := s.srv
	return u == nil || len(u.out) == 0 && u.state != sDial && u.state != sResolve
}

// readStream passes on what waits of a stream's body.
func (l *loop) readStream(s *client) {
	if !l.takesBody(s) {
		return
	}
	in := s.in
	s.in, s.readable = nil, false
	l.passBody(s, in)
	l.recycle(in)
}

// passBody passes a piece of a stream's body on to the server.
func (l *loop) passBody(s *client, p []byte) {
	part, done := l.streamBody(s, p)
	l.take(s, len(p))
	if len(part) > 0 {
		l.toServer(s, part)
	}
	switch {
	case s.dead || s.state != cBody:
	case done:
		l.bodyEnded(s)
	default:
		l.waitFor(s)
	}
}

// streamBody gives a piece of a stream's body the framing of HTTP/1.1. The result is good
// until the next call.
func (l *loop) streamBody(s *client, p []byte) (part []byte, done bool) {
	st := s.st
	s.tally.reqBytes += int64(len(p))
	if s.framing != exchange.Streamed {
		return p, st.ended
	}
	b := l.cb[:0]
	if len(p) > 0 {
		b = append(append(wire.AppendChunk(b, len(p)), p...), '\r', '\n')
	}
	if st.ended {
		b = append(b, '0', '\r', '\n')
		b = wire.AppendTrailers(b, &st.trailers, &s.ex.Req.Fields)
	}
	l.cb = b[:0]
	if cap(b) > 128<<10 {
		l.cb = nil
	}
	return b, st.ended
}

// rawBody takes the framing of streamBody away again.
func rawBody(s *client, part []byte) []byte {
	if s.framing != exchange.Streamed {
		return part
	}
	var c wire.Chunks
	var out []byte
	for len(part) > 0 {
		data, n, done, err := c.Decode(part)
		if err != nil || done || n == 0 {
			break
		}
		out = append(out, data...)
		part = part[n:]
	}
	return out
}

// mayRead is how much of a server's answer may be read for a client: as much as it takes,
// where that is known.
func (l *loop) mayRead(cl *client) int {
	if cl.st == nil {
		return quantum
	}
	st := cl.st
	n := min(st.window, st.on.fr.window)
	if len(st.on.out) > 0 || n <= 0 {
		return 0
	}
	return int(min(max(n, 4<<10), quantum))
}

// pass sends head, if not nil, and part to the client; end tells that the answer ends with
// them. False means that the connection has failed.
func (l *loop) pass(cl *client, head, part []byte, end bool) bool {
	if cl.st != nil {
		l.passStream(cl, part, end)
		return !cl.dead
	}
	if head != nil {
		part = l.join(head, part)
	}
	return len(part) == 0 || l.send(&cl.conn, part)
}

// passStream sends a part of an answer on its stream, or keeps what the client does not take now.
func (l *loop) passStream(s *client, part []byte, end bool) {
	st := s.st
	if st.headDue {
		st.headDue = false
		l.streamHead(s, &s.ex.Resp, end && len(part) == 0)
	}
	if st.finished || st.gone {
		return
	}
	if len(s.out) == 0 {
		n := l.sendData(s, part, end)
		if s.dead {
			return
		}
		part = part[n:]
	}
	if len(part) > 0 {
		if s.out == nil {
			s.out = l.buffer(len(part))
		}
		s.out = append(l.grow(s.out, len(part)), part...)
	}
	st.fin = end
}

// sendData sends as much of b as the windows allow, and the end with the last of it.
func (l *loop) sendData(s *client, b []byte, end bool) (n int) {
	st := s.st
	cl, fr := st.on, st.on.fr
	for len(b) > 0 && len(cl.out) == 0 {
		k := int(min(int64(len(b)), st.window, fr.window, h2.MaxFrame))
		if k <= 0 {
			break
		}
		if len(fr.out) > 0 && len(fr.out)+k > maxGather {
			if l.flushFrames(cl); cl.dead || s.dead {
				return n
			}
			continue
		}
		l.room(cl, k+64)
		st.finished = end && k == len(b)
		fr.out = h2.AppendData(fr.out, st.id, b[:k], st.finished)
		l.touch(cl)
		b = b[k:]
		n += k
		st.window -= int64(k)
		fr.window -= int64(k)
	}
	if len(b) == 0 && end && !st.finished {
		st.finished = true
		l.room(cl, 64)
		fr.out = h2.AppendData(fr.out, st.id, nil, true)
		l.touch(cl)
	}
	if n > 0 {
		fr.calm.Moved()
	}
	return n
}

// sendOn goes on with a stream once it may send more.
func (l *loop) sendOn(s *client) {
	st := s.st
	if len(s.out) > 0 {
		n := l.sendData(s, s.out, st.fin && len(st.tail) == 0)
		if s.dead {
			return
		}
		if n < len(s.out) {
			s.out = s.out[:copy(s.out, s.out[n:])]
			return
		}
		l.recycle(s.out)
		s.out = nil
		l.sendTail(s)
	}
	l.drained(&s.conn)
}

// windowsOpened goes on with all streams, from another one each time.
func (l *loop) windowsOpened(cl *client) {
	fr := cl.fr
	n := len(fr.streams)
	if n == 0 {
		return
	}
	fr.turn++
	at := fr.turn % n
	list := append(append(l.round[:0], fr.streams[at:]...), fr.streams[:at]...)
	l.round = nil // in use
	for _, s := range list {
		if s.dead || s.st == nil || s.st.on != cl || !s.st.started {
			continue
		}
		if cl.dead || len(cl.out) > 0 || fr.window <= 0 {
			break
		}
		l.sendOn(s)
	}
	clear(list)
	l.round = list[:0]
}

// streamHead sends the head of an answer, interim ones included.
func (l *loop) streamHead(s *client, resp *exchange.Response, end bool) {
	st := s.st
	if st.gone || st.finished {
		return
	}
	fr := st.on.fr
	l.room(st.on, 1<<10)
	at := len(fr.out)
	out := h2.BeginHead(fr.out, st.id, end)
	out = fr.enc.Begin(out, resp.Status)
	list := resp.Fields.All()
	date, length := resp.Status < 200, ""
	for i := range list {
		f := &list[i]
		switch {
		case !wire.InFrames(f.Name):
			continue
		case len(f.Name) == 14 && exchange.EqualFold(f.Name, "content-length"):
			length = f.Value
			continue
		case len(f.Name) == 4 && exchange.EqualFold(f.Name, "date"):
			date = true
		}
		out = fr.enc.Field(out, f.Name, f.Value)
	}
	if !date {
		out = fr.enc.Field(out, "date", l.date)
	}
	switch {
	case resp.Status < 200 || resp.Status == 204:
	case resp.Framing == exchange.Sized:
		var digits [20]byte
		out = fr.enc.Field(out, "content-length", wire.String(appendLength(digits[:0], resp.Length)))
	case resp.Framing == exchange.NoBody && length != "":
		out = fr.enc.Field(out, "content-length", length)
	}
	fr.out = h2.EndHead(out, at)
	st.finished = end
	l.touch(st.on)
}

func appendLength(b []byte, n int64) []byte {
	if n >= 10 {
		b = appendLength(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

// tailOf keeps trailers of an answer, which end it, until they can be sent.
func (l *loop) tailOf(s *client, f *exchange.Fields) {
	st := s.st
	for i := range f.Len() {
		if x := f.At(i); wire.InFrames(x.Name) {
			st.tail = h2.AppendLiteral(st.tail, x.Name, x.Value)
		}
	}
	st.fin = true
	if len(s.out) == 0 {
		l.sendTail(s)
	}
}

// sendTail sends kept trailers.
func (l *loop) sendTail(s *client) {
	st := s.st
	if !st.fin || st.finished || st.gone {
		return
	}
	if len(st.tail) == 0 {
		l.sendData(s, nil, true)
		return
	}
	fr := st.on.fr
	l.room(st.on, len(st.tail)+64)
	at := len(fr.out)
	fr.out = h2.EndHead(append(fr.enc.Update(h2.BeginHead(fr.out, st.id, true)), st.tail...), at)
	st.finished = true
	l.touch(st.on)
}

// answerStream sends an answer of the edge, body and all, and ends the exchange.
func (l *loop) answerStream(s *client, body []byte) {
	s.headSent, s.st.headDue = true, true
	if s.ex.Req.Method == "HEAD" {
		body = nil
	}
	s.tally.respBytes += int64(len(body))
	if l.passStream(s, body, true); s.dead {
		return
	}
	l.finished(s, exchange.OK)
	l.next(s)
}

// streamNext is next for a stream: it ends once all is sent.
func (l *loop) streamNext(s *client) {
	if len(s.out) > 0 || !s.st.finished && !s.st.gone {
		s.state = cFlush
		l.wheel.set(&s.timer, s.writeBy)
		return
	}
	s.st.on.fr.calm.Answered()
	if !s.st.ended {
		l.endStream(s, h2.NoError) // RFC 9113 §8.1: the rest of the request is not wanted
		return
	}
	s.st.gone = true
	l.endStream(s, h2.NoError)
}

// endStream forgets a stream, and resets it with that code unless both sides have ended it.
func (l *loop) endStream(s *client, c h2.Code) {
	if s.dead {
		return
	}
	st := s.st
	cl, fr := st.on, st.on.fr
	if b := st.bridge; b != nil {
		st.bridge = nil
		l.takeAll(cl, b.lost())
	}
	id := st.id
	if !st.gone {
		st.gone = true
		l.room(cl, 64)
		fr.out = h2.AppendReset(fr.out, st.id, c)
		l.touch(cl)
		id |= resetByUs
	}
	l.takeAll(cl, len(s.in))
	fr.heads -= st.head
	n := len(fr.streams) - 1
	fr.streams[st.place], fr.ids[st.place] = fr.streams[n], fr.ids[n]
	fr.streams[st.place].st.place = st.place
	fr.streams[n] = nil
	fr.streams, fr.ids = fr.streams[:n], fr.ids[:n]
	fr.closed[fr.nclosed%keptClosed] = id
	fr.nclosed++
	l.bury(&s.conn)
	if n == 0 && !cl.dead && cl.state == cFrames {
		l.framesTimer(cl)
		if fr.away {
			l.touch(cl)
		}
	}
}

// dropStreams ends all streams of a connection that is lost.
func (l *loop) dropStreams(cl *client) {
	fr := cl.fr
	for len(fr.streams) > 0 {
		s := fr.streams[len(fr.streams)-1]
		s.st.gone = true
		if l.kill(s); !s.dead {
			l.endStream(s, h2.InternalError)
		}
	}
}
