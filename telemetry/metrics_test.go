package telemetry

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// scrape returns series -> value, and name -> type.
func scrape(t *testing.T, h *Hub) (series, types map[string]string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	series, types = map[string]string{}, map[string]string{}
	for lines := bufio.NewScanner(w.Body); lines.Scan(); {
		text := lines.Text()
		if name, ok := strings.CutPrefix(text, "# TYPE "); ok {
			name, kind, _ := strings.Cut(name, " ")
			types[name] = kind
		} else if !strings.HasPrefix(text, "#") {
			i := strings.LastIndexByte(text, ' ')
			series[text[:i]] = text[i+1:]
		}
	}
	return series, types
}

func expect(t *testing.T, series map[string]string, want map[string]string) {
	t.Helper()
	for name, value := range want {
		got, ok := series[name]
		if value == "gone" && ok || value != "gone" && got != value {
			t.Errorf("%s: got %q, want %s", name, got, value)
		}
	}
}

func TestSeriesOfKnownTraffic(t *testing.T) {
	h := newHub(t, prometheusOn(&config.Static{}, func(p *config.Prometheus) { p.AddRoutersLabels = true }))
	loop := h.Shard()
	for i := range 4 {
		r := sample()
		r.Duration, r.OriginDuration, r.RequestBytes, r.ResponseBytes = 200e6, 50e6, 3, 7
		if i == 3 {
			r.Status, r.OriginStatus, r.Method, r.Retries = 502, 0, "FROB", 2
			r.Reason = "dial_refused"
		}
		if i%2 == 0 {
			h.Request(&r)
		} else {
			loop.Request(&r)
		}
	}
	redirected := sample()
	redirected.Status, redirected.ServerURL, redirected.OriginStatus, redirected.Reason = 302, "", 0, "redirected"
	loop.Request(&redirected)
	secure := sample()
	secure.TLSVersion, secure.TLSCipher = tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256
	secure.Protocol, secure.Status, secure.OriginStatus = WebSocket, 101, 101
	loop.Request(&secure)
	lost := sample()
	lost.Router, lost.Service, lost.ServerURL, lost.Status, lost.OriginStatus, lost.Reason = "", "", "", 404, 0, "no_router"
	loop.Request(&lost)
	h.settings.Store(&settings{entryPoints: []connectionKey{{"web", "TCP"}, {"dns", "UDP"}}})
	h.open = func() []OpenConnections { return []OpenConnections{{"web", "TCP", 3}} }
	h.Reloaded(&config.Runtime{
		Routers:  map[string]*config.RouterInfo{"a@file": {}},
		Services: map[string]*config.ServiceInfo{"s@file": {}},
	})

	const ep, rt, sv = `entrypoint="web",method="GET",protocol="http"`, `method="GET",protocol="http",router="a@file",service="s@file"`, `method="GET",protocol="http",service="s@file"`
	series, types := scrape(t, h)
	expect(t, series, map[string]string{
		`traefik_entrypoint_requests_total{code="200",` + ep + `}`:                                                                  "3",
		`traefik_entrypoint_requests_total{code="404",` + ep + `}`:                                                                  "1",
		`traefik_entrypoint_requests_total{code="302",` + ep + `}`:                                                                  "1",
		`traefik_entrypoint_requests_total{code="502",entrypoint="web",method="EXTENSION_METHOD",protocol="http"}`:                  "1",
		`traefik_entrypoint_requests_total{code="101",entrypoint="web",method="GET",protocol="websocket"}`:                          "1",
		`traefik_entrypoint_requests_bytes_total{code="200",` + ep + `}`:                                                            "9",
		`traefik_entrypoint_responses_bytes_total{code="200",` + ep + `}`:                                                           "21",
		`traefik_entrypoint_request_duration_seconds_bucket{code="200",entrypoint="web",method="GET",protocol="http",le="0.1"}`:     "0",
		`traefik_entrypoint_request_duration_seconds_bucket{code="200",entrypoint="web",method="GET",protocol="http",le="0.3"}`:     "3",
		`traefik_entrypoint_request_duration_seconds_bucket{code="200",entrypoint="web",method="GET",protocol="http",le="+Inf"}`:    "3",
		`traefik_entrypoint_request_duration_seconds_count{code="200",` + ep + `}`:                                                  "3",
		`traefik_entrypoint_request_duration_seconds_sum{code="200",` + ep + `}`:                                                    "0.6",
		`traefik_entrypoint_requests_tls_total{entrypoint="web",tls_cipher="TLS_AES_128_GCM_SHA256",tls_version="1.3"}`:             "1",
		`traefik_router_requests_total{code="200",` + rt + `}`:                                                                      "3",
		`traefik_router_requests_total{code="302",` + rt + `}`:                                                                      "1",
		`traefik_router_requests_tls_total{router="a@file",service="s@file",tls_cipher="TLS_AES_128_GCM_SHA256",tls_version="1.3"}`: "1",
		`traefik_service_requests_total{code="200",` + sv + `}`:                                                                     "3",
		`traefik_service_requests_total{code="302",` + sv + `}`:                                                                     "gone",
		`traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="s@file",le="0.1"}`:        "3",
		`traefik_service_requests_total{code="502",method="EXTENSION_METHOD",protocol="http",service="s@file"}`:                     "1",
		`traefik_service_retries_total{service="s@file"}`:                                                                           "2",
		`traefik_open_connections{entrypoint="web",protocol="TCP"}`:                                                                 "3",
		`traefik_open_connections{entrypoint="dns",protocol="UDP"}`:                                                                 "0",
		`traefik_config_reloads_total`:               "1",
		`sluice_errors_total{reason="no_router"}`:    "1",
		`sluice_errors_total{reason="dial_refused"}`: "1",
	})
	for name, kind := range map[string]string{
		"traefik_config_last_reload_success": "gauge", "traefik_config_reloads_total": "counter",
		"traefik_entrypoint_request_duration_seconds": "histogram", "traefik_entrypoint_requests_total": "counter",
		"traefik_open_connections": "gauge", "go_goroutines": "gauge", "process_open_fds": "gauge",
	} {
		if types[name] != kind {
			t.Errorf("%s is a %q", name, types[name])
		}
	}
	c := h.Counters()
	if c.Requests != 7 || c.Failed != 1 || c.Retries != 2 || c.Classes["2xx"] != 3 || c.Reasons["no_router"] != 1 || c.Connections["web"] != 3 {
		t.Errorf("%+v", c)
	}
}

func TestStaleSeriesGoAfterOneScrape(t *testing.T) {
	h := newHub(t, prometheusOn(&config.Static{}, func(p *config.Prometheus) { p.AddRoutersLabels = true }))
	r := sample()
	h.Request(&r)
	h.Reloaded(&config.Runtime{Services: map[string]*config.ServiceInfo{"s@file": {}}})
	const router = `traefik_router_requests_total{code="200",method="GET",protocol="http",router="a@file",service="s@file"}`
	const service = `traefik_service_requests_total{code="200",method="GET",protocol="http",service="s@file"}`
	const entryPoint = `traefik_entrypoint_requests_total{code="200",entrypoint="web",method="GET",protocol="http"}`
	series, _ := scrape(t, h)
	expect(t, series, map[string]string{router: "1", service: "1", entryPoint: "1"})
	series, _ = scrape(t, h)
	expect(t, series, map[string]string{router: "gone", service: "1", entryPoint: "1"})
	h.Reloaded(&config.Runtime{})
	scrape(t, h)
	series, _ = scrape(t, h)
	expect(t, series, map[string]string{router: "gone", service: "gone", entryPoint: "1"})
	if n := h.Counters().Requests; n != 1 {
		t.Errorf("%d requests are left", n)
	}
	h.Request(&r) // the cache must not lead to the cell that is gone
	if n := h.Counters().Requests; n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// TestHostLabel tells requests apart by their host, but not those that no router knows.
func TestHostLabel(t *testing.T) {
	h := newHub(t, prometheusOn(&config.Static{}, func(p *config.Prometheus) { p.HeaderLabels = map[string]string{"host": "Host"} }))
	s := h.Shard()
	r := sample()
	s.Request(&r)
	r.Host, r.Router = "made.up", ""
	s.Request(&r)
	series, _ := scrape(t, h)
	expect(t, series, map[string]string{
		`traefik_entrypoint_requests_total{code="200",entrypoint="web",host="a.test",method="GET",protocol="http"}`:  "1",
		`traefik_entrypoint_requests_total{code="200",entrypoint="web",host="",method="GET",protocol="http"}`:        "1",
		`traefik_entrypoint_requests_total{code="200",entrypoint="web",host="made.up",method="GET",protocol="http"}`: "gone",
	})
}

func TestHeaderLabelsAreBounded(t *testing.T) {
	h := newHub(t, prometheusOn(&config.Static{}, func(p *config.Prometheus) {
		p.HeaderLabels = map[string]string{"tenant": "X-Tenant", "agent": "User-Agent"}
		p.Buckets = []float64{2, 0.5}
	}))
	if w := h.Wants(); !w.Request() || !w.RequestHeader("x-tenant") || w.RequestHeader("Cookie") || w.ResponseHeader("x-tenant") {
		t.Errorf("%+v", w)
	}
	s, r := h.Shard(), sample()
	r.RequestHeaders = []Header{{"X-Tenant", "blue\xff"}, {"user-agent", "ua"}}
	s.Request(&r)
	series, _ := scrape(t, h)
	expect(t, series, map[string]string{
		`traefik_entrypoint_requests_total{agent="ua",code="200",entrypoint="web",method="GET",protocol="http",tenant="blue` + "\uFFFD" + `"}`: "1",
		`traefik_entrypoint_requests_bytes_total{code="200",entrypoint="web",method="GET",protocol="http"}`:                                    "0",
		`traefik_entrypoint_request_duration_seconds_bucket{code="200",entrypoint="web",method="GET",protocol="http",le="2"}`:                  "1",
	})
	for i := range maxLabelled + 100 {
		r.RequestHeaders[0].Value = strings.Repeat("x", i%50) + string(rune('a'+i%26)) + string(rune(0x4e00+i))
		s.Request(&r)
	}
	if n := len(s.list); n > maxLabelled+2 {
		t.Errorf("%d series", n)
	}
	if n := h.Counters().Requests; n != maxLabelled+101 {
		t.Errorf("%d requests", n)
	}
	for _, bad := range []string{"code", "a-b", "__x", ""} {
		static := prometheusOn(&config.Static{}, func(p *config.Prometheus) { p.HeaderLabels = map[string]string{bad: "X"} })
		if _, err := New(Options{Static: static}); err == nil {
			t.Errorf("label %q was taken", bad)
		}
	}
}

func TestStateSeries(t *testing.T) {
	cert := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "c one"}, DNSNames: []string{"a.test", "b.test"}, NotAfter: time.Unix(1800000000, 0)}
	h, err := New(Options{
		Static:       prometheusOn(&config.Static{}, nil),
		Certificates: func() []*x509.Certificate { return []*x509.Certificate{cert, cert, nil} },
		Orders:       func() []OrderCount { return []OrderCount{{"le", "obtained", 3}} },
		ServersUp:    func() []ServerUp { return []ServerUp{{"s@file", "http://h:1", true}, {"s@file", "http://h:2", false}} },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.ReloadFailed()
	series, _ := scrape(t, h)
	expect(t, series, map[string]string{
		`traefik_tls_certs_not_after{cn="c one",sans="a.test,b.test",serial="7"}`: "1.8e+09",
		`traefik_service_server_up{service="s@file",url="http://h:1"}`:            "1",
		`traefik_service_server_up{service="s@file",url="http://h:2"}`:            "0",
		`sluice_acme_orders_total{resolver="le",result="obtained"}`:               "3",
		`traefik_config_reloads_total`:                                            "1",
		`traefik_config_last_reload_success`:                                      "0",
	})
}

func TestWhoIsCounted(t *testing.T) {
	off := false
	static := prometheusOn(&config.Static{}, nil)
	static.EntryPoints = map[string]*config.EntryPoint{"quiet": {Observability: &config.EntryPointObservability{Metrics: &off}}}
	h := newHub(t, static)
	for _, change := range []func(*Record){
		func(r *Record) { r.Internal = true },
		func(r *Record) { r.NoMetrics = true },
		func(r *Record) { r.Router, r.EntryPoint = "", "quiet" },
		func(r *Record) { r.Method = "" },
	} {
		r := sample()
		change(&r)
		h.Request(&r)
	}
	if n := h.Counters().Requests; n != 0 {
		t.Errorf("%d were counted", n)
	}
	if h := newHub(t, &config.Static{}); h.Metrics() == nil {
		t.Error("no handler without Prometheus")
	} else {
		w := httptest.NewRecorder()
		h.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("%d without Prometheus", w.Code)
		}
	}
}

// TestLanesAndScrapesTogether runs writers, scrapes, reloads and drains at once; the race
// detector and the sum at the end judge.
func TestLanesAndScrapesTogether(t *testing.T) {
	h := newHub(t, prometheusOn(accessLog(nil), nil))
	const each = 2000
	var lanes, others sync.WaitGroup
	for range 3 {
		loop := h.Shard()
		for _, sink := range []Sink{loop, h} {
			lanes.Go(func() {
				r := sample()
				for i := range each {
					r.Router = []string{"a@file", "b@file", "c@file"}[i%3]
					sink.Request(&r)
				}
			})
		}
	}
	stop := make(chan struct{})
	for _, do := range []func(){
		func() { scrape(t, h) },
		func() { h.drain(false) },
		func() { h.Reloaded(&config.Runtime{Routers: map[string]*config.RouterInfo{"a@file": {}}}) },
		func() { h.Counters() },
	} {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					do()
				}
			}
		})
	}
	lanes.Wait()
	close(stop)
	others.Wait()
	if n := h.Counters().Requests; n != 6*each {
		t.Errorf("%d requests, want %d", n, 6*each)
	}
}

func TestNamesOfMethodsAndProtocols(t *testing.T) {
	methods := methodNames()
	for i, m := range methods[:9] {
		if int(methodIndex(m)) != i {
			t.Errorf("%s has index %d", m, methodIndex(m))
		}
	}
	if methods[methodIndex("get")] != otherMethod || !slices.Contains(methods[:], "TRACE") {
		t.Error("methods are case-sensitive")
	}
	if names := protocolNames(); names[EventStream] != "sse" || names[GRPC] != "grpc" || names[GRPCWeb] != "grpc-web" {
		t.Error(names)
	}
}
