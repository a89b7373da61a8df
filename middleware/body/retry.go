package body

import (
	"bytes"
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// defaultRetryBody bounds what is kept of a body to repeat a request.
const defaultRetryBody = 2 << 20

type retry struct {
	attempts   int
	interval   time.Duration
	factor     float64
	timeout    time.Duration
	maxBody    int64
	statuses   statusSet
	noNetwork  bool
	everything bool // methods that are not idempotent, too
}

// NewRetry repeats requests whose connection failed, or whose answer has one of the
// statuses given.
func NewRetry(cfg *config.Retry, warn option.Warn) (exchange.Stage, error) {
	if cfg.Attempts < 1 {
		return nil, option.Errorf("attempts", "write for example 3", "%d leaves no attempt", cfg.Attempts)
	}
	if cfg.InitialInterval < 0 {
		warn.Say("initialInterval", "write for example 100ms", "%s is negative: there is no pause", cfg.InitialInterval)
	}
	if cfg.Timeout < 0 {
		warn.Say("timeout", "write for example 10s", "%s is negative: there is no limit", cfg.Timeout)
	}
	rt := &retry{
		attempts: cfg.Attempts, interval: time.Duration(cfg.InitialInterval), timeout: time.Duration(cfg.Timeout),
		noNetwork: cfg.DisableRetryOnNetworkError, everything: cfg.RetryNonIdempotentMethod, maxBody: defaultRetryBody,
	}
	if cfg.MaxRequestBodyBytes != nil {
		if rt.maxBody = *cfg.MaxRequestBodyBytes; rt.maxBody < 0 {
			rt.maxBody = math.MaxInt64 - 1
		}
	}
	var err error
	if rt.statuses, err = parseStatuses("status", cfg.Status, warn); err != nil {
		return nil, err
	}
	if rt.noNetwork && len(rt.statuses) == 0 {
		return nil, option.Errorf("disableRetryOnNetworkError", "give status, or leave it out", "nothing is left to retry on")
	}
	if rt.attempts > 1 {
		// The last wait is twice the first.
		rt.factor = math.Pow(2, 1/float64(rt.attempts-1))
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { rt.serve(w, r, next) })
	}, nil
}

func (rt *retry) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	ex := exchange.FromContext(r.Context())
	if ex == nil {
		ex = new(exchange.Exchange)
	}
	byStatus := len(rt.statuses) > 0 && (rt.everything || idempotent(r.Method))
	var keep *keptBody
	if byStatus && hasBody(r) {
		var err error
		if keep, err = keepBody(r, rt.maxBody); err != nil {
			status := exchange.ReadTimeout.Status()
			ex.Reason = exchange.ReadTimeout
			http.Error(w, http.StatusText(status), status)
			return
		}
		byStatus = keep.whole
	}
	ex.OneServer = ex.OneServer || rt.noNetwork
	began := time.Now()
	for attempt := 1; ; attempt++ {
		ex.Reason = exchange.NoReason
		g := newGate(w, func(status int) bool {
			switch {
			case attempt >= rt.attempts || status == http.StatusSwitchingProtocols || r.Context().Err() != nil:
				return true
			case rt.timeout > 0 && time.Since(began) >= rt.timeout:
				return true
			case !rt.noNetwork && unreached(ex, status) && (keep == nil || keep.fresh()):
				return false
			}
			return !byStatus || !rt.statuses.has(status)
		})
		r2 := r
		if keep != nil {
			r2 = keep.request(r)
		}
		if g.run(next, r2) {
			return
		}
		ex.Log.Retries++
		if !pause(r.Context(), rt.wait(attempt)) {
			ex.Reason = exchange.ClientGone
			w.WriteHeader(exchange.StatusClientGone)
			return
		}
	}
}

// wait is the pause after an attempt, spread by half so that requests that failed together
// do not come back together.
func (rt *retry) wait(attempt int) time.Duration {
	if rt.interval <= 0 {
		return 0
	}
	d := float64(rt.interval) * math.Pow(rt.factor, float64(attempt-1))
	return time.Duration(d * (0.5 + rand.Float64())) //nolint:gosec // no secret
}

func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// unreached reports whether an answer of status is the edge's own, because no byte of the
// request has reached a server. The reason alone does not say so: one server may have been
// down and the next have answered. While a server's answer passes, its endpoint is held.
func unreached(ex *exchange.Exchange, status int) bool {
	switch ex.Reason {
	case exchange.DialRefused, exchange.DialTimeout, exchange.DialFailed, exchange.DialNoHost, exchange.UpstreamTLS:
		return status == ex.Reason.Status() && ex.Backend.Owner == nil
	}
	return false
}

// idempotent reports whether a request may be sent twice. As with the reference that is any
// but those whose methods are known to be for once; RFC 9110 §9.2.2 would have it the other
// way around for methods that nobody knows.
func idempotent(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPatch, "LOCK":
		return false
	}
	return true
}

func hasBody(r *http.Request) bool {
	return r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0
}

// keptBody is what was read of a body in advance.
type keptBody struct {
	head  []byte
	rest  io.ReadCloser // behind head, where the body was too long to keep
	whole bool
	used  *consumption
}

type consumption struct {
	io.Reader
	io.Closer
	read bool
}

// Read implements io.Reader.
func (c *consumption) Read(p []byte) (int, error) {
	c.read = true
	return c.Reader.Read(p)
}

// keepBody reads a body of up to limit bytes.
func keepBody(r *http.Request, limit int64) (*keptBody, error) {
	if r.ContentLength > limit {
		return &keptBody{rest: r.Body}, nil
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(head)) > limit {
		return &keptBody{head: head, rest: r.Body}, nil
	}
	return &keptBody{head: head, whole: true}, nil
}

// fresh reports whether a further attempt can send the body from its beginning.
func (k *keptBody) fresh() bool { return k.whole || k.used == nil || !k.used.read }

// request is r with the body from its beginning.
func (k *keptBody) request(r *http.Request) *http.Request {
	r2 := r.WithContext(r.Context())
	r2.Header = r.Header.Clone()
	switch {
	case k.whole:
		r2.Body = io.NopCloser(bytes.NewReader(k.head))
		if len(r.Trailer) == 0 {
			r2.ContentLength, r2.TransferEncoding = int64(len(k.head)), nil
		}
		if len(k.head) == 0 && len(r.Trailer) == 0 {
			r2.Body = http.NoBody
		}
	default:
		k.used = &consumption{Reader: io.MultiReader(bytes.NewReader(k.head), k.rest), Closer: io.NopCloser(nil)}
		r2.Body = k.used
	}
	return r2
}
