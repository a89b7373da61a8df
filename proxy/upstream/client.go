// Package upstream is the handler lane's way to servers: dialling, a pool of HTTP/1.1
// connections on the codecs of package wire, HTTP/2 over TLS and in clear text, tunnels
// for upgrades, and the probes of health checks.
package upstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Options tune a Client. The zero value is ready to use.
type Options struct {
	// MaxHead limits the head of an answer, in bytes. Zero means 1 MiB.
	MaxHead int
}

// Client sends requests to endpoints and keeps their idle connections. It is safe for
// concurrent use. Pools are indexed by Endpoint.ID, so they outlive tables.
type Client struct {
	opts  Options
	pools atomic.Pointer[[]*pool]
	mu    sync.Mutex // grows pools
	done  atomic.Bool
}

// New returns a Client. Idle connections are looked after while Run does.
func New(o Options) *Client {
	if o.MaxHead <= 0 {
		o.MaxHead = 1 << 20
	}
	c := &Client{opts: o}
	c.pools.Store(new([]*pool))
	return c
}

// sweepEvery is how often idle connections are looked at.
const sweepEvery = time.Second

// Run closes idle connections that are too old, that their server has closed, or whose
// endpoint is gone, until ctx ends; then it closes all idle ones.
func (c *Client) Run(ctx context.Context) error {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			c.Close()
			return nil
		case now := <-t.C:
			c.sweep(now, func(*exchange.Endpoint) bool { return true })
		}
	}
}

// Sweep closes idle connections to endpoints that are leaving, now; the others are left to Run.
// Whoever lets an endpoint leave calls it: a connection that is closed only after its container's
// network is gone makes the kernel ask for the dead address, and a new container with that
// address is then not found before the kernel asks again, up to a second later.
func (c *Client) Sweep() { c.sweep(time.Now(), (*exchange.Endpoint).Leaving) }

// Close closes the idle connections; later requests still work, but none are kept.
func (c *Client) Close() {
	c.done.Store(true)
	for _, p := range *c.pools.Load() {
		if p != nil {
			p.close()
		}
	}
}

// sweep looks at the pools of the endpoints that are asked for.
func (c *Client) sweep(now time.Time, asked func(*exchange.Endpoint) bool) {
	for _, p := range *c.pools.Load() {
		if p != nil && asked(p.ep) && p.sweep(now) {
			c.drop(p)
		}
	}
}

// pool returns the pool of ep.
func (c *Client) pool(ep *exchange.Endpoint) *pool {
	if ps := *c.pools.Load(); int(ep.ID) < len(ps) {
		if p := ps[ep.ID]; p != nil && p.ep == ep {
			return p
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.pools.Load()
	if int(ep.ID) < len(old) && old[ep.ID] != nil && old[ep.ID].ep == ep {
		return old[ep.ID]
	}
	ps := make([]*pool, max(len(old), int(ep.ID)+8))
	copy(ps, old)
	p := newPool(c, ep)
	ps[ep.ID] = p
	c.pools.Store(&ps)
	return p
}

// drop forgets the pool of an endpoint that is gone.
func (c *Client) drop(p *pool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.pools.Load()
	if int(p.ep.ID) >= len(old) || old[p.ep.ID] != p {
		return
	}
	ps := make([]*pool, len(old))
	copy(ps, old)
	ps[p.ep.ID] = nil
	c.pools.Store(&ps)
}

// Idle returns the number of idle HTTP/1.1 connections to ep.
func (c *Client) Idle(ep *exchange.Endpoint) int {
	p := c.pool(ep)
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}
