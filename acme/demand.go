package acme

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// allowedFor and deniedFor are how long the answer for a host is remembered.
	allowedFor = 10 * time.Minute
	deniedFor  = time.Minute
	// maxVerdicts and maxDemanded bound what strangers can make us remember.
	maxVerdicts = 10000
	maxDemanded = 10000
	// maxWaiting bounds the handshakes that wait for their certificate, maxAsking the
	// questions at once.
	maxWaiting = 32
	maxAsking  = 8
	askTime    = 5 * time.Second
	// giveUpAfter failures a host is not ordered again until it is asked for anew.
	giveUpAfter = 3
	demandPoll  = 25 * time.Millisecond
)

// demand decides for which hosts a resolver makes certificates on demand.
type demand struct {
	waiting, asking chan struct{}

	mu       sync.Mutex
	verdicts map[string]verdict
	tokens   float64
	filled   time.Time
}

type verdict struct {
	allowed bool
	until   time.Time
}

func newDemand() *demand {
	return &demand{waiting: make(chan struct{}, maxWaiting), asking: make(chan struct{}, maxAsking), verdicts: map[string]verdict{}}
}

// OnDemand lists the resolvers that make certificates at the first handshake.
func (m *Manager) OnDemand() []string {
	var out []string
	for _, n := range m.Usable() {
		if m.resolvers[n].cfg.OnDemand != nil {
			out = append(out, n)
		}
	}
	return out
}

// Demand returns a certificate for a host that has none, and orders it where one of the
// resolvers may. It waits for the order as long as the resolver says; nil where there is
// none, for whatever reason. The order goes on meanwhile.
func (m *Manager) Demand(ctx context.Context, host string, resolvers []string) *tls.Certificate {
	if !demandable(host) {
		return nil
	}
	for _, n := range resolvers {
		if r := m.resolvers[n]; r != nil && r.cfg.OnDemand != nil {
			if c := r.demanded(ctx, host); c != nil {
				return c
			}
		}
	}
	return nil
}

// demandable refuses what no public authority signs: addresses, single labels, odd signs.
func demandable(host string) bool {
	if len(host) > 253 || !strings.Contains(host, ".") {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(c rune) bool { return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') }) {
			return false
		}
	}
	return true
}

func (r *resolver) demanded(ctx context.Context, host string) *tls.Certificate {
	select {
	case r.demand.waiting <- struct{}{}:
		defer func() { <-r.demand.waiting }()
	default:
		return nil
	}
	r.mu.Lock()
	known := slices.Contains(r.hosts, host)
	r.mu.Unlock()
	if !known && (!r.allowed(ctx, host) || !r.remember(ctx, host)) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.cfg.OnDemand.Wait))
	defer cancel()
	for {
		c, failed := r.look(host)
		if c != nil || failed {
			return c
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(demandPoll):
		}
	}
}

// look returns the certificate of a host, and whether its order failed and waits.
func (r *resolver) look(host string) (c *tls.Certificate, failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for h := range r.certs.covering([]string{host}) {
		if now.Before(h.pair.Leaf.NotAfter) {
			return h.pair, false
		}
	}
	t := r.tries[host]
	return nil, t != nil && t.Next.After(now)
}

// allowed says whether a host may have a certificate, by the list or by asking.
func (r *resolver) allowed(ctx context.Context, host string) bool {
	o, d, now := r.cfg.OnDemand, r.demand, time.Now()
	if slices.ContainsFunc(o.Allow, func(pattern string) bool { return allows(pattern, host) }) {
		return true
	}
	if o.Ask == "" {
		return false
	}
	d.mu.Lock()
	v, ok := d.verdicts[host]
	d.mu.Unlock()
	if ok && now.Before(v.until) {
		return v.allowed
	}
	select {
	case d.asking <- struct{}{}:
		defer func() { <-d.asking }()
	default:
		return false
	}
	v = verdict{allowed: r.ask(ctx, host), until: now.Add(deniedFor)}
	if v.allowed {
		v.until = now.Add(allowedFor)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, old := range d.verdicts {
		if len(d.verdicts) < maxVerdicts {
			break
		}
		if len(d.verdicts) >= maxVerdicts || now.After(old.until) { // any: the map is in no order
			delete(d.verdicts, k)
		}
	}
	d.verdicts[host] = v
	return v.allowed
}

func allows(pattern, host string) bool {
	pattern = strings.ToLower(pattern)
	if rest, ok := strings.CutPrefix(pattern, "**."); ok {
		return strings.HasSuffix(host, "."+rest)
	}
	return covers([]string{pattern}, []string{host})
}

func (r *resolver) ask(ctx context.Context, host string) bool {
	u, err := url.Parse(r.cfg.OnDemand.Ask)
	if err != nil {
		return false
	}
	q := u.Query()
	q.Set("domain", host)
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.log.Warn().Str("host", host).Msg("the address to ask for allowed hosts does not answer")
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode >= 200 && resp.StatusCode < 300
}

// remember adds a host to those kept, if the rate allows a new one. Of several handshakes
// for the same new host one counts.
func (r *resolver) remember(ctx context.Context, host string) bool {
	r.mu.Lock()
	if slices.Contains(r.hosts, host) {
		r.mu.Unlock()
		return true
	}
	ok := len(r.hosts) < maxDemanded && r.demand.take(float64(r.cfg.OnDemand.PerMinute), time.Now())
	if ok {
		r.hosts, r.wishes = append(slices.Clone(r.hosts), host), nil
	}
	hosts := r.hosts
	r.mu.Unlock()
	if !ok {
		r.log.Warn().Str("host", host).Msg("too many new hosts on demand; the handshake gets the default certificate")
		return false
	}
	r.storeHosts(ctx, hosts)
	r.nudge()
	return true
}

// take reports whether the rate allows one more new host, and counts it.
func (d *demand) take(perMinute float64, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.filled.IsZero() {
		d.tokens = perMinute
	} else {
		d.tokens = min(perMinute, d.tokens+now.Sub(d.filled).Minutes()*perMinute)
	}
	d.filled = now
	if d.tokens < 1 {
		return false
	}
	d.tokens--
	return true
}

// drop forgets a host that is not allowed any more or cannot be had.
func (r *resolver) drop(ctx context.Context, host string) {
	r.mu.Lock()
	r.hosts, r.wishes = slices.DeleteFunc(slices.Clone(r.hosts), func(h string) bool { return h == host }), nil
	hosts := r.hosts
	r.mu.Unlock()
	r.storeHosts(ctx, hosts)
}

// storeHosts keeps the hosts for the next start. Of replicas each keeps what it was asked
// for; the last list stays, and a host that is missing in it comes again by a handshake.
func (r *resolver) storeHosts(ctx context.Context, hosts []string) {
	if err := r.vault.putJSON(ctx, r.stateKey("@demand"), map[string][]string{"hosts": hosts}); err != nil && ctx.Err() == nil {
		r.log.Warn().Err(err).Msg("hosts on demand not stored")
	}
}

func (r *resolver) loadHosts(ctx context.Context) error {
	if r.cfg.OnDemand == nil {
		return nil
	}
	var v struct{ Hosts []string }
	if err := r.vault.getJSON(ctx, r.stateKey("@demand"), &v); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range v.Hosts {
		if demandable(h) && !slices.Contains(r.hosts, h) {
			r.hosts, r.wishes = append(slices.Clone(r.hosts), h), nil
		}
	}
	return nil
}

// wanting is everything this resolver keeps certificates for. The caller holds r.mu.
func (r *resolver) wanting() *wishes {
	if r.wishes == nil {
		all := slices.Concat(r.wants, r.backing)
		for _, h := range r.hosts {
			all = append(all, []string{h})
		}
		r.wishes = newWishes(all)
	}
	return r.wishes
}

// stillAllowed checks a host again before it is ordered or renewed.
func (r *resolver) stillAllowed(ctx context.Context, j job) bool {
	if r.cfg.OnDemand == nil || len(j.names) != 1 {
		return true
	}
	r.mu.Lock()
	onDemand := slices.Contains(r.hosts, j.names[0]) && !slices.ContainsFunc(r.wants, func(w []string) bool { return covers(j.names, w) })
	r.mu.Unlock()
	if !onDemand {
		return true
	}
	if r.attempt(j.names[0]).Failures < giveUpAfter && r.allowed(ctx, j.names[0]) {
		return true
	}
	r.drop(ctx, j.names[0])
	return false
}
