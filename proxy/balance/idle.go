package balance

import (
	"time"

	"github.com/sluice-edge/sluice/config"
)

// Sleeper is the state of a service whose servers may be put to sleep.
type Sleeper struct {
	Idle *config.Idle
	// Used is when it was asked last, in ns since 1970; the time it came up where nobody has.
	Used int64
	// Busy is the number of requests, tunnels among them, that are under way.
	Busy int64
	// Up reports that a server is up.
	Up bool
}

// Sleepers lists the services whose servers may be put to sleep, in no order. It costs
// requests nothing: they leave the time of their coming, and are counted anyway.
func (b *Book) Sleepers() []Sleeper {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now().UnixNano()
	var out []Sleeper
	for g := range b.sleepers {
		lb := g.current.Load()
		if lb == nil || !lb.idle {
			delete(b.sleepers, g)
			continue
		}
		s := Sleeper{Idle: lb.cfg.Idle, Used: g.used.Load(), Up: lb.serving(now)}
		for _, ep := range lb.eps {
			s.Busy += ep.InFlight.Load()
		}
		out = append(out, s)
	}
	return out
}

// wake asks for the servers of a service that may sleep, and reports whether they are on
// their way.
func (lb *LoadBalancer) wake() bool {
	if !lb.idle || lb.gate.book.events.Wake == nil {
		return false
	}
	since := lb.gate.book.events.Wake(lb.cfg.Idle)
	lb.gate.waking.Store(since)
	return since != 0
}
