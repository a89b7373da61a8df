package limit

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/middleware/source"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// limiter is what a rate limit remembers.
type limiter struct {
	criterion *source.Criterion
	buckets   *buckets
}

type rateLimit struct {
	*limiter
	shared *shared // nil: in memory
}

// NewRateLimit allows a number of requests per period and group. The buckets are those of
// one router, as with the reference; on Redis they are shared by all routers and replicas.
// An average of zero limits nothing: the op is nil.
func NewRateLimit(router, name string, cfg *config.RateLimit, state *memory.State, warn option.Warn, log zerolog.Logger) (exchange.Op, error) {
	period := time.Duration(cfg.Period)
	switch {
	case period < 0:
		return nil, option.Errorf("period", "write for example period=1m", "%s is negative", period)
	case period == 0:
		period = time.Second
	}
	criterion, err := source.NewCriterion(cfg.SourceCriterion, false, warn)
	if err != nil {
		return nil, err
	}
	if cfg.Average <= 0 {
		if cfg.Average < 0 {
			warn.Say("average", "write a positive number", "%d is negative: nothing is limited", cfg.Average)
		}
		return nil, nil
	}
	r := newRate(cfg.Average, period, cfg.Burst)
	l := memory.Each(state, memory.Key(cfg, "rateLimit", router, name), func() *limiter {
		return &limiter{criterion: criterion, buckets: newBuckets(r)}
	})
	op := &rateLimit{limiter: l}
	if cfg.Redis != nil {
		if op.shared, err = newShared(name, cfg.Redis, r, state, log); err != nil {
			return nil, err
		}
	}
	return op, nil
}

// Request implements exchange.Op.
func (l *rateLimit) Request(ex *exchange.Exchange) exchange.Verdict {
	if l.shared != nil {
		if !ex.MayBlock {
			return exchange.Block
		}
		if wait, err := l.shared.take(ex.Ctx, l.criterion.Text(ex)); err == nil {
			return l.decide(ex, int64(wait), int64(wait) <= l.buckets.maxDelay)
		}
		// Redis cannot be asked: this router limits alone until it can.
	}
	// A short wait is slept off, but only where sleeping is allowed.
	maxWait := int64(0)
	if ex.MayBlock {
		maxWait = l.buckets.maxDelay
	}
	wait, ok := l.buckets.take(l.criterion.Key(ex), ex.Now, maxWait)
	if !ok && !ex.MayBlock && wait <= l.buckets.maxDelay {
		return exchange.Block
	}
	return l.decide(ex, wait, ok)
}

func (l *rateLimit) decide(ex *exchange.Exchange, wait int64, ok bool) exchange.Verdict {
	if !ok {
		return tooMany(ex, time.Duration(wait))
	}
	if wait > 0 && !sleep(ex.Ctx, time.Duration(wait)) {
		return ex.Reply(exchange.StatusClientGone, exchange.ClientGone, "Client Closed Request")
	}
	return exchange.Next
}

// sleep waits for d and reports false if ctx ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	var done <-chan struct{}
	if ctx != nil {
		done = ctx.Done()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}

func tooMany(ex *exchange.Exchange, wait time.Duration) exchange.Verdict {
	ex.Reply(http.StatusTooManyRequests, exchange.RateLimited, "")
	ex.Resp.Fields.Add("Retry-After", strconv.FormatInt(int64(math.Ceil(wait.Seconds())), 10))
	ex.Resp.Fields.Add("X-Retry-In", wait.String())
	return exchange.Answer
}
