package telemetry

import (
	"crypto/tls"
	"strings"
)

// sums are the shards' cells added up for one scrape.
type sums struct {
	hub                            *Hub
	shows                          shows
	entryPoints, routers, services *group
	retries, reasons               map[string]uint64
	dropped                        uint64
	// server and client are what the semantic conventions measure; nil where nobody asks.
	server, client map[semanticKey]*total
}

// semanticKey is what the semantic conventions tell requests apart by. host is the Host of a
// request to the edge, or the URL of the server that the edge asked.
type semanticKey struct {
	host, proto string
	method      uint8
	code        int16
	tls         bool
}

// group is the series of entry points, of routers or of services.
type group struct {
	requests map[requestKey]uint64
	totals   map[totalKey]*total
	tls      map[tlsKey]uint64
}

// owner is what a series belongs to: an entry point, a router and its service, or a service.
type owner struct {
	name, service string
	router        bool
}

func (o *owner) labels() []string {
	if o.router {
		return []string{o.name, o.service}
	}
	return []string{o.name}
}

type totalKey struct {
	owner    owner
	code     int16
	method   uint8
	protocol Protocol
}

type requestKey struct {
	totalKey
	joined string
}

type tlsKey struct {
	owner          owner
	version, suite uint16
}

func (k *tlsKey) cipher() string { return tls.CipherSuiteName(k.suite) }

type total struct {
	in, out uint64
	sum     int64
	hist    []uint64
}

// sum adds up all shards. The caller holds h.scrape.
func (h *Hub) sum(what shows) *sums {
	sum := newSums(h, what)
	for _, s := range h.allShards() {
		s.each(sum.add)
		s.readReasons(sum)
	}
	return sum
}

func newSums(h *Hub, what shows) *sums {
	group := func() *group {
		return &group{
			requests: map[requestKey]uint64{}, totals: map[totalKey]*total{}, tls: map[tlsKey]uint64{},
		}
	}
	return &sums{
		hub: h, shows: what, entryPoints: group(), routers: group(), services: group(),
		retries: map[string]uint64{}, reasons: map[string]uint64{},
	}
}

// add counts a cell for its entry point, its router and its service, as far as they are
// to be shown.
func (s *sums) add(c *cell) {
	buckets := len(s.hub.bounds) + 1
	whole, share := c.hist[:buckets], c.hist[buckets:]
	if s.shows.entryPoints {
		s.entryPoints.add(s.hub, c, owner{name: c.entryPoint}, c.kind.code(), c.sum, whole)
	}
	if s.shows.routers && c.router != "" {
		s.routers.add(s.hub, c, owner{name: c.router, service: c.service, router: true}, c.kind.code(), c.sum, whole)
	}
	if s.server != nil {
		s.addSemantic(c, whole, share)
	}
	service := c.balancer
	if service == "" {
		service = c.service
	}
	if !s.shows.services || !c.kind.reached() || service == "" {
		return
	}
	code := c.kind.originCode()
	if code == 0 {
		code = c.kind.code()
	}
	s.services.add(s.hub, c, owner{name: service}, code, c.originSum, share)
	if c.retries > 0 {
		s.retries[service] += c.retries
	}
}

func (s *sums) addSemantic(c *cell, whole, share []uint64) {
	values := strings.Split(c.labels, labelSep)
	if n := len(s.hub.headerLabels); n > 0 {
		values = values[min(n, len(values)):]
	} else {
		values = values[1:] // the first is what stands before the first separator: nothing
	}
	if len(values) < 3 {
		values = []string{"", "", ""} // there were too many to tell them apart
	}
	put := func(m map[semanticKey]*total, host string, code int16, sum int64, hist []uint64) {
		key := semanticKey{host, values[1], c.kind.method(), code, c.tls != 0}
		t := m[key]
		if t == nil {
			t = &total{hist: make([]uint64, len(hist))}
			m[key] = t
		}
		t.sum += sum
		for i, n := range hist {
			t.hist[i] += n
		}
	}
	put(s.server, values[0], c.kind.code(), c.sum, whole)
	if values[2] != "" {
		code := c.kind.originCode()
		if code == 0 {
			code = c.kind.code()
		}
		put(s.client, values[2], code, c.originSum, share)
	}
}

func (g *group) add(h *Hub, c *cell, o owner, code int16, sum int64, hist []uint64) {
	key := totalKey{owner: o, code: c.kind.label(code), method: c.kind.method(), protocol: c.kind.protocol()}
	g.requests[requestKey{key, cutLabels(c.labels, len(h.headerLabels))}] += c.n
	t := g.totals[key]
	if t == nil {
		t = &total{hist: make([]uint64, len(hist))}
		g.totals[key] = t
	}
	t.in += c.in
	t.out += c.out
	t.sum += sum
	for i, n := range hist {
		t.hist[i] += n
	}
	if c.tls != 0 {
		g.tls[tlsKey{o, uint16(c.tls >> 16), uint16(c.tls)}] += c.n
	}
}

func (s *Shard) readReasons(sum *sums) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.reasons {
		sum.reasons[r.reason] += r.n
	}
	sum.dropped += s.dropped
}
