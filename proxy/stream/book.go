package stream

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/upstream"
)

// Transport is how TCP servers are reached. It is immutable.
type Transport struct {
	// DialTimeout bounds dialling; zero means no limit. KeepAlive is the interval of TCP
	// keep-alive probes.
	DialTimeout, KeepAlive time.Duration
	// TerminationDelay is how long a side may stay silent once the other has closed its
	// sending half; see minHalfOpen.
	TerminationDelay time.Duration
	// Proxy is the version of the PROXY header that servers get, or 0 for none.
	Proxy int
	// TLS is used for servers that speak TLS. Its ServerName is filled per server where empty.
	TLS *tls.Config

	noTLS   error  // why servers that speak TLS cannot be reached
	warning string // what was left out
}

// NewTransport reads the settings of a load balancer; t may be nil for the defaults.
func NewTransport(lb *config.TCPLoadBalancer, t *config.TCPServersTransport) (*Transport, error) {
	if t == nil {
		t = &config.TCPServersTransport{}
		t.SetDefaults()
	}
	tr := &Transport{
		DialTimeout: time.Duration(t.DialTimeout), KeepAlive: time.Duration(t.DialKeepAlive),
		TerminationDelay: time.Duration(t.TerminationDelay),
	}
	pp := t.ProxyProtocol
	if lb.ServersTransport == "" { // the load balancer's own are deprecated, and nothing beside a transport
		if lb.TerminationDelay != nil {
			tr.TerminationDelay = time.Duration(*lb.TerminationDelay) * time.Millisecond
		}
		if lb.ProxyProtocol != nil {
			pp = lb.ProxyProtocol
		}
	}
	if pp != nil {
		if tr.Proxy = pp.Version; tr.Proxy != 1 && tr.Proxy != 2 {
			return nil, fmt.Errorf("proxyProtocol.version is 1 or 2, not %d", tr.Proxy)
		}
	}
	c := t.TLS
	if c == nil {
		c = &config.TLSClient{}
	}
	tr.TLS, tr.warning, tr.noTLS = upstream.ClientTLS(&config.ServersTransport{
		ServerName: c.ServerName, InsecureSkipVerify: c.InsecureSkipVerify, RootCAs: c.RootCAs, Spiffe: c.Spiffe,
		Certificates: c.Certificates, PeerCertURI: c.PeerCertURI, PeerCertSANs: c.PeerCertSANs,
	})
	return tr, nil
}

// Book keeps what outlives a table: servers with their health and counters, positions of
// balancers, counts of guards. It is safe for concurrent use.
type Book struct {
	onHealth func(service, address string, up bool, cause error)
	onWake   func(*config.Idle) int64

	mu        sync.Mutex
	balancers map[string]*Balancer
	checks    map[string]*check
	flights   map[string]*flights
	wake      chan struct{}
}

// NewBook returns an empty Book. Health checks run while Run does; onHealth, which may be
// nil, is told of their changes. onWake, which may be nil too, is asked for the servers of
// services that sleep, as in package balance.
func NewBook(onHealth func(service, address string, up bool, cause error), onWake func(*config.Idle) int64) *Book {
	return &Book{
		onHealth: onHealth, onWake: onWake, balancers: map[string]*Balancer{}, checks: map[string]*check{},
		flights: map[string]*flights{}, wake: make(chan struct{}, 1),
	}
}

// Draft collects the services of the next table. Use one at a time, from one goroutine,
// and end it with Commit; a Draft that is dropped changes nothing.
type Draft struct {
	book      *Book
	balancers map[string]*Balancer
	checks    map[string]*check
	flights   map[string]*flights
}

// Begin starts a Draft.
func (b *Book) Begin() *Draft {
	return &Draft{book: b, balancers: map[string]*Balancer{}, checks: map[string]*check{}, flights: map[string]*flights{}}
}

// TCP builds the load balancer of that name. Where neither its configuration nor its
// transport changed, the live one is returned; servers that stay keep their health.
func (d *Draft) TCP(name string, lb *config.TCPLoadBalancer, t *config.TCPServersTransport) (*Balancer, error) {
	key := "tcp " + name
	if b := d.balancers[key]; b != nil {
		return b, nil
	}
	finger := fingerprint(lb, t, lb.Idle)
	old := d.book.balancer(key)
	if old != nil && old.finger == finger {
		d.keep(key, old, lb.HealthCheck)
		return old, nil
	}
	tr, err := NewTransport(lb, t)
	if err != nil {
		return nil, err
	}
	b := &Balancer{name: name, finger: finger, turn: new(atomic.Uint64)}
	if tr.noTLS != nil {
		b.doubts.Add("servers that speak TLS cannot be reached: %v", tr.noTLS)
	}
	b.doubts.Add("%s", tr.warning)
	for _, s := range lb.Servers {
		if _, _, err := net.SplitHostPort(s.Address); err != nil {
			b.doubts.Add("the server %q is left out: %v", s.Address, err) // as in the reference
			continue
		}
		b.servers = append(b.servers, successor(old, &Server{Address: s.Address, TLS: s.TLS, Transport: tr}))
	}
	if old != nil {
		b.turn = old.turn
	}
	b.sleeps(d.book, key, old, lb.Idle, lb.AutoHold)
	d.keep(key, b, lb.HealthCheck)
	return b, nil
}

// UDP builds the load balancer of a UDP service.
func (d *Draft) UDP(name string, lb *config.UDPLoadBalancer) (*Balancer, error) {
	key := "udp " + name
	if b := d.balancers[key]; b != nil {
		return b, nil
	}
	finger := fingerprint(lb, lb.Idle)
	old := d.book.balancer(key)
	if old != nil && old.finger == finger {
		d.keep(key, old, nil)
		return old, nil
	}
	b := &Balancer{name: name, finger: finger, turn: new(atomic.Uint64)}
	for _, s := range lb.Servers {
		if _, _, err := net.SplitHostPort(s.Address); err != nil {
			b.doubts.Add("the server %q is left out: %v", s.Address, err) // as in the reference
			continue
		}
		b.servers = append(b.servers, successor(old, &Server{Address: s.Address}))
	}
	if old != nil {
		b.turn = old.turn
	}
	b.sleeps(d.book, key, old, lb.Idle, 0)
	d.keep(key, b, nil)
	return b, nil
}

// successor gives s the state of the same server in the old balancer.
func successor(old *Balancer, s *Server) *Server {
	if old == nil {
		return s
	}
	for _, o := range old.servers {
		if o.Address == s.Address {
			s.down.Store(o.down.Load())
			s.fenced.Store(o.fenced.Load())
			break
		}
	}
	return s
}

func (d *Draft) keep(key string, b *Balancer, hc *config.TCPHealthCheck) {
	d.balancers[key] = b
	if hc != nil && len(b.servers) > 0 {
		d.checks[key] = &check{balancer: b, cfg: *hc}
	}
}

func (b *Book) balancer(key string) *Balancer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.balancers[key]
}

// Commit makes the draft live: checks of what it does not name end.
func (d *Draft) Commit() {
	b := d.book
	b.mu.Lock()
	for key, c := range d.checks {
		if old := b.checks[key]; old != nil && old.balancer == c.balancer {
			d.checks[key] = old
		}
	}
	b.balancers, b.checks, b.flights = d.balancers, d.checks, d.flights
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Fence takes every server at addr ("10.0.0.3:80", or an address for all its ports) out of
// rotation at once, or puts it back. It reports how many it met.
func (b *Book) Fence(addr string, fenced bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, lb := range b.balancers {
		for _, s := range lb.servers {
			host, _, _ := net.SplitHostPort(s.Address)
			if s.Address == addr || host == addr {
				s.fenced.Store(fenced)
				n++
			}
		}
	}
	return n
}

// Status tells the state of every server of a TCP load balancer as the API shows it:
// address to "UP" or "DOWN"; nil for names that are none.
func (b *Book) Status(service string) map[string]string {
	lb := b.balancer("tcp " + service)
	if lb == nil {
		return nil
	}
	m := make(map[string]string, len(lb.servers))
	for _, s := range lb.servers {
		if s.Up() {
			m[s.Address] = "UP"
		} else if m[s.Address] == "" {
			m[s.Address] = "DOWN"
		}
	}
	return m
}

func fingerprint(v ...any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain configuration structs always encode
	}
	return string(b)
}

// Run runs the health checks until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	running := map[*check]context.CancelFunc{}
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		b.mu.Lock()
		wanted := map[*check]bool{}
		for _, c := range b.checks {
			wanted[c] = true
		}
		b.mu.Unlock()
		for c, stop := range running {
			if !wanted[c] {
				stop()
				delete(running, c)
			}
		}
		for c := range wanted {
			if running[c] == nil {
				cctx, cancel := context.WithCancel(ctx)
				running[c] = cancel
				wg.Go(func() { c.run(cctx, b.onHealth) })
			}
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return nil
		}
	}
}
