package balance

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func held(urls ...string) *config.LoadBalancer {
	c := balancer(urls...)
	c.AutoHold = config.Duration(10 * time.Second)
	return c
}

// noServer picks for a request that finds none, and returns its Holder.
func noServer(t *testing.T, lb *LoadBalancer, ex *exchange.Exchange) exchange.Holder {
	t.Helper()
	if ep, _ := lb.Pick(ex); ep != nil {
		t.Fatalf("picked %s", ep.URL)
	}
	if ex.Backend.Holder == nil {
		t.Fatal("the service holds nothing")
	}
	return ex.Backend.Holder
}

func TestARequestWaitsForTheReplacement(t *testing.T) {
	b := NewBook(nil, Events{})
	lb := mustBuild(t, b, "s", held("http://a"))
	b.Fence([]string{"http://a"}, true)
	ex := request()
	changed, until, sure := noServer(t, lb, ex).Hold(ex)
	if left := time.Until(until); changed == nil || !sure || left > 10*time.Second || left < 9*time.Second || b.Held() != 1 {
		t.Fatalf("sure %v, until %v, %d held", sure, left, b.Held())
	}
	mustBuild(t, b, "s", held("http://b"))
	select {
	case <-changed:
	default:
		t.Fatal("nobody was woken")
	}
	ex.Backend.Holder = nil
	lb.Let()
	if got := pick(lb, ex); got != "http://b" || b.Held() != 0 {
		t.Fatalf("the table of before gives %q, %d held", got, b.Held())
	}
}

func TestWaitingEndsWithTheTimeSinceTheLoss(t *testing.T) {
	b := NewBook(nil, Events{})
	lb := mustBuild(t, b, "s", held("http://a"))
	b.Fence([]string{"http://a"}, true)
	lb.gate.lost.Add(-int64(11 * time.Second))
	ex := request()
	if changed, _, _ := noServer(t, lb, ex).Hold(ex); changed != nil || b.Held() != 0 {
		t.Fatal("held though the service is gone for long")
	}
	if ex.Unavailable(exchange.NoServerUp); ex.Resp.Fields.Get("Retry-After") != "5" {
		t.Fatal("no Retry-After")
	}
}

func TestWhoIsNotHeld(t *testing.T) {
	off := config.Duration(0)
	none := held("http://a")
	none.Hold = &off
	sick := held("http://a")
	sick.Sick = true
	for name, c := range map[string]*config.LoadBalancer{"sick": sick, "no hold": balancer("http://a"), "switched off": none, "never ran": held()} {
		b := NewBook(nil, Events{})
		lb := mustBuild(t, b, "s", c)
		b.Fence([]string{"http://a"}, true)
		ex := request()
		if ep, _ := lb.Pick(ex); ep != nil || ex.Backend.Holder != nil {
			t.Errorf("%s: %v, %v", name, ep, ex.Backend.Holder)
		}
	}
	b := NewBook(nil, Events{})
	lb := mustBuild(t, b, "s", held("http://a"))
	lb.eps[0].Down.Store(true)
	lb.gate.changedAt(time.Now().UnixNano())
	ex := request()
	if noServer(t, lb, ex).MayHold(ex) {
		t.Error("a server that fails its health checks is no deploy")
	}
}

func TestARefusalIsDoubtedOnlyWhereTheServerHasServed(t *testing.T) {
	b := NewBook(nil, Events{})
	lb := mustBuild(t, b, "s", held("http://a"))
	for _, served := range []bool{false, true} {
		if served {
			pick(lb, request())
		}
		ex := request()
		ep, _ := lb.Pick(ex)
		ex.Release(exchange.Failed)
		ex.Tried(ep)
		changed, until, sure := noServer(t, lb, ex).Hold(ex)
		if (changed != nil) != served || sure || served && time.Until(until) > grace {
			t.Errorf("served %v: held %v, sure %v, until %v", served, changed != nil, sure, until)
		}
		if changed != nil {
			lb.Let()
		}
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	b := NewBook(nil, Events{})
	lb := mustBuild(t, b, "s", held("http://a"))
	b.Fence([]string{"http://a"}, true)
	b.held.Store(maxHeld)
	ex := request()
	if changed, _, _ := noServer(t, lb, ex).Hold(ex); changed != nil || b.Held() != maxHeld {
		t.Fatalf("held beyond the bound: %d", b.Held())
	}
}

func TestAServerEntersAfterItsProbe(t *testing.T) {
	var up, asked atomic.Int32
	b := NewBook(probeFunc(func(*exchange.Endpoint) error {
		asked.Add(1)
		if up.Load() == 0 {
			return errors.New("refused")
		}
		return nil
	}), Events{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	defer func() { cancel(); <-done }()
	c := held("http://a")
	c.Servers[0].Ready = config.ReadyTCP
	lb := mustBuild(t, b, "s", c)
	ex := request()
	if _, why := lb.Pick(ex); why != exchange.Starting {
		t.Fatalf("picked before its probe: %q", why)
	}
	changed, _, sure := ex.Backend.Holder.Hold(ex)
	if changed == nil || !sure {
		t.Fatal("a request does not wait for a server that starts")
	}
	defer lb.Let()
	for asked.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	up.Store(1)
	select {
	case <-changed:
	case <-time.After(5 * time.Second):
		t.Fatal("nobody was woken")
	}
	if got := pick(lb, ex); got != "http://a" {
		t.Fatalf("picked %q", got)
	}
}

// The same address in another life is another server: probed anew, with a pool of its own.
func TestAnotherLifeIsAnotherServer(t *testing.T) {
	b := NewBook(nil, Events{})
	first := mustBuild(t, b, "s", held("http://a"))
	c := held("http://a")
	c.Servers[0].Epoch = 7
	second := mustBuild(t, b, "s", c)
	if first.eps[0] == second.eps[0] || !first.eps[0].Gone.Load() || second.eps[0].Gone.Load() {
		t.Fatal("the server of before is still used")
	}
}
