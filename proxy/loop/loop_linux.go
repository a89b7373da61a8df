package loop

import (
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/loop/epoll"
	"github.com/sluice-edge/sluice/telemetry"
)

const (
	// quantum is how much one connection may read in a turn, or twice that where a body then
	// ends. 64 KiB was the fastest size measured: the buffer stays in the second-level cache.
	quantum = 64 << 10
	// headroom is left before what is read, for a new head; tailroom after it, for a chunk's end.
	headroom = 4 << 10
	tailroom = 16
	// batch is how many events one turn takes.
	batch = 256
	// slowTurn is how long a turn may last before the watchdog reports it.
	slowTurn = 5 * time.Millisecond
)

// loop is one event loop. Its goroutine owns everything but the marked part.
type loop struct {
	g     *Group
	index int
	k     kernel
	poll  *epoll.Poll // k's, nil in tests

	conns   []*conn // by descriptor
	gen     uint32
	listen  []*listener
	wheel   wheel
	ready   []*conn // go on in the next turn
	working []*conn
	at      int     // how far the events, or working, are done
	current *conn   // in whose service the loop is
	graves  []*conn // dead, to be used again after the turn
	now     int64   // ns since 1970, read once a turn
	second  int64
	date    string

	rb      []byte // headroom, quantum, tailroom
	ob      []byte // heads are built here
	pb      []byte // ciphertext as read
	tb      []byte // ciphertext to be sent
	spare   [len(bufferSizes)][][]byte
	pools   []*pool // by Endpoint.ID
	exs     []*exchange.Exchange
	trial   exchange.Exchange // for looking at incomplete heads
	trailer exchange.Fields
	clients []*client // unused
	servers []*server // unused
	streams []*stream // unused
	dirty   []*client // have frames to be sent
	waited  int       // turns since they were
	round   []*client // for windowsOpened
	cb      []byte    // chunks are built here

	// elsewhere holds routes whose servers the handler lane must ask.
	elsewhere map[*exchange.Route]struct{}

	sink telemetry.Sink
	rec  telemetry.Record
	// turner is the sink, if it wants to know of turns.
	turner telemetry.Turner

	open     int // clients
	draining bool
	stop     bool

	load  atomic.Int64 // clients, for others to read
	turns turnTimes
	slow  atomic.Int64 // turns over slowTurn since the last report
	warn  int64        // when it was reported

	mu     sync.Mutex
	inbox  []func(*loop)
	taken  []func(*loop)
	closed bool
}

func newLoop(g *Group, index int, k kernel) *loop {
	l := &loop{
		g: g, index: index, k: k,
		conns: make([]*conn, 1024),
		rb:    make([]byte, headroom+quantum+tailroom),
		ob:    make([]byte, 0, 16<<10),
	}
	l.elsewhere = make(map[*exchange.Route]struct{})
	if g.opts.Sink != nil {
		l.sink = g.opts.Sink()
		l.turner, _ = l.sink.(telemetry.Turner)
	}
	l.tell(time.Now().UnixNano())
	l.wheel.start(l.now)
	return l
}

// tell sets the loop's clock.
func (l *loop) tell(now int64) {
	l.now = now
	if s := now / int64(time.Second); s != l.second {
		l.second = s
		l.date = time.Unix(s, 0).UTC().Format(http.TimeFormat)
	}
}

// run is the loop until it is stopped.
func (l *loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var evs [batch]syscall.EpollEvent
	for !l.stop {
		// Asking without waiting first saves the scheduler's part of a system call while there is work.
		n := l.poll.Wait(evs[:], false, 0)
		if n == 0 && len(l.dirty) > 0 {
			l.settleFrames()
		}
		if n == 0 && len(l.ready) == 0 {
			ms := l.wheel.wait(l.now)
			l.announce(0)
			n = l.poll.Wait(evs[:], true, ms)
			l.announce(l.now)
		}
		start := time.Now().UnixNano()
		l.announce(start)
		l.tell(start)
		l.turn(evs[:n])
		l.watchdog(time.Now().UnixNano() - start)
	}
	l.settleFrames()
	l.end()
	l.announce(0)
}

// announce tells the sink that what it gets from now on ended at the given moment or later, so
// that the access log need not guess whether this loop still has an earlier line.
func (l *loop) announce(at int64) {
	if l.turner != nil {
		l.turner.Turn(at)
	}
}

// turn handles a batch of events and what earlier turns left to do.
func (l *loop) turn(evs []syscall.EpollEvent) {
	for l.at = 0; !l.events(evs); {
	}
	l.working, l.ready = l.ready, l.working[:0]
	for l.at = 0; !l.resume(); {
	}
	for !l.timers() {
	}
	if l.waited++; l.poll == nil || l.waited > maxHeld {
		l.settleFrames()
	}
	l.reuse()
}

// events, resume and timers report false where a panic has ended them; what is left is then
// to be done by another call: no event comes twice.
func (l *loop) events(evs []syscall.EpollEvent) (done bool) {
	defer l.rescue()
	for l.at < len(evs) {
		ev := &evs[l.at]
		l.at++
		if ev.Pad == 0 {
			l.current = nil
			l.special(ev.Fd)
			continue
		}
		if int(ev.Fd) >= len(l.conns) {
			continue
		}
		if c := l.conns[ev.Fd]; c != nil && c.gen == uint32(ev.Pad) {
			l.current = c
			l.happened(c, ev.Events)
		}
	}
	return true
}

func (l *loop) resume() (done bool) {
	defer l.rescue()
	for l.at < len(l.working) {
		c := l.working[l.at]
		l.working[l.at] = nil
		l.at++
		c.queued = false
		if !c.dead {
			l.current = c
			l.goOn(c)
		}
	}
	return true
}

func (l *loop) timers() (done bool) {
	defer l.rescue()
	l.wheel.advance(l.now, l.expired)
	return true
}

// rescue ends the connection in whose service a fault of ours, or of an op, has struck. The
// others of the loop go on.
func (l *loop) rescue() {
	r, c := recover(), l.current
	l.current = nil
	if r == nil {
		return
	}
	l.log().Error().Interface("panic", r).Bytes("stack", debug.Stack()).Msg("a connection was ended because of a fault")
	if c == nil {
		return
	}
	cl := c.cl
	if cl == nil {
		if cl = c.sv.client; cl == nil {
			l.drop(c.sv)
			return
		}
	}
	if cl.st != nil && cl.st.on.fr.busy {
		cl = cl.st.on // nobody knows where its next frame begins
	}
	defer func() {
		if r := recover(); r != nil { // its state is beyond an orderly end
			cl.ex, cl.srv, cl.dead = nil, nil, false
			l.close(cl)
		}
	}()
	l.kill(cl)
}

// special handles listeners and the inbox.
func (l *loop) special(fd int32) {
	if l.poll != nil && l.poll.Woken(fd) {
		l.collect()
		return
	}
	for _, ls := range l.listen {
		if ls.fd == fd {
			l.accept(ls)
			return
		}
	}
}

// happened takes an event of a connection.
func (l *loop) happened(c *conn, ev uint32) {
	if ev&(epoll.RdHup|epoll.Hup|epoll.Err) != 0 {
		c.hup = true
	}
	if c.sv != nil && c.state == sDial && ev&(epoll.Out|epoll.Err|epoll.Hup) != 0 {
		l.dialled(c.sv)
		if c.dead || c.state == sDial {
			return
		}
	} else if ev&epoll.Out != 0 && len(c.out) > 0 {
		l.writable(c)
		if c.dead {
			return
		}
	}
	if ev&(epoll.In|epoll.RdHup|epoll.Hup|epoll.Err) != 0 {
		c.readable = true
		if c.cl != nil && c.cl.tls != nil {
			c.cl.tls.dry = false
		}
		l.goOn(c)
	}
}

// writable sends what waits, and lets who waited for that go on.
func (l *loop) writable(c *conn) {
	if !l.flush(c) {
		l.sendFailed(c)
		return
	}
	if len(c.out) == 0 {
		l.drained(c)
	}
}

// goOn lets c read.
func (l *loop) goOn(c *conn) {
	if c.cl != nil {
		l.clientReadable(c.cl)
	} else {
		l.serverReadable(c.sv)
	}
}

// reuse makes the dead of this turn available; nothing refers to them any more but l.ready.
func (l *loop) reuse() {
	n := 0
	for _, c := range l.graves {
		switch {
		case c.queued:
			l.graves[n] = c
			n++
		case c.cl != nil:
			l.freeClient(c.cl)
		default:
			l.freeServer(c.sv)
		}
	}
	clear(l.graves[n:])
	l.graves = l.graves[:n]
}

// post runs f on the loop, unless it has ended.
func (l *loop) post(f func(*loop)) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.inbox = append(l.inbox, f)
	first := len(l.inbox) == 1
	l.mu.Unlock()
	if first && l.poll != nil {
		l.poll.Wake()
	}
	return true
}

// collect runs what was posted.
func (l *loop) collect() {
	l.mu.Lock()
	l.inbox, l.taken = l.taken[:0], l.inbox
	l.mu.Unlock()
	for i, f := range l.taken {
		l.taken[i] = nil
		l.do(f)
	}
}

func (l *loop) do(f func(*loop)) {
	defer l.rescue()
	f(l)
}

// end closes everything.
func (l *loop) end() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.collect()
	for _, c := range l.conns {
		if c == nil || c.dead {
			continue
		}
		if c.cl != nil {
			l.kill(c.cl)
		}
	}
	for _, c := range l.conns {
		if c != nil && !c.dead {
			l.drop(c.sv)
		}
	}
	for _, ls := range l.listen {
		l.k.Close(ls.fd)
	}
	l.listen = nil
	if l.poll != nil {
		l.poll.End()
	}
}

// turnTimes counts turns by how long they took: under 0.1, 0.5, 1, 5, 20, 100 ms, and longer.
type turnTimes [7]atomic.Uint64

var turnBounds = [...]int64{1e5, 5e5, 1e6, 5e6, 20e6, 100e6}

// reportEvery bounds how often slow turns are logged.
const reportEvery = int64(time.Minute)

// watchdog notes how long a turn took: whatever stalls one stalls every connection of the loop.
func (l *loop) watchdog(d int64) {
	i := 0
	for i < len(turnBounds) && d >= turnBounds[i] {
		i++
	}
	l.turns[i].Add(1)
	if d < int64(slowTurn) {
		return
	}
	n := l.slow.Add(1)
	if l.now-l.warn >= reportEvery {
		l.warn = l.now
		l.slow.Store(0)
		l.log().Warn().Int("loop", l.index).Dur("took", time.Duration(d)).Int64("turns", n).Msg("loop turn was slow")
	}
}

// offset is where b begins in the read buffer, or -1 if it is memory of its own.
func (l *loop) offset(b []byte) int {
	d := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(l.rb)))
	if d >= uintptr(len(l.rb)) {
		return -1
	}
	return int(d)
}

func (l *loop) log() *zerolog.Logger { return &l.g.opts.Log }

// exchange returns an empty exchange.
func (l *loop) exchange() *exchange.Exchange {
	if n := len(l.exs); n > 0 {
		ex := l.exs[n-1]
		l.exs = l.exs[:n-1]
		return ex
	}
	return new(exchange.Exchange)
}

// maxExchanges bounds the exchanges a loop keeps for later.
const maxExchanges = 256

func (l *loop) putExchange(ex *exchange.Exchange) {
	if len(l.exs) < maxExchanges {
		ex.Reset()
		l.exs = append(l.exs, ex)
	}
}
