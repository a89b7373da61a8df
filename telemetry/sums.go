package telemetry

import "crypto/tls"

// sums are the shards' cells added up for one scrape.
type sums struct {
	hub                            *Hub
	entryPoints, routers, services *group
	retries, reasons               map[string]uint64
	dropped                        uint64
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
	owner            owner
	code             int16
	method, protocol uint8
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

func newSums(h *Hub) *sums {
	group := func() *group {
		return &group{
			requests: map[requestKey]uint64{}, totals: map[totalKey]*total{}, tls: map[tlsKey]uint64{},
		}
	}
	return &sums{
		hub: h, entryPoints: group(), routers: group(), services: group(),
		retries: map[string]uint64{}, reasons: map[string]uint64{},
	}
}

// add counts a cell for its entry point, its router and its service, as far as they are
// to be shown.
func (s *sums) add(c *cell) {
	buckets := len(s.hub.bounds) + 1
	whole, share := c.hist[:buckets], c.hist[buckets:]
	p := s.hub.exposed
	if p.AddEntryPointsLabels {
		s.entryPoints.add(c, owner{name: c.entryPoint}, c.kind.code(), c.sum, whole)
	}
	if p.AddRoutersLabels && c.router != "" {
		s.routers.add(c, owner{name: c.router, service: c.service, router: true}, c.kind.code(), c.sum, whole)
	}
	service := c.balancer
	if service == "" {
		service = c.service
	}
	if !p.AddServicesLabels || !c.kind.reached() || service == "" {
		return
	}
	code := c.kind.originCode()
	if code == 0 {
		code = c.kind.code()
	}
	s.services.add(c, owner{name: service}, code, c.originSum, share)
	if c.retries > 0 {
		s.retries[service] += c.retries
	}
}

func (g *group) add(c *cell, o owner, code int16, sum int64, hist []uint64) {
	key := totalKey{owner: o, code: code, method: c.kind.method(), protocol: c.kind.protocol()}
	g.requests[requestKey{key, c.labels}] += c.n
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
