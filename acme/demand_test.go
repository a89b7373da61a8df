package acme

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testacme"
)

// A handshake waits for its certificate; denied hosts cost the authority nothing, and
// after a restart the hosts are kept.
func TestOnDemand(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	var asked atomic.Int32
	ask := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Query().Get("domain") != "tenant.test" || r.URL.Query().Get("k") != "v" {
			http.Error(w, "no", http.StatusForbidden)
		}
	}))
	t.Cleanup(ask.Close)
	cfg := resolverConfig(t, ca, func(c *config.ACME) {
		c.TLSChallenge, c.OnDemand = &config.TLSChallenge{}, &config.ACMEOnDemand{}
		c.OnDemand.SetDefaults()
		c.OnDemand.Ask, c.OnDemand.Allow = ask.URL+"/?k=v", []string{"*.listed.test"}
	})
	cfgs := map[string]*config.ACME{"le": cfg}
	e := start(t, cur, cfgs, nil)
	e.Want(nil)
	for range 3 {
		if c := e.Demand(t.Context(), "stranger.test", []string{"le"}); c != nil {
			t.Fatal("a certificate for a stranger")
		}
	}
	for _, host := range []string{"127.0.0.1", "single", "a..test", "-a.test", "a_b.test", "x.y.listed.test"} {
		if c := e.Demand(t.Context(), host, []string{"le"}); c != nil {
			t.Errorf("a certificate for %s", host)
		}
	}
	if c := e.Demand(t.Context(), "tenant.test", nil); c != nil {
		t.Error("a certificate for a host without a route")
	}
	if n := asked.Load(); n != 2 || ca.Orders() != 0 { // the stranger once, and x.y.listed.test
		t.Fatalf("%d questions and %d orders", n, ca.Orders())
	}
	for _, host := range []string{"tenant.test", "a.listed.test"} {
		if c := e.Demand(t.Context(), host, []string{"le"}); c == nil || c.Leaf.VerifyHostname(host) != nil {
			t.Fatalf("%s: no certificate; %+v", host, e.Statuses())
		}
	}
	e.stop()
	e = start(t, cur, cfgs, nil)
	e.Want(nil)
	for _, st := range e.Statuses() {
		if !st.Used {
			t.Errorf("%v is not kept", st.Names)
		}
	}
	if ca.Orders() != 2 {
		t.Errorf("%d orders", ca.Orders())
	}
}

// Handshakes for the same new host at once count as one, and all of them wait.
func TestOnDemandAtOnce(t *testing.T) {
	t.Parallel()
	m := bare(t, func(c *config.ACME, _ *Options) {
		c.TLSChallenge, c.OnDemand = &config.TLSChallenge{}, &config.ACMEOnDemand{Allow: []string{"*.test"}, PerMinute: 1, Wait: config.Duration(time.Second)}
	})
	r := m.resolvers["le"]
	var wg sync.WaitGroup
	var kept atomic.Int32
	for range 16 {
		wg.Go(func() {
			if r.remember(t.Context(), "a.test") {
				kept.Add(1)
			}
		})
	}
	wg.Wait()
	if kept.Load() != 16 || len(r.hosts) != 1 || r.remember(t.Context(), "b.test") {
		t.Errorf("%d of 16 wait, hosts %v", kept.Load(), r.hosts)
	}
}

func TestOnDemandIsBounded(t *testing.T) {
	t.Parallel()
	m := bare(t, func(c *config.ACME, _ *Options) {
		c.TLSChallenge, c.OnDemand = &config.TLSChallenge{}, &config.ACMEOnDemand{Allow: []string{"**.test"}, PerMinute: 2, Wait: config.Duration(10 * time.Millisecond)}
	})
	for _, host := range []string{"a.test", "b.test", "c.test", "d.x.test"} {
		if m.Demand(t.Context(), host, []string{"le"}) != nil {
			t.Fatal("a certificate from nowhere") // the Manager does not run
		}
	}
	if n := len(m.resolvers["le"].hosts); n != 2 {
		t.Errorf("%d hosts in the first minute", n)
	}
	d := m.resolvers["le"].demand
	for range maxWaiting {
		d.waiting <- struct{}{}
	}
	began := time.Now()
	if m.Demand(t.Context(), "a.test", []string{"le"}) != nil || time.Since(began) > time.Second {
		t.Error("one handshake too many waited")
	}
}
