package limit

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// try sends a request through a breaker whose service answers status after d; it returns what the client gets.
func try(op exchange.Op, status int, d time.Duration) int {
	ex := request("127.0.0.1")
	if op.Request(ex) == exchange.Next {
		time.Sleep(d)
		ex.Resp.Status = status
	}
	ex.RunDone()
	return ex.Resp.Status
}

func newBreaker(t *testing.T, state *memory.State, cfg *config.CircuitBreaker) exchange.Op {
	t.Helper()
	op, err := NewBreaker("r", "m", cfg, state, nil)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func TestBreakerByLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := newBreaker(t, nil, &config.CircuitBreaker{Expression: "LatencyAtQuantileMS(50.0) > 60", FallbackDuration: config.Duration(5 * time.Second)})
		var got []int
		for range 12 {
			got = append(got, try(op, 200, 120*time.Millisecond))
		}
		if count(got, 200) != 1 || count(got, 503) != 11 {
			t.Errorf("%v", got)
		}
	})
}

func TestBreakerLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := newBreaker(t, nil, &config.CircuitBreaker{Expression: "NetworkErrorRatio() > 0.3", FallbackDuration: config.Duration(2 * time.Second),
			RecoveryDuration: config.Duration(4 * time.Second), ResponseCode: 429})
		for range 20 {
			if s := try(op, 200, 20*time.Millisecond); s != 200 {
				t.Fatal("a healthy service is not asked:", s)
			}
		}
		failed := 0
		for try(op, 502, 20*time.Millisecond) == 502 {
			if failed++; failed > 50 {
				t.Fatal("does not open")
			}
		}
		ex := request("127.0.0.1")
		if op.Request(ex); ex.Resp.Status != 429 || string(ex.Body) != "Too Many Requests" || ex.Reason != exchange.BreakerOpen {
			t.Errorf("open: %d %q %s", ex.Resp.Status, ex.Body, ex.Reason)
		}
		time.Sleep(2 * time.Second)
		share := func(n int) float64 {
			ok := 0
			for range n {
				if try(op, 200, time.Millisecond) == 200 {
					ok++
				}
			}
			return float64(ok) / float64(n)
		}
		first := share(100)
		time.Sleep(1500 * time.Millisecond)
		later := share(100)
		if first > 0.2 || later <= first || later > 0.7 {
			t.Errorf("recovering lets %.2f, then %.2f through", first, later)
		}
		time.Sleep(3 * time.Second)
		if s := share(20); s != 1 {
			t.Errorf("after the recovery %.2f pass", s)
		}
	})
}

func TestBreakerOpensAgainWhileRecovering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := newBreaker(t, nil, &config.CircuitBreaker{Expression: "ResponseCodeRatio(500, 600, 0, 600) > 0.5", FallbackDuration: config.Duration(time.Second)})
		for try(op, 500, 50*time.Millisecond) == 500 {
		}
		time.Sleep(time.Second)
		asked := 0
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			if try(op, 500, 10*time.Millisecond) == 500 {
				asked++
			}
		}
		if asked == 0 || asked > 20 {
			t.Errorf("a service that still fails was asked %d of 1000 times", asked)
		}
	})
}

func TestBreakerIgnoresClientsAndOwnAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := newBreaker(t, nil, &config.CircuitBreaker{Expression: "NetworkErrorRatio() > 0 || ResponseCodeRatio(400, 500, 0, 600) > 0"})
		for range 10 {
			ex := request("127.0.0.1")
			op.Request(ex)
			time.Sleep(200 * time.Millisecond)
			ex.Resp.Status, ex.Reason = 499, exchange.ClientGone
			ex.RunDone()
			if s := try(op, 200, 200*time.Millisecond); s != 200 {
				t.Fatal("clients that go away open the breaker")
			}
		}
	})
}

func TestBreakerStateOutlivesReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := memory.New()
		build := func() exchange.Op {
			state.Begin()
			defer state.Commit()
			return newBreaker(t, state, &config.CircuitBreaker{Expression: "NetworkErrorRatio() > 0"})
		}
		try(build(), 502, time.Second)
		if s := try(build(), 200, 0); s != 503 {
			t.Error("a reload closed the breaker:", s)
		}
	})
}

func TestBreakerOptions(t *testing.T) {
	for _, c := range []struct {
		cfg  config.CircuitBreaker
		want string
	}{
		{config.CircuitBreaker{Expression: "Nonsense("}, "expression"},
		{config.CircuitBreaker{Expression: "Unknown() > 1"}, "LatencyAtQuantileMS"},
		{config.CircuitBreaker{FallbackDuration: config.Duration(time.Second)}, "expression: is empty"},
		{config.CircuitBreaker{Expression: "LatencyAtQuantileMS(101) > 1"}, "percentage"},
		{config.CircuitBreaker{Expression: "NetworkErrorRatio() > 1", ResponseCode: 42}, "responseCode"},
	} {
		if _, err := NewBreaker("r", "m", &c.cfg, nil, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
	// As with the reference a duration that is none is the usual one.
	var warned []string
	op, err := NewBreaker("r", "m", &config.CircuitBreaker{Expression: "NetworkErrorRatio() > 0.5", CheckPeriod: -1, FallbackDuration: -2, RecoveryDuration: -3}, nil,
		func(field, _, _ string) { warned = append(warned, field) })
	if err != nil || strings.Join(warned, ",") != "checkPeriod,fallbackDuration,recoveryDuration" {
		t.Fatalf("negative durations: %v, warned of %v", err, warned)
	}
	if b, ok := op.(*breaker); !ok || b.check != int64(100*time.Millisecond) || b.fallback != int64(10*time.Second) || b.recovery != int64(10*time.Second) {
		t.Errorf("negative durations: %+v", op)
	}
}

func TestWindow(t *testing.T) {
	w := newWindow(0)
	at := func(s float64) int64 { return int64(s * 1e9) }
	for i := range 100 {
		w.add(at(1), []int{200, 200, 404, 502}[i%4], time.Duration(i+1)*time.Millisecond)
	}
	if r := w.networkErrors(); r != 0.25 {
		t.Errorf("network errors %v", r)
	}
	if r := w.codeRatio(400, 600, 0, 1000); r != 0.5 {
		t.Errorf("ratio %v", r)
	}
	for q, want := range map[float64]float64{50: 50, 95: 95, 100: 100, 0: 1} {
		if got := w.quantileMS(q); math.Abs(got-want) > 2 {
			t.Errorf("quantile %v: %v ms, want %v", q, got, want)
		}
	}
	w.move(at(10.5))
	if w.networkErrors() != 0.25 {
		t.Error("forgot too early")
	}
	w.move(at(12))
	if w.networkErrors() != 0 || w.quantileMS(50) == 0 {
		t.Error("counts last ten seconds, latencies a minute")
	}
	w.move(at(90))
	if w.quantileMS(50) != 0 {
		t.Error("latencies last over a minute")
	}
	w.add(at(1e6), 200, time.Hour) // a long silence
	if w.networkErrors() != 0 {
		t.Error("a silence broke the window")
	}
}

// FuzzHistogram holds: a value is at most 1/32 below the one it is shown as.
func FuzzHistogram(f *testing.F) {
	f.Add(uint64(63))
	f.Add(uint64(64))
	f.Add(uint64(1) << 32)
	f.Fuzz(func(t *testing.T, us uint64) {
		i := histIndex(us)
		if i < 0 || i >= histSize {
			t.Fatalf("%d has index %d", us, i)
		}
		if us >= 1<<histTop {
			return
		}
		if v := histValue(i); v < us || float64(v-us) > float64(us)/32 {
			t.Fatalf("%d is shown as %d", us, v)
		}
		if i > 0 && histValue(i-1) >= us {
			t.Fatalf("%d would fit in the bucket before %d", us, i)
		}
	})
}

func TestBreakerWaitsForEnoughRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := newBreaker(t, nil, &config.CircuitBreaker{Expression: "RequestThreshold() > 5 && NetworkErrorRatio() > 0.5", CheckPeriod: config.Duration(time.Millisecond)})
		var got []int
		for range 10 {
			got = append(got, try(op, 502, 10*time.Millisecond))
		}
		if count(got[:5], 502) != 5 || count(got, 503) == 0 {
			t.Errorf("%v", got)
		}
	})
}
