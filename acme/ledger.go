package acme

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/sluice-edge/sluice/config"
)

// letsEncrypt is the authority whose limits are known: 300 new orders in 3 hours, 50
// certificates a registered domain and 5 the same set of names in 7 days, 5 failed
// validations a name in an hour. What is kept here stays below each, for other programs.
const letsEncrypt = "acme-v02.api.letsencrypt.org"

const (
	ordersWindow   = 3 * time.Hour
	domainWindow   = 7 * 24 * time.Hour
	setWindow      = 7 * 24 * time.Hour
	failuresWindow = time.Hour
)

func limitsOf(cfg *config.ACME) config.ACMELimits {
	var l config.ACMELimits
	if cfg.Limits != nil {
		l = *cfg.Limits
	}
	var known config.ACMELimits
	if u, err := url.Parse(cfg.CAServer); err == nil && u.Hostname() == letsEncrypt {
		known = config.ACMELimits{NewOrders: 280, CertificatesPerDomain: 48, DuplicateCertificates: 4, FailedValidations: 5}
	}
	pick := func(own, known int) int {
		if own == 0 {
			own = known
		}
		return max(own, 0)
	}
	return config.ACMELimits{
		NewOrders:             pick(l.NewOrders, known.NewOrders),
		CertificatesPerDomain: pick(l.CertificatesPerDomain, known.CertificatesPerDomain),
		DuplicateCertificates: pick(l.DuplicateCertificates, known.DuplicateCertificates),
		FailedValidations:     pick(l.FailedValidations, known.FailedValidations),
	}
}

// ledger is what was asked of an authority lately, kept in storage for all replicas.
type ledger struct {
	Orders   []time.Time            `json:"orders,omitempty"`
	Domains  map[string][]time.Time `json:"domains,omitempty"`  // certificates with new names, by registered domain
	Sets     map[string][]time.Time `json:"sets,omitempty"`     // certificates, by their names
	Failures map[string][]time.Time `json:"failures,omitempty"` // failed validations, by name
}

// refused is an order that the authority would refuse.
type refused struct {
	until time.Time
	why   string
}

func (r *refused) Error() string {
	return fmt.Sprintf("not ordered before %s: %s", r.until.UTC().Format(time.RFC3339), r.why)
}

// forget drops what is past its window.
func (l *ledger) forget(now time.Time) {
	young := func(list []time.Time, window time.Duration) []time.Time {
		return slices.DeleteFunc(list, func(t time.Time) bool { return now.Sub(t) >= window })
	}
	each := func(m map[string][]time.Time, window time.Duration) {
		for k, list := range m {
			if m[k] = young(list, window); len(m[k]) == 0 {
				delete(m, k)
			}
		}
	}
	l.Orders = young(l.Orders, ordersWindow)
	each(l.Domains, domainWindow)
	each(l.Sets, setWindow)
	each(l.Failures, failuresWindow)
}

// check says why the authority would refuse an order now, or nil. A renewal of the same
// names does not count against the registered domain.
func (l *ledger) check(names []string, renewal bool, lim config.ACMELimits, now time.Time) error {
	l.forget(now)
	var r *refused
	test := func(list []time.Time, limit int, window time.Duration, what string) {
		if limit <= 0 || len(list) < limit {
			return
		}
		// As many as are over the limit have to leave the window.
		if until := list[len(list)-limit].Add(window); r == nil || until.After(r.until) {
			r = &refused{until, fmt.Sprintf("the limit of %d %s is reached", limit, what)}
		}
	}
	test(l.Orders, lim.NewOrders, ordersWindow, "orders in 3 hours")
	test(l.Sets[id(sorted(names))], lim.DuplicateCertificates, setWindow, "certificates for the same names in 7 days")
	for _, n := range names {
		test(l.Failures[n], lim.FailedValidations, failuresWindow, "failed validations of "+n+" in an hour")
	}
	if !renewal {
		for _, d := range domains(names) {
			test(l.Domains[d], lim.CertificatesPerDomain, domainWindow, "certificates for "+d+" in 7 days")
		}
	}
	if r == nil {
		return nil
	}
	return r
}

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }

// domains are the registered domains of names, each once.
func domains(names []string) []string {
	var out []string
	for _, n := range names {
		d, err := publicsuffix.EffectiveTLDPlusOne(n)
		if err != nil {
			d = n
		}
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

func add(m *map[string][]time.Time, key string, now time.Time) {
	if *m == nil {
		*m = map[string][]time.Time{}
	}
	(*m)[key] = append((*m)[key], now)
}

// withLedger reads, changes and writes the ledger; replicas do so one after the other.
func (r *resolver) withLedger(ctx context.Context, f func(l *ledger) error) error {
	lock, err := r.vault.Lock(ctx, r.name+"/@ledger", r.lease)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }() // it expires anyhow
	var l ledger
	key := r.stateKey("@ledger")
	if err := r.vault.getJSON(ctx, key, &l); err != nil {
		r.log.Warn().Err(err).Msg("ledger of orders not read; it begins anew")
		l = ledger{}
	}
	if err := f(&l); err != nil {
		return err
	}
	return r.vault.putJSON(ctx, key, &l)
}

// reserve counts an order, or says why it would be refused.
func (r *resolver) reserve(ctx context.Context, j job) error {
	now := time.Now()
	return r.withLedger(ctx, func(l *ledger) error {
		if err := l.check(j.names, j.old != nil, limitsOf(r.cfg), now); err != nil {
			return err
		}
		l.Orders = append(l.Orders, now)
		return nil
	})
}

// enter notes how an order ended.
func (r *resolver) enter(ctx context.Context, j job, failed error) {
	now := time.Now()
	err := r.withLedger(ctx, func(l *ledger) error {
		l.forget(now)
		if failed != nil {
			for _, n := range j.names {
				add(&l.Failures, n, now)
			}
			return nil
		}
		add(&l.Sets, id(sorted(j.names)), now)
		if j.old == nil {
			for _, d := range domains(j.names) {
				add(&l.Domains, d, now)
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		r.log.Warn().Err(err).Msg("ledger of orders not stored")
	}
}
