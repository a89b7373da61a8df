package acme

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	stdlog "log"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-acme/lego/v4/challenge"
	legolog "github.com/go-acme/lego/v4/log"
	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/store"
)

// Request asks a resolver for a certificate with these names.
type Request struct {
	Resolver string
	Domain   config.Domain
}

// Options of a Manager.
type Options struct {
	Resolvers map[string]*config.ACME
	// Open opens the storage of a resolver; resolvers with equal storage share it.
	Open func(storage string) (store.Store, error)
	// Covered reports whether a configured certificate is good for all names; may be nil.
	Covered func(names []string) bool
	// Publish gets every usable certificate whenever they change.
	Publish func([]*tls.Certificate)
	// DNS makes lego's provider of that name; nil where the build has none.
	DNS       func(provider string) (challenge.Provider, error)
	UserAgent string
	Log       zerolog.Logger
}

// Manager keeps the certificates of all resolvers. It is safe for concurrent use.
type Manager struct {
	opts       Options
	challenges *challenges
	resolvers  map[string]*resolver
	problems   []config.Problem

	mu   sync.Mutex
	last []*tls.Certificate
}

// New opens the storages. A resolver that cannot work (storage readable by others, bad
// key type) is left out and reported by Problems; the others go on.
func New(ctx context.Context, o Options) *Manager {
	hushLego()
	m := &Manager{opts: o, challenges: newChallenges(), resolvers: map[string]*resolver{}}
	stores := map[string]store.Store{}
	names := make([]string, 0, len(o.Resolvers))
	for n := range o.Resolvers {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		cfg := o.Resolvers[n]
		if err := m.open(ctx, n, cfg, stores); err != nil {
			m.problems = append(m.problems, config.Problem{
				Source: "certificates resolver " + n, Object: "resolver " + n, Code: config.CodeUnknownResolver,
				Text: err.Error(), Severity: config.Error,
			})
		}
	}
	return m
}

func (m *Manager) open(ctx context.Context, name string, cfg *config.ACME, stores map[string]store.Store) error {
	kt, err := keyType(cfg.KeyType)
	if err != nil {
		return err
	}
	st := stores[cfg.Storage]
	if st == nil {
		if st, err = m.opts.Open(cfg.Storage); err != nil {
			return fmt.Errorf("storage: %w", err)
		}
		stores[cfg.Storage] = st
	}
	r := &resolver{
		name: name, cfg: cfg, keyType: kt, store: st, challenges: m.challenges, dns: m.opts.DNS,
		userAgent: m.opts.UserAgent, log: m.opts.Log.With().Str("resolver", name).Logger(),
		wake: make(chan struct{}, 1), changed: m.publish, covered: m.coveredBy,
		tries: map[string]*Attempt{},
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	m.resolvers[name] = r
	return nil
}

// hushLego keeps lego from writing to the standard logger: what matters is in our own log.
var hushLego = sync.OnceFunc(func() { legolog.Logger = stdlog.New(io.Discard, "", 0) })

// Problems tells which resolvers cannot be used and why.
func (m *Manager) Problems() []config.Problem { return slices.Clone(m.problems) }

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
	var wg sync.WaitGroup
	for _, r := range m.resolvers {
		wg.Go(func() { r.run(ctx) })
	}
	wg.Wait()
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

// coveredBy reports whether any certificate in hand is good for all names.
func (m *Manager) coveredBy(names []string, now time.Time) bool {
	if m.opts.Covered != nil && m.opts.Covered(names) {
		return true
	}
	for _, r := range m.resolvers {
		if r.covers(names, now) {
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

// Status is what is known of one set of names.
type Status struct {
	Resolver string    `json:"resolver"`
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"notAfter,omitzero"`
	Renew    time.Time `json:"renew,omitzero"`
	Attempt  Attempt   `json:"attempt,omitzero"`
}

// Statuses lists certificates in hand and names that are waited for.
func (m *Manager) Statuses() []Status {
	var out []Status
	for _, n := range m.Usable() {
		out = append(out, m.resolvers[n].statuses()...)
	}
	return out
}
