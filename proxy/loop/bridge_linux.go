package loop

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"sync"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/proxy/wire/h2"
)

// bridge is the Stream that a handler gets.
type bridge struct {
	ex     *exchange.Exchange
	l      *loop
	cl     *client
	ctx    context.Context //nolint:containedctx // the life of the stream, for its request
	cancel context.CancelFunc

	mu       sync.Mutex
	moved    sync.Cond
	in       []byte
	free     int  // of in, told to the client before
	taken    int  // of in, not told to it yet
	inEnd    bool // all of the request is in in
	stopped  bool
	trailers exchange.Fields

	heads  []head
	data   []byte
	behind int // what the loop has and the client not
	end    bool
	tail   []byte
	cut    bool
	posted bool
	dead   bool
}

// head is an encoded field block with its END_STREAM.
type head struct {
	block []byte
	end   bool
}

const (
	// bridgeRoom is how much of an answer a handler may write before its client has taken it.
	bridgeRoom = 64 << 10
	// bridgeWhole is how much is gathered before the loop is told without a flush.
	bridgeWhole = 8 << 10
)

var (
	errStreamLost    = errors.New("the client has gone, or has reset the stream")
	errStreamStopped = errors.New("reading the body was stopped")
)

// bridge gives the request of a stream to the handler lane. body is what came of its body.
func (l *loop) bridge(s *client, body []byte) {
	ex, st := s.ex, s.st
	b := &bridge{ex: ex, l: l, cl: s, in: append([]byte(nil), body...), free: len(body), inEnd: st.ended}
	b.moved.L = &b.mu
	b.trailers.CopyFrom(&st.trailers)
	b.ctx, b.cancel = context.WithCancel(l.g.ctx)
	if s.cont {
		l.goOnStream(s)
	}
	s.ex, s.state, st.bridge, st.headDue = nil, cBridge, b, false
	l.wheel.set(&s.timer, s.writeBy)
	hand := s.entry.cfg.HandStream
	l.g.helpers.Add(1)
	go func() {
		defer l.g.helpers.Done()
		defer b.cancel()
		defer func() {
			if r := recover(); r != nil {
				l.log().Error().Interface("panic", r).Bytes("stack", debug.Stack()).Msg("a stream was ended because of a fault")
				b.Cut()
			}
		}()
		hand(b)
	}()
}

// goOnStream says 100 (Continue).
func (l *loop) goOnStream(s *client) {
	s.cont = false
	if !s.st.ended {
		l.streamHead(s, &exchange.Response{Status: 100}, false)
	}
}

// bridgeBody gives a piece of the body to the handler.
func (l *loop) bridgeBody(s *client, p []byte) {
	b, st := s.st.bridge, s.st
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		l.take(s, len(p))
	} else {
		b.in = append(b.in, p...)
	}
	if st.ended {
		b.inEnd = true
		b.trailers.CopyFrom(&st.trailers)
	}
	b.moved.Broadcast()
}

// lost tells the handler that its stream is over, and returns how many bytes of the body it
// has not taken.
func (b *bridge) lost() int {
	n := b.finished()
	b.cancel()
	return n
}

// post lets the loop look at the stream. b.mu must be held.
func (b *bridge) post() {
	if b.posted || b.dead {
		return
	}
	b.posted = true
	if !b.l.post(func(l *loop) { l.bridged(b) }) {
		b.dead = true
		b.moved.Broadcast()
	}
}

// bridged does what a handler has asked for.
func (l *loop) bridged(b *bridge) {
	s := b.cl
	b.mu.Lock()
	b.posted = false
	if b.dead || s.st == nil || s.st.bridge != b {
		b.mu.Unlock()
		return
	}
	heads, tail, end, cut, taken := b.heads, b.tail, b.end, b.cut, b.taken
	var data []byte
	if len(s.out) == 0 {
		data, b.data = b.data, nil
	}
	b.heads, b.taken = nil, 0
	b.mu.Unlock()
	l.current = &s.conn
	if taken > 0 {
		l.take(s, taken)
	}
	for _, h := range heads {
		l.bridgeHead(s, h)
	}
	more := data == nil && len(s.out) > 0
	if len(data) > 0 || end && !more {
		if end && len(tail) > 0 {
			s.st.tail = append(s.st.tail[:0], tail...)
		}
		l.passStream(s, data, end && len(tail) == 0)
		if end && len(tail) > 0 {
			s.st.fin = true
			if len(s.out) == 0 {
				l.sendTail(s)
			}
		}
	}
	if s.dead {
		return
	}
	b.mu.Lock()
	b.behind = len(s.out)
	b.moved.Broadcast()
	b.mu.Unlock()
	switch {
	case cut:
		l.endStream(s, h2.InternalError)
	case end && !more:
		s.st.bridge = nil
		l.takeAll(s.st.on, b.finished())
		l.streamNext(s)
	}
}

// finished lets go of a handler whose answer the loop has as a whole.
func (b *bridge) finished() (untaken int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dead = true
	untaken = len(b.in) - min(len(b.in), b.free) + b.taken
	b.in, b.taken = nil, 0
	b.moved.Broadcast()
	return untaken
}

// bridgeDrained asks the handler for more.
func (l *loop) bridgeDrained(s *client) {
	b := s.st.bridge
	b.mu.Lock()
	b.behind = 0
	if len(b.data) > 0 || b.end {
		b.post()
	}
	b.moved.Broadcast()
	b.mu.Unlock()
}

func (l *loop) bridgeHead(s *client, h head) {
	st := s.st
	if st.finished || st.gone {
		return
	}
	fr := st.on.fr
	l.room(st.on, len(h.block)+64)
	at := len(fr.out)
	fr.out = h2.EndHead(append(fr.enc.Update(h2.BeginHead(fr.out, st.id, h.end)), h.block...), at)
	st.finished = h.end
	l.touch(st.on)
}

// Exchange implements Stream.
func (b *bridge) Exchange() *exchange.Exchange { return b.ex }

// Context implements Stream.
func (b *bridge) Context() context.Context { return b.ctx }

// Read implements Stream.
func (b *bridge) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.in) == 0 && !b.inEnd && !b.stopped && !b.dead {
		if b.taken > 0 {
			b.post() // many such streams could have the connection's window among them
		}
		b.moved.Wait()
	}
	switch {
	case b.stopped:
		return 0, errStreamStopped
	case b.dead:
		return 0, errStreamLost
	case len(b.in) > 0:
		n := copy(p, b.in)
		b.in = b.in[n:]
		b.take(n)
		if len(b.in) == 0 && b.inEnd {
			return n, io.EOF
		}
		return n, nil
	}
	return 0, io.EOF
}

// take counts n bytes of the body as read. b.mu must be held.
func (b *bridge) take(n int) {
	k := min(n, b.free)
	b.free -= k
	b.taken += n - k
	if !b.inEnd && b.taken >= streamWindow/8 {
		b.post()
	}
}

// Complete implements Stream.
func (b *bridge) Complete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inEnd
}

// Trailers implements Stream.
func (b *bridge) Trailers() *exchange.Fields {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trailers.Len() == 0 {
		return nil
	}
	return &b.trailers
}

// Stop implements Stream.
func (b *bridge) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return
	}
	b.stopped = true
	b.take(len(b.in))
	b.in = nil
	b.post()
	b.moved.Broadcast()
}

// Head implements Stream.
func (b *bridge) Head(resp *exchange.Response, date string, end bool) error {
	var e h2.Encoder // without a table, since the loop may send other heads first
	out := e.Begin(nil, resp.Status)
	hasDate := resp.Status < 200 || date == ""
	for _, f := range resp.Fields.All() {
		if !wire.InFrames(f.Name) || len(f.Name) == 14 && exchange.EqualFold(f.Name, "content-length") && resp.Framing != exchange.NoBody {
			continue
		}
		hasDate = hasDate || exchange.EqualFold(f.Name, "date")
		out = h2.AppendLiteral(out, f.Name, f.Value)
	}
	if !hasDate {
		out = h2.AppendLiteral(out, "date", date)
	}
	if resp.Framing == exchange.Sized && resp.Status >= 200 && resp.Status != 204 {
		out = h2.AppendLiteral(out, "content-length", string(appendLength(nil, resp.Length)))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead {
		return errStreamLost
	}
	b.heads = append(b.heads, head{out, end})
	if resp.Status < 200 {
		b.post()
	}
	return nil
}

// Write implements Stream.
func (b *bridge) Write(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(p) > 0 {
		for !b.dead && len(b.data)+b.behind >= bridgeRoom {
			b.post()
			b.moved.Wait()
		}
		if b.dead {
			return n, errStreamLost
		}
		k := min(len(p), bridgeRoom-len(b.data)-b.behind)
		b.data = append(b.data, p[:k]...)
		p = p[k:]
		n += k
	}
	if len(b.data) >= bridgeWhole {
		b.post()
	}
	return n, nil
}

// Flush implements Stream.
func (b *bridge) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead {
		return errStreamLost
	}
	b.post()
	return nil
}

// End implements Stream.
func (b *bridge) End(trailers *exchange.Fields) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead {
		return errStreamLost
	}
	if trailers != nil {
		for _, f := range trailers.All() {
			if wire.InFrames(f.Name) {
				b.tail = h2.AppendLiteral(b.tail, f.Name, f.Value)
			}
		}
	}
	b.end = true
	b.post()
	return nil
}

// Cut implements Stream.
func (b *bridge) Cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = true
	b.post()
}
