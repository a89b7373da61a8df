package telemetry

import (
	"crypto/x509"
	"strconv"
	"strings"
	"time"
)

// measure is what a reading measures.
type measure uint8

const (
	reloadsTotal measure = iota
	lastReload
	openConnections
	certsNotAfter
	requestsTotal // of an entry point, a router or a service, as are the four that follow
	requestsTLS
	requestDuration
	requestBytes
	responseBytes
	retriesTotal
	serverUp
	serverDuration // by the semantic conventions, as is what follows
	clientDuration
)

// scope is what a reading belongs to.
type scope uint8

const (
	global scope = iota
	ofEntryPoint
	ofRouter
	ofService
)

func (s scope) String() string {
	return [...]string{"", "entrypoint", "router", "service"}[s]
}

// reading is one value of a metric. Values of counters and hist grow from the start on.
type reading struct {
	what  measure
	of    scope
	gauge bool
	// labels are names and values in turn.
	labels []string
	value  float64
	// hist are the counts of a duration's buckets, sum its seconds; nil for what is no duration.
	hist []uint64
	sum  float64
	// key is set for the semantic conventions.
	key *semanticKey
}

// readings reads everything that is measured. bounds are those of the buckets of durations.
func (h *Hub) readings(what shows, bounds []float64, semantic bool) []reading {
	h.scrape.Lock()
	defer h.scrape.Unlock()
	sum := newSums(h, what)
	if semantic {
		sum.server, sum.client = map[semanticKey]*total{}, map[semanticKey]*total{}
	}
	for _, s := range h.allShards() {
		s.each(sum.add)
	}
	var out []reading
	for of, g := range map[scope]*group{ofEntryPoint: sum.entryPoints, ofRouter: sum.routers, ofService: sum.services} {
		out = h.groupReadings(out, of, g, bounds)
	}
	for service, n := range sum.retries {
		out = append(out, reading{what: retriesTotal, of: ofService, labels: []string{"service", service}, value: float64(n)})
	}
	for what, m := range map[measure]map[semanticKey]*total{serverDuration: sum.server, clientDuration: sum.client} {
		for key, t := range m {
			out = append(out, reading{what: what, key: &key, hist: h.fold(t.hist, bounds), sum: seconds(t.sum)})
		}
	}
	return h.stateReadings(out, what)
}

func seconds(ns int64) float64 { return float64(ns) / float64(time.Second) }

func (h *Hub) groupReadings(out []reading, of scope, g *group, bounds []float64) []reading {
	methods, protocols := methodNames(), protocolNames()
	owned := func(o *owner, more ...string) []string {
		labels := []string{of.String(), o.name}
		if o.router {
			labels = append(labels, "service", o.service)
		}
		return append(labels, more...)
	}
	labels := func(k *totalKey) []string {
		return owned(&k.owner, "code", strconv.Itoa(int(k.code)), "method", methods[k.method], "protocol", protocols[k.protocol])
	}
	requests := map[totalKey]uint64{} // header labels are for Prometheus alone
	for key, n := range g.requests {
		requests[key.totalKey] += n
	}
	for key, n := range requests {
		out = append(out, reading{what: requestsTotal, of: of, labels: labels(&key), value: float64(n)})
	}
	for key, n := range g.tls {
		out = append(out, reading{what: requestsTLS, of: of, labels: owned(&key.owner, "tls_version", tlsVersionName(key.version), "tls_cipher", key.cipher()), value: float64(n)})
	}
	for key, t := range g.totals {
		l := labels(&key)
		out = append(out,
			reading{what: requestDuration, of: of, labels: l, hist: h.fold(t.hist, bounds), sum: seconds(t.sum)},
			reading{what: requestBytes, of: of, labels: l, value: float64(t.in)},
			reading{what: responseBytes, of: of, labels: l, value: float64(t.out)})
	}
	return out
}

// stateReadings adds what is not counted but is so.
func (h *Hub) stateReadings(out []reading, what shows) []reading {
	out = append(out,
		reading{what: reloadsTotal, value: float64(h.reloads.Load())},
		reading{what: lastReload, gauge: true, value: float64(h.loaded.Load() / int64(time.Second))})
	for key, n := range h.connections() {
		out = append(out, reading{what: openConnections, gauge: true, labels: []string{"entrypoint", key.entryPoint, "protocol", key.protocol}, value: float64(n)})
	}
	if h.certificates != nil {
		for _, cert := range distinct(h.certificates()) {
			out = append(out, reading{what: certsNotAfter, gauge: true, value: float64(cert.NotAfter.Unix()),
				labels: []string{"cn", cert.Subject.CommonName, "serial", cert.SerialNumber.String(), "sans", strings.Join(cert.DNSNames, ",")}})
		}
	}
	if h.serversUp != nil && what.services {
		for _, s := range h.serversUp() {
			up := 0.0
			if s.Up {
				up = 1
			}
			out = append(out, reading{what: serverUp, of: ofService, gauge: true, labels: []string{"service", s.Service, "url", s.URL}, value: up})
		}
	}
	return out
}

// distinct leaves out certificates that are there twice.
func distinct(list []*x509.Certificate) []*x509.Certificate {
	seen := map[string]bool{}
	var out []*x509.Certificate
	for _, c := range list {
		if c == nil {
			continue
		}
		key := c.Subject.CommonName + labelSep + c.SerialNumber.String() + labelSep + strings.Join(c.DNSNames, ",")
		if !seen[key] {
			seen[key] = true
			out = append(out, c)
		}
	}
	return out
}

// id tells readings of different series apart.
func (s *reading) id() string {
	return string(rune(s.what)) + string(rune(s.of)) + strings.Join(s.labels, labelSep)
}

// delta turns values that grow from the start on into what was added since the time before.
type delta struct{ before map[string]reading }

// of returns what was added, without what was not; gauges are left as they are.
func (d *delta) of(list []reading) []reading {
	now := make(map[string]reading, len(list))
	out := list[:0:0]
	for _, s := range list {
		if s.gauge {
			out = append(out, s)
			continue
		}
		id := s.id()
		now[id] = s
		was := d.before[id]
		s.value -= was.value
		if s.hist != nil {
			hist, n := make([]uint64, len(s.hist)), uint64(0)
			for i := range hist {
				hist[i] = s.hist[i]
				if was.hist != nil {
					hist[i] -= min(was.hist[i], hist[i])
				}
				n += hist[i]
			}
			s.hist, s.sum, s.value = hist, s.sum-was.sum, float64(n)
		}
		if s.value > 0 {
			out = append(out, s)
		}
	}
	d.before = now
	return out
}
