package stream

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// awaitEvery is how often a connection that waits looks for its server.
const awaitEvery = 20 * time.Millisecond

// activity is what connections and sessions leave of themselves at a service that may sleep. It
// outlives tables.
type activity struct {
	open, used atomic.Int64
	up         atomic.Bool
}

// enter and leave count a connection or session.
func (s *Server) enter() {
	s.Open.Add(1)
	if s.act != nil {
		s.act.open.Add(1)
		s.act.used.Store(time.Now().UnixNano())
	}
}

func (s *Server) leave() {
	s.Open.Add(-1)
	if s.act != nil {
		s.act.used.Store(time.Now().UnixNano())
		s.act.open.Add(-1)
	}
}

// sleeps gives a new balancer and its servers what a service that may sleep needs.
func (b *Balancer) sleeps(book *Book, key string, old *Balancer, idle *config.Idle, hold config.Duration) {
	if idle == nil {
		return
	}
	b.book, b.key, b.idle, b.hold = book, key, idle, time.Duration(hold)
	if b.act = new(activity); old != nil && old.act != nil {
		b.act = old.act
	}
	if up := b.Up(); b.act.up.Swap(up) != up && up {
		b.act.used.Store(time.Now().UnixNano()) // its time begins
	}
	for _, s := range b.servers {
		s.act = b.act
	}
}

// wake asks for the servers of a service that may sleep; it reports whether they are on their way.
func (b *Balancer) wake() bool {
	return b.idle != nil && b.book.onWake != nil && b.book.onWake(b.idle) != 0
}

// await waits for a server of a service that sleeps, and for that to take connections, as long
// as requests would. It returns nil if there is none.
func (b *Balancer) await() *Server {
	if !b.wake() {
		return nil
	}
	for end := time.Now().Add(b.hold); time.Now().Before(end); time.Sleep(awaitEvery) {
		cur := b.book.balancer(b.key)
		if cur == nil || !cur.wake() && !cur.Up() {
			return nil
		}
		s := cur.Pick()
		if s == nil {
			continue
		}
		if c, err := net.DialTimeout("tcp", s.Address, time.Until(end)); err == nil { //nolint:noctx // it is bounded
			_ = c.Close()
			return s
		}
	}
	return nil
}

// Sleeper is the state of a service whose servers may be put to sleep.
type Sleeper struct {
	Idle *config.Idle
	// Used is when a connection or session came or went last, in ns since 1970; Busy is the
	// number of those under way.
	Used, Busy int64
	Up         bool
}

// Sleepers lists the services whose servers may be put to sleep.
func (b *Book) Sleepers() []Sleeper {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Sleeper
	for _, lb := range b.balancers {
		if lb.idle != nil {
			out = append(out, Sleeper{Idle: lb.idle, Used: lb.act.used.Load(), Busy: lb.act.open.Load(), Up: lb.Up()})
		}
	}
	return out
}
