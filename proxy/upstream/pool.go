package upstream

import (
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// defaultMaxIdle bounds idle connections to one endpoint where the transport says nothing.
const defaultMaxIdle = 200

// pool holds the idle connections of one endpoint, the last used on top.
type pool struct {
	client *Client
	ep     *exchange.Endpoint

	mu    sync.Mutex
	idle  []*conn
	armed bool // a timer will look at idle

	h2 h2pool
}

// precise is up to which idle time connections are closed in time, not at the next sweep.
const precise = 10 * sweepEvery

func newPool(c *Client, ep *exchange.Endpoint) *pool {
	return &pool{client: c, ep: ep}
}

// get takes the idle connection that was used last, or nil. Connections that are too old,
// that the server has closed or that hold bytes nobody asked for are closed on the way:
// what a server sends between answers must never become part of the next one.
func (p *pool) get(now time.Time) *conn {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if !p.expired(c, now) && c.quiet() {
			c.reused = true
			return c
		}
		c.close()
	}
}

func (p *pool) expired(c *conn, now time.Time) bool {
	d := p.ep.Transport.IdleConnTimeout
	return d > 0 && now.Sub(c.idleSince) > d
}

// put takes a connection back on which nothing is under way.
func (p *pool) put(c *conn) {
	limit := p.ep.Transport.MaxIdlePerHost
	if limit == 0 {
		limit = defaultMaxIdle
	}
	c.idleSince = time.Now()
	p.mu.Lock()
	if len(p.idle) >= limit || p.client.done.Load() || p.ep.Leaving() {
		p.mu.Unlock()
		c.close()
		return
	}
	p.idle = append(p.idle, c)
	p.arm()
	p.mu.Unlock()
}

// arm starts a timer for the oldest idle connection where the next sweep would be late; p.mu is held.
func (p *pool) arm() {
	d := p.ep.Transport.IdleConnTimeout
	if p.armed || len(p.idle) == 0 || d <= 0 || d > precise {
		return
	}
	p.armed = true
	time.AfterFunc(time.Until(p.idle[0].idleSince.Add(d))+time.Millisecond, func() {
		p.sweep(time.Now())
		p.mu.Lock()
		defer p.mu.Unlock()
		p.armed = false
		p.arm()
	})
}

// sweep closes what should not be kept and reports whether the pool itself can go.
func (p *pool) sweep(now time.Time) bool {
	gone, leaving := p.ep.Gone.Load(), p.ep.Leaving()
	var shut []*conn
	p.mu.Lock()
	kept := p.idle[:0]
	for _, c := range p.idle {
		if leaving || p.expired(c, now) || !c.open() {
			shut = append(shut, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.mu.Unlock()
	for _, c := range shut {
		c.close()
	}
	return p.h2.sweep(gone) && gone
}

func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
	p.h2.close()
}

// h2pool holds the HTTP/2 connections of one endpoint.
type h2pool struct {
	mu sync.Mutex
	// conns are live; requests go to the first that has a stream to spare.
	conns []*http2.ClientConn
	// dialing is closed when a dial under way has ended.
	dialing chan struct{}
	// http1Until is set where an https server has chosen HTTP/1.1 by ALPN.
	http1Until time.Time
	tr         *http2.Transport
}

func (h *h2pool) sweep(gone bool) (empty bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := h.conns[:0]
	for _, c := range h.conns {
		st := c.State()
		switch {
		case st.Closed:
		case gone && st.StreamsActive+st.StreamsReserved+st.StreamsPending == 0:
			_ = c.Close()
		default:
			kept = append(kept, c)
		}
	}
	clear(h.conns[len(kept):])
	h.conns = kept
	return len(kept) == 0
}

// close closes the connections without streams and lets the others finish theirs.
func (h *h2pool) close() {
	h.mu.Lock()
	conns := h.conns
	h.conns = nil
	h.mu.Unlock()
	for _, c := range conns {
		c.SetDoNotReuse()
		if st := c.State(); st.StreamsActive+st.StreamsReserved+st.StreamsPending == 0 {
			_ = c.Close()
		}
	}
}
