package acme

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/url"
	"time"

	legoacme "github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/acme/api"
)

const (
	// firstWait and waitFactor give waits of 1, 4, 16 and 64 min and so on: four attempts in
	// the first hour, below the five failures an hour that Let's Encrypt allows a name.
	firstWait  = time.Minute
	waitFactor = 4
	maxWait    = 24 * time.Hour
	// A CA that cannot be reached counts nothing against the name, so it is asked sooner.
	firstNetWait = 2 * time.Second
	maxNetWait   = 5 * time.Minute
)

// Attempt is what storage keeps of the trouble with a set of names.
type Attempt struct {
	Failures int       `json:"failures"`
	Network  int       `json:"network,omitempty"`
	Next     time.Time `json:"next"`
	Error    string    `json:"error,omitempty"`
	// ARI is when the CA asks for renewal; zero where it does not say. Checked is when it was asked.
	ARI     time.Time `json:"ari,omitzero"`
	Checked time.Time `json:"checked,omitzero"`
}

// attempt is a copy of what is known of the trouble with names.
func (r *resolver) attempt(k string) Attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tries[k]; t != nil {
		return *t
	}
	return Attempt{}
}

// fail notes a failed order and when the next may be made: exponential back-off with
// jitter, never before the CA's Retry-After.
func (a *Attempt) fail(err error, now time.Time) {
	a.Error = err.Error()
	var wait time.Duration
	if r := (*refused)(nil); errors.As(err, &r) {
		a.Next = r.until // nothing was tried
		return
	}
	if isNetwork(err) {
		a.Network++
		wait = grow(firstNetWait, 2, a.Network, maxNetWait)
	} else {
		a.Failures++
		wait = grow(firstWait, waitFactor, a.Failures, maxWait)
	}
	wait += time.Duration(rand.Int64N(int64(wait)/4 + 1))
	var limited *legoacme.RateLimitedError
	if errors.As(err, &limited) {
		if d, err := api.ParseRetryAfter(limited.RetryAfter); err == nil && d > wait {
			wait = d
		}
	}
	a.Next = now.Add(wait)
}

func grow(first time.Duration, factor, n int, limit time.Duration) time.Duration {
	d := first
	for range n - 1 {
		if d *= time.Duration(factor); d >= limit {
			return limit
		}
	}
	return d
}

// isNetwork reports whether the CA was not reached at all.
func isNetwork(err error) bool {
	if err == nil {
		return false
	}
	var p *legoacme.ProblemDetails
	var u *unready
	if errors.As(err, &p) || errors.As(err, &u) {
		return false
	}
	var ne net.Error
	var ue *url.Error
	return errors.As(err, &ne) || errors.As(err, &ue)
}

// renewBefore is how long before its end a certificate of that lifetime is renewed. The
// steps are the reference's.
func renewBefore(life time.Duration) time.Duration {
	const day = 24 * time.Hour
	switch {
	case life >= 365*day:
		return 120 * day
	case life >= 90*day:
		return 30 * day
	case life >= 30*day:
		return 10 * day
	case life >= 6*day:
		return 2 * day
	case life >= day:
		return 6 * time.Hour
	}
	return min(20*time.Minute, life/3)
}

func decodeAttempt(b []byte) (a Attempt, ok bool) {
	ok = json.Unmarshal(b, &a) == nil
	return a, ok
}

// unready is what preflight found where it must find nothing.
type unready struct{ error }

func (u *unready) Unwrap() error { return u.error }

// The results of orders, as metrics name them.
const (
	resultObtained  = "obtained"
	resultNetwork   = "network"
	resultLimited   = "rate_limited"
	resultRefused   = "ledger"
	resultUnready   = "preflight"
	resultChallenge = "challenge"
	resultOther     = "other"
)

func resultOf(err error) string {
	var limited *legoacme.RateLimitedError
	var r *refused
	var u *unready
	var p *legoacme.ProblemDetails
	switch {
	case err == nil:
		return resultObtained
	case errors.As(err, &r):
		return resultRefused
	case errors.As(err, &u):
		return resultUnready
	case errors.As(err, &limited):
		return resultLimited
	case isNetwork(err):
		return resultNetwork
	case errors.As(err, &p):
		return resultChallenge
	}
	return resultOther
}
