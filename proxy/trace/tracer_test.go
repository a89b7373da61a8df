package trace

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

type route struct{ r *exchange.Route }

func (r route) Match(*exchange.Exchange) (*exchange.Route, exchange.Reason) {
	return r.r, exchange.NoReason
}

type one struct{ ep *exchange.Endpoint }

func (o one) Pick(*exchange.Exchange) (*exchange.Endpoint, exchange.Reason) { return o.ep, "" }

func newTracer(t testing.TB, change func(*config.Tracing)) *Tracer {
	t.Helper()
	c := &config.Tracing{}
	c.SetDefaults()
	change(c)
	tr, err := New(Options{Config: c, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// TestSampleRate counts how many of many traces are sampled.
func TestSampleRate(t *testing.T) {
	for _, rate := range []float64{0, 0.25, 1} {
		tr := newTracer(t, func(c *config.Tracing) { c.SampleRate = rate })
		m := tr.Matcher(route{&exchange.Route{}}, false)
		const total = 4000
		n := 0
		for range total {
			ex := &exchange.Exchange{}
			m.Match(ex)
			if ex.Trace.(*active).sampled {
				n++
			}
		}
		if got := float64(n) / total; got < rate-0.05 || got > rate+0.05 {
			t.Errorf("%v sampled, want %v", got, rate)
		}
	}
}

// TestInternals checks who follows the program's own services.
func TestInternals(t *testing.T) {
	for _, internals := range []bool{false, true} {
		tr := newTracer(t, func(c *config.Tracing) { c.AddInternals = internals })
		ex := &exchange.Exchange{}
		tr.Matcher(route{&exchange.Route{Internal: true}}, false).Match(ex)
		if (ex.Trace != nil) != internals {
			t.Errorf("addInternals %v: %v", internals, ex.Trace)
		}
	}
}

// TestUntracedCostsNothing holds the promise for routes that switch tracing off.
func TestUntracedCostsNothing(t *testing.T) {
	tr := newTracer(t, func(*config.Tracing) {})
	m := tr.Matcher(route{&exchange.Route{NoTracing: true}}, false)
	to := tr.Service(one{&exchange.Endpoint{}})
	ex := &exchange.Exchange{}
	if n := testing.AllocsPerRun(100, func() {
		m.Match(ex)
		to.Pick(ex)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSafeQuery(t *testing.T) {
	tr := newTracer(t, func(c *config.Tracing) { c.SafeQueryParams = []string{"page", "a b"} })
	for in, want := range map[string]string{
		"": "", "page=2": "page=2", "a=1&page=2&a=3": "a=REDACTED&page=2&a=REDACTED", "a+b=1&flag": "a+b=1&flag=REDACTED", "%zz=1&&": "%zz=REDACTED",
	} {
		if got := tr.safeQuery(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	if got := tr.safeURL("http://u:p@h/x?token=1"); got != "http://REDACTED:REDACTED@h/x?token=REDACTED" {
		t.Error(got)
	}
}

// BenchmarkTrace is a sampled request with its two spans.
func BenchmarkTrace(b *testing.B) {
	tr := newTracer(b, func(*config.Tracing) {})
	r := &exchange.Route{Router: "r@file", Service: "s@file"}
	m, to := tr.Matcher(route{r}, false), tr.Service(one{&exchange.Endpoint{Addr: "127.0.0.1:80", Host: "127.0.0.1:80", Scheme: "http"}})
	ex := &exchange.Exchange{}
	b.ReportAllocs()
	for b.Loop() {
		ex.Reset()
		ex.Req.Method, ex.Req.Path, ex.Req.Proto, ex.Req.Host, ex.Req.EntryPoint = "GET", "/a/b", "HTTP/1.1", "a.test", "web"
		m.Match(ex)
		to.Pick(ex)
		ex.Resp.Status = 200
		ex.RunResponse()
		ex.RunDone()
	}
}
