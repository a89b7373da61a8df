package telemetry

import (
	"crypto/x509"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/telemetry/push"
)

// readings reads everything that is measured. bounds are those of the buckets of durations.
func (h *Hub) readings(what shows, bounds []float64, semantic bool) []push.Reading {
	h.scrape.Lock()
	defer h.scrape.Unlock()
	sum := newSums(h, what)
	if semantic {
		sum.server, sum.client = map[semanticKey]*total{}, map[semanticKey]*total{}
	}
	for _, s := range h.allShards() {
		s.each(sum.add)
	}
	var out []push.Reading
	for of, g := range map[push.Scope]*group{push.OfEntryPoint: sum.entryPoints, push.OfRouter: sum.routers, push.OfService: sum.services} {
		out = h.groupReadings(out, of, g, bounds)
	}
	for service, n := range sum.retries {
		out = append(out, push.Reading{What: push.Retries, Of: push.OfService, Labels: []string{"service", service}, Value: float64(n)})
	}
	for what, m := range map[push.Measure]map[semanticKey]*total{push.ServerDuration: sum.server, push.ClientDuration: sum.client} {
		for key, t := range m {
			out = append(out, push.Reading{What: what, Key: &push.Semantic{Host: key.host, Proto: key.proto, Method: methodNames()[key.method], Code: int(key.code), TLS: key.tls}, Hist: h.fold(t.hist, bounds), Sum: seconds(t.sum)})
		}
	}
	return h.stateReadings(out, what)
}

func seconds(ns int64) float64 { return float64(ns) / float64(time.Second) }

func (h *Hub) groupReadings(out []push.Reading, of push.Scope, g *group, bounds []float64) []push.Reading {
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
		out = append(out, push.Reading{What: push.Requests, Of: of, Labels: labels(&key), Value: float64(n)})
	}
	for key, n := range g.tls {
		out = append(out, push.Reading{What: push.RequestsTLS, Of: of, Labels: owned(&key.owner, "tls_version", tlsVersionName(key.version), "tls_cipher", key.cipher()), Value: float64(n)})
	}
	for key, t := range g.totals {
		l := labels(&key)
		out = append(out,
			push.Reading{What: push.RequestDuration, Of: of, Labels: l, Hist: h.fold(t.hist, bounds), Sum: seconds(t.sum)},
			push.Reading{What: push.RequestBytes, Of: of, Labels: l, Value: float64(t.in)},
			push.Reading{What: push.ResponseBytes, Of: of, Labels: l, Value: float64(t.out)})
	}
	return out
}

// stateReadings adds what is not counted but is so.
func (h *Hub) stateReadings(out []push.Reading, what shows) []push.Reading {
	out = append(out,
		push.Reading{What: push.Reloads, Value: float64(h.reloads.Load())},
		push.Reading{What: push.LastReload, Gauge: true, Value: float64(h.loaded.Load() / int64(time.Second))})
	for key, n := range h.connections() {
		out = append(out, push.Reading{What: push.Connections, Gauge: true, Labels: []string{"entrypoint", key.entryPoint, "protocol", key.protocol}, Value: float64(n)})
	}
	if h.certificates != nil {
		for _, cert := range distinct(h.certificates()) {
			out = append(out, push.Reading{What: push.CertsNotAfter, Gauge: true, Value: float64(cert.NotAfter.Unix()),
				Labels: []string{"cn", cert.Subject.CommonName, "serial", cert.SerialNumber.String(), "sans", strings.Join(cert.DNSNames, ",")}})
		}
	}
	if h.serversUp != nil && what.services {
		for _, s := range h.serversUp() {
			up := 0.0
			if s.Up {
				up = 1
			}
			out = append(out, push.Reading{What: push.ServerUp, Of: push.OfService, Gauge: true, Labels: []string{"service", s.Service, "url", s.URL}, Value: up})
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
