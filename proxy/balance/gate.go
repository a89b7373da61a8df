package balance

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

const (
	// maxHeld bounds the requests that wait for servers, over all services. Each keeps a
	// goroutine, its head and the bytes of its body that were read already: some 20 KiB.
	maxHeld = 4096
	// grace is how long a request waits where a server that has answered before refuses it and
	// nobody has said that it stops: the engine's word comes after the end of a process.
	grace = 2 * time.Second
)

// gate is where requests of one service wait while it has no server. It outlives tables.
type gate struct {
	book    *Book
	current atomic.Pointer[LoadBalancer]
	// lost is when the service lost its last server, or when the last one began to start, in
	// ns since 1970; 0 while one is up.
	lost atomic.Int64
	had  atomic.Bool // one has been up
	// used is when a service that may sleep was asked last, waking since when it is being
	// woken, in ns since 1970; 0 for never and not.
	used, waking atomic.Int64

	mu      sync.Mutex
	changed chan struct{} // nil while nobody waits
}

// wait returns a channel that is closed at the next change.
func (g *gate) wait() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	return g.changed
}

// notify wakes all who wait.
func (g *gate) notify() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// changedAt takes notice of the state of the servers and wakes who waits for a change.
func (g *gate) changedAt(now int64) {
	if lb := g.current.Load(); lb != nil {
		g.note(lb, now)
	}
	g.notify()
}

func (g *gate) note(lb *LoadBalancer, now int64) {
	if lb.serving(now) {
		if had, lost := g.had.Swap(true), g.lost.Swap(0); !had || lost != 0 {
			g.used.Store(now) // its time begins
		}
		g.waking.Store(0)
		return
	}
	g.lost.CompareAndSwap(0, now)
}

// turnGates points the gates at the balancers of a new table; b.mu is held.
func (b *Book) turnGates(next map[string]*gate) {
	now := time.Now().UnixNano()
	for name, g := range next {
		g.turn(b.balancers[name], now)
	}
	for name, g := range b.gates {
		if next[name] != g {
			g.current.Store(nil)
			g.notify()
		}
	}
	b.gates = next
}

// turn points the gate at the balancer of a new table; the book's mu is held.
func (g *gate) turn(lb *LoadBalancer, now int64) {
	old := g.current.Swap(lb)
	if lb.idle {
		g.book.sleepers[g] = true
	}
	if old != nil && old != lb && lb.joined(old) {
		g.lost.Store(0) // something starts: the time begins anew
	}
	g.note(lb, now)
	g.notify()
}

// joined reports whether lb has servers that old has not.
func (lb *LoadBalancer) joined(old *LoadBalancer) bool {
	for k, ep := range lb.byKey {
		if old.byKey[k] != ep {
			return true
		}
	}
	return false
}

// none is what Pick gives where no server may be asked. A request that has waited, or that
// meets servers on their way out, still has the table it began with: the newest is asked.
func (lb *LoadBalancer) none(ex *exchange.Exchange) (*exchange.Endpoint, exchange.Reason) {
	if cur := lb.gate.current.Load(); cur != nil && cur != lb {
		return cur.Pick(ex)
	}
	ex.Backend.Holder = nil
	if lb.wake() {
		if lb.hold > 0 {
			ex.Backend.Holder = lb
		}
		return nil, exchange.Waking
	}
	if lb.hold > 0 && !lb.cfg.Sick && (len(lb.eps) > 0 || lb.gate.had.Load() || lb.idle || lb.cfg.Coming) { // else nothing has run here since we began
		ex.Backend.Holder = lb
	}
	if lb.cfg.Coming {
		return nil, exchange.Starting
	}
	if len(lb.eps) == 0 {
		return nil, exchange.NoServer
	}
	for _, ep := range lb.eps {
		if ep.Starting.Load() {
			return nil, exchange.Starting
		}
	}
	return nil, exchange.NoServerUp
}

// until is when waiting ends, in ns since 1970; 0 where it makes no sense: nothing is being
// replaced, as far as anybody knows.
func (lb *LoadBalancer) until(ex *exchange.Exchange, now int64) (until int64, sure bool) {
	g := lb.gate
	if g.current.Load() != lb {
		return 0, false
	}
	if w := g.waking.Load(); w != 0 && g.lost.Load() != 0 {
		until = w + int64(lb.hold)
		if ex.Browses() && ex.Req.Method != "POST" {
			until = min(until, w+int64(lb.cfg.Idle.Page))
		}
		return until, true
	}
	if lost := g.lost.Load(); lost != 0 {
		if lb.cfg.Sick {
			return 0, false
		}
		for _, ep := range lb.eps {
			if !ep.Leaving() && !ep.Starting.Load() {
				return 0, false // it is there and fails its health checks
			}
		}
		return lost + int64(lb.hold), true
	}
	// Servers are up, and all have failed this request.
	served := false
	for _, ep := range lb.eps {
		if ep.Up(now) {
			if !ex.WasTried(ep) {
				return 0, false
			}
			served = served || ep.Served.Load()
		}
	}
	if !served {
		return 0, false
	}
	return now + int64(min(grace, lb.hold)), false
}

// MayHold implements exchange.Holder.
func (lb *LoadBalancer) MayHold(ex *exchange.Exchange) bool {
	now := time.Now().UnixNano()
	until, _ := lb.until(ex, now)
	return until > now && lb.gate.book.held.Load() < maxHeld
}

// Hold implements exchange.Holder.
func (lb *LoadBalancer) Hold(ex *exchange.Exchange) (<-chan struct{}, time.Time, bool) {
	g := lb.gate
	changed := g.wait() // before the look at the servers, so that no change is missed
	now := time.Now().UnixNano()
	until, sure := lb.until(ex, now)
	if until <= now {
		if cur := g.current.Load(); cur != nil && (cur != lb || lb.choose(ex) >= 0) {
			return g.now(), time.Unix(0, now), false // it has changed just now
		}
		return nil, time.Time{}, false
	}
	if g.book.held.Add(1) > maxHeld {
		g.book.held.Add(-1)
		return nil, time.Time{}, false
	}
	return changed, time.Unix(0, until), sure
}

// now is the channel for those who need not wait.
func (g *gate) now() <-chan struct{} {
	g.book.held.Add(1)
	c := make(chan struct{})
	close(c)
	return c
}

// Let implements exchange.Holder.
func (lb *LoadBalancer) Let() { lb.gate.book.held.Add(-1) }

// Held is the number of requests that wait for servers.
func (b *Book) Held() int64 { return b.held.Load() }
