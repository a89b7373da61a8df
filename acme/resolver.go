package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
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
	// lockLease is how long the lock of an order holds; an order takes less.
	lockLease = 5 * time.Minute
	// ariEvery is how often renewal information is asked for where the CA names no time.
	ariEvery = 6 * time.Hour
	// idle is the longest sleep between two looks at what is due.
	idle = time.Hour
)

// stored is a certificate in the reference's JSON form.
type stored struct {
	Domain struct {
		Main string   `json:"main,omitempty"`
		SANs []string `json:"sans,omitempty"`
	} `json:"domain"`
	Certificate []byte `json:"certificate"`
	Key         []byte `json:"key"`
	Store       string `json:"Store"`
}

// held is a certificate in hand.
type held struct {
	names []string
	pair  *tls.Certificate
}

// resolver orders and renews the certificates of one certificatesResolver.
type resolver struct {
	name       string
	cfg        *config.ACME
	keyType    certcrypto.KeyType
	store      store.Store
	challenges *challenges
	dns        func(string) (challenge.Provider, error)
	userAgent  string
	log        zerolog.Logger
	wake       chan struct{}
	changed    func()
	covered    func([]string, time.Time) bool

	clientMu sync.Mutex
	client   *lego.Client

	mu    sync.Mutex
	certs map[string]*held // by joined names
	wants [][]string
	tries map[string]*Attempt
	busy  map[string]bool
}

func id(names []string) string { return strings.Join(names, ",") }

// load reads certificates and attempts from storage. A certificate that cannot be read is
// left out, not lost.
func (r *resolver) load(ctx context.Context) error {
	r.certs, r.busy = map[string]*held{}, map[string]bool{}
	keys, err := r.store.List(ctx, r.name+"/")
	if err != nil {
		return err
	}
	for _, k := range keys {
		b, err := r.store.Get(ctx, k)
		if err != nil {
			return err
		}
		if n, ok := strings.CutPrefix(k, r.name+"/state/"); ok {
			a := &Attempt{}
			if json.Unmarshal(b, a) == nil {
				r.tries[n] = a
			}
			continue
		}
		if !strings.HasPrefix(k, r.name+"/certificates/") {
			continue
		}
		var s stored
		if err := json.Unmarshal(b, &s); err == nil {
			err = r.keep(&s)
		}
		if err != nil {
			r.log.Warn().Err(err).Str("key", k).Msg("stored certificate left out")
		}
	}
	return nil
}

func (r *resolver) keep(s *stored) error {
	p, err := tls.X509KeyPair(s.Certificate, s.Key)
	if err != nil {
		return err
	}
	if p.Leaf == nil {
		if p.Leaf, err = x509.ParseCertificate(p.Certificate[0]); err != nil {
			return err
		}
	}
	names := clean(config.Domain{Main: s.Domain.Main, SANs: s.Domain.SANs})
	r.certs[id(names)] = &held{names: names, pair: &p}
	return nil
}

// want replaces what is wanted. Names that a wanted wildcard covers are not ordered apart.
func (r *resolver) want(sets [][]string) {
	slices.SortFunc(sets, func(a, b []string) int { return strings.Compare(id(a), id(b)) })
	sets = slices.CompactFunc(sets, func(a, b []string) bool { return id(a) == id(b) })
	var keep [][]string
	for i, s := range sets {
		other := func(j int, t []string) bool {
			return i != j && !slices.Equal(s, t) && covers(t, s) && (!covers(s, t) || i > j)
		}
		dup := false
		for j, t := range sets {
			dup = dup || other(j, t)
		}
		if !dup {
			keep = append(keep, s)
		}
	}
	r.mu.Lock()
	r.wants = keep
	r.mu.Unlock()
	r.nudge()
}

func (r *resolver) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// covers reports whether a certificate for have is good for all of need.
func covers(have, need []string) bool {
	for _, n := range need {
		if slices.Contains(have, n) {
			continue
		}
		_, rest, ok := strings.Cut(n, ".")
		if !ok || strings.HasPrefix(n, "*.") || !slices.Contains(have, "*."+rest) {
			return false
		}
	}
	return true
}

func (r *resolver) covers(names []string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.certs {
		if covers(h.names, names) && now.Before(h.pair.Leaf.NotAfter) {
			return true
		}
	}
	return false
}

func (r *resolver) pairs() []*tls.Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*tls.Certificate, 0, len(r.certs))
	for _, h := range r.certs {
		out = append(out, h.pair)
	}
	slices.SortFunc(out, func(a, b *tls.Certificate) int {
		return strings.Compare(string(a.Certificate[0]), string(b.Certificate[0]))
	})
	return out
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
	wants := slices.Clone(r.wants)
	r.mu.Unlock()
	var need [][]string
	for _, w := range wants {
		if !r.covered(w, now) {
			need = append(need, w)
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
	for _, w := range need {
		if old := r.certs[id(w)]; old == nil { // an expired one is renewed below
			consider(w, now, job{names: w})
		}
	}
	for k, h := range r.certs {
		if !r.used(h, wants) {
			continue // nobody names it any more: it is kept, and not renewed
		}
		at, ask := r.renewAt(k, h, now)
		consider(h.names, at, job{names: h.names, old: h, ask: ask})
	}
	return jobs, next
}

func (r *resolver) used(h *held, wants [][]string) bool {
	return slices.ContainsFunc(wants, func(w []string) bool { return covers(h.names, w) })
}

// renewAt is when the certificate is to be renewed: the CA's wish (ARI, RFC 9773), else the
// table; spread by its serial number, so that a restart of many does not meet the CA at once.
// ask means that at that time the CA is to be asked for its wish.
func (r *resolver) renewAt(k string, h *held, now time.Time) (at time.Time, ask bool) {
	leaf := h.pair.Leaf
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	if d := time.Duration(r.cfg.CertificatesDuration) * time.Hour; d > 0 && d < life {
		life = d
	}
	before := renewBefore(life)
	at = leaf.NotAfter.Add(-before)
	if n := len(leaf.SerialNumber.Bytes()); n > 0 {
		spread := before / 10
		at = at.Add(-spread * time.Duration(leaf.SerialNumber.Bytes()[n-1]) / 256)
	}
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

// work does one job under the lock of its names: of several replicas one orders.
func (r *resolver) work(ctx context.Context, j job) {
	k := id(j.names)
	defer func() {
		r.mu.Lock()
		delete(r.busy, k)
		r.mu.Unlock()
	}()
	if j.ask {
		r.askRenewal(ctx, j)
		return
	}
	l, err := r.store.Lock(ctx, r.name+"/"+k, lockLease)
	if err != nil {
		return // ctx ended, or storage is away: the next look tries again
	}
	defer func() { _ = l.Release() }()
	err = r.order(ctx, j)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		r.log.Info().Strs("names", j.names).Msg("certificate obtained")
		r.note(ctx, k, nil)
		r.changed()
		return
	}
	a := r.attempt(k)
	a.fail(err, time.Now())
	r.note(ctx, k, &a)
	r.log.Error().Err(err).Strs("names", j.names).Int("failures", a.Failures).Time("next", a.Next).Msg("certificate not obtained")
}

func (r *resolver) attempt(k string) Attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tries[k]; t != nil {
		return *t
	}
	return Attempt{}
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
		err = r.store.Delete(ctx, r.name+"/state/"+k)
	default:
		var b []byte
		if b, err = json.Marshal(a); err == nil {
			err = r.store.Put(ctx, r.name+"/state/"+k, b)
		}
	}
	if err != nil {
		r.log.Warn().Err(err).Msg("state of certificate not stored")
	}
}

// order obtains the certificate and stores it.
func (r *resolver) order(ctx context.Context, j job) error {
	c, err := r.connect(ctx)
	if err != nil {
		return err
	}
	req := certificate.ObtainRequest{
		Domains: j.names, Bundle: true, PreferredChain: r.cfg.PreferredChain, Profile: r.cfg.Profile,
		EmailAddresses: r.cfg.EmailAddresses,
	}
	if j.old != nil && time.Now().Before(j.old.pair.Leaf.NotAfter) {
		if rid, err := certificate.MakeARICertID(j.old.pair.Leaf); err == nil && r.attempt(id(j.names)).ARI.After(time.Time{}) {
			req.ReplacesCertID = rid
		}
	}
	res, err := c.Certificate.Obtain(req)
	if err != nil {
		return err
	}
	var s stored
	s.Domain.Main, s.Domain.SANs = j.names[0], j.names[1:]
	s.Certificate, s.Key, s.Store = res.Certificate, pkcs8(res.PrivateKey), "default"
	b, err := json.Marshal(&s)
	if err != nil {
		return err
	}
	// The certificate is used even if it cannot be stored: it was paid for with an order.
	perr := r.store.Put(ctx, r.name+"/certificates/"+id(j.names), b)
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

func (r *resolver) statuses() []Status {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Status
	for k, h := range r.certs {
		s := Status{Resolver: r.name, Names: h.names, NotAfter: h.pair.Leaf.NotAfter}
		if at, ask := r.renewAt(k, h, now); !ask {
			s.Renew = at
		}
		if t := r.tries[k]; t != nil {
			s.Attempt = *t
		}
		out = append(out, s)
	}
	for _, w := range r.wants {
		if r.certs[id(w)] == nil {
			s := Status{Resolver: r.name, Names: w}
			if t := r.tries[id(w)]; t != nil {
				s.Attempt = *t
			}
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(fmt.Sprint(a.Names), fmt.Sprint(b.Names)) })
	return out
}
