package acme

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-acme/lego/v4/acme/api"
	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"
	"github.com/go-acme/lego/v4/challenge"
	"github.com/go-acme/lego/v4/lego"
	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/store"
)

const (
	// ordersAtOnce bounds orders of one resolver under way.
	ordersAtOnce = 4
	// lockLease is how long the lock of an order outlives a replica that died; one that works
	// extends it.
	lockLease = 30 * time.Second
	// awayWait is the pause after storage could not be reached.
	awayWait = 5 * time.Second
	// ariEvery is how often renewal information is asked for where the CA names no time.
	ariEvery = 6 * time.Hour
	// idle is the longest sleep between two looks at what is due.
	idle = time.Hour
)

// resolver orders and renews the certificates of one certificatesResolver.
type resolver struct {
	name       string
	cfg        *config.ACME
	keyType    certcrypto.KeyType
	vault      vault
	lease      time.Duration
	challenges *challenges
	dns        func(*config.DNSChallenge) (challenge.Provider, error)
	dnsServers *nameservers
	userAgent  string
	log        zerolog.Logger
	wake       chan struct{}
	changed    func()
	covered    func(by *resolver, names []string, now time.Time) bool

	fallback    *resolver // orders where this one failed; may be nil
	lookup      func(context.Context, string) ([]string, error)
	httpPort    int
	tlsPort     int
	accountBits int
	obtained    func(*resolver, *held)
	count       func(resolver, result string)

	clientMu sync.Mutex
	client   *lego.Client

	syncing sync.Mutex // one sync with storage at a time

	demand *demand

	mu          sync.Mutex
	loaded      bool   // storage was read
	epoch       string // of a shared storage
	accountText []byte // the account as storage had it
	certs       hand
	wants       [][]string
	wanted      bool          // wants were told
	wantsTold   chan struct{} // closed then
	backing     [][]string    // names that this one orders for others, as their fallback
	hosts       []string      // kept on demand; replaced, never changed
	wishes      *wishes       // of wants, backing and hosts; nil: to be made anew
	tries       map[string]*Attempt
	busy        map[string]bool
	pause       time.Time // storage is away: nothing is begun before
}

// want replaces what is wanted.
func (r *resolver) want(sets [][]string) {
	slices.SortFunc(sets, func(a, b []string) int { return strings.Compare(id(a), id(b)) })
	sets = slices.CompactFunc(sets, func(a, b []string) bool { return id(a) == id(b) })
	r.mu.Lock()
	r.wants, r.wishes = sets, nil
	if !r.wanted {
		r.wanted = true
		close(r.wantsTold)
	}
	r.mu.Unlock()
	r.nudge()
}

func (r *resolver) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run orders and renews until ctx ends, and waits for what is under way.
func (r *resolver) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, ordersAtOnce)
	for {
		due, next := r.due(time.Now())
		for _, job := range due {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				defer func() { <-slots; r.nudge() }()
				r.work(ctx, job)
			})
		}
		t := time.NewTimer(max(time.Until(next), 10*time.Millisecond))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-r.wake:
			t.Stop()
		case <-t.C:
		}
	}
}

// job is one order: for names that have no certificate, or the renewal of old.
type job struct {
	names []string
	old   *held
	ask   bool // only ask for renewal information
}

// due marks what is to be done now as busy and returns it, with the time of the next look.
func (r *resolver) due(now time.Time) ([]job, time.Time) {
	r.mu.Lock()
	wants := r.wanting()
	ready, pause := r.loaded, r.pause
	r.mu.Unlock()
	if !ready || now.Before(pause) {
		return nil, now.Add(awayWait)
	}
	var need []int
	for i, w := range wants.sets {
		if !r.covered(r, w, now) {
			need = append(need, i)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next := now.Add(idle)
	var jobs []job
	consider := func(names []string, at time.Time, j job) {
		k := id(names)
		if t := r.tries[k]; t != nil && t.Next.After(at) {
			at = t.Next
		}
		switch {
		case r.busy[k]:
		case !at.After(now):
			r.busy[k] = true
			jobs = append(jobs, j)
		case at.Before(next):
			next = at
		}
	}
	for _, i := range need {
		if w := wants.sets[i]; !r.renews(w, now) && !r.pending(wants, i) {
			consider(w, now, job{names: w})
		}
	}
	for k, h := range r.certs.all {
		if !wants.use(h.names) {
			continue // nobody names it any more: it is kept, and not renewed
		}
		at, ask := r.renewAt(k, h, now)
		consider(h.names, at, job{names: h.names, old: h, ask: ask})
	}
	return jobs, next
}

// pending reports whether set i waits for another one that is wanted and whose certificate
// will be good for it too. One that failed, or that this resolver cannot obtain, holds
// nothing up. The caller holds r.mu.
func (r *resolver) pending(wants *wishes, i int) bool {
	for t := range wants.covering(i) {
		if covers(wants.sets[i], t) {
			return true // the same names in another order
		}
		a := r.tries[id(t)]
		if (a == nil || a.Error == "") && (r.provesWildcards() || !slices.ContainsFunc(t, isWildcard)) {
			return true
		}
	}
	return false
}

// renews reports whether a certificate that is good for the names is in hand and is renewed,
// or would be if it did not fail before its end. The caller holds r.mu.
func (r *resolver) renews(names []string, now time.Time) bool {
	for h := range r.certs.covering(names) {
		a := r.tries[id(h.names)]
		if now.Before(h.pair.Leaf.NotAfter) || (a == nil || a.Error == "") && (r.provesWildcards() || !slices.ContainsFunc(h.names, isWildcard)) {
			return true
		}
	}
	return false
}

// provesWildcards reports whether the resolver can obtain certificates for wildcards, for
// which only DNS-01 will do.
func (r *resolver) provesWildcards() bool {
	return r.cfg.DNSChallenge != nil && r.cfg.DNSChallenge.Provider != ""
}

func isWildcard(name string) bool { return strings.HasPrefix(name, "*.") }

// renewAt is when the certificate is to be renewed: the CA's wish (ARI, RFC 9773), else the
// table; spread by its serial number, so that a restart of many does not meet the CA at once.
// ask means that at that time the CA is to be asked for its wish.
func (r *resolver) renewAt(k string, h *held, now time.Time) (at time.Time, ask bool) {
	at = r.renewByTable(h)
	t := r.tries[k]
	if t != nil && !t.ARI.IsZero() && t.ARI.Before(at) {
		at = t.ARI
	}
	if !at.After(now) {
		return at, false
	}
	check := now
	if t != nil && !t.Checked.IsZero() {
		check = t.Checked
	}
	if check.Before(at) {
		return check, true
	}
	return at, false
}

// renewByTable is the time of renewal by the reference's table.
func (r *resolver) renewByTable(h *held) time.Time {
	leaf := h.pair.Leaf
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	if d := time.Duration(r.cfg.CertificatesDuration) * time.Hour; d > 0 && d < life {
		life = d
	}
	before := renewBefore(life)
	at := leaf.NotAfter.Add(-before)
	if n := len(leaf.SerialNumber.Bytes()); n > 0 {
		spread := before / 10
		at = at.Add(-spread * time.Duration(leaf.SerialNumber.Bytes()[n-1]) / 256)
	}
	return at
}

// work does one job under the lock of its names: of several replicas one orders.
func (r *resolver) work(ctx context.Context, j job) {
	k := id(j.names)
	defer func() {
		r.mu.Lock()
		delete(r.busy, k)
		r.mu.Unlock()
	}()
	l, err := r.vault.Lock(ctx, r.name+"/"+k, r.lease)
	if err != nil {
		r.away(ctx, err)
		return
	}
	release := r.extend(ctx, l)
	defer release()
	if r.doneElsewhere(ctx, j) {
		return
	}
	if j.ask {
		r.askRenewal(ctx, j)
		return
	}
	if !r.stillAllowed(ctx, j) {
		return
	}
	err = r.order(ctx, j)
	if ctx.Err() != nil {
		return
	}
	r.count(r.name, resultOf(err))
	if err == nil {
		r.log.Info().Strs("names", j.names).Msg("certificate obtained")
		r.note(ctx, k, nil)
		r.changed()
		r.mu.Lock()
		h := r.certs.get(k)
		r.mu.Unlock()
		if h != nil {
			r.obtained(r, h)
		}
		return
	}
	a := r.attempt(k)
	a.fail(err, time.Now())
	r.note(ctx, k, &a)
	r.passOn(j, a)
	r.log.Error().Err(err).Strs("names", j.names).Int("failures", a.Failures).Time("next", a.Next).Msg("certificate not obtained")
}

// away notes that storage cannot be reached: the next look waits a little.
func (r *resolver) away(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	r.log.Warn().Err(err).Msg("storage cannot be reached; no order is made without it")
	r.mu.Lock()
	r.pause = time.Now().Add(awayWait)
	r.mu.Unlock()
}

// extend keeps a lock until the function it returns is called, which gives it back.
func (r *resolver) extend(ctx context.Context, l store.Lease) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(r.lease / 3)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if err := l.Extend(ctx, r.lease); err != nil && ctx.Err() == nil {
				r.log.Warn().Err(err).Msg("lock of an order not extended")
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		_ = l.Release() // it expires anyhow
	}
}

// doneElsewhere looks, under the lock, what another replica did meanwhile.
func (r *resolver) doneElsewhere(ctx context.Context, j job) bool {
	if r.vault.shared() == nil {
		return false
	}
	k := id(j.names)
	for _, key := range []string{r.certificateKey(k), r.stateKey(k)} {
		// What is not there was not done. That it is gone, the watch tells: a storage that lost
		// its data gets it back.
		_, err := r.vault.Get(ctx, key)
		if err == nil {
			err = r.read(ctx, key)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			r.away(ctx, err)
			return true
		}
	}
	r.mu.Lock()
	h, t := r.certs.get(k), r.tries[k]
	r.mu.Unlock()
	switch {
	case h != nil && h != j.old && (j.old == nil || h.pair.Leaf.NotAfter.After(j.old.pair.Leaf.NotAfter)):
		r.changed()
		return true
	case t == nil:
		return false
	}
	return t.Next.After(time.Now()) || j.ask && t.Checked.After(time.Now())
}

// note keeps the state of names in memory and in storage; nil forgets it.
func (r *resolver) note(ctx context.Context, k string, a *Attempt) {
	r.mu.Lock()
	old := r.tries[k]
	if a == nil {
		delete(r.tries, k)
	} else {
		r.tries[k] = a
	}
	r.mu.Unlock()
	var err error
	switch {
	case a == nil && old == nil:
	case a == nil:
		err = r.vault.Delete(ctx, r.stateKey(k))
	default:
		err = r.vault.putJSON(ctx, r.stateKey(k), a)
	}
	if err != nil {
		r.log.Warn().Err(err).Msg("state of certificate not stored")
	}
}

// order obtains the certificate and stores it.
func (r *resolver) order(ctx context.Context, j job) error {
	strict := strings.EqualFold(r.cfg.Preflight, "strict")
	if strict {
		if err := r.preflight(ctx, j.names); err != nil {
			return &unready{err}
		}
	}
	c, err := r.connect(ctx)
	if err != nil {
		return err
	}
	leave, err := r.askOwnServers(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := r.reserve(ctx, j); err != nil {
		return err
	}
	hint := func() error { return nil }
	if !strict {
		look, cancel := context.WithCancel(ctx)
		hints := make(chan error, 1)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { hints <- r.preflight(look, j.names) }) // beside the order: it holds nothing up
		hint = func() error { return <-hints }
	}
	req := certificate.ObtainRequest{
		Domains: j.names, Bundle: true, PreferredChain: r.cfg.PreferredChain, Profile: r.cfg.Profile,
		EmailAddresses: r.cfg.EmailAddresses,
	}
	if j.old != nil && time.Now().Before(j.old.pair.Leaf.NotAfter) {
		// An authority that does not find the old order refuses the new one: after a failure it is not named.
		a := r.attempt(id(j.names))
		if rid, err := certificate.MakeARICertID(j.old.pair.Leaf); err == nil && !a.ARI.IsZero() && a.Failures == 0 {
			req.ReplacesCertID = rid
		}
	}
	res, err := c.Certificate.Obtain(req)
	if !isNetwork(err) {
		r.enter(context.WithoutCancel(ctx), j, err)
	}
	if err != nil {
		if h := hint(); h != nil {
			err = fmt.Errorf("%w (seen from here: %w)", err, h)
		}
		return err
	}
	var s stored
	s.Domain.Main, s.Domain.SANs = j.names[0], j.names[1:]
	s.Certificate, s.Key, s.Store = res.Certificate, pkcs8(res.PrivateKey), "default"
	// The certificate is used even if it cannot be stored: it was paid for with an order.
	perr := r.vault.putCertificate(context.WithoutCancel(ctx), r.certificateKey(id(j.names)), &s)
	r.mu.Lock()
	err = r.keep(&s)
	r.mu.Unlock()
	if perr != nil {
		r.log.Error().Err(perr).Strs("names", j.names).Msg("certificate not stored; it is lost at the next restart")
	}
	return err
}

// askRenewal asks the CA when it wants the certificate renewed.
func (r *resolver) askRenewal(ctx context.Context, j job) {
	k, now := id(j.names), time.Now()
	a := r.attempt(k)
	a.Checked = now.Add(ariEvery)
	defer func() { r.note(ctx, k, &a) }()
	c, err := r.connect(ctx)
	if err != nil {
		a.Checked = now.Add(maxNetWait)
		return
	}
	info, err := c.Certificate.GetRenewalInfo(certificate.RenewalInfoRequest{Cert: j.old.pair.Leaf})
	switch {
	case errors.Is(err, api.ErrNoARI):
		a.Checked = j.old.pair.Leaf.NotAfter
	case err != nil:
		r.log.Debug().Err(err).Strs("names", j.names).Msg("renewal information not had")
	default:
		if info.RetryAfter > 0 {
			a.Checked = now.Add(info.RetryAfter)
		}
		start, window := info.SuggestedWindow.Start, info.SuggestedWindow.End.Sub(info.SuggestedWindow.Start)
		// A fixed point in the window, by serial number: it does not move at each question.
		if n := j.old.pair.Leaf.SerialNumber.Bytes(); len(n) > 0 && window > 0 {
			start = start.Add(window * time.Duration(n[len(n)-1]) / 256)
		}
		a.ARI = start
	}
}
