// Package testcollector is an OpenTelemetry collector for tests: it takes traces, metrics and logs
// over gRPC and over HTTP, by the official definitions, and keeps them.
package testcollector

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // clients compress
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Collector keeps what it was sent. It is safe for concurrent use.
type Collector struct {
	// GRPC is the address of the gRPC server, HTTP the URL of the HTTP server.
	GRPC, HTTP string

	mu       sync.Mutex
	spans    []*tracepb.Span
	metrics  map[string]*metricspb.Metric
	logs     []*logspb.LogRecord
	resource *resource.Resource
	headers  map[string]string
	refuse   int
	calls    int
}

// Start starts a collector that ends with the test.
func Start(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{metrics: map[string]*metricspb.Metric{}, headers: map[string]string{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	traces.RegisterTraceServiceServer(s, &traceServer{c: c})
	metrics.RegisterMetricsServiceServer(s, &metricsServer{c: c})
	logs.RegisterLogsServiceServer(s, &logsServer{c: c})
	var done sync.WaitGroup
	done.Go(func() { _ = s.Serve(l) })
	h := httptest.NewServer(http.HandlerFunc(c.serve))
	c.GRPC, c.HTTP = l.Addr().String(), h.URL
	t.Cleanup(func() {
		s.Stop()
		h.Close()
		done.Wait()
	})
	return c
}

// Refuse answers the next n requests with 503 or UNAVAILABLE.
func (c *Collector) Refuse(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = n
}

func (c *Collector) refuses() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if c.refuse == 0 {
		return false
	}
	c.refuse--
	return true
}

func (c *Collector) serve(w http.ResponseWriter, r *http.Request) {
	if c.refuses() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	zip, err := gzip.NewReader(r.Body)
	if err != nil || r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "not compressed protobuf", http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(zip)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	for k := range r.Header {
		c.headers[strings.ToLower(k)] = r.Header.Get(k)
	}
	c.mu.Unlock()
	switch {
	case strings.HasSuffix(r.URL.Path, "/v1/traces"):
		m := &traces.ExportTraceServiceRequest{}
		if err = proto.Unmarshal(body, m); err == nil {
			c.takeTraces(m)
		}
	case strings.HasSuffix(r.URL.Path, "/v1/metrics"):
		m := &metrics.ExportMetricsServiceRequest{}
		if err = proto.Unmarshal(body, m); err == nil {
			c.takeMetrics(m)
		}
	case strings.HasSuffix(r.URL.Path, "/v1/logs"):
		m := &logs.ExportLogsServiceRequest{}
		if err = proto.Unmarshal(body, m); err == nil {
			c.takeLogs(m)
		}
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (c *Collector) takeTraces(m *traces.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range m.ResourceSpans {
		c.resource = r.Resource
		for _, s := range r.ScopeSpans {
			c.spans = append(c.spans, s.Spans...)
		}
	}
}

func (c *Collector) takeMetrics(m *metrics.ExportMetricsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range m.ResourceMetrics {
		c.resource = r.Resource
		for _, s := range r.ScopeMetrics {
			for _, one := range s.Metrics {
				c.metrics[one.Name] = one
			}
		}
	}
}

func (c *Collector) takeLogs(m *logs.ExportLogsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range m.ResourceLogs {
		c.resource = r.Resource
		for _, s := range r.ScopeLogs {
			c.logs = append(c.logs, s.LogRecords...)
		}
	}
}

func (c *Collector) call(ctx context.Context) error {
	if c.refuses() {
		return status.Error(codes.Unavailable, "not now")
	}
	md, _ := metadata.FromIncomingContext(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, v := range md {
		c.headers[k] = strings.Join(v, ",")
	}
	return nil
}

type traceServer struct {
	traces.UnimplementedTraceServiceServer
	c *Collector
}

// Export implements the service.
func (s *traceServer) Export(ctx context.Context, m *traces.ExportTraceServiceRequest) (*traces.ExportTraceServiceResponse, error) {
	if err := s.c.call(ctx); err != nil {
		return nil, err
	}
	s.c.takeTraces(m)
	return &traces.ExportTraceServiceResponse{}, nil
}

type metricsServer struct {
	metrics.UnimplementedMetricsServiceServer
	c *Collector
}

// Export implements the service.
func (s *metricsServer) Export(ctx context.Context, m *metrics.ExportMetricsServiceRequest) (*metrics.ExportMetricsServiceResponse, error) {
	if err := s.c.call(ctx); err != nil {
		return nil, err
	}
	s.c.takeMetrics(m)
	return &metrics.ExportMetricsServiceResponse{}, nil
}

type logsServer struct {
	logs.UnimplementedLogsServiceServer
	c *Collector
}

// Export implements the service.
func (s *logsServer) Export(ctx context.Context, m *logs.ExportLogsServiceRequest) (*logs.ExportLogsServiceResponse, error) {
	if err := s.c.call(ctx); err != nil {
		return nil, err
	}
	s.c.takeLogs(m)
	return &logs.ExportLogsServiceResponse{}, nil
}

// Calls is how often something was sent, refused calls included.
func (c *Collector) Calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// Header returns a field of the requests, by its name in lower case.
func (c *Collector) Header(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.headers[name]
}

// Resource returns the attributes of who sent last.
func (c *Collector) Resource() map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Attributes(c.resource.GetAttributes())
}

// Spans waits until there are n spans and returns them by the times of their beginning.
func (c *Collector) Spans(t testing.TB, n int) []*tracepb.Span {
	t.Helper()
	var out []*tracepb.Span
	Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		out = slices.Clone(c.spans)
		return len(out) >= n
	})
	slices.SortStableFunc(out, func(a, b *tracepb.Span) int { return int(int64(a.StartTimeUnixNano - b.StartTimeUnixNano)) })
	return out
}

// Metric returns a metric, or nil.
func (c *Collector) Metric(name string) *metricspb.Metric {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.metrics[name]
}

// Logs returns the records of logs.
func (c *Collector) Logs() []*logspb.LogRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.logs)
}

// Eventually fails the test if ok does not become true in time.
func Eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing came in time")
		}
	}
}

// Attributes makes a map of attributes: texts, int64, float64, bool and []string.
func Attributes(list []*common.KeyValue) map[string]any {
	out := map[string]any{}
	for _, kv := range list {
		switch v := kv.Value.GetValue().(type) {
		case *common.AnyValue_StringValue:
			out[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			out[kv.Key] = v.IntValue
		case *common.AnyValue_DoubleValue:
			out[kv.Key] = v.DoubleValue
		case *common.AnyValue_BoolValue:
			out[kv.Key] = v.BoolValue
		case *common.AnyValue_ArrayValue:
			var values []string
			for _, one := range v.ArrayValue.GetValues() {
				values = append(values, one.GetStringValue())
			}
			out[kv.Key] = values
		}
	}
	return out
}
