package provider

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/telemetry"
)

const (
	// burstMin and burstMax bound the pause between two publications of a burst.
	burstMin = 20 * time.Millisecond
	burstMax = 50 * time.Millisecond
	// startGrace is how long the first publication waits for providers that have said nothing
	// yet, so that references between providers resolve and no route is missing at the start.
	startGrace = 300 * time.Millisecond
)

// Options tune a Manager. The zero value is ready to use.
type Options struct {
	Log zerolog.Logger
	// Throttle is providersThrottleDuration. The reference delays every change by it, 2 s
	// unless set; here the first change after quiet always goes at once, and Throttle only
	// shortens the pause between the publications of a burst: a user who set 0 or 10 ms
	// wants changes sooner than our 20-50 ms, and nobody wants them later. Negative means unset.
	Throttle time.Duration
}

// Manager runs providers and merges what they say.
type Manager struct {
	log      zerolog.Logger
	throttle time.Duration
	states   []state // by provider, in the order of their names
	pending  time.Time
	dirty    bool
	runs     map[string]*job
	running  sync.WaitGroup
	again    chan struct{} // another set of providers is wanted

	mu        sync.Mutex
	providers []Provider
}

// job is a provider at work.
type job struct {
	provider Provider
	cancel   context.CancelFunc
	done     chan struct{}
}

// state is the last word of one provider.
type state struct {
	name     string
	heard    bool
	raw      *config.Dynamic // as sent
	config   *config.Dynamic // names qualified
	problems []config.Problem
	trouble  []config.Problem // why the source cannot be asked now
}

// NewManager returns a Manager of the providers; their names must differ.
func NewManager(opts Options, providers ...Provider) *Manager {
	m := &Manager{log: opts.Log, throttle: opts.Throttle, runs: map[string]*job{}, again: make(chan struct{}, 1)}
	m.providers = sorted(providers)
	m.states = m.newStates()
	return m
}

func sorted(providers []Provider) []Provider {
	return slices.SortedFunc(slices.Values(providers), func(a, b Provider) int { return cmp.Compare(a.Name(), b.Name()) })
}

// Replace changes which providers run. Those that are in the old and the new set go on; what
// a provider said stays in force until another one of its name has spoken. It returns at once.
func (m *Manager) Replace(providers ...Provider) {
	m.mu.Lock()
	m.providers = sorted(providers)
	m.mu.Unlock()
	select {
	case m.again <- struct{}{}:
	default:
	}
}

// wanted are the providers that are to run.
func (m *Manager) wanted() []Provider {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.providers
}

// newStates are the states of the wanted providers, as far as they have spoken.
func (m *Manager) newStates() []state {
	var out []state
	for _, p := range m.wanted() {
		i := slices.IndexFunc(m.states, func(s state) bool { return s.name == p.Name() })
		if i < 0 {
			out = append(out, state{name: p.Name()})
		} else {
			out = append(out, m.states[i])
		}
	}
	return out
}

// start runs what is wanted and does not run, and stops what is not wanted any more.
func (m *Manager) start(ctx context.Context, updates chan<- Update) {
	wanted := m.wanted()
	for _, r := range m.runs {
		if !slices.Contains(wanted, r.provider) {
			r.cancel()
		}
	}
	for _, p := range wanted {
		old := m.runs[p.Name()]
		if old != nil && old.provider == p {
			continue
		}
		pctx, cancel := context.WithCancel(ctx)
		r := &job{p, cancel, make(chan struct{})}
		m.runs[p.Name()] = r
		m.running.Go(func() {
			defer close(r.done)
			defer cancel()
			if old != nil {
				<-old.done // so that its last word does not come after the first of this one
			}
			m.runOne(pctx, p, updates)
		})
	}
}

// Reload asks every provider that can to read its source again.
func (m *Manager) Reload() {
	for _, p := range m.wanted() {
		if r, ok := p.(Reloader); ok {
			r.Reload()
		}
	}
}

// Run runs the providers until ctx ends and calls publish, one call at a time, with the
// merged state whenever it changed. It returns when all providers have returned. A
// provider that fails for good is reported as a Problem; the others go on.
func (m *Manager) Run(ctx context.Context, publish func(*Merged)) {
	updates := make(chan Update)
	defer m.running.Wait()
	m.start(ctx, updates)
	m.loop(ctx, updates, publish)
}

// runOne runs p and reports its failure.
func (m *Manager) runOne(ctx context.Context, p Provider, updates chan<- Update) {
	err := p.Run(ctx, updates)
	if err == nil || ctx.Err() != nil {
		return
	}
	m.log.Error().Err(err).Str(telemetry.Provider, p.Name()).Msg("provider stopped")
	u := Update{Provider: p.Name(), At: time.Now(), Problems: []config.Problem{{
		Source: "provider " + p.Name(), Code: config.CodeUnreachable, Severity: config.Error,
		Text: err.Error(),
	}}}
	select {
	case updates <- u:
	case <-ctx.Done():
	}
}

// loop takes updates as they come, so that no provider ever waits for a publication,
// and publishes at most one state at a time.
func (m *Manager) loop(ctx context.Context, updates chan Update, publish func(*Merged)) {
	done := make(chan time.Duration, 1) // how long a publication took
	busy, start := false, time.Now()
	next := start.Add(startGrace)
	timer := time.NewTimer(startGrace)
	defer timer.Stop()
	m.dirty = true // what is built in must be served even if no provider ever speaks
	if len(m.states) == 0 {
		next = start
	}
	for {
		if m.dirty && !busy && !time.Now().Before(next) {
			merged := m.merged()
			busy = true
			go func() {
				t := time.Now()
				publish(merged)
				done <- time.Since(t)
			}()
		}
		select {
		case <-ctx.Done():
			if busy {
				<-done
			}
			return
		case <-m.again:
			m.start(ctx, updates)
			states := m.newStates()
			m.dirty = m.dirty || !slices.EqualFunc(states, m.states, func(a, b state) bool { return a.name == b.name })
			m.states = states
		case u := <-updates:
			m.take(u)
			if next.Equal(start.Add(startGrace)) && !slices.ContainsFunc(m.states, func(s state) bool { return !s.heard }) {
				next = time.Time{} // all have spoken: no need to wait for more
			}
		case took := <-done:
			busy = false
			next = time.Now().Add(m.pause(took))
			timer.Reset(time.Until(next))
		case <-timer.C:
		}
	}
}

// pause is the time between two publications of a burst: longer where publishing costs
// more, so that a storm of events does not take the processor from the traffic.
func (m *Manager) pause(took time.Duration) time.Duration {
	p := min(max(2*took, burstMin), burstMax)
	if m.throttle >= 0 {
		p = min(p, m.throttle)
	}
	return p
}

// take keeps u as the last word of its provider, and marks the state dirty if it changed anything.
func (m *Manager) take(u Update) {
	i := slices.IndexFunc(m.states, func(s state) bool { return s.name == u.Provider })
	if i < 0 {
		m.log.Debug().Str(telemetry.Provider, u.Provider).Msg("update of a provider that does not run any more ignored")
		return
	}
	s := &m.states[i]
	changed := !s.heard
	s.heard = true
	for j := range u.Problems {
		if u.Problems[j].Provider == "" {
			u.Problems = slices.Clone(u.Problems)
			for k := range u.Problems {
				u.Problems[k].Provider = cmp.Or(u.Problems[k].Provider, u.Provider)
			}
			break
		}
	}
	if u.Config == nil {
		changed = changed || !slices.Equal(s.trouble, u.Problems)
		s.trouble = u.Problems
	} else {
		changed = changed || len(s.trouble) > 0 || !slices.Equal(s.problems, u.Problems) || !same(s.raw, u.Config)
		s.problems, s.trouble = u.Problems, nil
		if changed {
			s.config = qualify(u.Config, s.raw, s.config, s.name)
			s.raw = u.Config
		}
	}
	if !changed {
		m.log.Debug().Str(telemetry.Provider, u.Provider).Msg("update without a change ignored")
		return
	}
	m.dirty = true
	if !u.At.IsZero() && (m.pending.IsZero() || u.At.Before(m.pending)) {
		m.pending = u.At
	}
}

// merged joins the states and marks them published.
func (m *Manager) merged() *Merged {
	out := &Merged{At: m.pending}
	var problems []config.Problem
	out.Config, problems = join(m.states)
	for _, s := range m.states {
		if !s.heard {
			out.Pending = append(out.Pending, s.name)
		}
		out.Problems = append(out.Problems, s.problems...)
		out.Problems = append(out.Problems, s.trouble...)
	}
	out.Problems = append(out.Problems, problems...)
	m.dirty, m.pending = false, time.Time{}
	if out.At.IsZero() {
		out.At = time.Now()
	}
	return out
}

// same reports whether two configurations say the same. Objects that are the same
// pointer are equal without a look.
func same(a, b *config.Dynamic) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil {
		return false
	}
	ah, bh, at, bt, au, bu := parts(a, b)
	return sameMap(ah.Routers, bh.Routers) && sameMap(ah.Services, bh.Services) &&
		sameMap(ah.Middlewares, bh.Middlewares) && sameMap(ah.ServersTransports, bh.ServersTransports) &&
		sameMap(at.Routers, bt.Routers) && sameMap(at.Services, bt.Services) &&
		sameMap(at.Middlewares, bt.Middlewares) && sameMap(at.ServersTransports, bt.ServersTransports) &&
		sameMap(au.Routers, bu.Routers) && sameMap(au.Services, bu.Services) &&
		(a.TLS == b.TLS || reflect.DeepEqual(a.TLS, b.TLS))
}

// parts gives the parts of two configurations, empty ones for nil.
func parts(a, b *config.Dynamic) (ah, bh *config.HTTP, at, bt *config.TCP, au, bu *config.UDP) {
	return cmp.Or(a.HTTP, &config.HTTP{}), cmp.Or(b.HTTP, &config.HTTP{}),
		cmp.Or(a.TCP, &config.TCP{}), cmp.Or(b.TCP, &config.TCP{}),
		cmp.Or(a.UDP, &config.UDP{}), cmp.Or(b.UDP, &config.UDP{})
}

func sameMap[T any](a, b map[string]*T) bool {
	if len(a) != len(b) {
		return false
	}
	if isSame(a, b) {
		return true
	}
	for k, x := range a {
		if y, ok := b[k]; !ok || (x != y && !reflect.DeepEqual(x, y)) {
			return false
		}
	}
	return true
}

// isSame reports whether a and b are one map.
func isSame[T any](a, b map[string]*T) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// String describes a merged state for logs.
func (m *Merged) String() string {
	n := func(h *config.HTTP) int {
		if h == nil {
			return 0
		}
		return len(h.Routers)
	}
	return fmt.Sprintf("%d HTTP routers, %d problems", n(m.Config.HTTP), len(m.Problems))
}
