// Package stream forwards raw TCP connections and UDP sessions: services with their live
// state, guards in front of them, TLS passed through or ended, PROXY headers to servers.
package stream

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Service chooses the server of a connection or session. It neither blocks nor allocates.
type Service interface {
	// Pick returns a server that is up, or nil.
	Pick() *Server
	// Up reports whether Pick would find one.
	Up() bool
}

// Server is one server of a Balancer.
type Server struct {
	// Address is host:port as configured.
	Address string
	// TLS is set where the server speaks TLS.
	TLS bool
	// Transport is how TCP servers are reached; nil for UDP.
	Transport *Transport

	// Open counts connections or sessions under way.
	Open         atomic.Int64
	down, fenced atomic.Bool
	act          *activity // nil where it never sleeps
}

// Up reports whether new connections may go to the server.
func (s *Server) Up() bool { return !s.down.Load() && !s.fenced.Load() }

// Balancer shares connections among servers in turn.
type Balancer struct {
	name    string
	finger  string
	servers []*Server
	turn    *atomic.Uint64
	doubts  exchange.Doubts

	// What follows is set where the servers may sleep.
	book *Book
	key  string
	idle *config.Idle
	hold time.Duration
	act  *activity
}

// Name of the service, with its provider.
func (b *Balancer) Name() string { return b.name }

// Warning tells what works but is hardly meant, or "".
func (b *Balancer) Warning() string { return b.doubts.Warning() }

// Servers lists the servers; it must not be changed.
func (b *Balancer) Servers() []*Server { return b.servers }

// Pick implements Service.
func (b *Balancer) Pick() *Server {
	n := len(b.servers)
	if n == 0 {
		return nil
	}
	at := int((b.turn.Add(1) - 1) % uint64(n))
	for i := range n {
		if s := b.servers[(at+i)%n]; s.Up() {
			return s
		}
	}
	return nil
}

// Up implements Service.
func (b *Balancer) Up() bool {
	for _, s := range b.servers {
		if s.Up() {
			return true
		}
	}
	return false
}

// Share is a member of a Weighted service.
type Share struct {
	Weight  int
	Service Service
}

// Weighted shares connections among services by their weights, smoothly: a service of
// weight 3 beside one of weight 1 is picked three times in four, not three times in a row
// at the beginning only.
type Weighted struct {
	shares []Share
	mu     *sync.Mutex
	credit []int
}

// NewWeighted returns a Weighted service. Members of weight zero or less are never picked.
func NewWeighted(shares []Share) *Weighted {
	return &Weighted{shares: shares, mu: new(sync.Mutex), credit: make([]int, len(shares))}
}

// Pick implements Service.
func (w *Weighted) Pick() *Server {
	w.mu.Lock()
	best, sum := -1, 0
	for i, s := range w.shares {
		if s.Weight <= 0 || !s.Service.Up() {
			continue
		}
		w.credit[i] += s.Weight
		sum += s.Weight
		if best < 0 || w.credit[i] > w.credit[best] {
			best = i
		}
	}
	if best < 0 {
		w.mu.Unlock()
		return nil
	}
	w.credit[best] -= sum
	w.mu.Unlock()
	return w.shares[best].Service.Pick()
}

// Up implements Service.
func (w *Weighted) Up() bool {
	for _, s := range w.shares {
		if s.Weight > 0 && s.Service.Up() {
			return true
		}
	}
	return false
}
