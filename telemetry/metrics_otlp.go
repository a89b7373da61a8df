package telemetry

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/telemetry/otlp"
)

// otlpMetrics sends readings by OTLP. Names and labels are those of Prometheus, and beside
// them the semantic conventions' durations.
type otlpMetrics struct {
	out    *otlp.Exporter
	start  uint64
	bounds []float64
}

func newOTLPMetrics(c *config.OTLPMetrics, o *Options) (*otlpMetrics, error) {
	out, err := otlp.NewExporter(otlp.Options{
		Signal: otlp.Metrics, Target: otlp.Target{HTTP: c.HTTP, GRPC: c.GRPC}, Log: o.Log,
		Resource: otlp.Resource{Service: c.ServiceName, Version: o.Version, Attributes: c.ResourceAttributes, Lookup: o.Lookup},
	})
	if err != nil {
		return nil, fmt.Errorf("metrics.otlp: %w", err)
	}
	return &otlpMetrics{out: out, start: uint64(time.Now().UnixNano()), bounds: slices.Sorted(slices.Values(c.ExplicitBoundaries))}, nil
}

// otlpName gives a metric's name, unit and description.
func (s *reading) otlpName() (name, unit, text string) {
	prefix := "traefik_" + s.of.String() + "_"
	switch s.what {
	case reloadsTotal:
		return "traefik_config_reloads_total", "1", "Config reloads"
	case lastReload:
		return "traefik_config_last_reload_success", "ms", "Last config reload success"
	case openConnections:
		return "traefik_open_connections", "1", "How many open connections exist, by entryPoint and protocol"
	case certsNotAfter:
		return "traefik_tls_certs_not_after", "s", "Certificate expiration timestamp"
	case requestsTotal:
		return prefix + "requests_total", "1", "How many HTTP requests were processed, by status code, protocol and method."
	case requestsTLS:
		return prefix + "requests_tls_total", "1", "How many HTTP requests with TLS were processed, by TLS version and cipher."
	case requestDuration:
		return prefix + "request_duration_seconds", "s", "How long it took to process requests, by status code, protocol and method."
	case requestBytes:
		return prefix + "requests_bytes_total", "1", "The total size of requests in bytes, by status code, protocol and method."
	case responseBytes:
		return prefix + "responses_bytes_total", "1", "The total size of responses in bytes, by status code, protocol and method."
	case retriesTotal:
		return "traefik_service_retries_total", "1", "How many request retries happened on a service."
	case serverUp:
		return "traefik_service_server_up", "1", "service server is up, described by gauge value of 0 or 1."
	case serverDuration:
		return "http.server.request.duration", "s", "Duration of HTTP server requests."
	}
	return "http.client.request.duration", "s", "Duration of HTTP client requests."
}

// The fields of OTLP's messages for metrics.
const (
	metricGauge, metricSum, metricHistogram = 5, 7, 9
	numberAttributes, histogramAttributes   = 7, 9
	cumulative                              = 2
)

func (m *otlpMetrics) push(ctx context.Context, list []reading) error {
	now := uint64(time.Now().UnixNano())
	byName := map[string][]*reading{}
	for i := range list {
		name, _, _ := list[i].otlpName()
		byName[name] = append(byName[name], &list[i])
	}
	for _, group := range byName {
		m.out.Add(m.metric(group, now))
	}
	m.out.Flush(ctx)
	return nil
}

func (m *otlpMetrics) close() { m.out.Close() }

// metric encodes a Metric of readings with one name.
func (m *otlpMetrics) metric(group []*reading, now uint64) []byte {
	first := group[0]
	name, unit, text := first.otlpName()
	b := otlp.AppendString(nil, 1, name)
	b = otlp.AppendString(b, 2, text)
	b = otlp.AppendString(b, 3, unit)
	kind := metricSum
	switch {
	case first.hist != nil:
		kind = metricHistogram
	case first.gauge:
		kind = metricGauge
	}
	b, data := otlp.Open(b, kind)
	for _, s := range group {
		var point int
		b, point = otlp.Open(b, 1)
		b = otlp.AppendFixed64(b, 2, m.start)
		b = otlp.AppendFixed64(b, 3, now)
		if s.hist != nil {
			b = m.histogram(b, s)
		} else {
			b = otlp.AppendDouble(b, 4, s.value)
			b = s.attributes(b, numberAttributes)
		}
		b = otlp.Close(b, point)
	}
	if kind != metricGauge {
		b = otlp.AppendUint(b, 2, cumulative)
	}
	if kind == metricSum {
		b = otlp.AppendUint(b, 3, 1) // monotonic
	}
	return otlp.Close(b, data)
}

func (m *otlpMetrics) histogram(b []byte, s *reading) []byte {
	count := uint64(0)
	packed := make([]byte, 0, 8*len(s.hist))
	for _, n := range s.hist {
		count += n
		packed = binary.LittleEndian.AppendUint64(packed, n)
	}
	b = otlp.AppendFixed64(b, 4, count)
	b = otlp.AppendDouble(b, 5, s.sum)
	b = otlp.AppendBytes(b, 6, packed)
	packed = packed[:0]
	for _, bound := range m.bounds {
		packed = binary.LittleEndian.AppendUint64(packed, math.Float64bits(bound))
	}
	return s.attributes(otlp.AppendBytes(b, 7, packed), histogramAttributes)
}

func (s *reading) attributes(b []byte, field int) []byte {
	if s.key != nil {
		return s.semantic(b, field)
	}
	for i := 0; i+1 < len(s.labels); i += 2 {
		b = otlp.AppendAttr(b, field, s.labels[i], s.labels[i+1])
	}
	return b
}

// semantic appends the attributes of the semantic conventions for HTTP metrics.
func (s *reading) semantic(b []byte, field int) []byte {
	k := s.key
	switch {
	case k.code < 100 || k.code >= 600:
		b = otlp.AppendAttr(b, field, "error.type", fmt.Sprintf("Invalid HTTP status code %d", k.code))
	case k.code >= 400:
		b = otlp.AppendAttr(b, field, "error.type", strconv.Itoa(int(k.code)))
	}
	b = otlp.AppendAttr(b, field, "http.request.method", methodNames()[k.method])
	b = otlp.AppendIntAttr(b, field, "http.response.status_code", int64(k.code))
	b = otlp.AppendAttr(b, field, "network.protocol.name", strings.ToLower(k.proto))
	b = otlp.AppendAttr(b, field, "network.protocol.version", strings.TrimSuffix(strings.TrimPrefix(k.proto, "HTTP/"), ".0"))
	scheme := "http"
	if k.tls {
		scheme = "https"
	}
	if s.what == serverDuration {
		b = otlp.AppendAttr(b, field, "server.address", k.host)
		return otlp.AppendAttr(b, field, "url.scheme", scheme)
	}
	u, err := url.Parse(k.host)
	if err != nil {
		return b
	}
	b = otlp.AppendAttr(b, field, "server.address", u.Host)
	port := int64(80)
	if u.Scheme == "https" {
		port = 443
	}
	if _, text, err := net.SplitHostPort(u.Host); err == nil {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			port = n
		}
	}
	b = otlp.AppendIntAttr(b, field, "server.port", port)
	return otlp.AppendAttr(b, field, "url.scheme", scheme)
}
