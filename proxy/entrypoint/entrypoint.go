// Package entrypoint opens the ports: it accepts connections, reads PROXY headers of
// trusted senders, terminates TLS, tells TCP routes from HTTP, chooses the lane, and ends
// it all in order.
package entrypoint

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/serve"
	"github.com/sluice-edge/sluice/proxy/stream"
	"github.com/sluice-edge/sluice/proxy/upstream"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/telemetry"
)

// Config is what an EntryPoint needs. EP and Client must be set.
type Config struct {
	Name string
	EP   *config.EntryPoint
	// Hostname is sent as X-Forwarded-Server; empty sends none.
	Hostname string
	Client   *upstream.Client
	Records  telemetry.Sink
	Wants    *telemetry.Wants
	Log      zerolog.Logger
	// TLS gives the settings for a ClientHello. Nil: bytes that begin like TLS are taken as HTTP.
	TLS func(*tls.ClientHelloInfo) (*tls.Config, error)
	// ForRoutes reports whether handshakes of ACME's TLS challenges are for TCP routes too; nil
	// means that they are not.
	ForRoutes func() bool
	// ReadTotal makes the read time-out bound whole requests, as in the reference.
	ReadTotal bool
	// ReasonHeader tells trusted peers that send X-Sluice-Reason the Reason of the edge's answers.
	ReasonHeader bool
	// Dress may give answers of the edge other bodies; nil never does.
	Dress func(*exchange.Exchange)
	// FinishHalfClosed finishes answers for clients that have closed their sending half.
	FinishHalfClosed bool
	// AltSvc is added to answers over TLS where not empty. It is filled in where EP offers HTTP/3.
	AltSvc string
	// Lane owns the listeners where it is set and takes them; else connections are served
	// by goroutines.
	Lane Lane
	// Listeners are open already (socket activation) and used in place of EP's addresses;
	// Packets likewise for HTTP/3.
	Listeners []net.Listener
	Packets   []*net.UDPConn
}

// Lane is another way to serve connections, as the loop lane does. It is declared here and
// joined by the server.
type Lane interface {
	// Open begins to listen for the entry point. It may open several listeners at addr and
	// hands what it cannot do to the HandOver. A nil Port without an error means that it
	// leaves the entry point to goroutines.
	Open(ctx context.Context, addr Address, ep *EntryPoint) (Port, error)
}

// Adopter is a Lane that takes listeners which are open already.
type Adopter interface {
	// Adopt listens with l, which stays the caller's to close.
	Adopt(l *net.TCPListener, ep *EntryPoint) (Port, error)
}

// Port is an address that a Lane listens at.
type Port interface {
	Addr() net.Addr
	// SetMatcher swaps the routes.
	SetMatcher(m exchange.Matcher)
	// CloseListener ends the accepting.
	CloseListener()
	// Shutdown ends connections as serve.Server.Shutdown does.
	Shutdown(ctx context.Context) error
	// Open counts connections.
	Open() int
}

// TCP chooses who takes a connection before HTTP does. It is immutable; see SetTCP.
type TCP interface {
	// Peek reports whether any route of the entry point, HTTP's included, takes TLS
	// connections: the first bytes of a connection must then be seen. Else a connection
	// goes to its clear route at once, whose server may speak first.
	Peek() bool
	// Match finds the taker of a connection by its addresses, TLS, SNI and ALPN; nil leaves
	// it to HTTP.
	Match(c *stream.Conn) Taker
}

// Taker serves a connection; it owns it. TLS is not ended yet. *stream.Route is one.
type Taker interface {
	ServeTCP(c stream.Conn)
}

type tcpBox struct{ TCP }

// EntryPoint is one entry point with all its addresses.
type EntryPoint struct {
	cfg     Config
	addrs   []Address
	server  *serve.Server
	tls     *tls.Config
	proxies proxyTrust
	tcp     atomic.Pointer[tcpBox]

	mu        sync.Mutex
	listeners []net.Listener
	ports     []Port
	h3        []*serve.H3
	opening   map[net.Conn]struct{} // before they are handed to a server
	wg        sync.WaitGroup
	closed    atomic.Bool
	streams   atomic.Int64 // connections that TCP routes took
	takers    map[net.Conn]struct{}
}

// New reads the configuration of a TCP entry point. Nothing listens before Listen.
func New(cfg Config) (*EntryPoint, error) {
	e := &EntryPoint{cfg: cfg, opening: map[net.Conn]struct{}{}, takers: map[net.Conn]struct{}{}}
	for _, s := range append([]string{cfg.EP.Address}, cfg.EP.SluiceAddresses...) {
		a, err := ParseAddress(s)
		if err != nil {
			return nil, fmt.Errorf("entry point %s: %w", cfg.Name, err)
		}
		e.addrs = append(e.addrs, a)
	}
	fw, err := wire.NewForwarding(cfg.EP, cfg.Hostname)
	if err != nil {
		return nil, fmt.Errorf("entry point %s: %w", cfg.Name, err)
	}
	if pp := cfg.EP.ProxyProtocol; pp != nil {
		e.proxies.on, e.proxies.all = true, pp.Insecure
		if e.proxies.nets, err = wire.ParseNetworks(pp.TrustedIPs); err != nil {
			return nil, fmt.Errorf("entry point %s: proxyProtocol.trustedIPs: %w", cfg.Name, err)
		}
	}
	if cfg.EP.HTTP3 != nil && cfg.TLS != nil && cfg.AltSvc == "" {
		e.cfg.AltSvc = offer(cfg.EP.HTTP3, e.addrs[0])
	}
	e.server = serve.New(serveConfig(&e.cfg, fw))
	// One for all connections: session tickets are sealed by its keys. What holds for a
	// connection is in the result of the callback.
	e.tls = &tls.Config{GetConfigForClient: cfg.TLS, MinVersion: tls.VersionTLS12}
	e.tcp.Store(&tcpBox{})
	return e, nil
}

func serveConfig(cfg *Config, fw *wire.Forwarding) serve.Config {
	sc := serve.Config{
		EntryPoint: cfg.Name, Client: cfg.Client, Forwarding: fw, Records: cfg.Records, Wants: cfg.Wants, Log: cfg.Log,
		MaxHead: cfg.EP.HTTP.MaxHeaderBytes, ReadTotal: cfg.ReadTotal, ReasonHeader: cfg.ReasonHeader, Dress: cfg.Dress, FinishHalfClosed: cfg.FinishHalfClosed, AltSvc: cfg.AltSvc,
	}
	if t := cfg.EP.Transport; t != nil {
		sc.KeepAliveMaxTime, sc.KeepAliveMaxRequests = time.Duration(t.KeepAliveMaxTime), t.KeepAliveMaxRequests
		if r := t.RespondingTimeouts; r != nil {
			sc.ReadTimeout, sc.WriteTimeout, sc.IdleTimeout = time.Duration(r.ReadTimeout), time.Duration(r.WriteTimeout), time.Duration(r.IdleTimeout)
		}
	}
	if h := cfg.EP.HTTP2; h != nil {
		sc.Streams = uint32(max(h.MaxConcurrentStreams, 0))
		sc.DecoderTable, sc.EncoderTable = uint32(max(h.MaxDecoderHeaderTableSize, 0)), uint32(max(h.MaxEncoderHeaderTableSize, 0))
	}
	return sc
}

// Server is the handler lane of the entry point; lanes hand over to it.
func (e *EntryPoint) Server() *serve.Server { return e.server }

// Config is what the entry point was made with.
func (e *EntryPoint) Config() *Config { return &e.cfg }

// SetMatcher swaps the HTTP routes; requests under way keep theirs.
func (e *EntryPoint) SetMatcher(m exchange.Matcher) {
	e.server.SetMatcher(m)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.ports {
		p.SetMatcher(m)
	}
}

// SetTCP swaps the TCP routes; nil for none. Connections keep their server.
func (e *EntryPoint) SetTCP(t TCP) { e.tcp.Store(&tcpBox{t}) }

// HasTCP reports whether there are TCP routes; a lane that cannot peek leaves connections
// to Intake then.
func (e *EntryPoint) HasTCP() bool { return e.tcp.Load().TCP != nil }

// Open counts the open connections.
func (e *EntryPoint) Open() int {
	n := e.server.Open() + int(e.streams.Load())
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.ports {
		n += p.Open()
	}
	return n
}

// Addrs are the addresses that are listened at, in the order of the configuration.
func (e *EntryPoint) Addrs() []net.Addr {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []net.Addr
	for _, l := range e.listeners {
		out = append(out, l.Addr())
	}
	for _, p := range e.ports {
		out = append(out, p.Addr())
	}
	return out
}

// Listen opens the ports. Connections are accepted from Run on; until then they wait.
func (e *EntryPoint) Listen(ctx context.Context) error {
	if len(e.cfg.Listeners) > 0 {
		return e.adopt(ctx)
	}
	for _, a := range e.addrs {
		if a.Network != "tcp" {
			return fmt.Errorf("entry point %s: %s is not a TCP address", e.cfg.Name, a)
		}
		if e.cfg.Lane != nil {
			p, err := e.cfg.Lane.Open(ctx, a, e)
			if err != nil {
				e.closeListeners()
				return fmt.Errorf("entry point %s: %w", e.cfg.Name, err)
			}
			if p != nil {
				e.mu.Lock()
				e.ports = append(e.ports, p)
				e.mu.Unlock()
				if err := e.listenH3(ctx, p.Addr()); err != nil {
					return err
				}
				continue
			}
		}
		l, err := Listen(ctx, a, e.cfg.EP.ReusePort)
		if err != nil {
			e.closeListeners()
			return fmt.Errorf("entry point %s: %w", e.cfg.Name, err)
		}
		e.AddListener(l)
		if err := e.listenH3(ctx, l.Addr()); err != nil {
			return err
		}
	}
	return nil
}

// AddListener adds a listener made elsewhere (socket activation, tests) before Run.
func (e *EntryPoint) AddListener(l net.Listener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.listeners = append(e.listeners, l)
}

func (e *EntryPoint) closeListeners() {
	e.closed.Store(true)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.listeners {
		_ = l.Close()
	}
	for _, p := range e.ports {
		p.CloseListener()
	}
}

// Run accepts connections until Shutdown has closed the listeners.
func (e *EntryPoint) Run() error {
	e.mu.Lock()
	ls, h3 := e.listeners, e.h3
	e.mu.Unlock()
	errs := make(chan error, len(ls)+len(h3))
	for _, l := range ls {
		go func() {
			e.accept(l)
			errs <- nil
		}()
	}
	for _, h := range h3 {
		go func() { errs <- h.Run() }()
	}
	var err error
	for range len(ls) + len(h3) {
		err = errors.Join(err, <-errs)
	}
	return err
}

// accept takes connections until l is closed.
func (e *EntryPoint) accept(l net.Listener) {
	wait := time.Duration(0)
	for {
		c, err := l.Accept()
		if err != nil {
			if e.closed.Load() || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors, most likely: what is served now must end first.
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			e.cfg.Log.Warn().Err(err).Dur("retry", wait).Msg("cannot accept a connection")
			time.Sleep(wait)
			continue
		}
		wait = 0
		e.wg.Add(1)
		go func() {
			defer e.wg.Done()
			e.Intake(serve.Conn{Conn: c, Peer: addrPort(c.RemoteAddr()), Local: addrPort(c.LocalAddr())})
		}()
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return ap
}

// Grace is how the entry point ends: Accept is for how long it goes on accepting once the
// end was announced, Finish how long running requests get afterwards.
func (e *EntryPoint) Grace() (accept, finish time.Duration) {
	if t := e.cfg.EP.Transport; t != nil && t.LifeCycle != nil {
		return time.Duration(t.LifeCycle.RequestAcceptGraceTimeout), time.Duration(t.LifeCycle.GraceTimeOut)
	}
	return 0, 10 * time.Second
}

// Shutdown ends the entry point: it goes on accepting for the accept grace, closes the
// listeners, lets running requests finish for the finish grace (or until ctx ends), and
// cuts what is left.
func (e *EntryPoint) Shutdown(ctx context.Context) error {
	accept, finish := e.Grace()
	if accept > 0 {
		t := time.NewTimer(accept)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
	e.closeListeners()
	ctx, cancel := context.WithTimeout(ctx, finish)
	defer cancel()
	e.mu.Lock()
	ports, h3 := e.ports, e.h3
	e.mu.Unlock()
	errs := make(chan error, len(ports)+len(h3)+1)
	for _, h := range h3 {
		go func() { errs <- h.Shutdown(ctx) }()
	}
	go func() { errs <- e.server.Shutdown(ctx) }()
	for _, p := range ports {
		go func() { errs <- p.Shutdown(ctx) }()
	}
	var err error
	for range len(ports) + len(h3) + 1 {
		err = errors.Join(err, <-errs)
	}
	e.endStreams(ctx)
	e.wg.Wait()
	return err
}

// endStreams waits for connections of TCP routes, then cuts them.
func (e *EntryPoint) endStreams(ctx context.Context) {
	e.mu.Lock()
	for c := range e.opening {
		_ = c.Close()
	}
	e.mu.Unlock()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for e.streams.Load() > 0 {
		select {
		case <-t.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	e.mu.Lock()
	for c := range e.takers {
		_ = c.Close()
	}
	e.mu.Unlock()
}

// Name is the entry point's name.
func (e *EntryPoint) Name() string { return e.cfg.Name }

// String tells name and addresses.
func (e *EntryPoint) String() string {
	var s []string
	for _, a := range e.addrs {
		s = append(s, a.String())
	}
	return e.cfg.Name + " " + strings.Join(s, ", ")
}
