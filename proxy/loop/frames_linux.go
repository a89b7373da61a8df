package loop

import (
	"slices"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/proxy/wire/h2"
)

// A connection of HTTP/2 is a client in the state cFrames with a frames beside it. Each of
// its streams is a client too, one without a descriptor: the same state machine serves a
// request whether it has its connection for itself or not, and asks at a few places only
// (pass, answer, take, next, close) where its bytes come from and go to.

const (
	// streamWindow is how much of a body a client may send before a server has taken it, a
	// stream; frameWindow for all streams of a connection.
	streamWindow = 256 << 10
	frameWindow  = 1 << 20
	// maxAcks bounds answers to PING, SETTINGS and broken streams that a client does not take.
	maxAcks = 2000
	// maxGather is how many bytes of frames are gathered before they are sent within a turn.
	maxGather = 64 << 10
	// defaultStreams is the number of concurrent streams where the entry point has none.
	defaultStreams = 250
	// maxBehind is how much may wait for a client from whom more is read.
	maxBehind = 256 << 10
	// maxHeads bounds the heads of all open streams of a connection, where two of the largest
	// are not more: with HPACK a few bytes can say kilobytes.
	maxHeads = 4 << 20
	// keptClosed is of how many closed streams it is remembered that they were open.
	keptClosed = 32
)

// frames is what a client has beside the rest where it speaks HTTP/2.
type frames struct {
	rd   *h2.Reader
	enc  h2.Encoder
	peer h2.Peer
	calm h2.Patience

	streams []*client
	ids     []uint32  // theirs, for the search
	begun   []*client // their heads came in this input
	heads   int       // the sizes of their heads
	last    uint32    // the highest the client has opened
	closed  [keptClosed]uint32
	nclosed int

	window int64 // what may be sent
	recv   int   // what the client may send
	credit int   // what was taken of that and not told yet
	turn   int   // whose turn it is to send

	out    []byte // frames to be sent at the end of the turn
	dirty  bool   // in loop.dirty
	busy   bool   // in the midst of input
	acks   int
	away   bool  // GOAWAY is out
	idleBy int64 // when the connection ends for want of streams
}

// stream is what a client has beside the rest where it is a stream of HTTP/2.
type stream struct {
	on     *client // the connection
	id     uint32
	place  int
	head   int // its size
	window int64
	recv   int
	credit int

	started  bool
	ended    bool // the client has sent its end
	headDue  bool // the answer's head goes before its next bytes
	fin      bool // the answer ends with what waits in out
	finished bool // its end is sent
	gone     bool // nothing is to be sent any more
	tail     []byte
	trailers exchange.Fields
	bridge   *bridge
}

// speakFrames makes cl a connection of HTTP/2.
func (l *loop) speakFrames(cl *client) {
	cfg := &cl.entry.cfg
	own := h2.Own{Table: cfg.DecoderTable, Streams: cl.entry.streams(), Window: streamWindow, HeadSize: uint32(cl.entry.inFrames.MaxHead)}
	if own.Table == 0 {
		own.Table = h2.DefaultTable
	}
	fr := &frames{rd: h2.NewReader(own.Table, &cl.entry.inFrames), window: h2.DefaultWindow, recv: frameWindow}
	fr.peer = h2.Peer{Window: h2.DefaultWindow, Table: h2.DefaultTable}
	fr.enc.SetTable(cl.entry.encoderTable(), fr.peer.Table)
	cl.fr, cl.state, cl.bodyDone = fr, cFrames, true
	fr.out = own.Append(l.buffer(256))
	fr.out = h2.AppendWindow(fr.out, 0, frameWindow-h2.DefaultWindow)
	l.touch(cl)
	l.framesTimer(cl)
}

// streams is how many streams a connection may have open at once.
func (e *Entry) streams() uint32 {
	if n := e.cfg.Streams; n > 0 {
		return n
	}
	return defaultStreams
}

func (e *Entry) encoderTable() uint32 {
	if n := e.cfg.EncoderTable; n > 0 {
		return n
	}
	return h2.DefaultTable
}

// secure is the TLS state of the connection, or nil.
func (cl *client) secure() *tlsSide {
	if cl.st != nil {
		return cl.st.on.tls
	}
	return cl.tls
}

// readFrames takes what comes on a connection of HTTP/2.
func (l *loop) readFrames(cl *client) {
	l.startStreams(cl) // left by a fault
	if cl.dead || l.behind(cl) {
		return
	}
	b, own, r := l.more(cl)
	switch r {
	case again:
		return
	case ended, failed:
		l.kill(cl)
		return
	}
	l.keep(&cl.conn, b, l.takeFrames(cl, b), own)
	l.framesRead(cl)
}

// framesRead follows the taking of input.
func (l *loop) framesRead(cl *client) {
	if cl.dead {
		return
	}
	cl.fr.busy = false
	l.startStreams(cl)
	if !cl.dead && cl.state == cFrames {
		l.framesTimer(cl)
		if !l.behind(cl) {
			l.proceed(cl)
		}
	}
}

// behind reports that the client leaves so much untaken that nothing more is read from it,
// until it has: answers without a body know no windows.
func (l *loop) behind(cl *client) bool { return len(cl.out) > maxBehind && !cl.hup }

// takeFrames takes events off b and returns what is left.
func (l *loop) takeFrames(cl *client, b []byte) []byte {
	fr := cl.fr
	fr.busy = true
	for len(b) > 0 {
		ev, n, err := fr.rd.Next(b)
		if err == nil && n == 0 {
			break
		}
		b = b[n:]
		if err == nil {
			err = l.event(cl, &ev)
		}
		if err != nil {
			l.framesFault(cl, err)
		}
		if cl.dead || cl.state != cFrames {
			return nil
		}
	}
	return b
}

// event acts on an event. An error ends the connection.
func (l *loop) event(cl *client, ev *h2.Event) *h2.Error {
	fr := cl.fr
	switch ev.Kind {
	case h2.Data:
		if len(ev.Payload) > 0 {
			fr.calm.Moved()
		} else if !l.cheap(cl) {
			return h2.ErrFlood
		}
		return l.dataCame(cl, ev)
	case h2.Head:
		return l.headCame(cl, ev)
	}
	if !l.cheap(cl) {
		return h2.ErrFlood
	}
	switch ev.Kind {
	case h2.Reset:
		return l.resetCame(cl, ev.Stream)
	case h2.Settings:
		return l.settingsCame(cl, ev.Payload)
	case h2.Ping:
		l.room(cl, 64)
		fr.out = h2.AppendPong(fr.out, ev.Payload)
		return l.acked(cl)
	case h2.Window:
		return l.windowCame(cl, ev)
	case h2.Fault:
		return l.refuseStream(cl, ev.Stream, ev.Code)
	}
	return nil
}

func (l *loop) cheap(cl *client) bool { return cl.fr.calm.Cheap(l.second) }

// acked counts what was said only because the client asked for it.
func (l *loop) acked(cl *client) *h2.Error {
	l.touch(cl)
	if cl.fr.acks++; cl.fr.acks > maxAcks {
		return h2.ErrFlood
	}
	return nil
}

// refuseStream resets a stream that has done wrong, whether it is open or not.
func (l *loop) refuseStream(cl *client, id uint32, c h2.Code) *h2.Error {
	if s := cl.fr.find(id); s != nil {
		// A client that makes us reset its streams is like one that resets them (CVE-2025-8671).
		if !cl.fr.calm.Reset(l.second, int(cl.entry.streams())) {
			return h2.ErrResets
		}
		s.st.gone = true
		if ex := s.ex; ex != nil && !s.headSent {
			ex.Reason = exchange.BadRequest
		}
		if l.kill(s); s.dead {
			fr := cl.fr
			fr.closed[(fr.nclosed-1)%keptClosed] |= resetByUs
		}
	}
	l.room(cl, 64)
	cl.fr.out = h2.AppendReset(cl.fr.out, id, c)
	return l.acked(cl)
}

// find returns the open stream of that number, or nil.
func (fr *frames) find(id uint32) *client {
	if i := slices.Index(fr.ids, id); i >= 0 {
		return fr.streams[i]
	}
	return nil
}

// wasOpen reports whether the stream was closed not long ago.
func (fr *frames) wasOpen(id uint32) bool {
	return slices.Contains(fr.closed[:], id) || fr.wasReset(id)
}

// wasReset reports whether we have reset the stream not long ago: what the client had sent
// before it knew is ignored (RFC 9113 §5.4.2 wants no second reset).
func (fr *frames) wasReset(id uint32) bool { return slices.Contains(fr.closed[:], id|resetByUs) }

// resetByUs marks numbers in frames.closed.
const resetByUs = 1 << 31

// headCame begins a stream, or takes the trailers of one.
func (l *loop) headCame(cl *client, ev *h2.Event) *h2.Error {
	fr := cl.fr
	id := ev.Stream
	if s := fr.find(id); s != nil {
		return l.trailersCame(cl, s, ev)
	}
	switch {
	case id%2 == 0:
		return h2.ErrStreamID
	case id <= fr.last && fr.wasOpen(id):
		if !l.cheap(cl) {
			return h2.ErrFlood
		}
		if fr.wasReset(id) {
			return nil
		}
		return l.refuseStream(cl, id, h2.StreamClosed)
	case id <= fr.last:
		return h2.ErrStreamID
	case fr.away:
		return nil // it knows that this one will not be served
	}
	fr.last = id
	size := fr.rd.Head.Size()
	if len(fr.streams) >= int(cl.entry.streams()) || fr.heads+size > max(maxHeads, 2*cl.entry.limits.MaxHead) {
		if !l.cheap(cl) {
			return h2.ErrFlood
		}
		return l.refuseStream(cl, id, h2.RefusedStream)
	}
	ex := l.exchange()
	bad, ok := fr.rd.Head.Request(ex, ev.End)
	if !ok {
		l.putExchange(ex)
		if !l.cheap(cl) {
			return h2.ErrFlood
		}
		return l.refuseStream(cl, id, h2.ProtocolError)
	}
	s := l.openStream(cl, id)
	s.st.ended, s.st.head = ev.End, size
	fr.heads += size
	s.ex = ex
	fr.begun = append(fr.begun, s)
	if bad != nil {
		s.st.started = true
		fr.begun = fr.begun[:len(fr.begun)-1]
		l.refuseRequest(s, bad)
	}
	return nil
}

// refuseRequest answers a request whose head is well-formed in its frames but not in HTTP.
func (l *loop) refuseRequest(s *client, bad *wire.Error) {
	s.requests = 0
	l.begin(s, s.ex)
	s.ex.Reply(bad.Status, bad.Reason, bad.Body())
	l.answer(s)
}

// openStream makes the client that is a stream.
func (l *loop) openStream(cl *client, id uint32) *client {
	fr := cl.fr
	s := l.newClient()
	if n := len(l.streams); n > 0 {
		s.st = l.streams[n-1]
		l.streams = l.streams[:n-1]
	} else {
		s.st = new(stream)
	}
	tail := s.st.tail[:0]
	*s.st = stream{on: cl, id: id, place: len(fr.streams), window: int64(fr.peer.Window), recv: streamWindow, tail: tail}
	s.entry, s.peer, s.local, s.trusted, s.born = cl.entry, cl.peer, cl.local, cl.trusted, cl.born
	s.state = cHead
	fr.streams, fr.ids = append(fr.streams, s), append(fr.ids, id)
	return s
}

// startStreams serves the requests that came. It is done behind all input, so that a short
// body is there with its head.
func (l *loop) startStreams(cl *client) {
	fr := cl.fr
	for i := 0; i < len(fr.begun); i++ {
		s := fr.begun[i]
		if s == nil || s.dead || s.st == nil || s.st.started || s.st.on != cl {
			continue
		}
		s.st.started = true
		l.current = &s.conn
		l.startStream(cl, s)
		l.current = &cl.conn
		if cl.dead {
			return
		}
	}
	clear(fr.begun)
	fr.begun = fr.begun[:0]
}

func (l *loop) startStream(cl, s *client) {
	cfg := &cl.entry.cfg
	cl.requests++
	s.requests = 0
	in := s.in
	s.in = nil
	l.take(s, len(in))
	l.begin(s, s.ex)
	s.left -= int64(len(in))
	if cfg.KeepAliveMaxRequests > 0 && cl.requests >= cfg.KeepAliveMaxRequests ||
		cfg.KeepAliveMaxTime > 0 && l.now-cl.born >= int64(cfg.KeepAliveMaxTime) || l.leaving(cl) {
		l.goAway(cl, h2.NoError)
	}
	l.prepared(s, in)
	l.recycle(in)
}

// trailersCame takes the trailers of a request, which end it.
func (l *loop) trailersCame(cl, s *client, ev *h2.Event) *h2.Error {
	st := s.st
	switch {
	case st.ended:
		return l.refuseStream(cl, st.id, h2.StreamClosed)
	case !ev.End || !cl.fr.rd.Head.Trailers() || s.lengthLeft() > 0:
		return l.refuseStream(cl, st.id, h2.ProtocolError)
	}
	st.trailers = cl.fr.rd.Head.Trailing()
	l.bodyCame(s, nil, true)
	return nil
}

// lengthLeft is how much of a body of known length is still to come in frames.
func (cl *client) lengthLeft() int64 {
	if st := cl.st; !st.started && cl.ex != nil {
		if r := &cl.ex.Req; r.Framing == exchange.Sized {
			return r.Length - int64(len(cl.in))
		}
		return 0
	}
	if cl.framing != exchange.Sized || cl.bodyDone {
		return 0
	}
	return cl.left
}

// dataCame takes a piece of a body.
func (l *loop) dataCame(cl *client, ev *h2.Event) *h2.Error {
	fr := cl.fr
	if fr.recv -= ev.Flow; fr.recv < 0 {
		return h2.ErrOverrun
	}
	s := fr.find(ev.Stream)
	if s == nil {
		l.takeAll(cl, ev.Pad+len(ev.Payload))
		switch {
		case ev.Stream > fr.last && !fr.away:
			return h2.ErrStreamID
		case ev.Flow == 0 || fr.away && ev.Stream > fr.last:
			return nil
		}
		if !l.cheap(cl) {
			return h2.ErrFlood
		}
		if fr.wasReset(ev.Stream) {
			return nil
		}
		return l.refuseStream(cl, ev.Stream, h2.StreamClosed)
	}
	st := s.st
	l.take(s, ev.Pad)
	if st.recv -= ev.Flow; st.recv < 0 {
		l.takeAll(cl, len(ev.Payload))
		return l.refuseStream(cl, st.id, h2.FlowControlError)
	}
	switch {
	case st.ended:
		l.takeAll(cl, len(ev.Payload))
		return l.refuseStream(cl, st.id, h2.StreamClosed)
	case s.sized() && (s.lengthLeft() < int64(len(ev.Payload)) || ev.End && s.lengthLeft() != int64(len(ev.Payload))):
		// RFC 9113 §8.1.1: what is announced and what comes must be equal.
		l.takeAll(cl, len(ev.Payload))
		return l.refuseStream(cl, st.id, h2.ProtocolError)
	}
	if st.started {
		s.left -= int64(len(ev.Payload))
	}
	l.bodyCame(s, ev.Payload, ev.End)
	return nil
}

// sized reports whether the length of the body that is to come is known.
func (cl *client) sized() bool {
	if !cl.st.started && cl.ex != nil {
		return cl.ex.Req.Framing == exchange.Sized
	}
	return cl.framing == exchange.Sized && !cl.bodyDone
}
