package balance

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type probeFunc func(ep *exchange.Endpoint) error

func (f probeFunc) Probe(_ context.Context, ep *exchange.Endpoint, _ *config.HealthCheck) error {
	return f(ep)
}

var tr = &exchange.Transport{Name: "t"}

func balancer(urls ...string) *config.LoadBalancer {
	c := &config.LoadBalancer{}
	c.SetDefaults()
	for _, u := range urls {
		c.Servers = append(c.Servers, config.Server{URL: u})
	}
	return c
}

func weight(c *config.LoadBalancer, i, w int) { c.Servers[i].Weight = &w }

func mustBuild(t *testing.T, b *Book, name string, c *config.LoadBalancer) *LoadBalancer {
	t.Helper()
	d := b.Begin()
	lb, err := d.Service(name, c, tr)
	if err != nil {
		t.Fatal(err)
	}
	d.Commit()
	return lb
}

func pick(s exchange.Service, ex *exchange.Exchange) string {
	ep, _ := s.Pick(ex)
	if ep == nil {
		return ""
	}
	ex.Release(exchange.OK)
	return ep.URL
}

func request() *exchange.Exchange {
	ex := &exchange.Exchange{Now: time.Now().UnixNano()}
	ex.Req.Peer = netip.MustParseAddrPort("192.0.2.1:5000")
	return ex
}

func TestTurnsAreFairAlsoWhileOneIsDown(t *testing.T) {
	lb := mustBuild(t, NewBook(nil, Events{}), "s", balancer("http://a", "http://b", "http://c"))
	lb.eps[1].Down.Store(true)
	n := map[string]int{}
	for range 100 {
		n[pick(lb, request())]++
	}
	if n["http://a"] != 50 || n["http://c"] != 50 || n["http://b"] != 0 {
		t.Fatalf("picks %v", n)
	}
}

func TestWeightsAreSmooth(t *testing.T) {
	c := balancer("http://a", "http://b")
	weight(c, 0, 3)
	lb := mustBuild(t, NewBook(nil, Events{}), "s", c)
	got := ""
	for range 8 {
		got += pick(lb, request())[7:]
	}
	if got != "aabaaaba" {
		t.Fatalf("order %s", got)
	}
}

func TestWeightZeroTakesNothing(t *testing.T) {
	c := balancer("http://a", "http://b")
	weight(c, 0, 0)
	lb := mustBuild(t, NewBook(nil, Events{}), "s", c)
	for range 10 {
		if got := pick(lb, request()); got != "http://b" {
			t.Fatalf("picked %q", got)
		}
	}
}

func TestAFailedServerIsNotPickedAgain(t *testing.T) {
	lb := mustBuild(t, NewBook(nil, Events{}), "s", balancer("http://a", "http://b"))
	ex := request()
	ep, _ := lb.Pick(ex)
	ex.Release(exchange.Failed)
	ex.Tried(ep)
	other, _ := lb.Pick(ex)
	if other == nil || other == ep {
		t.Fatalf("second pick %v", other)
	}
	ex.Release(exchange.Failed)
	ex.Tried(other)
	if ep, why := lb.Pick(ex); ep != nil || why != exchange.NoServerUp {
		t.Fatalf("third pick %v, %s", ep, why)
	}
	if n := ep.InFlight.Load() + other.InFlight.Load(); n != 0 {
		t.Fatalf("%d still in flight", n)
	}
}

func TestStateOutlivesAnUnrelatedChange(t *testing.T) {
	b := NewBook(nil, Events{})
	first := mustBuild(t, b, "s", balancer("http://a", "http://b", "http://c"))
	first.eps[2].Down.Store(true)
	if got := pick(first, request()); got != "http://a" {
		t.Fatalf("first pick %s", got)
	}
	second := mustBuild(t, b, "s", balancer("http://a", "http://b", "http://c", "http://d"))
	if second.eps[0] != first.eps[0] || !second.eps[2].Down.Load() {
		t.Fatal("endpoints or health were not kept")
	}
	if got := pick(second, request()); got != "http://b" {
		t.Fatalf("the position was lost: %s", got)
	}
	third := mustBuild(t, b, "s", balancer("http://b"))
	if !first.eps[0].Gone.Load() || third.eps[0].Gone.Load() {
		t.Fatal("the removed endpoint must be gone, the kept one not")
	}
}

func TestUnchangedServiceStaysTheSameObject(t *testing.T) {
	b := NewBook(nil, Events{})
	c := balancer("http://a", "http://b")
	c.Servers[1].Fenced = true
	first := mustBuild(t, b, "s", c)
	first.eps[0].Fenced.Store(true) // by a stop signal; the new table knows better
	if second := mustBuild(t, b, "s", c); second != first {
		t.Fatal("an unchanged service was rebuilt")
	}
	if first.eps[0].Gone.Load() || first.eps[0].Fenced.Load() || !first.eps[1].Fenced.Load() {
		t.Fatal("endpoints were not retained")
	}
}

func TestStickyFollowsTheCookie(t *testing.T) {
	c := balancer("http://127.0.0.1:1", "http://127.0.0.1:2")
	c.Sticky = &config.Sticky{Cookie: &config.Cookie{Name: "c", HTTPOnly: true}}
	c.Sticky.Cookie.SetDefaults()
	lb := mustBuild(t, NewBook(nil, Events{}), "s", c)
	for _, value := range []string{"10d8eb39449320b2", `"10d8eb39449320b2"`} {
		for range 4 {
			ex := request()
			ex.Req.Fields.Add("Cookie", "x=1; c="+value)
			if got := pick(lb, ex); got != "http://127.0.0.1:1" {
				t.Fatalf("cookie %s led to %s", value, got)
			}
			ex.RunResponse()
			if ex.Resp.Fields.Len() != 0 {
				t.Fatal("a known client got the cookie again")
			}
		}
	}
	ex := request()
	got := pick(lb, ex)
	ex.RunResponse()
	if sc := ex.Resp.Fields.Get("Set-Cookie"); got != "http://127.0.0.1:1" || sc != "c=10d8eb39449320b2; Path=/; HttpOnly" {
		t.Fatalf("new client at %s got %q", got, sc)
	}
	lb.eps[0].Fenced.Store(true)
	ex = request()
	ex.Req.Fields.Add("Cookie", "c=10d8eb39449320b2")
	got = pick(lb, ex)
	ex.RunResponse()
	if got != "http://127.0.0.1:2" || !ex.Resp.Fields.Has("Set-Cookie") {
		t.Fatal("a client stuck to a stopping server was not moved")
	}
}

func TestDefaultCookieNameEqualsTheReference(t *testing.T) {
	if s := newSticky("def@file", &config.Cookie{}); s.name != "_8c2e1" {
		t.Fatalf("name %q", s.name)
	}
	if s := newSticky("s", &config.Cookie{Name: "a b;c", SameSite: "maybe"}); s.name != "a_b_c" || s.warning == "" {
		t.Fatalf("name %q, warning %q", s.name, s.warning)
	}
}

func TestHashKeepsAClientAndMovesFew(t *testing.T) {
	c := balancer("http://a", "http://b", "http://c", "http://d")
	c.Strategy = "hrw"
	b := NewBook(nil, Events{})
	lb := mustBuild(t, b, "s", c)
	where := map[int]string{}
	count := map[string]int{}
	for i := range 1000 {
		ex := request()
		ex.Req.Peer = netip.MustParseAddrPort(fmt.Sprintf("10.0.%d.%d:1", i/250, i%250))
		where[i] = pick(lb, ex)
		count[where[i]]++
	}
	for u, n := range count {
		if n < 180 || n > 320 {
			t.Errorf("%s got %d of 1000", u, n)
		}
	}
	lb.eps[0].Down.Store(true)
	for i := range 1000 {
		ex := request()
		ex.Req.Peer = netip.MustParseAddrPort(fmt.Sprintf("10.0.%d.%d:1", i/250, i%250))
		if got := pick(lb, ex); where[i] != "http://a" && got != where[i] {
			t.Fatalf("client %d moved from %s to %s though its server is up", i, where[i], got)
		}
	}
}

func TestHealthChecksRunAtOnceAndReport(t *testing.T) {
	changed := make(chan string, 10)
	b := NewBook(probeFunc(func(ep *exchange.Endpoint) error {
		if ep.URL == "http://b" {
			return errors.New("down")
		}
		return nil
	}), Events{Health: func(s, u string, up bool, _ error) { changed <- fmt.Sprint(s, u, up) }})
	c := balancer("http://a", "http://b")
	c.HealthCheck = &config.HealthCheck{}
	c.HealthCheck.SetDefaults()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	lb := mustBuild(t, b, "s", c)
	select {
	case got := <-changed:
		if got != "shttp://bfalse" {
			t.Fatal(got)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no probe within 5 s though the interval is 30 s")
	}
	if st := b.Status("s"); st["http://a"] != "UP" || st["http://b"] != "DOWN" {
		t.Fatalf("status %v", st)
	}
	if !lb.Up(time.Now().UnixNano()) {
		t.Fatal("one server is up")
	}
	cancel()
	<-done
}

func TestPassiveCheckTakesAServerOutForItsWindow(t *testing.T) {
	c := balancer("http://a", "http://b")
	c.PassiveHealthCheck = &config.PassiveHealthCheck{FailureWindow: config.Duration(time.Minute), MaxFailedAttempts: 2}
	lb := mustBuild(t, NewBook(nil, Events{}), "s", c)
	for range 4 {
		ex := request()
		ep, _ := lb.Pick(ex)
		ex.Resp.Status = 200
		if ep == lb.eps[0] {
			ex.Resp.Status = 500
		}
		ex.Release(exchange.OK)
	}
	for range 4 {
		if got := pick(lb, request()); got != "http://b" {
			t.Fatalf("picked %s", got)
		}
	}
	late := request()
	late.Now += int64(2 * time.Minute)
	if !lb.eps[0].Up(late.Now) {
		t.Fatal("the server never returns")
	}
}

func TestComposedServices(t *testing.T) {
	b := NewBook(nil, Events{})
	d := b.Begin()
	x, _ := d.Service("x", balancer("http://x"), tr)
	y, _ := d.Service("y", balancer("http://y"), tr)
	three := 3
	w, err := d.Weighted("w", &config.Weighted{Services: []config.WeightedService{{Name: "x", Weight: &three}, {Name: "y"}}}, []Child{{Name: "x", Service: x}, {Name: "y", Service: y}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for range 40 {
		n[pick(w.Service, request())]++
	}
	if n["http://x"] != 30 || n["http://y"] != 10 {
		t.Fatalf("weights gave %v", n)
	}
	fo, err := d.Failover("f", &config.Failover{}, Child{Service: x}, Child{Service: y}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := pick(fo.Service, request()); got != "http://x" {
		t.Fatal(got)
	}
	x.eps[0].Down.Store(true)
	if got := pick(fo.Service, request()); got != "http://y" {
		t.Fatal("no failover: ", got)
	}
	d.Commit()
}

func TestFenceWithoutANewTable(t *testing.T) {
	b := NewBook(nil, Events{})
	lb := mustBuild(t, b, "s", balancer("http://10.0.0.1:80", "http://10.0.0.2:80"))
	if n := b.Fence([]string{"http://10.0.0.1:80"}, true); n != 1 {
		t.Fatalf("fenced %d", n)
	}
	for range 4 {
		if got := pick(lb, request()); got != "http://10.0.0.2:80" {
			t.Fatal(got)
		}
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	for name, c := range map[string]*config.LoadBalancer{
		"scheme":   balancer("ftp://x"),
		"no host":  balancer("http://"),
		"strategy": {Strategy: "fastest"},
		"port":     {HealthCheck: &config.HealthCheck{Interval: 1, Timeout: 1, Port: 70000}},
		"status":   {HealthCheck: &config.HealthCheck{Interval: 1, Timeout: 1, Status: 99}},
		"url path": {HealthCheck: &config.HealthCheck{Interval: 1, Timeout: 1, Path: "http://other/"}},
	} {
		if _, err := NewBook(nil, Events{}).Begin().Service("s", c, tr); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	c := balancer("http://a", "http://b")
	weight(c, 0, 2)
	c.Sticky = &config.Sticky{Cookie: &config.Cookie{Name: "c"}}
	lb := mustBuild(t, NewBook(nil, Events{}), "s", c)
	ex := request()
	ex.Req.Fields.Add("Cookie", "a=b; c="+"nothing")
	if n := testing.AllocsPerRun(1000, func() {
		_, _ = lb.Pick(ex)
		ex.Release(exchange.OK)
		ex.RunDone()
	}); n > 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkPick(b *testing.B) {
	bk := NewBook(nil, Events{})
	d := bk.Begin()
	lb, _ := d.Service("s", balancer("http://a", "http://b", "http://c"), tr)
	d.Commit()
	ex := request()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = lb.Pick(ex)
		ex.Release(exchange.OK)
	}
}

// A server that was slow or away is asked again after a while, and counts as what it then is.
func TestLeastTimeAsksAgain(t *testing.T) {
	c := balancer("http://a", "http://b")
	c.Strategy = "leasttime"
	lb := mustBuild(t, NewBook(nil, Events{}), "s", c)
	now := time.Now().UnixNano()
	ask := func(took time.Duration, o exchange.Outcome) string {
		ex := request()
		// The measure is taken by the clock: a request that takes long came long ago.
		ex.Now = now
		ep, _ := lb.Pick(ex)
		ex.Now = time.Now().Add(-took).UnixNano()
		if o == exchange.OK {
			ex.RunResponse()
		}
		ex.Now = now
		ex.Release(o)
		return ep.URL
	}
	slow, quick := lb.eps[0], lb.eps[1]
	times := map[string]time.Duration{slow.URL: 500 * time.Millisecond}
	seen := map[string]int{}
	for range 2 * fewSamples {
		next := ""
		ex := request()
		ex.Now = now
		if ep, _ := lb.Pick(ex); ep != nil {
			next = ep.URL
		}
		ex.Now = time.Now().Add(-times[next]).UnixNano()
		ex.RunResponse()
		ex.Now = now
		ex.Release(exchange.OK)
		seen[next]++
	}
	if seen[slow.URL] != fewSamples || seen[quick.URL] != fewSamples {
		t.Fatalf("at first %v were asked", seen)
	}
	for range 50 {
		if got := ask(0, exchange.OK); got != quick.URL {
			t.Fatalf("the slow server was asked within %v", measureAgain)
		}
	}
	now += int64(measureAgain) + 1
	clear(seen)
	seen[ask(0, exchange.OK)]++
	seen[ask(0, exchange.OK)]++
	if len(seen) != 2 {
		t.Fatalf("after %v only %v were asked", measureAgain, seen)
	}
	if l := time.Duration(slow.Latency.Load()); l > 100*time.Millisecond {
		t.Errorf("a server that has become quick counts %v", l)
	}
	// A server that does not answer is left alone as long.
	failed := ask(0, exchange.Failed)
	for range 20 {
		if got := ask(0, exchange.OK); got == failed {
			t.Fatalf("%s was asked again at once", failed)
		}
	}
}

// Times and modes that are none are replaced by the defaults, and said so: a site must not be
// away for them.
func TestOddHealthOptions(t *testing.T) {
	zero := config.Duration(0)
	for name, c := range map[string]struct {
		hc   config.HealthCheck
		warn string
	}{
		"good":              {config.HealthCheck{Interval: 1e9, Timeout: 2e9, Mode: "GRPC"}, ""},
		"interval":          {config.HealthCheck{Interval: -1, Timeout: 1e9}, "30s is used"},
		"timeout":           {config.HealthCheck{Interval: 1e9}, "5s is used"},
		"unhealthyInterval": {config.HealthCheck{Interval: 1e9, Timeout: 1e9, UnhealthyInterval: &zero}, "30s is used"},
		"mode":              {config.HealthCheck{Interval: 1e9, Timeout: 1e9, Mode: "tcpish"}, "http is used"},
	} {
		lb := mustBuild(t, NewBook(nil, Events{}), "s", &config.LoadBalancer{Servers: []config.Server{{URL: "http://a"}}, HealthCheck: &c.hc})
		h := lb.health
		if h.Interval <= 0 || h.Timeout <= 0 || h.UnhealthyInterval != nil && *h.UnhealthyInterval <= 0 || h.Mode == "tcpish" {
			t.Errorf("%s: %+v", name, h)
		}
		if w := lb.Warning(); (w == "") != (c.warn == "") || !strings.Contains(w, c.warn) || !strings.Contains(w, strings.TrimPrefix(name, "good")) && w != "" {
			t.Errorf("%s: warning %q", name, w)
		}
	}
}

// A request that went well makes up for failures before it.
func TestPassiveHealthForgives(t *testing.T) {
	c := balancer("http://a")
	c.PassiveHealthCheck = &config.PassiveHealthCheck{FailureWindow: config.Duration(time.Hour), MaxFailedAttempts: 3}
	lb := mustBuild(t, NewBook(nil, Events{}), "s", c)
	ask := func(status int) bool {
		ex := request()
		if ep, _ := lb.Pick(ex); ep == nil {
			return false
		}
		ex.Resp.Status = status
		ex.Release(exchange.OK)
		return true
	}
	for i, status := range []int{500, 503, 200, 500, 500, 404, 502, 599, 200, 500, 500, 500} {
		if !ask(status) {
			t.Fatalf("out after %d requests", i)
		}
	}
	if ask(200) {
		t.Error("three failures in a row change nothing")
	}
}
