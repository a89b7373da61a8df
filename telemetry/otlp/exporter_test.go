package otlp

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testcollector"
)

// item is a small Span.
func item(n int) []byte {
	b := AppendBytes(nil, 1, []byte("0123456789abcdef"))
	b = AppendBytes(b, 2, []byte("01234567"))
	b = AppendString(b, 5, fmt.Sprintf("span %d", n))
	b = AppendFixed64(b, 7, uint64(n))
	b = AppendAttr(b, 9, "text", "näme")
	b = AppendIntAttr(b, 9, "number", -1)
	b = AppendDoubleAttr(b, 9, "real", 0.5)
	b = AppendBoolAttr(b, 9, "yes", true)
	return AppendListAttr(b, 9, "list", []string{"a", "", strings.Repeat("b", 300)})
}

// ways are a collector's two doors.
func ways(c *testcollector.Collector) map[string]Target {
	headers := map[string]string{"Authorization": "Bearer x"}
	return map[string]Target{
		"http": {HTTP: &config.OTLPHTTP{Endpoint: c.HTTP, Headers: headers}},
		"path": {HTTP: &config.OTLPHTTP{Endpoint: c.HTTP + "/tenant/v1/traces", Headers: headers}},
		"grpc": {GRPC: &config.OTLPGRPC{Endpoint: c.GRPC, Insecure: true, Headers: headers}},
	}
}

func newExporter(t *testing.T, target Target, env map[string]string) *Exporter {
	t.Helper()
	e, err := NewExporter(Options{
		Signal: Traces, Target: target, Log: zerolog.Nop(),
		Resource: Resource{
			Service: "edge", Version: "1.0", Attributes: map[string]string{"team": "a", "zone": "b"},
			Lookup: func(k string) (string, bool) { v, ok := env[k]; return v, ok },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func run(t *testing.T, e *Exporter) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = e.Run(ctx) })
	return func() { cancel(); wg.Wait() }
}

// TestDelivers sends to a real collector and reads what it understood. It refuses once, and
// the rest comes with the end of the program.
func TestDelivers(t *testing.T) {
	for name := range ways(&testcollector.Collector{}) {
		t.Run(name, func(t *testing.T) {
			c := testcollector.Start(t)
			e := newExporter(t, ways(c)[name], map[string]string{
				"OTEL_RESOURCE_ATTRIBUTES": "zone=from%20env, more=1", "OTEL_SERVICE_NAME": "named", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
			})
			c.Refuse(1)
			stop := run(t, e)
			for n := range 25 {
				e.Add(item(n))
			}
			c.Spans(t, 20) // full requests go at once
			stop()
			spans := c.Spans(t, 25)
			for n, s := range spans {
				if want := fmt.Sprintf("span %d", n); s.Name != want {
					t.Fatalf("span %d is %q", n, s.Name)
				}
			}
			got := testcollector.Attributes(spans[0].Attributes)
			if got["text"] != "näme" || got["number"] != int64(-1) || got["real"] != 0.5 || got["yes"] != true || len(got["list"].([]string)) != 3 {
				t.Errorf("attributes: %v", got)
			}
			r := c.Resource()
			for k, v := range map[string]any{"service.name": "named", "service.version": "1.0", "team": "a", "zone": "from env", "more": "1"} {
				if r[k] != v {
					t.Errorf("resource %s is %v, want %v", k, r[k], v)
				}
			}
			if c.Header("authorization") != "Bearer x" {
				t.Error("the configured headers were not sent")
			}
		})
	}
}

// TestNobodyWaitsForACollector fills an exporter whose collector takes connections and says
// nothing: adding does not wait, the rest is dropped and counted, and the end comes in time.
func TestNobodyWaitsForACollector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for name, target := range map[string]Target{
		"http": {HTTP: &config.OTLPHTTP{Endpoint: "http://" + l.Addr().String()}},
		"grpc": {GRPC: &config.OTLPGRPC{Endpoint: l.Addr().String(), Insecure: true}},
		"down": {HTTP: &config.OTLPHTTP{Endpoint: "http://127.0.0.1:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExporter(t, target, map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "200"})
			stop := run(t, e)
			begin := time.Now()
			for n := range 10_000 {
				e.Add(item(n))
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("adding took %v", took)
			}
			if e.Dropped() < 10_000-2048-512 {
				t.Errorf("%d were dropped", e.Dropped())
			}
			begin = time.Now()
			stop()
			if took := time.Since(begin); took > last+5*time.Second {
				t.Errorf("the end took %v", took)
			}
		})
	}
}

func TestEndpoints(t *testing.T) {
	for _, tt := range []struct {
		target Target
		want   string // "" for an error
	}{
		{Target{}, "https://localhost:4318/v1/traces"},
		{Target{HTTP: &config.OTLPHTTP{Endpoint: "http://c:4318"}}, "http://c:4318/v1/traces"},
		{Target{HTTP: &config.OTLPHTTP{Endpoint: "c:4318"}}, "https://c:4318/v1/traces"},
		{Target{HTTP: &config.OTLPHTTP{Endpoint: "https://c/x/y"}}, "https://c/x/y"},
		{Target{HTTP: &config.OTLPHTTP{Endpoint: "ftp://c"}}, ""},
		{Target{HTTP: &config.OTLPHTTP{Endpoint: "http://c:4318", TLS: &config.ClientTLS{CA: "/nowhere"}}}, ""},
		{Target{GRPC: &config.OTLPGRPC{Endpoint: "c:4317"}}, "https://c:4317/opentelemetry.proto.collector.trace.v1.TraceService/Export"},
		{Target{GRPC: &config.OTLPGRPC{Endpoint: "c:4317", Insecure: true}}, "http://c:4317/opentelemetry.proto.collector.trace.v1.TraceService/Export"},
		{Target{GRPC: &config.OTLPGRPC{Endpoint: "c"}}, ""},
	} {
		s, err := newSender(Traces, tt.target, nil)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%+v was taken", tt.target)
			}
			continue
		}
		if err != nil || s.url != tt.want {
			t.Errorf("%+v: %v, %v", tt.target, s, err)
		}
	}
}
