package upstream

import (
	"sync"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Private holds connections to servers that serve the requests of one client connection only.
// Some schemes, NTLM and Negotiate, authenticate the connection that a request comes on: on a
// shared one the next client would be taken for the last. It is safe for concurrent use.
type Private struct {
	mu   sync.Mutex
	idle map[*exchange.Endpoint]*conn
	done bool
}

// NewPrivate returns a Private that holds nothing yet.
func NewPrivate() *Private { return &Private{idle: map[*exchange.Endpoint]*conn{}} }

// Close closes the connections; those in use are closed when they are given back.
func (p *Private) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
	for _, c := range p.idle {
		c.close()
	}
	p.idle = nil
}

// get takes the connection to the server of pl, if it can still be used.
func (p *Private) get(pl *pool, now time.Time) *conn {
	p.mu.Lock()
	c := p.idle[pl.ep]
	delete(p.idle, pl.ep)
	p.mu.Unlock()
	if c == nil {
		return nil
	}
	if pl.expired(c, now) || !c.quiet() {
		c.close()
		return nil
	}
	c.reused = true
	return c
}

// put takes a connection back on which nothing is under way.
func (p *Private) put(c *conn) {
	c.idleSince = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	ep := c.p.ep
	if p.done || ep.Leaving() || ep.Transport.MaxIdlePerHost < 0 || p.idle[ep] != nil {
		c.close()
		return
	}
	p.idle[ep] = c
}
