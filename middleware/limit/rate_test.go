package limit

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/middleware/source"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func newLimit(t testing.TB, state *memory.State, router string, cfg *config.RateLimit) exchange.Op {
	t.Helper()
	op, err := NewRateLimit(router, "m@file", cfg, state, nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// statuses gives the statuses of n requests at one moment; 0 passes.
func statusesOf(op exchange.Op, n int, make func() *exchange.Exchange) (out []int) {
	for range n {
		ex := make()
		op.Request(ex)
		out = append(out, ex.Resp.Status)
	}
	return out
}

func count(list []int, want int) (n int) {
	for _, s := range list {
		if s == want {
			n++
		}
	}
	return n
}

func TestRateLimitBurstAndRefill(t *testing.T) {
	op := newLimit(t, nil, "r", &config.RateLimit{Average: 1, Period: config.Duration(time.Second), Burst: 3})
	now := int64(1e18)
	at := func() *exchange.Exchange { ex := request("127.0.0.1"); ex.Now = now; return ex }
	if s := statusesOf(op, 6, at); count(s[:3], 0) != 3 || count(s[3:], 429) != 3 {
		t.Fatalf("burst: %v", s)
	}
	ex := at()
	op.Request(ex)
	if string(ex.Body) != "Too Many Requests" || ex.Reason != exchange.RateLimited || ex.Resp.Fields.Get("Retry-After") != "1" || ex.Resp.Fields.Get("X-Retry-In") != "1s" {
		t.Errorf("answer: %q %s %v", ex.Body, ex.Reason, ex.Resp.Fields.All())
	}
	now += int64(1300 * time.Millisecond)
	if s := statusesOf(op, 2, at); s[0] != 0 || s[1] != 429 {
		t.Errorf("after 1.3 s: %v", s)
	}
	now += int64(time.Hour)
	if s := statusesOf(op, 4, at); count(s, 0) != 3 {
		t.Errorf("after an hour: %v", s)
	}
}

func TestRateLimitPerMinute(t *testing.T) {
	op := newLimit(t, nil, "r", &config.RateLimit{Average: 1, Period: config.Duration(time.Minute), Burst: 1})
	s := statusesOf(op, 2, func() *exchange.Exchange { return request("127.0.0.1") })
	if s[0] != 0 || s[1] != 429 {
		t.Fatal(s)
	}
	ex := request("127.0.0.1")
	ex.Now += 5e8
	op.Request(ex)
	if ex.Resp.Fields.Get("Retry-After") != "60" {
		t.Errorf("%v", ex.Resp.Fields.All())
	}
	if s := statusesOf(op, 1, func() *exchange.Exchange { return request("127.0.0.5") }); s[0] != 0 {
		t.Error("peers are not apart")
	}
}

func TestRateLimitWaitThatIsSleptOff(t *testing.T) {
	for _, c := range []struct {
		average      int64
		period, want time.Duration
	}{
		{10, time.Second, 50 * time.Millisecond}, {1, time.Second, 500 * time.Millisecond}, {1, time.Minute, 500 * time.Millisecond},
		{3, 2 * time.Second, 500 * time.Millisecond}, {5, 2 * time.Second, 250 * time.Millisecond}, {1, time.Nanosecond, 0}, {math.MaxInt64, time.Hour, 0},
	} {
		if got := time.Duration(newRate(c.average, c.period, 1).maxDelay); got != c.want {
			t.Errorf("%d in %s: %s, want %s", c.average, c.period, got, c.want)
		}
	}
}

func TestRateLimitSleepsOffShortWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := newLimit(t, nil, "r", &config.RateLimit{Average: 10, Period: config.Duration(time.Second), Burst: 1})
		ask := func(block bool) (*exchange.Exchange, exchange.Verdict) {
			ex := request("127.0.0.1")
			ex.Now, ex.MayBlock = time.Now().UnixNano(), block
			return ex, op.Request(ex)
		}
		if _, v := ask(false); v != exchange.Next {
			t.Fatal("the first is refused")
		}
		time.Sleep(70 * time.Millisecond) // the next token is 30 ms away, less than the 50 that may be slept
		if _, v := ask(false); v != exchange.Block {
			t.Errorf("on a loop: verdict %d", v)
		}
		began := time.Now()
		if ex, v := ask(true); v != exchange.Next || time.Since(began) != 30*time.Millisecond {
			t.Errorf("verdict %d %d after %v", v, ex.Resp.Status, time.Since(began))
		}
		if ex, _ := ask(true); ex.Resp.Status != 429 {
			t.Errorf("a long wait: %d", ex.Resp.Status)
		}
		time.Sleep(60 * time.Millisecond)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		ex := request("127.0.0.1")
		ex.Now, ex.MayBlock, ex.Ctx = time.Now().UnixNano(), true, ctx
		if v := op.Request(ex); v != exchange.Answer || ex.Reason != exchange.ClientGone {
			t.Errorf("a client that went away: %d %s", v, ex.Reason)
		}
	})
}

func TestRateLimitStateAndRouters(t *testing.T) {
	state := memory.New()
	cfg := &config.RateLimit{Average: 1, Period: config.Duration(time.Minute), Burst: 1}
	one := func() *exchange.Exchange { return request("127.0.0.1") }
	state.Begin()
	a, b, a2 := newLimit(t, state, "a", cfg), newLimit(t, state, "b", cfg), newLimit(t, state, "a", cfg)
	state.Commit()
	for _, op := range []exchange.Op{a, b, a2} {
		if s := statusesOf(op, 2, one); s[0] != 0 || s[1] != 429 {
			t.Errorf("each router, and each use, has its own bucket: %v", s)
		}
	}
	state.Begin()
	a = newLimit(t, state, "a", cfg)
	state.Commit()
	if s := statusesOf(a, 1, one); s[0] != 429 {
		t.Error("the bucket did not survive a reload")
	}
	if state.Len() != 1 {
		t.Errorf("%d objects, want that of a alone", state.Len())
	}
	state.Begin()
	a = newLimit(t, state, "a", &config.RateLimit{Average: 2, Period: config.Duration(time.Minute), Burst: 1})
	state.Commit()
	if s := statusesOf(a, 1, one); s[0] != 0 {
		t.Error("a changed limit must begin again")
	}
}

func TestRateLimitOptions(t *testing.T) {
	for _, c := range []struct {
		cfg  config.RateLimit
		want string
	}{
		{config.RateLimit{Average: 1, Period: -1}, "period"},
		{config.RateLimit{Average: 1, SourceCriterion: &config.SourceCriterion{RequestHost: true, RequestHeaderName: "X"}}, "sourceCriterion"},
		{config.RateLimit{Average: 1, Redis: &config.Redis{DB: -1}}, "redis.db"},
		{config.RateLimit{Average: 1, Redis: &config.Redis{TLS: &config.ClientTLS{CA: "/nowhere"}}}, "redis.tls.ca"},
	} {
		if _, err := NewRateLimit("r", "m", &c.cfg, nil, nil, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
	for _, avg := range []int64{0, -1} {
		if op := newLimit(t, nil, "r", &config.RateLimit{Average: avg}); op != nil {
			t.Errorf("an average of %d limits", avg)
		}
	}
	huge := newRate(1, time.Hour, math.MaxInt64)
	if _, early := huge.next(0, 1e18); early != 0 || huge.burst < 0 {
		t.Errorf("a huge burst overflows: %+v", huge)
	}
}

func TestBucketsAreBounded(t *testing.T) {
	b := newBuckets(newRate(1, time.Hour, 1))
	for i := range uint64(600_000) {
		b.take(source.Key{i, i}, 1e18, 0)
	}
	if n := b.len(); n > bucketShards*bucketsPerShard {
		t.Errorf("%d buckets", n)
	}
	for i := range uint64(50_000) { // all old ones are full again by now
		b.take(source.Key{i, i + 1}, 2e18, 0)
	}
	if n := b.len(); n > 60_000 {
		t.Errorf("%d buckets after a sweep", n)
	}
}

func TestRateIsKeptUnderConcurrency(t *testing.T) {
	b := newBuckets(newRate(1, time.Second, 1000))
	var wg sync.WaitGroup
	var mu sync.Mutex
	passed := 0
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if _, ok := b.take(source.Key{1, 1}, 1e18, 0); ok {
					mu.Lock()
					passed++
					mu.Unlock()
				}
			}
		})
	}
	if wg.Wait(); passed != 1000 {
		t.Errorf("%d passed", passed)
	}
}

func TestRateLimitDoesNotAllocate(t *testing.T) {
	op := newLimit(t, nil, "r", &config.RateLimit{Average: 1e9, Period: config.Duration(time.Second), Burst: 1000})
	fl, _ := NewInFlight("r", "m", &config.InFlightReq{Amount: 10}, nil, nil)
	br, _ := NewBreaker("r", "m", &config.CircuitBreaker{Expression: "NetworkErrorRatio() > 0.5"}, nil, nil)
	ex := request("127.0.0.1")
	if n := testing.AllocsPerRun(500, func() {
		ex.Now++
		op.Request(ex)
		fl.Request(ex)
		br.Request(ex)
		ex.Resp.Status = 200
		ex.RunDone()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRateLimit(b *testing.B) {
	op := newLimit(b, nil, "r", &config.RateLimit{Average: 1e9, Period: config.Duration(time.Second), Burst: 1000})
	ex := request("127.0.0.1")
	b.ReportAllocs()
	for b.Loop() {
		ex.Now++
		op.Request(ex)
	}
}
