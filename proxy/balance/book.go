package balance

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Prober asks one server whether it works. It is upstream's part of health checks.
type Prober interface {
	Probe(ctx context.Context, ep *exchange.Endpoint, hc *config.HealthCheck) error
}

// Events is told what changes without a new table; any function may be nil.
type Events struct {
	// Health is called when a health check changes the state of a server.
	Health func(service, url string, up bool, cause error)
	// Unready is called when a server enters rotation though it never passed its readiness
	// probe: Book.Unready has one more.
	Unready func()
	// Wake is called when a request finds nothing of a service that may sleep. It gives the
	// time since which it is being woken, in ns since 1970, or 0 if that makes no sense.
	Wake func(*config.Idle) int64
}

// Book keeps live endpoint state across tables. It is safe for concurrent use.
type Book struct {
	prober Prober
	events Events

	mu         sync.Mutex
	nextID     uint32
	endpoints  map[endpointKey]*exchange.Endpoint
	balancers  map[string]*LoadBalancer
	positions  map[string]*rotation
	gates      map[string]*gate
	sleepers   map[*gate]bool // of services that may sleep, and of some that are gone
	transports map[string]*exchange.Transport
	checks     map[string]*check
	wake       chan struct{}
	// stale are the services whose checks are to be looked at; allStale means all.
	stale    map[string]bool
	allStale bool
	// starting are endpoints whose readiness probe is to be begun.
	starting []starting
	unready  map[*exchange.Endpoint]Unready
	held     atomic.Int64 // requests that wait at gates
}

// endpointKey makes a server of one service under one transport unique. Health belongs to
// the service, so the same URL in two services makes two endpoints.
type endpointKey struct {
	service, url string
	preserve     bool
	transport    *exchange.Transport
	epoch        int64
}

func keyOf(service string, s *config.Server, tr *exchange.Transport) endpointKey {
	return endpointKey{service: service, url: s.URL, preserve: s.PreservePath, transport: tr, epoch: s.Epoch}
}

// NewBook returns an empty Book. Health checks run while Run does.
func NewBook(p Prober, ev Events) *Book {
	return &Book{
		prober:     p,
		events:     ev,
		endpoints:  map[endpointKey]*exchange.Endpoint{},
		balancers:  map[string]*LoadBalancer{},
		positions:  map[string]*rotation{},
		gates:      map[string]*gate{},
		sleepers:   map[*gate]bool{},
		transports: map[string]*exchange.Transport{},
		checks:     map[string]*check{},
		wake:       make(chan struct{}, 1),
		stale:      map[string]bool{},
	}
}

// Draft collects the services of the next table. Use one Draft at a time, from one
// goroutine, and end it with Commit; a Draft that is dropped changes nothing live.
type Draft struct {
	book       *Book
	endpoints  map[endpointKey]*exchange.Endpoint
	fenced     map[*exchange.Endpoint]bool
	balancers  map[string]*LoadBalancer
	positions  map[string]*rotation
	gates      map[string]*gate
	transports map[string]*exchange.Transport
	starting   []starting
	// amends is set where it begins with what is live, without dropped.
	amends  bool
	dropped []string
}

// Begin starts a Draft. Its maps have the size of the live ones: growing them would be a
// good part of the cost of a change among thousands of services.
func (b *Book) Begin() *Draft {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &Draft{
		book:       b,
		endpoints:  make(map[endpointKey]*exchange.Endpoint, len(b.endpoints)),
		fenced:     make(map[*exchange.Endpoint]bool, len(b.endpoints)),
		balancers:  make(map[string]*LoadBalancer, len(b.balancers)),
		positions:  make(map[string]*rotation, len(b.positions)),
		gates:      make(map[string]*gate, len(b.gates)),
		transports: map[string]*exchange.Transport{},
	}
}

// Transport returns the transport of that name. While key stays the same (a fingerprint
// of its configuration and the files it names) the same transport is returned, so that
// endpoints and their pools survive; else build makes a new one.
func (d *Draft) Transport(name, key string, build func() *exchange.Transport) *exchange.Transport {
	k := name + "\x00" + key
	if t := d.transports[k]; t != nil {
		return t
	}
	d.book.mu.Lock()
	t := d.book.transports[k]
	d.book.mu.Unlock()
	if t == nil {
		t = build()
	}
	d.transports[k] = t
	return t
}

// endpoint finds or makes the endpoint of a server.
func (d *Draft) endpoint(service string, s *config.Server, tr *exchange.Transport) (*exchange.Endpoint, error) {
	k := keyOf(service, s, tr)
	if ep := d.endpoints[k]; ep != nil {
		d.fenced[ep] = d.fenced[ep] && s.Fenced
		return ep, nil
	}
	d.book.mu.Lock()
	ep := d.book.endpoints[k]
	if ep == nil {
		var err error
		if ep, err = newEndpoint(s, tr); err != nil {
			d.book.mu.Unlock()
			return nil, err
		}
		d.book.nextID++
		ep.ID = d.book.nextID
		if s.Ready != "" {
			ep.Starting.Store(true)
			d.starting = append(d.starting, starting{service, s.Ready, ep})
		}
		ep.Since.Store(time.Now().UnixNano())
	}
	d.book.mu.Unlock()
	d.endpoints[k] = ep
	d.fenced[ep] = s.Fenced
	return ep, nil
}

// Commit makes the draft live: what it names is retained, what it does not name is
// released. Idle connections of released endpoints are closed by the lanes; requests
// under way finish. Call it when the table that uses the draft is published.
func (d *Draft) Commit() {
	b := d.book
	b.mu.Lock()
	if d.amends {
		b.amend(d)
	} else {
		b.replace(d)
	}
	b.starting = append(b.starting, d.starting...)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// replace makes a Draft of Begin live; b.mu is held.
func (b *Book) replace(d *Draft) {
	for k, ep := range b.endpoints {
		if d.endpoints[k] != ep {
			ep.Gone.Store(true)
			delete(b.unready, ep)
		}
	}
	for _, ep := range d.endpoints {
		ep.Fenced.Store(d.fenced[ep])
		ep.Gone.Store(false)
	}
	b.endpoints, b.balancers, b.positions, b.transports = d.endpoints, d.balancers, d.positions, d.transports
	b.turnGates(d.gates)
	b.allStale = true
}

// Fence takes every endpoint with one of these URLs out of rotation at once, or puts it
// back, without a new table. It reports how many endpoints it met.
func (b *Book) Fence(urls []string, fenced bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	now := time.Now().UnixNano()
	for k, ep := range b.endpoints {
		if slices.Contains(urls, ep.URL) {
			ep.Fenced.Store(fenced)
			if g := b.gates[k.service]; g != nil {
				g.changedAt(now)
			}
			n++
		}
	}
	return n
}

// Status tells the state of every server of a load balancer as the API shows it: URL to
// "UP" or "DOWN". It is nil for names that are no load balancer.
func (b *Book) Status(service string) map[string]string {
	b.mu.Lock()
	lb := b.balancers[service]
	b.mu.Unlock()
	if lb == nil {
		return nil
	}
	m := make(map[string]string, len(lb.eps))
	now := time.Now().UnixNano()
	for _, ep := range lb.eps {
		if ep.Up(now) {
			m[ep.URL] = "UP"
		} else if m[ep.URL] == "" {
			m[ep.URL] = "DOWN"
		}
	}
	return m
}

// ServerState is one server as metrics and the dashboard show it.
type ServerState struct {
	Service, URL, Origin string
	Up, Checked          bool
	InFlight             int64
}

// Servers lists every server of every load balancer, in no order.
func (b *Book) Servers() []ServerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now().UnixNano()
	var out []ServerState
	for name, lb := range b.balancers {
		for _, ep := range lb.eps {
			out = append(out, ServerState{name, ep.URL, ep.Origin, ep.Up(now), lb.cfg.HealthCheck != nil, ep.InFlight.Load()})
		}
	}
	return out
}

func fingerprint(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain configuration structs always encode
	}
	return string(b)
}
