package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

type strategy uint8

const (
	wrr strategy = iota
	p2c
	hrw
	leastTime
)

// LoadBalancer shares the requests of one service among its endpoints. It is immutable
// but for its rotation; it is safe for concurrent use.
type LoadBalancer struct {
	name     string
	cfg      *config.LoadBalancer
	tr       *exchange.Transport
	byKey    map[endpointKey]*exchange.Endpoint
	eps      []*exchange.Endpoint
	weights  []int
	equal    bool // all weights are 1
	strategy strategy
	rot      *rotation
	sticky   *sticky
	cookie   string // its name, also where it is not set
	passive  *passive
	health   *config.HealthCheck // what is run; nil for none
	doubts   exchange.Doubts
	flush    time.Duration
	dropHost bool
	hold     time.Duration
	idle     bool // it may sleep
	slow     time.Duration
	gate     *gate
}

var (
	_ exchange.Service    = (*LoadBalancer)(nil)
	_ exchange.Releaser   = (*LoadBalancer)(nil)
	_ exchange.ResponseOp = (*LoadBalancer)(nil)
)

// Service builds the load balancer of that name ("api@docker"). Where neither its
// configuration nor its transport changed since the last table, the live one is returned.
func (d *Draft) Service(name string, cfg *config.LoadBalancer, tr *exchange.Transport) (*LoadBalancer, error) {
	d.book.mu.Lock()
	lb := d.book.balancers[name]
	d.book.mu.Unlock()
	if lb != nil && lb.cfg == cfg && lb.tr == tr {
		d.retain(lb)
	} else {
		var err error
		if lb, err = d.build(name, cfg, tr); err != nil {
			return nil, err
		}
	}
	d.balancers[name] = lb
	d.positions[name] = lb.rot
	d.gates[name] = lb.gate
	return lb, nil
}

// retain takes the endpoints of a live balancer over: its configuration is the same object,
// and configurations never change.
func (d *Draft) retain(lb *LoadBalancer) {
	for i := range lb.cfg.Servers {
		s := &lb.cfg.Servers[i]
		k := keyOf(lb.name, s, lb.tr)
		if ep := lb.byKey[k]; ep != nil {
			_, seen := d.endpoints[k]
			d.endpoints[k] = ep
			d.fenced[ep] = s.Fenced && (!seen || d.fenced[ep])
		}
	}
}

func (d *Draft) build(name string, cfg *config.LoadBalancer, tr *exchange.Transport) (*LoadBalancer, error) {
	lb := &LoadBalancer{name: name, cfg: cfg, tr: tr, equal: true, byKey: make(map[endpointKey]*exchange.Endpoint, len(cfg.Servers))}
	switch strings.ToLower(cfg.Strategy) {
	case "", "wrr":
	case "p2c":
		lb.strategy = p2c
	case "hrw":
		lb.strategy = hrw
	case "leasttime":
		lb.strategy = leastTime
	default:
		return nil, fmt.Errorf("strategy %q is not wrr, p2c, hrw or leasttime", cfg.Strategy)
	}
	seen := map[*exchange.Endpoint]bool{}
	for i := range cfg.Servers {
		s := &cfg.Servers[i]
		ep, err := d.endpoint(name, s, tr)
		if err != nil {
			return nil, err
		}
		lb.byKey[keyOf(name, s, tr)] = ep
		w := 1
		if s.Weight != nil {
			w = *s.Weight
		}
		if w < 0 { // no better than zero in the reference
			lb.doubts.Add("server %s: weight %d is negative, so that it takes no requests", s.URL, w)
			w = 0
		}
		if seen[ep] {
			continue // named twice counts once, as in the reference
		}
		seen[ep] = true
		lb.eps = append(lb.eps, ep)
		lb.weights = append(lb.weights, w)
		lb.equal = lb.equal && w == 1
	}
	if cfg.ResponseForwarding != nil {
		lb.flush = time.Duration(cfg.ResponseForwarding.FlushInterval)
	}
	lb.dropHost = cfg.PassHostHeader != nil && !*cfg.PassHostHeader
	if cfg.Sticky != nil && cfg.Sticky.Cookie != nil {
		lb.stick(cfg.Sticky.Cookie)
	}
	if p := cfg.PassiveHealthCheck; p != nil {
		lb.passive = newPassive(lb.passiveOptions(p), len(lb.eps))
	}
	var err error
	var odd string
	if lb.health, odd, err = healthOptions(cfg.HealthCheck); err != nil {
		return nil, err
	}
	lb.doubts.Add("%s", odd)
	d.book.mu.Lock()
	lb.rot = d.book.positions[name]
	lb.gate = d.book.gates[name]
	old := d.book.balancers[name]
	d.book.mu.Unlock()
	if lb.gate == nil {
		lb.gate = &gate{book: d.book}
	}
	lb.idle = cfg.Idle != nil
	if cfg.SlowStart != nil && lb.strategy != hrw {
		lb.slow = time.Duration(*cfg.SlowStart)
	}
	lb.hold = time.Duration(cfg.AutoHold)
	if cfg.Hold != nil {
		lb.hold = max(0, time.Duration(*cfg.Hold))
	}
	if lb.rot == nil {
		lb.rot = &rotation{}
	}
	if old != nil && lb.passive != nil && old.passive != nil && *old.cfg.PassiveHealthCheck == *cfg.PassiveHealthCheck {
		lb.passive = old.passive
	}
	return lb, nil
}

// stick makes the sticky cookie. hrw binds a client to a server already; the reference sets no
// cookie there.
func (lb *LoadBalancer) stick(c *config.Cookie) {
	st := newSticky(lb.name, c)
	lb.cookie = st.name
	if lb.strategy == hrw {
		lb.doubts.Add("sticky.cookie has no effect with the strategy hrw, which binds a client by its address")
		return
	}
	for i, ep := range lb.eps {
		st.add(ep.URL, lb.weights[i] > 0)
	}
	lb.doubts.Add("%s", st.warning)
	lb.sticky = st
}

// Name of the service.
func (lb *LoadBalancer) Name() string { return lb.name }

// Checked reports whether the service has a health check that a parent may rely on.
func (lb *LoadBalancer) Checked() bool { return lb.cfg.HealthCheck != nil }

// Up reports whether any server is up at now (ns since 1970). One that sleeps counts as up:
// a request is all it takes.
func (lb *LoadBalancer) Up(now int64) bool {
	return lb.idle && lb.cfg.Idle.Asleep || lb.serving(now)
}

// serving reports whether any server is up.
func (lb *LoadBalancer) serving(now int64) bool {
	for i, ep := range lb.eps {
		if lb.weights[i] > 0 && ep.Up(now) {
			return true
		}
	}
	return false
}

// Pick implements exchange.Service.
func (lb *LoadBalancer) Pick(ex *exchange.Exchange) (*exchange.Endpoint, exchange.Reason) {
	i := -1
	stuck, old := false, false
	if lb.sticky != nil {
		if i, old = lb.sticky.find(&ex.Req.Fields); i >= 0 {
			if lb.usable(ex, i) {
				stuck = true
			} else {
				i = -1
			}
		}
	}
	if i < 0 {
		i = lb.choose(ex)
	}
	if i < 0 {
		return lb.none(ex)
	}
	if lb.slow > 0 && !stuck {
		i = lb.ease(ex, i)
	}
	ep := lb.eps[i]
	ep.InFlight.Add(1)
	if lb.idle {
		lb.gate.used.Store(ex.Now)
	}
	ex.Backend.Endpoint = ep
	ex.Backend.Service = lb.name
	ex.Backend.DropHost = lb.dropHost
	ex.Backend.FlushInterval = lb.flush
	ex.Backend.Owner, ex.Backend.Holder = lb, nil
	if lb.sticky != nil && (!stuck || old) {
		ex.OnResponse(lb, uint64(i)<<2|setCookie)
	}
	if lb.strategy == leastTime {
		arg := uint64(i) << 2
		if lb.stale(ep, ex.Now) {
			ep.Measured.Store(ex.Now)
			arg |= anew
		}
		ex.OnResponse(lb, arg)
	}
	return ep, exchange.NoReason
}

// Flags in the argument of Response.
const (
	setCookie = 1 << iota
	anew      // the measure is not averaged with older ones
)

// Response sets the sticky cookie, or measures the time to the response head.
func (lb *LoadBalancer) Response(ex *exchange.Exchange, arg uint64) {
	i := int(arg >> 2)
	if ex.Backend.Endpoint != lb.eps[i] {
		return // another server answered after all
	}
	if arg&setCookie != 0 {
		ex.Resp.Fields.Add("Set-Cookie", lb.sticky.cookies[i])
		return
	}
	took := max(time.Now().UnixNano()-ex.Now, 1)
	n := lb.eps[i].Samples.Add(1)
	if old := lb.eps[i].Latency.Load(); old != 0 && arg&anew == 0 {
		took = max(old+(took-old)/min(n, 8), 1)
	}
	lb.eps[i].Latency.Store(took)
}

// Release implements exchange.Releaser.
func (lb *LoadBalancer) Release(ex *exchange.Exchange, ep *exchange.Endpoint, o exchange.Outcome) {
	ep.InFlight.Add(-1)
	if o == exchange.OK && !ep.Served.Load() {
		ep.Served.Store(true)
	}
	if o == exchange.Failed && lb.strategy == leastTime {
		ep.Latency.Store(int64(failedLatency))
		ep.Measured.Store(ex.Now)
	}
	if lb.passive != nil {
		lb.passive.note(lb, ep, o, ex.Resp.Status)
	}
}

// usable reports whether endpoint i may serve this request, its weight aside.
func (lb *LoadBalancer) usable(ex *exchange.Exchange, i int) bool {
	ep := lb.eps[i]
	return ep.Up(ex.Now) && !ex.WasTried(ep)
}

func (lb *LoadBalancer) choose(ex *exchange.Exchange) int {
	switch lb.strategy {
	case p2c:
		return lb.twoChoices(ex)
	case hrw:
		return lb.highest(ex)
	case leastTime:
		return lb.fastest(ex)
	}
	if lb.equal {
		return lb.turn(ex)
	}
	return lb.rot.weighted(lb, ex)
}

// turn takes the usable endpoints in turn, each as often as any other, also while some are down.
func (lb *LoadBalancer) turn(ex *exchange.Exchange) int {
	n := len(lb.eps)
	if n == 1 {
		if lb.usable(ex, 0) {
			return 0
		}
		return -1
	}
	up := 0
	for i := range n {
		if lb.usable(ex, i) {
			up++
		}
	}
	if up == 0 {
		return -1
	}
	k := int((lb.rot.next.Add(1) - 1) % uint64(up))
	last := -1
	for i := range n {
		if lb.usable(ex, i) {
			last = i
			if k == 0 {
				return i
			}
			k--
		}
	}
	return last // one went down in between
}

func (lb *LoadBalancer) twoChoices(ex *exchange.Exchange) int {
	n := len(lb.eps)
	up := 0
	for i := range n {
		if lb.weights[i] > 0 && lb.usable(ex, i) {
			up++
		}
	}
	if up == 0 {
		return -1
	}
	nth := func(k int) int {
		last := -1
		for i := range n {
			if lb.weights[i] > 0 && lb.usable(ex, i) {
				last = i
				if k == 0 {
					return i
				}
				k--
			}
		}
		return last
	}
	if up == 1 {
		return nth(0)
	}
	a := rand.IntN(up)
	b := rand.IntN(up - 1)
	if b >= a {
		b++
	}
	i, j := nth(a), nth(b)
	if i >= 0 && j >= 0 && lb.eps[j].InFlight.Load() < lb.eps[i].InFlight.Load() {
		return j
	}
	return i
}

// highest is rendezvous hashing of the client's address.
func (lb *LoadBalancer) highest(ex *exchange.Exchange) int {
	best, score := -1, math.Inf(-1)
	h := hashAddr(ex.Req.Peer.Addr())
	for i, ep := range lb.eps {
		if lb.weights[i] == 0 || !lb.usable(ex, i) {
			continue
		}
		if s := rendezvous(h, ep.URL, lb.weights[i]); s > score {
			best, score = i, s
		}
	}
	return best
}

// What leastTime does with servers that are slow or fail: they are asked again once in a
// while, since nobody would notice otherwise that they have become quick.
const (
	fewSamples    = 3 // the first measure has the time to connect in it
	measureAgain  = 10 * time.Second
	failedLatency = 30 * time.Second // what counts for a server that did not answer
)

// stale reports whether the measure of ep is too old to keep requests away from it.
func (lb *LoadBalancer) stale(ep *exchange.Endpoint, now int64) bool {
	return now-ep.Measured.Load() > int64(measureAgain)
}

// fastest takes the endpoint with the least expected time: its average time to the
// response head, times the requests it would then have, over its weight. Endpoints
// with few measures, or old ones, come first, in turn.
func (lb *LoadBalancer) fastest(ex *exchange.Exchange) int {
	best, score := -1, math.Inf(1)
	off := 0
	if n := len(lb.eps); n > 1 {
		off = int((lb.rot.next.Add(1) - 1) % uint64(n))
	}
	for k := range lb.eps {
		i := (k + off) % len(lb.eps)
		ep := lb.eps[i]
		if lb.weights[i] == 0 || !lb.usable(ex, i) {
			continue
		}
		s := 0.0
		if !lb.stale(ep, ex.Now) && (ep.Samples.Load() >= fewSamples || ep.Latency.Load() == int64(failedLatency)) {
			s = float64(ep.Latency.Load()) * float64(1+ep.InFlight.Load()) / float64(lb.weights[i])
		}
		if s < score {
			best, score = i, s
		}
	}
	return best
}

func hashAddr(a netip.Addr) uint64 {
	b := a.As16()
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// rendezvous gives key its score at a node of that weight (weighted rendezvous hashing:
// -w / ln(u) with u uniform in (0,1)).
func rendezvous(key uint64, node string, weight int) float64 {
	h := key
	for i := 0; i < len(node); i++ {
		h = (h ^ uint64(node[i])) * 1099511628211
	}
	// Final mix, so that the high bits depend on all input (murmur3's finaliser).
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	u := (float64(h>>11) + 0.5) / (1 << 53)
	return -float64(weight) / math.Log(u)
}
