package balance

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// healthOptions returns the check that is run: what is no time and no mode is replaced by the
// default, as in the reference, and warn says so. What can never work is an error.
func healthOptions(hc *config.HealthCheck) (used *config.HealthCheck, warn string, err error) {
	if hc == nil {
		return nil, "", nil
	}
	if err := checkHealthOptions(hc); err != nil {
		return nil, "", err
	}
	var standard config.HealthCheck
	standard.SetDefaults()
	cp := *hc
	var odd []string
	for _, d := range []struct {
		name string
		v    *config.Duration
		to   config.Duration
	}{{"interval", &cp.Interval, standard.Interval}, {"timeout", &cp.Timeout, standard.Timeout}} {
		if *d.v <= 0 {
			odd = append(odd, fmt.Sprintf("healthCheck.%s %s is not above zero; %s is used", d.name, *d.v, d.to))
			*d.v = d.to
		}
	}
	if u := cp.UnhealthyInterval; u != nil && *u <= 0 {
		odd = append(odd, fmt.Sprintf("healthCheck.unhealthyInterval %s is not above zero; %s is used", *u, standard.Interval))
		cp.UnhealthyInterval = &standard.Interval
	}
	switch strings.ToLower(cp.Mode) {
	case "", "http", "grpc":
	default:
		odd = append(odd, fmt.Sprintf("healthCheck.mode %q is not http or grpc; http is used", cp.Mode))
		cp.Mode = standard.Mode
	}
	if len(odd) == 0 {
		return hc, "", nil
	}
	return &cp, strings.Join(odd, "; "), nil
}

func checkHealthOptions(hc *config.HealthCheck) error {
	switch {
	case hc.Port < 0 || hc.Port > 65535:
		return fmt.Errorf("healthCheck.port %d is not between 1 and 65535", hc.Port)
	case hc.Status != 0 && (hc.Status < 100 || hc.Status > 599):
		return fmt.Errorf("healthCheck.status %d is not an HTTP status", hc.Status)
	}
	switch strings.ToLower(hc.Scheme) {
	case "", "http", "https", "h2c":
	default:
		return fmt.Errorf("healthCheck.scheme %q is not http or https", hc.Scheme)
	}
	u, err := url.Parse(hc.Path)
	if err != nil {
		return fmt.Errorf("healthCheck.path %q is not a path", hc.Path)
	}
	if u.IsAbs() || u.Host != "" {
		return errors.New("healthCheck.path must be a path, not a URL; set scheme, port and hostname apart")
	}
	return nil
}

// passiveOptions returns what is counted: numbers that are none are replaced by the defaults,
// and a warning says so.
func (lb *LoadBalancer) passiveOptions(p *config.PassiveHealthCheck) *config.PassiveHealthCheck {
	var standard config.PassiveHealthCheck
	standard.SetDefaults()
	cp := *p
	if cp.FailureWindow <= 0 {
		lb.doubts.Add("passiveHealthCheck.failureWindow %s is not above zero; %s is used", cp.FailureWindow, standard.FailureWindow)
		cp.FailureWindow = standard.FailureWindow
	}
	if cp.MaxFailedAttempts <= 0 {
		lb.doubts.Add("passiveHealthCheck.maxFailedAttempts %d is not above zero; %d is used", cp.MaxFailedAttempts, standard.MaxFailedAttempts)
		cp.MaxFailedAttempts = standard.MaxFailedAttempts
	}
	return &cp
}

// check is the running health check of one load balancer.
type check struct {
	finger string
	cancel context.CancelFunc
}

// Run runs the health checks of what is committed until ctx ends, and waits for them.
func (b *Book) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		b.reconcile(ctx, &wg)
		b.probeNew(ctx, &wg)
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		}
	}
}

// reconcile starts the checks of new services and ends those of old ones. A service whose
// configuration did not change keeps its check and its rhythm.
func (b *Book) reconcile(ctx context.Context, wg *sync.WaitGroup) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.allStale {
		for name := range b.checks {
			b.reconcileOne(ctx, wg, name)
		}
		for name := range b.balancers {
			b.reconcileOne(ctx, wg, name)
		}
	}
	for name := range b.stale {
		b.reconcileOne(ctx, wg, name)
	}
	b.allStale = false
	clear(b.stale)
}

func (b *Book) reconcileOne(ctx context.Context, wg *sync.WaitGroup, name string) {
	lb, c := b.balancers[name], b.checks[name]
	if c != nil && (lb == nil || lb.health == nil || checkKey(lb) != c.finger) {
		c.cancel()
		delete(b.checks, name)
		c = nil
	}
	if lb == nil || c != nil {
		return
	}
	if lb.health == nil {
		for _, ep := range lb.eps {
			ep.Down.Store(false)
		}
		return
	}
	cctx, cancel := context.WithCancel(ctx)
	b.checks[name] = &check{finger: checkKey(lb), cancel: cancel}
	for _, ep := range lb.eps {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b.watch(cctx, lb, ep)
		}()
	}
}

func checkKey(lb *LoadBalancer) string {
	var s strings.Builder
	s.WriteString(fingerprint(lb.health))
	for _, ep := range lb.eps {
		fmt.Fprintf(&s, " %d", ep.ID)
	}
	return s.String()
}

// watch probes one server: at once, then each interval. The reference waits a whole
// interval before its first probe, in which a dead server gets requests.
func (b *Book) watch(ctx context.Context, lb *LoadBalancer, ep *exchange.Endpoint) {
	hc := lb.health
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		pctx, cancel := context.WithTimeout(ctx, time.Duration(hc.Timeout))
		err := b.prober.Probe(pctx, ep, hc)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil && ep.Down.Load() {
			ep.Since.Store(time.Now().UnixNano())
		}
		if was := ep.Down.Swap(err != nil); was != (err != nil) {
			lb.gate.changedAt(time.Now().UnixNano())
			if b.events.Health != nil {
				b.events.Health(lb.name, ep.URL, err == nil, err)
			}
		}
		next := time.Duration(hc.Interval)
		if err != nil && hc.UnhealthyInterval != nil {
			next = time.Duration(*hc.UnhealthyInterval)
		}
		t.Reset(next)
	}
}

// passive takes a server out after failures of real requests within a window.
type passive struct {
	window time.Duration
	max    int

	some atomic.Bool // fails is not empty

	mu    sync.Mutex
	fails map[*exchange.Endpoint][]int64
}

func newPassive(p *config.PassiveHealthCheck, n int) *passive {
	return &passive{window: time.Duration(p.FailureWindow), max: p.MaxFailedAttempts, fails: make(map[*exchange.Endpoint][]int64, n)}
}

// note counts a failed request: no answer, or a server error (5xx). One that went well
// makes up for those before it, as in the reference.
//
// Beside an active check it only takes servers out: the check finds out when they work again.
func (p *passive) note(lb *LoadBalancer, ep *exchange.Endpoint, o exchange.Outcome, status int) {
	switch {
	case o == exchange.Aborted:
		return
	case o == exchange.OK && status < 500:
		if p.some.Load() {
			p.mu.Lock()
			delete(p.fails, ep)
			p.some.Store(len(p.fails) > 0)
			p.mu.Unlock()
		}
		return
	}
	now := time.Now().UnixNano()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.fails) > len(lb.eps) {
		live := make(map[*exchange.Endpoint][]int64, len(lb.eps))
		for _, e := range lb.eps {
			if f := p.fails[e]; f != nil {
				live[e] = f
			}
		}
		p.fails = live
	}
	kept := p.fails[ep][:0]
	for _, t := range p.fails[ep] {
		if now-t < int64(p.window) {
			kept = append(kept, t)
		}
	}
	kept = append(kept, now)
	if len(kept) >= p.max {
		if lb.health != nil {
			ep.Down.Store(true)
		} else {
			ep.DownUntil.Store(now + int64(p.window))
		}
		kept = kept[:0]
	}
	p.fails[ep] = kept
	p.some.Store(true)
}
