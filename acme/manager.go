package acme

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-acme/lego/v4/challenge"
	legolog "github.com/go-acme/lego/v4/log"
	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/cert"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/seal"
)

// Request asks a resolver for a certificate with these names.
type Request struct {
	Resolver string
	Domain   config.Domain
}

// Options of a Manager.
type Options struct {
	Resolvers map[string]*config.ACME
	// Open opens the storage of a resolver; resolvers with equal storage share it. ring is nil
	// where the resolver has no storage key.
	Open func(storage string, ring *seal.Keyring) (store.Store, error)
	// Covered reports whether a configured certificate is good for all names; may be nil.
	Covered func(names []string) bool
	// Publish gets every usable certificate whenever they change.
	Publish func([]*tls.Certificate)
	// DNS makes lego's provider of a challenge; nil where the build has none.
	DNS       func(*config.DNSChallenge) (challenge.Provider, error)
	UserAgent string
	// Tickets gets the secrets of session tickets that replicas share, whenever they change;
	// nil where they share none. May be nil.
	Tickets func([]cert.TicketSecret)
	// Obtained is told of each new certificate, after it is published; may be nil.
	Obtained func(Certificate)
	// Lookup resolves names for the look before an order; nil asks the system.
	Lookup func(ctx context.Context, name string) ([]string, error)
	// HTTPPort and TLSPort are where the CA makes challenges; zero means 80 and 443.
	HTTPPort, TLSPort int
	// AccountKeyBits is the size of new account keys, which are RSA; zero means 3072.
	AccountKeyBits int
	// Lease is how long the lock of a replica that died holds; zero means 30 s.
	Lease time.Duration
	Log   zerolog.Logger
}

// Manager keeps the certificates of all resolvers. It is safe for concurrent use.
type Manager struct {
	opts       Options
	challenges *challenges
	resolvers  map[string]*resolver
	problems   []config.Problem
	dnsServers nameservers

	sharedVaults []vault // storages that other replicas use too
	ticketStore  *vault  // where session tickets' secrets are shared; nil: nowhere

	mu     sync.Mutex
	last   []*tls.Certificate
	counts map[Count]uint64
}

// Count is what orders are counted by.
type Count struct{ Resolver, Result string }

// Counts are the orders since the start, by how they ended.
func (m *Manager) Counts() map[Count]uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.counts)
}

func (m *Manager) count(resolver, result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[Count{resolver, result}]++
}

// New opens the storages. A resolver that cannot work (storage readable by others, bad
// key type) is left out and reported by Problems; the others go on.
func New(ctx context.Context, o Options) *Manager {
	hushLego()
	m := &Manager{opts: o, challenges: newChallenges(), resolvers: map[string]*resolver{}, counts: map[Count]uint64{}}
	stores := map[string]store.Store{}
	names := make([]string, 0, len(o.Resolvers))
	for n := range o.Resolvers {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		cfg := o.Resolvers[n]
		if err := m.open(ctx, n, cfg, stores); err != nil {
			m.problem(n, config.Error, err)
		}
	}
	for _, r := range m.resolvers {
		if f := m.resolvers[r.cfg.Fallback]; f != r {
			r.fallback = f
		}
	}
	m.ticketStore = m.ticketVault()
	return m
}

func (m *Manager) problem(resolver string, sev config.Severity, err error) {
	m.problems = append(m.problems, config.Problem{
		Source: "certificates resolver " + resolver, Object: "resolver " + resolver, Code: config.CodeUnknownResolver,
		Text: err.Error(), Severity: sev,
	})
}

// sane says why a resolver's settings cannot be meant; the reference does without the resolver too.
func sane(cfg *config.ACME) error {
	switch {
	case cfg.CertificatesDuration < 1:
		return errors.New("certificatesDuration must be one hour at least")
	case cfg.ClientTimeout < cfg.ClientResponseHeaderTimeout:
		return errors.New("clientTimeout must not be less than clientResponseHeaderTimeout")
	}
	return nil
}

func (m *Manager) open(ctx context.Context, name string, cfg *config.ACME, stores map[string]store.Store) error {
	if err := sane(cfg); err != nil {
		return err
	}
	kt, err := keyType(cfg.KeyType)
	if err != nil {
		m.problem(name, config.Warning, err)
	}
	ring, err := Keyring(cfg)
	if err != nil {
		return err
	}
	st, known := stores[cfg.Storage]
	if !known {
		if st, err = m.opts.Open(cfg.Storage, ring); err != nil {
			return fmt.Errorf("storage: %w", err)
		}
		stores[cfg.Storage] = st
	}
	v := vault{st, ring}
	r := &resolver{
		name: name, cfg: cfg, keyType: kt, vault: v, lease: m.opts.Lease, challenges: m.challenges, dns: m.opts.DNS, dnsServers: &m.dnsServers,
		userAgent: m.opts.UserAgent, log: m.opts.Log.With().Str("resolver", name).Logger(),
		lookup: m.opts.Lookup, httpPort: cmp.Or(m.opts.HTTPPort, 80), tlsPort: cmp.Or(m.opts.TLSPort, 443),
		accountBits: cmp.Or(m.opts.AccountKeyBits, accountKeyBits), obtained: m.obtained, count: m.count,
		wake: make(chan struct{}, 1), changed: m.publish, covered: m.coveredBy,
		tries: map[string]*Attempt{}, certs: newHand(), busy: map[string]bool{}, demand: newDemand(), wantsTold: make(chan struct{}),
	}
	if r.lookup == nil {
		r.lookup = net.DefaultResolver.LookupHost
	}
	if r.lease <= 0 {
		r.lease = lockLease
	}
	load, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	if err := r.load(load); err != nil {
		if v.shared() == nil || errors.Is(err, errSealed) || errors.Is(err, seal.ErrKey) {
			return err
		}
		r.log.Warn().Err(err).Msg("storage cannot be reached; it is read as soon as it is there")
	}
	if !known && v.shared() != nil {
		m.sharedVaults = append(m.sharedVaults, v)
	}
	m.resolvers[name] = r
	return nil
}

// loadTime bounds the first reading of a storage: the start waits for none that is away.
const loadTime = 3 * time.Second

// sweepEvery is how often storages are rid of what nobody needs.
const sweepEvery = time.Hour

// hushLego keeps lego from writing to the standard logger: what matters is in our own log.
var hushLego = sync.OnceFunc(func() { legolog.Logger = stdlog.New(io.Discard, "", 0) })

// Problems tells which resolvers cannot be used and why.
func (m *Manager) Problems() []config.Problem { return slices.Clone(m.problems) }

// Ending are Problems of certificates in their last third that should have been renewed.
func (m *Manager) Ending(now time.Time) []config.Problem {
	var out []config.Problem
	for _, n := range m.Usable() {
		out = append(out, m.resolvers[n].ending(now)...)
	}
	return out
}

// Usable lists the resolvers that routers may name.
func (m *Manager) Usable() []string {
	var out []string
	for n := range m.resolvers {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Run works until ctx ends: it orders what is wanted and renews what is due.
func (m *Manager) Run(ctx context.Context) {
	m.publish()
	for _, r := range m.resolvers {
		r.exportAll()
	}
	var wg sync.WaitGroup
	for _, r := range m.resolvers {
		wg.Go(func() { r.run(ctx) })
		wg.Go(func() { every(ctx, r.wantsTold, sweepEvery, func() { r.noteUse(ctx, time.Now()) }) })
	}
	if v := m.ticketStore; v != nil && m.opts.Tickets != nil {
		wg.Go(func() { every(ctx, nil, ticketsEvery, func() { m.shareTickets(ctx, *v, time.Now()) }) })
	} else if m.opts.Tickets != nil {
		m.opts.Tickets(nil)
	}
	for _, v := range m.sharedVaults {
		wg.Go(func() {
			v.shared().Watch(ctx, func(keys []string) { m.sync(ctx, v, keys) })
		})
		wg.Go(func() { every(ctx, nil, sweepEvery, func() { sweepTokens(ctx, v, time.Now()) }) })
	}
	wg.Wait()
	for _, v := range m.sharedVaults {
		if c, ok := v.Store.(io.Closer); ok {
			_ = c.Close() // nothing is under way any more
		}
	}
}

// every calls f now, or as soon as first closes, and then again and again until ctx ends.
func every(ctx context.Context, first <-chan struct{}, d time.Duration, f func()) {
	if first != nil {
		select {
		case <-ctx.Done():
			return
		case <-first:
		}
	}
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// sync tells the resolvers of a storage what changed in it.
func (m *Manager) sync(ctx context.Context, v vault, keys []string) {
	for _, r := range m.resolvers {
		if r.vault.Store == v.Store {
			r.sync(ctx, keys)
		}
	}
	if t := m.ticketStore; t != nil && m.opts.Tickets != nil && t.Store == v.Store && (keys == nil || slices.Contains(keys, ticketsKey)) {
		m.shareTickets(ctx, *t, time.Now())
	}
}

// Want says which certificates the routers need now. Names of unknown resolvers are ignored:
// the router's own Problem names them.
func (m *Manager) Want(reqs []Request) {
	by := map[string][][]string{}
	for _, q := range reqs {
		if names := clean(q.Domain); len(names) > 0 {
			by[q.Resolver] = append(by[q.Resolver], names)
		}
	}
	for n, r := range m.resolvers {
		r.want(by[n])
	}
	m.rebuildBacking()
}

// clean lower-cases the names, main name first, without repetition or a trailing dot.
func clean(d config.Domain) []string {
	var out []string
	for _, n := range append([]string{d.Main}, d.SANs...) {
		n = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(n)), ".")
		if n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// coveredBy reports whether certificates in hand are good for all names, one for all or
// several together, so that the resolver that asks need not order one.
func (m *Manager) coveredBy(by *resolver, names []string, now time.Time) bool {
	if m.inHand(by, names, now) {
		return true
	}
	if len(names) == 1 {
		return false
	}
	for i := range names {
		if !m.kept(names[i:i+1], now) {
			return false
		}
	}
	return true
}

// kept reports whether there is a certificate for the names that somebody asks for too, so
// that it is renewed and not pruned.
func (m *Manager) kept(names []string, now time.Time) bool {
	if m.opts.Covered != nil && m.opts.Covered(names) {
		return true
	}
	for _, r := range m.resolvers {
		if r.keeps(names, now) {
			return true
		}
	}
	return false
}

func (m *Manager) inHand(by *resolver, names []string, now time.Time) bool {
	if m.opts.Covered != nil && m.opts.Covered(names) {
		return true
	}
	for _, r := range m.resolvers {
		if r.covers(names, now, r == by) {
			return true
		}
	}
	return false
}

func (m *Manager) publish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*tls.Certificate
	for _, n := range m.Usable() {
		all = append(all, m.resolvers[n].pairs()...)
	}
	if m.opts.Publish != nil && !slices.Equal(all, m.last) {
		m.opts.Publish(all)
	}
	m.last = all
}
