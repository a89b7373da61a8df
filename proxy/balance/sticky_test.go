package balance

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func stuck(c *config.LoadBalancer) *config.LoadBalancer {
	c.Sticky = &config.Sticky{Cookie: &config.Cookie{Name: "c"}}
	return c
}

// with sends a request with a cookie, and gives the server and the cookie set anew, if any.
func with(t *testing.T, s exchange.Service, cookie string) (server, set string) {
	t.Helper()
	ex := request()
	if cookie != "" {
		ex.Req.Fields.Add("Cookie", "c="+cookie)
	}
	ep, _ := s.Pick(ex)
	if ep == nil {
		return "", ""
	}
	ex.RunResponse()
	ex.Release(exchange.OK)
	set, _, _ = strings.Cut(strings.TrimPrefix(ex.Resp.Fields.Get("Set-Cookie"), "c="), ";")
	return ep.URL, set
}

// The values were made by releases of the reference for http://127.0.0.1:1.
func TestCookiesOfOlderReleasesAreTakenAndSetAnew(t *testing.T) {
	const url, today = "http://127.0.0.1:1", "10d8eb39449320b2"
	lb := mustBuild(t, NewBook(nil, Events{}), "s", stuck(balancer("http://127.0.0.1:2", url, "http://127.0.0.1:3")))
	for _, v := range append(olderValues(url), `"`+url+`"`) {
		for range 3 {
			if server, set := with(t, lb, v); server != url || set != today {
				t.Errorf("%s: %s, set %q", v, server, set)
			}
		}
	}
	for range 3 {
		if server, set := with(t, lb, today); server != url || set != "" {
			t.Errorf("%s, set %q", server, set)
		}
	}
	seen := map[string]bool{}
	for range 3 {
		server, set := with(t, lb, "0123456789abcdef")
		if set == "" {
			t.Error("an unknown value stays")
		}
		seen[server] = true
	}
	if len(seen) != 3 {
		t.Errorf("an unknown value is stuck to %v", seen)
	}
}

func TestNobodyIsStuckToWeightZero(t *testing.T) {
	c := stuck(balancer("http://a", "http://b"))
	lb := mustBuild(t, NewBook(nil, Events{}), "s", c)
	var held string
	for server := ""; server != "http://a"; {
		server, held = with(t, lb, "")
	}
	for _, w := range []int{0, -1} {
		c := stuck(balancer("http://a", "http://b"))
		weight(c, 0, w)
		lb := mustBuild(t, NewBook(nil, Events{}), "s", c)
		server, set := with(t, lb, held)
		if server != "http://b" || set == "" || set == held {
			t.Errorf("weight %d: %s, set %q", w, server, set)
		}
		if (lb.Warning() != "") != (w < 0) {
			t.Errorf("weight %d: warning %q", w, lb.Warning())
		}
	}
}

func TestHRWSetsNoCookie(t *testing.T) {
	c := stuck(balancer("http://a", "http://b", "http://c"))
	c.Strategy = "hrw"
	lb := mustBuild(t, NewBook(nil, Events{}), "s", c)
	first, set := with(t, lb, "")
	for range 9 {
		if server, more := with(t, lb, ""); server != first || set+more != "" {
			t.Fatalf("%s, then %s; set %q", first, server, set+more)
		}
	}
	if lb.CookieName() != "c" || !strings.Contains(lb.Warning(), "hrw") {
		t.Errorf("cookie %q, warning %q", lb.CookieName(), lb.Warning())
	}
}

// The value names the child as it is written, as in the reference, so that clients keep theirs.
func TestCookieOfAWeightedService(t *testing.T) {
	b := NewBook(nil, Events{})
	d := b.Begin()
	x, _ := d.Service("x@file", balancer("http://x"), tr)
	y, _ := d.Service("y@file", balancer("http://y"), tr)
	zero := 0
	kids := []Child{{Name: "x@file", Service: x}, {Name: "y@file", Service: y}}
	sticky := &config.Sticky{Cookie: &config.Cookie{Name: "c"}}
	w, err := d.Weighted("w@file", &config.Weighted{Sticky: sticky, Services: []config.WeightedService{{Name: "x"}, {Name: "y@file"}}}, kids, nil)
	if err != nil {
		t.Fatal(err)
	}
	const sha256x, sha256y = "2d711642b726b044", "83e2b916b3896a56"
	for range 3 {
		if server, set := with(t, w.Service, sha256x); server != "http://x" || set != "" {
			t.Errorf("%s, set %q", server, set)
		}
		if server, set := with(t, w.Service, sha256y); server != "http://y" || set != "" {
			t.Errorf("%s, set %q", server, set)
		}
		if server, set := with(t, w.Service, "x"); server != "http://x" || set != sha256x {
			t.Errorf("an old one: %s, set %q", server, set)
		}
	}
	w, err = d.Weighted("w@file", &config.Weighted{Sticky: sticky, Services: []config.WeightedService{{Name: "x", Weight: &zero}, {Name: "y@file"}}}, kids, nil)
	if err != nil {
		t.Fatal(err)
	}
	if server, set := with(t, w.Service, sha256x); server != "http://y" || set != sha256y {
		t.Errorf("of weight zero: %s, set %q", server, set)
	}
	d.Commit()
}

// Where both kinds of checks are, failures take a server out and the next good probe takes it
// back, be that sooner or later than the window's end.
func TestPassiveHealthBesideAnActiveCheck(t *testing.T) {
	probes, begun := make(chan error), make(chan struct{}, 16)
	b := NewBook(probeFunc(func(*exchange.Endpoint) error {
		begun <- struct{}{}
		return <-probes
	}), Events{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { b.Run(ctx); close(done) }()
	c := balancer("http://a")
	c.HealthCheck = &config.HealthCheck{Interval: config.Duration(time.Millisecond), Timeout: config.Duration(time.Hour)}
	c.PassiveHealthCheck = &config.PassiveHealthCheck{FailureWindow: config.Duration(time.Millisecond), MaxFailedAttempts: 1}
	lb := mustBuild(t, b, "s", c)
	<-begun
	probes <- nil
	<-begun // the first has been heard
	ex := request()
	if ep, _ := lb.Pick(ex); ep == nil {
		t.Fatal("nobody")
	}
	ex.Release(exchange.Failed)
	for range 3 { // beyond the window
		time.Sleep(2 * time.Millisecond)
		if lb.Up(time.Now().UnixNano()) {
			t.Fatal("up without a good probe")
		}
	}
	probes <- errors.New("still bad")
	probes <- nil
	for deadline := time.Now().Add(10 * time.Second); !lb.Up(time.Now().UnixNano()); {
		if time.Now().After(deadline) {
			t.Fatal("a good probe does not bring it back")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	close(probes)
	<-done
}

// Numbers that are none must not take the service away.
func TestOddPassiveOptions(t *testing.T) {
	c := balancer("http://a")
	c.PassiveHealthCheck = &config.PassiveHealthCheck{FailureWindow: -1}
	lb := mustBuild(t, NewBook(nil, Events{}), "s", c)
	if w := lb.Warning(); !strings.Contains(w, "failureWindow") || !strings.Contains(w, "maxFailedAttempts") || lb.passive.window != 10*time.Second || lb.passive.max != 1 {
		t.Errorf("%q, %v %d", w, lb.passive.window, lb.passive.max)
	}
}
