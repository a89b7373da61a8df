package telemetry

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testcollector"
	"github.com/sluice-edge/sluice/telemetry/push"
)

// pushing makes a Hub that sends metrics, and counts known requests: three of 200 ms, of which
// 50 ms were the server's, and one over TLS that nobody answered.
func pushing(t *testing.T, change func(*config.Metrics)) (h *Hub, stop func()) {
	t.Helper()
	c := &config.Metrics{}
	change(c)
	h = newHub(t, &config.Static{Metrics: c, EntryPoints: map[string]*config.EntryPoint{"web": {Address: ":80"}}})
	h.serversUp = func() []ServerUp { return []ServerUp{{"s@file", "http://127.0.0.1:8081", true}} }
	h.Reloaded(&config.Runtime{Routers: map[string]*config.RouterInfo{"a@file": {}}, Services: map[string]*config.ServiceInfo{"s@file": {}}})
	s := h.Shard()
	for i := range 4 {
		r := sample()
		r.Duration, r.OriginDuration, r.RequestBytes, r.ResponseBytes = 200e6, 50e6, 3, 7
		if i == 3 {
			r.Status, r.OriginStatus, r.Retries, r.TLSVersion, r.TLSCipher = 502, 0, 2, 0x304, 0x1301
		}
		s.Request(&r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return h, stop
}

// TestMetricsByOTLP reads what a real collector understood.
func TestMetricsByOTLP(t *testing.T) {
	for _, way := range []string{"http", "grpc"} {
		t.Run(way, func(t *testing.T) {
			c := testcollector.Start(t)
			h, stop := pushing(t, func(m *config.Metrics) {
				m.OTLP = &config.OTLPMetrics{}
				m.OTLP.SetDefaults()
				m.OTLP.ExplicitBoundaries, m.OTLP.AddRoutersLabels = []float64{0.1, 1}, true
				m.OTLP.PushInterval = config.Duration(time.Hour) // what is left goes at the end
				m.OTLP.ResourceAttributes = map[string]string{"team": "a"}
				m.OTLP.HTTP.Endpoint = c.HTTP
				if way == "grpc" {
					m.OTLP.GRPC = &config.OTLPGRPC{Endpoint: c.GRPC, Insecure: true}
				}
				p := &config.Prometheus{}
				p.SetDefaults() // with buckets of its own
				m.Prometheus = p
			})
			series, _ := scrape(t, h)
			expect(t, series, map[string]string{
				`traefik_entrypoint_request_duration_seconds_bucket{code="200",entrypoint="web",method="GET",protocol="http",le="0.1"}`: "0",
				`traefik_entrypoint_request_duration_seconds_bucket{code="200",entrypoint="web",method="GET",protocol="http",le="0.3"}`: "3",
				`traefik_entrypoint_request_duration_seconds_bucket{code="200",entrypoint="web",method="GET",protocol="http",le="1"}`:   "gone",
				`traefik_entrypoint_requests_total{code="200",entrypoint="web",method="GET",protocol="http"}`:                           "3",
			})
			stop()
			sum := c.Metric("traefik_entrypoint_requests_total").GetSum()
			if !sum.GetIsMonotonic() || sum.GetAggregationTemporality() != 2 || len(sum.GetDataPoints()) != 2 {
				t.Fatalf("requests: %v", sum)
			}
			for _, p := range sum.DataPoints {
				a := testcollector.Attributes(p.Attributes)
				want := map[string]float64{"200": 3, "502": 1}[fmt.Sprint(a["code"])]
				if p.GetAsDouble() != want || a["entrypoint"] != "web" || a["method"] != "GET" || a["protocol"] != "http" || p.StartTimeUnixNano == 0 {
					t.Errorf("requests: %v", p)
				}
			}
			for name, sum := range map[string]float64{"traefik_router_request_duration_seconds": 0.6, "traefik_service_request_duration_seconds": 0.15} {
				hist := c.Metric(name).GetHistogram()
				i := slices.IndexFunc(hist.GetDataPoints(), func(p *metricspb.HistogramDataPoint) bool { return p.GetCount() == 3 })
				if i < 0 || fmt.Sprint(hist.DataPoints[i].ExplicitBounds) != "[0.1 1]" || hist.DataPoints[i].GetSum() < sum-1e-9 || hist.DataPoints[i].GetSum() > sum+1e-9 {
					t.Errorf("%s: %v", name, hist)
				}
			}
			if up := c.Metric("traefik_service_server_up").GetGauge(); len(up.GetDataPoints()) != 1 || up.DataPoints[0].GetAsDouble() != 1 {
				t.Errorf("server up: %v", up)
			}
			semantic(t, c)
			if r := c.Resource(); r["service.name"] != "traefik" || r["team"] != "a" {
				t.Errorf("resource: %v", r)
			}
		})
	}
}

func semantic(t *testing.T, c *testcollector.Collector) {
	t.Helper()
	want := map[string]map[string]any{
		"http.server.request.duration": {"server.address": "a.test", "url.scheme": "http"},
		"http.client.request.duration": {"server.address": "127.0.0.1:8081", "server.port": int64(8081), "url.scheme": "http"},
	}
	for name, more := range want {
		m := c.Metric(name)
		if m.GetUnit() != "s" || len(m.GetHistogram().GetDataPoints()) != 2 {
			t.Errorf("%s: %v", name, m)
			continue
		}
		for _, p := range m.GetHistogram().DataPoints {
			a := testcollector.Attributes(p.Attributes)
			if a["error.type"] == "502" && p.Count == 1 {
				continue
			}
			for k, v := range map[string]any{"http.request.method": "GET", "http.response.status_code": int64(200), "network.protocol.name": "http/1.1", "network.protocol.version": "1.1"} {
				more[k] = v
			}
			for k, v := range more {
				if a[k] != v {
					t.Errorf("%s: %s is %v, want %v", name, k, a[k], v)
				}
			}
			if p.Count != 3 || a["error.type"] != nil {
				t.Errorf("%s: %v", name, p)
			}
		}
	}
}

// lines reads packets or streams until all want are there, which are regular expressions.
func lines(t *testing.T, read func([]byte) (int, error), want []string) {
	t.Helper()
	var text string
	b := make([]byte, 64<<10)
	missing := func() string {
		for _, w := range want {
			if !regexp.MustCompile(`(?m)^` + w + `$`).MatchString(text) {
				return w
			}
		}
		return ""
	}
	for missing() != "" {
		n, err := read(b)
		if err != nil {
			t.Fatalf("%s did not come (%v):\n%s", missing(), err, text)
		}
		text += string(b[:n])
	}
}

func TestStatsD(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	pushing(t, func(m *config.Metrics) {
		m.StatsD = &config.StatsD{}
		m.StatsD.SetDefaults()
		m.StatsD.Address, m.StatsD.PushInterval, m.StatsD.Prefix = c.LocalAddr().String(), config.Duration(20*time.Millisecond), "edge"
	})
	lines(t, func(b []byte) (int, error) { n, _, err := c.ReadFrom(b); return n, err }, []string{
		`edge\.config\.reload\.total:1\.000000\|c`, `edge\.open\.connections:0\.000000\|g`,
		`edge\.entrypoint\.request\.total:3\.000000\|c`, `edge\.entrypoint\.request\.total:1\.000000\|c`,
		`edge\.entrypoint\.request\.tls\.total:1\.000000\|c`, `edge\.entrypoint\.request\.duration:175\.000000\|ms\|@0\.333.*`,
		`edge\.entrypoint\.request\.duration:200\.000000\|ms`, `edge\.service\.request\.total:3\.000000\|c`,
		`edge\.service\.retries\.total:2\.000000\|c`, `edge\.service\.server\.up:1\.000000\|g`,
		`edge\.entrypoint\.requests\.bytes\.total:9\.000000\|c`, `edge\.entrypoint\.responses\.bytes\.total:21\.000000\|c`,
	})
}

func TestDatadog(t *testing.T) {
	dir := t.TempDir()
	stream, err := net.Listen("unix", filepath.Join(dir, "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for address, network := range map[string]string{"": "udp", "unix://" + dir + "/a": "unixgram", "unixgram://" + dir + "/b": "unixgram", "unix://" + dir + "/stream": "", "unixstream://" + dir + "/stream": ""} {
		t.Run(network+address[:min(len(address), 7)], func(t *testing.T) {
			var read func([]byte) (int, error)
			if network == "" {
				var r *bufio.Reader
				read = func(b []byte) (int, error) {
					if r == nil {
						c, err := stream.Accept()
						if err != nil {
							return 0, err
						}
						t.Cleanup(func() { _ = c.Close() })
						_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
						r = bufio.NewReader(c)
					}
					return r.Read(b)
				}
			} else {
				_, path, _ := strings.Cut(address, "://")
				if path == "" {
					path = "127.0.0.1:0"
				}
				c, err := net.ListenPacket(network, path)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
				if address == "" {
					address = c.LocalAddr().String()
				}
				read = func(b []byte) (int, error) { n, _, err := c.ReadFrom(b); return n, err }
			}
			_, stop := pushing(t, func(m *config.Metrics) {
				m.Datadog = &config.Datadog{}
				m.Datadog.SetDefaults()
				m.Datadog.Address, m.Datadog.PushInterval, m.Datadog.AddRoutersLabels = address, config.Duration(time.Hour), true
			})
			go stop() // it sends at the end
			lines(t, read, []string{
				`traefik\.config\.reload\.total:1\.000000\|c`, `traefik\.open\.connections:0\.000000\|g\|#entrypoint:web,protocol:TCP`,
				`traefik\.entrypoint\.request\.total:3\.000000\|c\|#entrypoint:web,code:200,method:GET,protocol:http`,
				`traefik\.entrypoint\.request\.tls\.total:1\.000000\|c\|#entrypoint:web,tls_version:1\.3,tls_cipher:TLS_AES_128_GCM_SHA256`,
				`traefik\.router\.request\.duration:0\.175000\|h\|@0\.333\d*\|#router:a@file,service:s@file,code:200,method:GET,protocol:http`,
				`traefik\.service\.server\.up:1\.000000\|g\|#service:s@file,url:http://127\.0\.0\.1:8081`,
			})
		})
	}
}

func TestInfluxDB2(t *testing.T) {
	var mu sync.Mutex
	var got, where, token string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got, where, token = got+string(b), r.URL.String(), r.Header.Get("Authorization")
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	_, stop := pushing(t, func(m *config.Metrics) {
		m.InfluxDB2 = &config.InfluxDB2{}
		m.InfluxDB2.SetDefaults()
		m.InfluxDB2.Address, m.InfluxDB2.Token, m.InfluxDB2.Org, m.InfluxDB2.Bucket = srv.URL, "secret", "o", "b c"
		m.InfluxDB2.AdditionalLabels = map[string]string{"zone": "a b"}
	})
	stop()
	if where != "/api/v2/write?bucket=b+c&org=o&precision=ns" || token != "Token secret" {
		t.Errorf("%s with %s", where, token)
	}
	for _, want := range []string{
		`traefik\.config\.reload\.total,zone=a\\ b count=1 \d{19}`,
		`traefik\.open\.connections,entrypoint=web,protocol=TCP,zone=a\\ b value=0 \d{19}`,
		`traefik\.entrypoint\.requests\.total,code=200,entrypoint=web,method=GET,protocol=http,zone=a\\ b count=3 \d{19}`,
		`traefik\.entrypoint\.requests\.tls\.total,entrypoint=web,tls_cipher=TLS_AES_128_GCM_SHA256,tls_version=1\.3,zone=a\\ b count=1 \d{19}`,
		`traefik\.entrypoint\.request\.duration,code=502,entrypoint=web,method=GET,protocol=http,zone=a\\ b p50=0\.2,p90=0\.2,p95=0\.2,p99=0\.2 \d{19}`,
		`traefik\.service\.retries\.total,service=s@file,zone=a\\ b count=2 \d{19}`,
	} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(got) {
			t.Errorf("%s did not come:\n%s", want, got)
		}
	}
}

// TestOnlyWhatWasAdded pushes twice with nothing between.
func TestOnlyWhatWasAdded(t *testing.T) {
	h, stop := pushing(t, func(m *config.Metrics) {
		m.StatsD = &config.StatsD{}
		m.StatsD.SetDefaults()
		m.StatsD.Address, m.StatsD.PushInterval = "127.0.0.1:9", config.Duration(time.Hour)
	})
	defer stop()
	d, what := &push.Delta{}, shows{true, true, true}
	if n := len(d.Of(h.readings(what, push.FineBounds(), false))); n < 10 {
		t.Errorf("%d readings at first", n)
	}
	for _, r := range d.Of(h.readings(what, push.FineBounds(), false)) {
		if !r.Gauge {
			t.Errorf("again: %+v", r)
		}
	}
}

// TestHostsAreBounded floods a Hub with hosts that no router knows.
func TestHostsAreBounded(t *testing.T) {
	c := &config.OTLPMetrics{}
	c.SetDefaults()
	h := newHub(t, &config.Static{Metrics: &config.Metrics{OTLP: c}})
	s := h.Shard()
	for i := range 1000 {
		r := sample()
		r.Host, r.Router, r.Service, r.ServerURL, r.OriginStatus, r.Status = fmt.Sprintf("h%d.test", i), "", "", "", 0, 404
		s.Request(&r)
	}
	if len(s.list) != 1 {
		t.Errorf("%d series", len(s.list))
	}
}
