package telemetry

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector sums the shards on each scrape. Names and labels are the reference's, as
// users' dashboards and alerts depend on them; names of our own begin with "sluice_".
type collector struct {
	hub                         *Hub
	bounds                      []float64
	shows                       shows
	entryPoint, router, service family

	reloads, lastReload, connections *prometheus.Desc
	notAfter, retries, serverUp      *prometheus.Desc
	reasons, dropped, orders         *prometheus.Desc
}

// family describes the series of entry points, of routers or of services.
type family struct {
	requests, tls, duration, in, out *prometheus.Desc
}

func newCollector(h *Hub, bounds []float64, what shows) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		hub:         h,
		bounds:      bounds,
		shows:       what,
		entryPoint:  newFamily(h, "entrypoint", "an entrypoint", "entrypoint"),
		router:      newFamily(h, "router", "a router", "router", "service"),
		service:     newFamily(h, "service", "a service", "service"),
		reloads:     desc("traefik_config_reloads_total", "Config reloads"),
		lastReload:  desc("traefik_config_last_reload_success", "Last config reload success"),
		connections: desc("traefik_open_connections", "How many open connections exist, by entryPoint and protocol", "entrypoint", "protocol"),
		notAfter:    desc("traefik_tls_certs_not_after", "Certificate expiration timestamp", "cn", "serial", "sans"),
		retries:     desc("traefik_service_retries_total", "How many request retries happened on a service.", "service"),
		serverUp:    desc("traefik_service_server_up", "service server is up, described by gauge value of 0 or 1.", "service", "url"),
		reasons:     desc("sluice_errors_total", "Answers the edge made itself, by reason.", "reason"),
		orders:      desc("sluice_acme_orders_total", "Orders of certificates, by how they ended: obtained, network, rate_limited, ledger, preflight, challenge or other.", "resolver", "result"),
		dropped:     desc("sluice_access_log_dropped_lines_total", "Lines of the access log dropped as its file could not keep up."),
	}
}

func newFamily(h *Hub, name, what string, labels ...string) family {
	common := append([]string{"code", "method", "protocol"}, labels...)
	counted := common
	for _, l := range h.headerLabels {
		counted = append(counted[:len(counted):len(counted)], l.label)
	}
	desc := func(suffix, help string, labels []string) *prometheus.Desc {
		return prometheus.NewDesc("traefik_"+name+"_"+suffix, help, labels, nil)
	}
	return family{
		requests: desc("requests_total", "How many HTTP requests are processed on "+what+", partitioned by status code, protocol, and method.", counted),
		tls:      desc("requests_tls_total", "How many HTTP requests with TLS are processed on "+what+", partitioned by TLS version and TLS cipher used.", append([]string{"tls_version", "tls_cipher"}, labels...)),
		duration: desc("request_duration_seconds", "How long it took to process the request on "+what+", partitioned by status code, protocol, and method.", common),
		in:       desc("requests_bytes_total", "The total size of requests in bytes handled by "+what+", partitioned by status code, protocol, and method.", common),
		out:      desc("responses_bytes_total", "The total size of responses in bytes handled by "+what+", partitioned by status code, protocol, and method.", common),
	}
}

// Describe implements prometheus.Collector: it names nothing, as the series depend on
// the requests.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	h := c.hub
	h.scrape.Lock()
	defer h.scrape.Unlock()
	sum := h.sum(c.shows)
	c.entryPoint.send(out, c, sum.entryPoints)
	c.router.send(out, c, sum.routers)
	c.service.send(out, c, sum.services)
	for service, n := range sum.retries {
		send(out, c.retries, prometheus.CounterValue, float64(n), service)
	}
	for reason, n := range sum.reasons {
		send(out, c.reasons, prometheus.CounterValue, float64(n), reason)
	}
	send(out, c.dropped, prometheus.CounterValue, float64(sum.dropped))
	c.sendState(out)
	// What is gone was shown this once more.
	if live := h.live.Load(); live != nil {
		for _, s := range h.allShards() {
			s.fold(live)
		}
	}
}

func (c *collector) sendState(out chan<- prometheus.Metric) {
	h := c.hub
	send(out, c.reloads, prometheus.CounterValue, float64(h.reloads.Load()))
	send(out, c.lastReload, prometheus.GaugeValue, float64(h.loaded.Load()/int64(time.Second)))
	for key, n := range h.connections() {
		send(out, c.connections, prometheus.GaugeValue, float64(n), key.entryPoint, key.protocol)
	}
	if h.certificates != nil {
		c.sendCertificates(out)
	}
	if h.orders != nil {
		for _, o := range h.orders() {
			send(out, c.orders, prometheus.CounterValue, float64(o.N), o.Resolver, o.Result)
		}
	}
	if h.serversUp != nil {
		for _, s := range h.serversUp() {
			up := 0.0
			if s.Up {
				up = 1
			}
			send(out, c.serverUp, prometheus.GaugeValue, up, s.Service, s.URL)
		}
	}
}

func (c *collector) sendCertificates(out chan<- prometheus.Metric) {
	for _, cert := range distinct(c.hub.certificates()) { // equal labels twice would break the whole scrape
		send(out, c.notAfter, prometheus.GaugeValue, float64(cert.NotAfter.Unix()),
			cert.Subject.CommonName, cert.SerialNumber.String(), strings.Join(cert.DNSNames, ","))
	}
}

// send leaves out what cannot be shown rather than break the scrape.
func send(out chan<- prometheus.Metric, d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD")
	}
	if m, err := prometheus.NewConstMetric(d, t, v, labels...); err == nil {
		out <- m
	}
}

func (f *family) send(out chan<- prometheus.Metric, c *collector, g *group) {
	h := c.hub
	methods, protocols := methodNames(), protocolNames()
	for key, n := range g.requests {
		labels := key.labels(methods, protocols)
		if len(h.headerLabels) > 0 {
			labels = append(labels, splitLabels(key.joined, len(h.headerLabels))...)
		}
		send(out, f.requests, prometheus.CounterValue, float64(n), labels...)
	}
	for key, t := range g.totals {
		labels := key.labels(methods, protocols)
		send(out, f.in, prometheus.CounterValue, float64(t.in), labels...)
		send(out, f.out, prometheus.CounterValue, float64(t.out), labels...)
		hist := h.fold(t.hist, c.bounds)
		buckets := make(map[float64]uint64, len(c.bounds))
		count := uint64(0)
		for i, bound := range c.bounds {
			count += hist[i]
			buckets[bound] = count
		}
		count += hist[len(c.bounds)]
		seconds := float64(t.sum) / float64(time.Second)
		if m, err := prometheus.NewConstHistogram(f.duration, count, seconds, buckets, labels...); err == nil {
			out <- m
		}
	}
	for key, n := range g.tls {
		labels := append([]string{tlsVersionName(key.version), key.cipher()}, key.owner.labels()...)
		send(out, f.tls, prometheus.CounterValue, float64(n), labels...)
	}
}

func (k *totalKey) labels(methods [10]string, protocols [protocolCount]string) []string {
	return append([]string{strconv.Itoa(int(k.code)), methods[k.method], protocols[k.protocol]}, k.owner.labels()...)
}
