package balance

import (
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// A service whose first server was starting when the table came, and that has lost it since,
// is still one that had a server.
func TestAServiceThatStartedSlowlyHolds(t *testing.T) {
	b := NewBook(nil, Events{})
	mustBuild(t, b, "s", held())
	mustBuild(t, b, "s", held("http://a"))
	lb := mustBuild(t, b, "s", held())
	ex := request()
	if changed, _, _ := noServer(t, lb, ex).Hold(ex); changed == nil {
		t.Fatal("not held")
	}
	lb.Let()
}

// Nobody waits for a service that never had a server, unless one has been created.
func TestACreatedContainerIsWaitedFor(t *testing.T) {
	b := NewBook(nil, Events{})
	lb := mustBuild(t, b, "s", held())
	if _, why := lb.Pick(request()); why != exchange.NoServer {
		t.Errorf("reason %s", why)
	}
	c := held()
	c.Coming = true
	lb = mustBuild(t, b, "s", c)
	ex := request()
	if changed, _, _ := noServer(t, lb, ex).Hold(ex); changed == nil {
		t.Error("not held")
	}
	lb.Let()
}

// Requests leave the time of their coming, and ask for what sleeps; a browser is not held for
// longer than it takes to get the page.
func TestAServiceThatSleeps(t *testing.T) {
	woken := int64(0)
	b := NewBook(nil, Events{Wake: func(i *config.Idle) int64 {
		if i.Unit != "web" {
			t.Errorf("unit %q", i.Unit)
		}
		if woken == 0 {
			woken = time.Now().UnixNano()
		}
		return woken
	}})
	idle := func(asleep bool, urls ...string) *config.LoadBalancer {
		c := held(urls...)
		c.Idle = &config.Idle{Engine: "docker", Unit: "web", After: config.Duration(time.Minute), Page: config.Duration(time.Second), Asleep: asleep}
		return c
	}
	lb := mustBuild(t, b, "s", idle(false, "http://a"))
	ex := request()
	ex.Now = time.Now().Add(time.Minute).UnixNano()
	if ep, why := lb.Pick(ex); ep == nil {
		t.Fatalf("not served: %s", why)
	}
	if s := b.Sleepers(); len(s) != 1 || s[0].Used != ex.Now || s[0].Busy != 1 || !s[0].Up {
		t.Errorf("while a request runs: %+v", s)
	}
	ex.Release(exchange.OK)
	if s := b.Sleepers(); s[0].Busy != 0 || woken != 0 {
		t.Errorf("after it: %+v, woken %d", s, woken)
	}
	lb = mustBuild(t, b, "s", idle(true))
	if s := b.Sleepers(); len(s) != 1 || s[0].Up || !lb.Up(ex.Now) {
		t.Errorf("asleep: %+v; to those that compose services it must count as up", s)
	}
	for accept, want := range map[string]time.Duration{"": 10 * time.Second, "text/html,*/*": time.Second} {
		ex := request()
		ex.Req.Method = "GET"
		ex.Req.Fields.Set("Accept", accept)
		if _, why := lb.Pick(ex); why != exchange.Waking {
			t.Errorf("reason %s", why)
		}
		_, until, sure := noServer(t, lb, ex).Hold(ex)
		if left := time.Until(until); !sure || left > want || left < want-time.Second {
			t.Errorf("Accept %q: held for %v, want %v", accept, left, want)
		}
		lb.Let()
	}
	if b.Held() != 0 {
		t.Errorf("%d places are not given back", b.Held())
	}
}
