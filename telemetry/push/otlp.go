package push

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

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/telemetry/otlp"
)

// OTLP sends readings by OTLP. Names and labels are those of Prometheus, and beside
// them the semantic conventions' durations.
type OTLP struct {
	out    *otlp.Exporter
	start  uint64
	bounds []float64
}

// NewOTLP checks the options.
func NewOTLP(c *config.OTLPMetrics, version string, lookup func(string) (string, bool), log zerolog.Logger) (*OTLP, error) {
	out, err := otlp.NewExporter(otlp.Options{
		Signal: otlp.Metrics, Target: otlp.Target{HTTP: c.HTTP, GRPC: c.GRPC}, Log: log,
		Resource: otlp.Resource{Service: c.ServiceName, Version: version, Attributes: c.ResourceAttributes, Lookup: lookup},
	})
	if err != nil {
		return nil, fmt.Errorf("metrics.otlp: %w", err)
	}
	return &OTLP{out: out, start: uint64(time.Now().UnixNano()), bounds: slices.Sorted(slices.Values(c.ExplicitBoundaries))}, nil
}

// otlpName gives a metric's name, unit and description.
func (s *Reading) otlpName() (name, unit, text string) {
	prefix := "traefik_" + s.Of.String() + "_"
	switch s.What {
	case Reloads:
		return "traefik_config_reloads_total", "1", "Config reloads"
	case LastReload:
		return "traefik_config_last_reload_success", "ms", "Last config reload success"
	case Connections:
		return "traefik_open_connections", "1", "How many open connections exist, by entryPoint and protocol"
	case CertsNotAfter:
		return "traefik_tls_certs_not_after", "s", "Certificate expiration timestamp"
	case Requests:
		return prefix + "requests_total", "1", "How many HTTP requests were processed, by status code, protocol and method."
	case RequestsTLS:
		return prefix + "requests_tls_total", "1", "How many HTTP requests with TLS were processed, by TLS version and cipher."
	case RequestDuration:
		return prefix + "request_duration_seconds", "s", "How long it took to process requests, by status code, protocol and method."
	case RequestBytes:
		return prefix + "requests_bytes_total", "1", "The total size of requests in bytes, by status code, protocol and method."
	case ResponseBytes:
		return prefix + "responses_bytes_total", "1", "The total size of responses in bytes, by status code, protocol and method."
	case Retries:
		return "traefik_service_retries_total", "1", "How many request retries happened on a service."
	case ServerUp:
		return "traefik_service_server_up", "1", "service server is up, described by gauge value of 0 or 1."
	case ServerDuration:
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

// Push implements Receiver.
func (m *OTLP) Push(ctx context.Context, list []Reading) error {
	now := uint64(time.Now().UnixNano())
	byName := map[string][]*Reading{}
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

// Totals implements Receiver.
func (m *OTLP) Totals() bool { return true }

// Bounds are those of the buckets of durations.
func (m *OTLP) Bounds() []float64 { return m.bounds }

// Close implements Receiver.
func (m *OTLP) Close() { m.out.Close() }

// metric encodes a Metric of readings with one name.
func (m *OTLP) metric(group []*Reading, now uint64) []byte {
	first := group[0]
	name, unit, text := first.otlpName()
	b := otlp.AppendString(nil, 1, name)
	b = otlp.AppendString(b, 2, text)
	b = otlp.AppendString(b, 3, unit)
	kind := metricSum
	switch {
	case first.Hist != nil:
		kind = metricHistogram
	case first.Gauge:
		kind = metricGauge
	}
	b, data := otlp.Open(b, kind)
	for _, s := range group {
		var point int
		b, point = otlp.Open(b, 1)
		b = otlp.AppendFixed64(b, 2, m.start)
		b = otlp.AppendFixed64(b, 3, now)
		if s.Hist != nil {
			b = m.histogram(b, s)
		} else {
			b = otlp.AppendDouble(b, 4, s.Value)
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

func (m *OTLP) histogram(b []byte, s *Reading) []byte {
	count := uint64(0)
	packed := make([]byte, 0, 8*len(s.Hist))
	for _, n := range s.Hist {
		count += n
		packed = binary.LittleEndian.AppendUint64(packed, n)
	}
	b = otlp.AppendFixed64(b, 4, count)
	b = otlp.AppendDouble(b, 5, s.Sum)
	b = otlp.AppendBytes(b, 6, packed)
	packed = packed[:0]
	for _, bound := range m.bounds {
		packed = binary.LittleEndian.AppendUint64(packed, math.Float64bits(bound))
	}
	return s.attributes(otlp.AppendBytes(b, 7, packed), histogramAttributes)
}

func (s *Reading) attributes(b []byte, field int) []byte {
	if s.Key != nil {
		return s.semantic(b, field)
	}
	for i := 0; i+1 < len(s.Labels); i += 2 {
		b = otlp.AppendAttr(b, field, s.Labels[i], s.Labels[i+1])
	}
	return b
}

// semantic appends the attributes of the semantic conventions for HTTP metrics.
func (s *Reading) semantic(b []byte, field int) []byte {
	k := s.Key
	switch {
	case k.Code < 100 || k.Code >= 600:
		b = otlp.AppendAttr(b, field, "error.type", fmt.Sprintf("Invalid HTTP status code %d", k.Code))
	case k.Code >= 400:
		b = otlp.AppendAttr(b, field, "error.type", strconv.Itoa(k.Code))
	}
	b = otlp.AppendAttr(b, field, "http.request.method", k.Method)
	b = otlp.AppendIntAttr(b, field, "http.response.status_code", int64(k.Code))
	b = otlp.AppendAttr(b, field, "network.protocol.name", strings.ToLower(k.Proto))
	b = otlp.AppendAttr(b, field, "network.protocol.version", strings.TrimSuffix(strings.TrimPrefix(k.Proto, "HTTP/"), ".0"))
	scheme := "http"
	if k.TLS {
		scheme = "https"
	}
	if s.What == ServerDuration {
		b = otlp.AppendAttr(b, field, "server.address", k.Host)
		return otlp.AppendAttr(b, field, "url.scheme", scheme)
	}
	u, err := url.Parse(k.Host)
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
