package server

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/sluice-edge/sluice/internal/testcollector"
)

const tracingStatic = `
entryPoints:
  web:
    address: 127.0.0.1:0
  quiet:
    address: 127.0.0.1:0
    observability:
      tracing: false
providers:
  file:
    filename: DYNAMIC
accessLog:
  format: json
ping:
  entryPoint: web
tracing:
  serviceName: edge
  addInternals: false
  capturedRequestHeaders: [X-Asked]
  capturedResponseHeaders: [X-Said]
  safeQueryParams: [page]
  otlp:
    http:
      endpoint: COLLECTOR
sluice:
  lane: LANE
`

const tracingDynamic = `
http:
  routers:
    plain:
      rule: Host(` + "`plain.test`" + `)
      service: s
    detailed:
      rule: Host(` + "`detailed.test`" + `)
      service: s
      middlewares: [strip, zip, head, auth]
      observability:
        traceVerbosity: detailed
    silent:
      rule: Host(` + "`silent.test`" + `)
      service: s
      observability:
        tracing: false
    twice:
      rule: Host(` + "`twice.test`" + `)
      service: twice
    half:
      rule: Host(` + "`half.test`" + `)
      service: half
  middlewares:
    strip:
      stripPrefix:
        prefixes: [/api]
    zip:
      compress: {}
    head:
      headers:
        customResponseHeaders:
          X-Said: hello
    auth:
      forwardAuth:
        address: BACKEND/auth?token=secret
  services:
    s:
      loadBalancer:
        servers:
          - url: BACKEND
    twice:
      loadBalancer:
        servers:
          - url: http://127.0.0.1:1
    half:
      loadBalancer:
        servers:
          - url: http://127.0.0.1:1
          - url: BACKEND
`

// seen is what a server was asked.
type seen struct {
	mu   sync.Mutex
	list []*http.Request
}

func (s *seen) last() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[len(s.list)-1]
}

func tracedEdge(t *testing.T, lane string, env map[string]string) (*edge, *testcollector.Collector, *seen) {
	t.Helper()
	c, saw := testcollector.Start(t), &seen{}
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saw.mu.Lock()
		saw.list = append(saw.list, r.Clone(r.Context()))
		saw.mu.Unlock()
		w.Header().Set("X-Said", "hello")
		if r.URL.Path == "/teapot" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(b.Close)
	env["OTEL_BSP_SCHEDULE_DELAY"] = "50"
	static := strings.ReplaceAll(tracingStatic, "COLLECTOR", c.HTTP)
	e := start(t, lane, static, strings.ReplaceAll(tracingDynamic, "BACKEND", b.URL), func(o *Options) {
		o.Lookup = func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	})
	return e, c, saw
}

func (e *edge) ask(entryPoint, url string, fields ...string) int {
	e.t.Helper()
	host, path, _ := strings.Cut(url, "/")
	req, err := http.NewRequest(http.MethodGet, "http://"+e.address(entryPoint)+"/"+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	req.Host = host
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

func byName(spans []*tracepb.Span) map[string]*tracepb.Span {
	m := map[string]*tracepb.Span{}
	for _, s := range spans {
		m[s.Name] = s
	}
	return m
}

// TestTraces follows requests on both lanes to a real collector.
func TestTraces(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		e, c, saw := tracedEdge(t, lane, map[string]string{})
		const id, from = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
		e.ask("web", "plain.test/teapot?page=2&secret=x", "Traceparent", "00-"+id+"-"+from+"-01", "Tracestate", "lab=1", "X-Asked", "who", "User-Agent", "test")
		spans := byName(c.Spans(t, 2))
		server, client := spans["EntryPoint"], spans["ReverseProxy"]
		if server == nil || client == nil || len(spans) != 2 {
			t.Fatalf("spans: %v", spans)
		}
		if hex.EncodeToString(server.TraceId) != id || hex.EncodeToString(server.ParentSpanId) != from || server.TraceState != "lab=1" ||
			server.Kind != tracepb.Span_SPAN_KIND_SERVER || server.Status != nil {
			t.Errorf("entry point: %v", server)
		}
		if string(client.ParentSpanId) != string(server.SpanId) || client.Kind != tracepb.Span_SPAN_KIND_CLIENT || client.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR {
			t.Errorf("request to the server: %v", client)
		}
		if server.StartTimeUnixNano > client.StartTimeUnixNano || client.EndTimeUnixNano > server.EndTimeUnixNano || client.EndTimeUnixNano < client.StartTimeUnixNano {
			t.Error("the times do not fit")
		}
		want := fmt.Sprintf("00-%s-%x-01", id, client.SpanId)
		if got := saw.last().Header.Get("Traceparent"); got != want || saw.last().Header.Get("Tracestate") != "lab=1" {
			t.Errorf("the server was told %q, want %q", got, want)
		}
		got := testcollector.Attributes(server.Attributes)
		for k, v := range map[string]any{
			"entry_point": "web", "http.request.method": "GET", "network.protocol.version": "1.1", "http.request.body.size": int64(0),
			"url.path": "/teapot", "url.query": "page=2&secret=REDACTED", "url.scheme": "http", "user_agent.original": "test",
			"server.address": "plain.test", "client.address": "127.0.0.1", "network.peer.address": "127.0.0.1", "http.response.status_code": int64(418),
		} {
			if got[k] != v {
				t.Errorf("entry point: %s is %v, want %v", k, got[k], v)
			}
		}
		if fmt.Sprint(got["http.request.header.x-asked"], got["http.response.header.x-said"]) != "[who] [hello]" {
			t.Errorf("captured: %v", got)
		}
		got = testcollector.Attributes(client.Attributes)
		if u, _ := got["url.full"].(string); !strings.HasSuffix(u, "/teapot?page=2&secret=REDACTED") || got["http.response.status_code"] != int64(418) ||
			got["server.address"] != "127.0.0.1" || got["server.port"] == nil {
			t.Errorf("request to the server: %v", got)
		}
		e.eventually("the access log names the trace", func() bool {
			line := e.log.String()
			return strings.Contains(line, `"trace_id":"`+id+`"`) && strings.Contains(line, `"TraceId":"`+id+`"`) &&
				strings.Contains(line, fmt.Sprintf(`"span_id":"%x"`, server.SpanId))
		})
		if c.Resource()["service.name"] != "edge" {
			t.Errorf("resource: %v", c.Resource())
		}
	})
}

// TestTracesOfMiddlewares looks at the inside of a request with the detailed verbosity.
func TestTracesOfMiddlewares(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		e, c, saw := tracedEdge(t, lane, map[string]string{})
		if code := e.ask("web", "detailed.test/api/x", "Accept-Encoding", "gzip"); code != 200 {
			t.Fatalf("status %d", code)
		}
		spans := byName(c.Spans(t, 9))
		parents := map[string]string{
			"Router": "EntryPoint", "StripPrefix": "Router", "Compress": "StripPrefix", "Headers": "Compress", "ForwardAuth": "Headers",
			"AuthRequest": "ForwardAuth", "Service": "ForwardAuth", "ReverseProxy": "Service",
		}
		for name, parent := range parents {
			s, p := spans[name], spans[parent]
			if s == nil || p == nil || string(s.ParentSpanId) != string(p.SpanId) {
				t.Errorf("%s is not within %s: %v", name, parent, s)
			}
		}
		if len(spans) != len(parents)+1 {
			t.Errorf("%d kinds of spans", len(spans))
		}
		router := testcollector.Attributes(spans["Router"].Attributes)
		if router["traefik.router.name"] != "detailed@file" || router["traefik.service.name"] != "s@file" || router["http.route"] != "Host(`detailed.test`)" {
			t.Errorf("router: %v", router)
		}
		if a := testcollector.Attributes(spans["StripPrefix"].Attributes); a["traefik.middleware.name"] != "strip@file" {
			t.Errorf("middleware: %v", a)
		}
		if a := testcollector.Attributes(spans["AuthRequest"].Attributes); !strings.HasSuffix(a["url.full"].(string), "/auth?token=REDACTED") {
			t.Errorf("auth: %v", a)
		}
		saw.mu.Lock()
		defer saw.mu.Unlock()
		if got := saw.list[0].Header.Get("Traceparent"); !strings.Contains(got, fmt.Sprintf("%x", spans["AuthRequest"].SpanId)) {
			t.Errorf("the auth server was told %q", got)
		}
	})
}

// TestWhatIsNotTraced asks for what is switched off, and last for something that is traced.
func TestWhatIsNotTraced(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		e, c, saw := tracedEdge(t, lane, map[string]string{})
		e.ask("web", "silent.test/")
		if h := saw.last().Header.Get("Traceparent"); h != "" {
			t.Errorf("a silent router sends %q", h)
		}
		e.ask("quiet", "plain.test/")
		e.ask("quiet", "nowhere.test/")
		e.ask("web", "any.test/ping")
		e.ask("web", "plain.test/", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
		if h := saw.last().Header.Get("Traceparent"); !strings.HasPrefix(h, "00-0af7651916cd43dd8448eb211c80319c-") || !strings.HasSuffix(h, "-00") {
			t.Errorf("an unsampled trace goes on as %q", h)
		}
		e.ask("web", "nowhere.test/")
		spans := c.Spans(t, 1)
		a := testcollector.Attributes(spans[0].Attributes)
		if len(spans) != 1 || a["server.address"] != "nowhere.test" || a["http.response.status_code"] != int64(404) {
			t.Errorf("spans: %v", spans)
		}
	})
}

// TestTracesOfFailures asks for a server that is not there, and lets the program end.
func TestTracesOfFailures(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		e, c, _ := tracedEdge(t, lane, map[string]string{"OTEL_PROPAGATORS": "b3,jaeger", "OTEL_BSP_SCHEDULE_DELAY": "60000"})
		code := e.ask("web", "twice.test/", "B3", "463ac35c9f6413ad48485a3953bb6124-0020000000000001-1")
		e.stop()
		spans := byName(c.Spans(t, 2))
		server, client := spans["EntryPoint"], spans["ReverseProxy"]
		if server == nil || client == nil {
			t.Fatalf("spans: %v", spans)
		}
		if hex.EncodeToString(server.TraceId) != "463ac35c9f6413ad48485a3953bb6124" || hex.EncodeToString(server.ParentSpanId) != "0020000000000001" {
			t.Errorf("the trace did not go on: %v", server)
		}
		for _, s := range []*tracepb.Span{server, client} {
			if a := testcollector.Attributes(s.Attributes); s.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR || a["http.response.status_code"] != int64(code) {
				t.Errorf("%s: %v, want status %d", s.Name, s, code)
			}
		}
	})
}

// TestCollectorAway traces to an address where nobody listens: requests do not wait for it, nor
// does the end of the program.
func TestCollectorAway(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		url, _ := backend(t, "b")
		static := strings.ReplaceAll(tracingStatic, "COLLECTOR", "http://127.0.0.1:1")
		e := start(t, lane, static, routes("a.test", url))
		begin := time.Now()
		for range 100 {
			if code := e.ask("web", "a.test/"); code != http.StatusOK {
				t.Fatalf("status %d", code)
			}
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("100 requests took %v", took)
		}
		begin = time.Now()
		e.stop()
		err := <-e.ended
		e.ended <- err // for the clean-up
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("the end took %v", took)
		}
	})
}

// TestTracesOfAttempts asks a service of which one server is away: each attempt has its span, and
// the server is told of its own.
func TestTracesOfAttempts(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		e, c, saw := tracedEdge(t, lane, map[string]string{})
		for range 2 {
			if code := e.ask("web", "half.test/"); code != http.StatusOK {
				t.Fatalf("status %d", code)
			}
		}
		var failed, good *tracepb.Span
		testcollector.Eventually(t, func() bool {
			spans := c.Spans(t, 5) // of two requests and three attempts
			for _, s := range spans {
				if s.Name == "ReverseProxy" && s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
					failed = s
				}
			}
			for _, s := range spans {
				if s.Name == "ReverseProxy" && s != failed && failed != nil && string(s.TraceId) == string(failed.TraceId) {
					good = s
				}
			}
			return good != nil
		})
		if a := testcollector.Attributes(failed.Attributes); a["http.response.status_code"] != int64(502) || a["server.port"] != int64(1) {
			t.Errorf("the attempt that failed: %v", a)
		}
		if a := testcollector.Attributes(good.Attributes); a["http.response.status_code"] != int64(200) {
			t.Errorf("the attempt that did not: %v", a)
		}
		if string(failed.ParentSpanId) != string(good.ParentSpanId) {
			t.Error("the attempts belong to different spans")
		}
		saw.mu.Lock()
		defer saw.mu.Unlock()
		told := false
		for _, r := range saw.list {
			told = told || strings.Contains(r.Header.Get("Traceparent"), fmt.Sprintf("%x", good.SpanId))
		}
		if !told {
			t.Error("the server was not told of its own attempt")
		}
	})
}
