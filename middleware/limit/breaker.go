package limit

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/expr"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// The states of a breaker. Closed lets everything through, open nothing; recovering lets
// a share through that grows.
const (
	closed int32 = iota
	open
	recovering
)

// breaker stops asking what fails. It is its own memory.
type breaker struct {
	cond                      expr.Cond[*window]
	check, fallback, recovery int64
	code                      int

	state atomic.Int32
	mu    sync.Mutex
	w     *window
	// lastCheck is when the expression was last asked; until when the state ends.
	lastCheck, until int64
	// The share let through while recovering.
	allowed, denied int64
}

func breakerFuncs() map[string]expr.Func[*window] {
	return map[string]expr.Func[*window]{
		"NetworkErrorRatio": {Call: func(w *window, _ []float64) float64 { return w.networkErrors() }},
		"ResponseCodeRatio": {Args: 4, Call: func(w *window, a []float64) float64 {
			return w.codeRatio(int(a[0]), int(a[1]), int(a[2]), int(a[3]))
		}},
		"RequestThreshold": {Call: func(w *window, _ []float64) float64 { return float64(w.requests()) }},
		"LatencyAtQuantileMS": {Args: 1, Call: func(w *window, a []float64) float64 { return w.quantileMS(a[0]) }, Check: func(a []float64) error {
			if a[0] < 0 || a[0] > 100 {
				return fmt.Errorf("the quantile is a percentage, not %v", a[0])
			}
			return nil
		}},
	}
}

// NewBreaker builds a circuit breaker. Each router has its own, as with the reference.
func NewBreaker(router, name string, cfg *config.CircuitBreaker, state *memory.State, warn option.Warn) (exchange.Op, error) {
	cond, err := expr.Compile(cfg.Expression, breakerFuncs())
	if err != nil {
		return nil, option.Errorf("expression", "write for example NetworkErrorRatio() > 0.30", "%v", err)
	}
	b := &breaker{cond: cond, code: cfg.ResponseCode}
	for _, d := range []struct {
		to       *int64
		field    string
		value    config.Duration
		standard time.Duration
	}{
		{&b.check, "checkPeriod", cfg.CheckPeriod, 100 * time.Millisecond},
		{&b.fallback, "fallbackDuration", cfg.FallbackDuration, 10 * time.Second},
		{&b.recovery, "recoveryDuration", cfg.RecoveryDuration, 10 * time.Second},
	} {
		if d.value < 0 {
			warn.Say(d.field, "write for example "+d.standard.String(), "%s is negative; %s is used", d.value, d.standard)
		}
		if *d.to = int64(d.value); d.value <= 0 {
			*d.to = int64(d.standard)
		}
	}
	if b.code == 0 {
		b.code = http.StatusServiceUnavailable
	} else if b.code < 200 || b.code > 999 {
		return nil, option.Errorf("responseCode", "write for example 503", "%d is not the status of an answer", b.code)
	}
	return memory.Each(state, memory.Key(cfg, "circuitBreaker", router, name), func() *breaker {
		b.w = newWindow(time.Now().UnixNano())
		return b
	}), nil
}

// Request implements exchange.Op. The time is that of the clock, not ex.Now: latencies
// are the difference of two such times.
func (b *breaker) Request(ex *exchange.Exchange) exchange.Verdict {
	now := time.Now().UnixNano()
	if b.state.Load() != closed && !b.admit(now) {
		return ex.Reply(b.code, exchange.BreakerOpen, "")
	}
	ex.OnDone(b, uint64(now)) //nolint:gosec // a time since 1970 is positive
	return exchange.Next
}

// Done implements exchange.DoneOp.
func (b *breaker) Done(ex *exchange.Exchange, arg uint64) {
	if ex.Resp.Status == 0 || ex.Reason == exchange.ClientGone {
		return // says nothing about the service
	}
	now := time.Now().UnixNano()
	b.record(now, ex.Resp.Status, time.Duration(now-int64(arg))) //nolint:gosec // see Request
}

// record counts an answer and asks the expression if it is time to.
func (b *breaker) record(now int64, status int, latency time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.w.add(now, status, latency)
	if now < b.lastCheck+b.check {
		return
	}
	b.lastCheck = now
	if b.state.Load() == open || !b.cond(b.w) {
		return
	}
	b.state.Store(open)
	b.until = now + b.fallback
	b.w.reset()
}

// admit decides about a request where the breaker is not closed.
func (b *breaker) admit(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state.Load() {
	case open:
		if now < b.until {
			return false
		}
		b.state.Store(recovering)
		b.until = now + b.recovery
		b.allowed, b.denied = 0, 0
	case closed: // meanwhile
		return true
	}
	if now > b.until {
		b.state.Store(closed)
		return true
	}
	// The share grows to a half at the end of the recovery; after that all pass.
	target := 0.5 * (1 - float64(b.until-now)/float64(b.recovery))
	if float64(b.allowed+1)/float64(b.allowed+1+b.denied) < target {
		b.allowed++
		return true
	}
	b.denied++
	return false
}
