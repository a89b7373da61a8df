package limit

import (
	"sync"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func newFlight(t *testing.T, state *memory.State, cfg *config.InFlightReq) exchange.Op {
	t.Helper()
	op, err := NewInFlight("r", "m", cfg, state, nil)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func TestInFlight(t *testing.T) {
	op := newFlight(t, nil, &config.InFlightReq{Amount: 2})
	a, b, c := request("127.0.0.1"), request("127.0.0.2"), request("127.0.0.3")
	other := request("127.0.0.1")
	other.Req.Host = "b.test"
	for i, ex := range []*exchange.Exchange{a, b, other} {
		if v := op.Request(ex); v != exchange.Next {
			t.Fatalf("request %d refused", i)
		}
	}
	if v := op.Request(c); v != exchange.Answer || c.Resp.Status != 429 || c.Reason != exchange.InFlightLimit || string(c.Body) != "max connections reached: 2" {
		t.Fatalf("the third: %d %d %q", v, c.Resp.Status, c.Body)
	}
	c.RunDone() // a refused one gives nothing back
	if v := op.Request(request("127.0.0.3")); v != exchange.Answer {
		t.Fatal("a refused request gave a place free")
	}
	a.RunDone()
	if v := op.Request(request("127.0.0.3")); v != exchange.Next {
		t.Fatal("an ended request gave no place free")
	}
}

func TestInFlightByHeaderAndZero(t *testing.T) {
	op := newFlight(t, nil, &config.InFlightReq{Amount: 1, SourceCriterion: &config.SourceCriterion{RequestHeaderName: "X-K"}})
	for _, c := range []struct {
		k    string
		want exchange.Verdict
	}{{"a", exchange.Next}, {"b", exchange.Next}, {"a", exchange.Answer}} {
		if v := op.Request(request("127.0.0.1", "X-K", c.k)); v != c.want {
			t.Errorf("%s: %d", c.k, v)
		}
	}
	for _, n := range []int64{0, -2} {
		if v := newFlight(t, nil, &config.InFlightReq{Amount: n}).Request(request("127.0.0.1")); v != exchange.Answer {
			t.Errorf("an amount of %d lets a request in", n)
		}
	}
	if _, err := NewInFlight("r", "m", &config.InFlightReq{Amount: 1, SourceCriterion: &config.SourceCriterion{RequestHost: true, RequestHeaderName: "X"}}, nil, nil); err == nil {
		t.Error("two criteria accepted")
	}
}

func TestInFlightOutlivesReload(t *testing.T) {
	state := memory.New()
	build := func() exchange.Op {
		state.Begin()
		defer state.Commit()
		return newFlight(t, state, &config.InFlightReq{Amount: 1})
	}
	ex := request("127.0.0.1")
	if build().Request(ex) != exchange.Next {
		t.Fatal("refused")
	}
	after := build()
	if after.Request(request("127.0.0.1")) != exchange.Answer {
		t.Error("a reload forgot a request under way")
	}
	ex.RunDone()
	if after.Request(request("127.0.0.1")) != exchange.Next {
		t.Error("the end of a request of the old table does not count in the new")
	}
}

func TestInFlightSlotsAreReused(t *testing.T) {
	op := newFlight(t, nil, &config.InFlightReq{Amount: 1000, SourceCriterion: &config.SourceCriterion{RequestHeaderName: "X-K"}}).(*inFlight)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				ex := request("127.0.0.1", "X-K", string(rune('a'+(g*31+i)%500)))
				op.Request(ex)
				ex.RunDone()
			}
		})
	}
	wg.Wait()
	slots := 0
	for i := range op.shards {
		s := &op.shards[i]
		if len(s.index) != 0 || len(s.free) != len(s.slots) {
			t.Errorf("shard %d: %d groups, %d of %d slots free", i, len(s.index), len(s.free), len(s.slots))
		}
		slots += len(s.slots)
	}
	if slots > 200 {
		t.Errorf("%d slots for 8 requests at a time", slots)
	}
}
