package loop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

const eAgain = syscall.EAGAIN

// maxHandshakes bounds TLS handshakes under way; most of their time they wait for the client.
const maxHandshakes = 4096

// Group is a set of loops that serve the same entry points.
type Group struct {
	opts           Options
	responseLimits wire.Limits
	resolve        func(context.Context, string) ([]netip.Addr, error)
	loops          []*loop
	handshakes     chan struct{}
	draining       atomic.Bool

	// ctx ends with Run; helpers are lookups and handshakes.
	ctx     context.Context //nolint:containedctx // the life of the Group, for its helpers
	cancel  context.CancelFunc
	helpers sync.WaitGroup

	mu      sync.Mutex
	running bool
	done    chan struct{}
}

// New returns a Group whose loops are ready for Listen and Run.
func New(o Options) (*Group, error) {
	if o.Loops <= 0 {
		o.Loops = runtime.GOMAXPROCS(0)
	}
	g := &Group{
		opts: o, resolve: o.Resolve, handshakes: make(chan struct{}, maxHandshakes), done: make(chan struct{}),
		responseLimits: wire.Limits{MaxHead: o.MaxResponseHead},
	}
	if g.responseLimits.MaxHead <= 0 {
		g.responseLimits.MaxHead = wire.DefaultMaxHead
	}
	if g.resolve == nil {
		g.resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	for i := range o.Loops {
		k, event, err := newEpoll()
		if err != nil {
			g.discard()
			return nil, err
		}
		l := newLoop(g, i, k)
		l.poll, l.event = k, event
		g.loops = append(g.loops, l)
	}
	return g, nil
}

// newEpoll makes an epoll instance with an eventfd in it.
func newEpoll() (*epoll, int32, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, -1, os.NewSyscallError("epoll_create1", err)
	}
	n, _, e := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if e != 0 {
		_ = syscall.Close(fd)
		return nil, -1, os.NewSyscallError("eventfd2", e)
	}
	k := &epoll{fd: fd}
	ev := syscall.EpollEvent{Events: epollIn, Fd: int32(n)}
	if err := syscall.EpollCtl(fd, syscall.EPOLL_CTL_ADD, int(n), &ev); err != nil {
		_ = syscall.Close(fd)
		_ = syscall.Close(int(n))
		return nil, -1, os.NewSyscallError("epoll_ctl", err)
	}
	return k, int32(n), nil
}

// discard ends loops that never ran.
func (g *Group) discard() {
	g.cancel()
	for _, l := range g.loops {
		l.end()
	}
	g.helpers.Wait()
}

// Run runs the loops until ctx ends or Shutdown has ended them. It raises GOMAXPROCS to one
// more than there are loops: each loop keeps one for itself, and the rest of the program
// must find another.
func (g *Group) Run(ctx context.Context) error {
	g.mu.Lock()
	if g.running {
		g.mu.Unlock()
		return errors.New("the loops run already")
	}
	g.running = true
	g.mu.Unlock()
	if n := len(g.loops) + 1; runtime.GOMAXPROCS(0) < n {
		runtime.GOMAXPROCS(n)
	}
	stop := context.AfterFunc(ctx, g.stop)
	defer stop()
	var wg sync.WaitGroup
	for _, l := range g.loops {
		wg.Go(l.run)
	}
	wg.Wait()
	g.cancel()
	g.helpers.Wait()
	close(g.done)
	return ctx.Err()
}

func (g *Group) stop() {
	for _, l := range g.loops {
		l.post(func(l *loop) { l.stop = true })
	}
}

// Shutdown stops listening, lets requests under way finish and ends the loops; when ctx
// ends, what is left is cut. Connections that were handed over are not its business.
func (g *Group) Shutdown(ctx context.Context) error {
	g.draining.Store(true)
	g.mu.Lock()
	running := g.running
	g.running = true
	g.mu.Unlock()
	if !running {
		g.discard()
		close(g.done)
		return nil
	}
	for _, l := range g.loops {
		l.post((*loop).drain)
	}
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	var err error
	for err == nil && g.Stats().Open > 0 {
		select {
		case <-t.C:
		case <-g.done:
			return nil
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	g.stop()
	<-g.done
	return err
}

// Stats returns figures of the loops.
func (g *Group) Stats() Stats {
	var s Stats
	for _, l := range g.loops {
		s.Open += int(l.load.Load())
		for i := range l.turns {
			s.Turns[i] += l.turns[i].Load()
		}
	}
	return s
}

// lightest is the loop with the fewest clients.
func (g *Group) lightest() *loop {
	var best *loop
	for _, l := range g.loops {
		if best == nil || l.load.Load() < best.load.Load() {
			best = l
		}
	}
	return best
}

// closeOnEnd closes c when the Group ends.
func (g *Group) closeOnEnd(c net.Conn) (stop func() bool) {
	return context.AfterFunc(g.ctx, func() { _ = c.Close() })
}

// Sweep closes idle connections to endpoints that no table names any more (Endpoint.Gone).
// It is called after a table was swapped.
func (g *Group) Sweep() {
	for _, l := range g.loops {
		l.post((*loop).sweep)
	}
}

// Entry is an entry point of a Group.
type Entry struct {
	g         *Group
	cfg       EntryPoint
	limits    wire.Limits
	tlsConfig *tls.Config
	addr      net.Addr
	ending    atomic.Bool
	matcher   atomic.Pointer[matcherBox]
	open      atomic.Int64
}

type matcherBox struct{ exchange.Matcher }

// nobody matches nothing.
type nobody struct{}

func (nobody) Match(*exchange.Exchange) (*exchange.Route, exchange.Reason) {
	return nil, exchange.NoRouter
}

// listener is a listening socket of a loop.
type listener struct {
	fd    int32
	entry *Entry
}

// SetMatcher swaps the routes; requests under way keep theirs.
func (e *Entry) SetMatcher(m exchange.Matcher) { e.matcher.Store(&matcherBox{m}) }

// Open is the number of its clients on the loops.
func (e *Entry) Open() int { return int(e.open.Load()) }

// Addr is where the entry point listens.
func (e *Entry) Addr() net.Addr { return e.addr }

// Adopt takes a clear connection that waits for its first request, with bytes that were read
// from it. False leaves it where it is.
func (e *Entry) Adopt(c net.Conn, buffered []byte) bool {
	tr := traveller{entry: e, born: time.Now().UnixNano()}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		tr.peer = a.AddrPort()
		tr.peer = netip.AddrPortFrom(tr.peer.Addr().Unmap(), tr.peer.Port())
	}
	return tr.comeBack(c, buffered)
}

func (e *Entry) raw() bool { return e.cfg.Raw != nil && e.cfg.Raw() }

// readsProxy reports whether connections may begin with a PROXY header. The header of a peer
// that is not believed is read and forgotten, as the reference does it.
func (e *Entry) readsProxy() bool { return e.cfg.ProxyInsecure || len(e.cfg.ProxyFrom) > 0 }

// believes reports whether a's PROXY headers count.
func (e *Entry) believes(a netip.Addr) bool {
	return e.cfg.ProxyInsecure || wire.InNetworks(e.cfg.ProxyFrom, a)
}

// Listen opens the entry point's sockets, one a loop. It answers 404 until SetMatcher.
func (g *Group) Listen(cfg EntryPoint) (*Entry, error) {
	e, err := g.newEntry(cfg)
	if err != nil {
		return nil, err
	}
	var fds []int32
	if cfg.Listener != nil {
		fds, err = duplicates(cfg.Listener, len(g.loops))
		e.addr = cfg.Listener.Addr()
	} else {
		fds, e.addr, err = listenAll(cfg.Addr, cfg.ReusePort, len(g.loops))
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", cfg.Addr, err) // the caller names the entry point
	}
	for i, l := range g.loops {
		ls := &listener{fds[i], e}
		if !l.post(func(l *loop) { l.serve(ls) }) {
			_ = syscall.Close(int(fds[i]))
		}
	}
	return e, nil
}

func (g *Group) newEntry(cfg EntryPoint) (*Entry, error) {
	if cfg.Forwarding == nil || cfg.HandOver == nil {
		return nil, fmt.Errorf("entry point %s: Forwarding and HandOver are needed", cfg.Name)
	}
	e := &Entry{g: g, cfg: cfg, limits: wire.Limits{MaxHead: cfg.MaxHead}}
	if e.limits.MaxHead <= 0 {
		e.limits.MaxHead = wire.DefaultMaxHead
	}
	e.SetMatcher(nobody{})
	if cfg.TLS != nil {
		e.tlsConfig = &tls.Config{GetConfigForClient: cfg.TLS, MinVersion: tls.VersionTLS10} // the callback's result says what holds
	}
	return e, nil
}

// duplicates returns n descriptors of one listener.
func duplicates(ln *net.TCPListener, n int) (fds []int32, err error) {
	rc, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	var dup error
	err = rc.Control(func(p uintptr) {
		for range n {
			fd, _, e := syscall.Syscall(syscall.SYS_FCNTL, p, syscall.F_DUPFD_CLOEXEC, 0)
			if e != 0 {
				dup = os.NewSyscallError("fcntl", e)
				return
			}
			fds = append(fds, int32(fd))
		}
		_ = syscall.SetsockoptInt(int(p), syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	})
	if err = errors.Join(err, dup); err != nil {
		closeAll(fds)
	}
	return fds, err
}

func closeAll(fds []int32) {
	for _, fd := range fds {
		_ = syscall.Close(int(fd))
	}
}

// listenAll opens n sockets at the same address, among which the kernel spreads connections.
func listenAll(addr string, reuse bool, n int) (fds []int32, at net.Addr, err error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	if !reuse && a.Port != 0 {
		// SO_REUSEPORT would let another program of ours share the port without a word.
		fd, err := bound(a, false)
		if err != nil {
			return nil, nil, err
		}
		_ = syscall.Close(int(fd))
	}
	for range n {
		fd, err := bound(a, true)
		if err == nil {
			fds = append(fds, fd)
			if err = syscall.Listen(int(fd), backlog); err != nil {
				err = os.NewSyscallError("listen", err)
			} else if a.Port == 0 {
				a.Port, err = portOf(fd)
			}
		}
		if err != nil {
			closeAll(fds)
			return nil, nil, err
		}
	}
	return fds, a, nil
}

const backlog = 4096

// bound returns a socket bound to a. Its options are inherited by the connections it accepts.
func bound(a *net.TCPAddr, reuse bool) (int32, error) {
	family, sa := syscall.AF_INET6, syscall.Sockaddr(nil)
	switch ip4 := a.IP.To4(); {
	case ip4 != nil:
		family, sa = syscall.AF_INET, &syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip4)}
	case len(a.IP) == net.IPv6len:
		s := &syscall.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP)}
		if a.Zone != "" {
			if i, err := net.InterfaceByName(a.Zone); err == nil {
				s.ZoneId = uint32(i.Index)
			}
		}
		sa = s
	default: // every address, of both families where there are two
		sa = &syscall.SockaddrInet6{Port: a.Port}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err == syscall.EAFNOSUPPORT && len(a.IP) == 0 {
		family, sa = syscall.AF_INET, &syscall.SockaddrInet4{Port: a.Port}
		fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	set := func(level, opt, v int) {
		if err == nil {
			err = syscall.SetsockoptInt(fd, level, opt, v)
		}
	}
	set(syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if reuse {
		set(syscall.SOL_SOCKET, soReusePort, 1)
	}
	set(syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	set(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1)
	set(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 15)
	set(syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15)
	if family == syscall.AF_INET6 {
		only := 0
		if len(a.IP) != 0 && !a.IP.IsUnspecified() {
			only = 1
		}
		set(syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, only)
	}
	if err == nil {
		err = syscall.Bind(fd, sa)
	}
	if err != nil {
		_ = syscall.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return int32(fd), nil
}

func portOf(fd int32) (int, error) {
	sa, err := syscall.Getsockname(int(fd))
	switch s := sa.(type) {
	case *syscall.SockaddrInet4:
		return s.Port, err
	case *syscall.SockaddrInet6:
		return s.Port, err
	}
	return 0, err
}

// serve begins to accept.
func (l *loop) serve(ls *listener) {
	if l.draining {
		l.k.close(ls.fd)
		return
	}
	l.listen = append(l.listen, ls)
	l.watchListener(ls)
}

func (l *loop) watchListener(ls *listener) {
	if l.poll == nil {
		return
	}
	events := uint32(epollIn)
	if ls.entry.cfg.Listener != nil {
		events |= epollExclusive // shared: wake one loop, not all
	}
	ev := syscall.EpollEvent{Events: events, Fd: ls.fd}
	_ = syscall.EpollCtl(l.poll.fd, syscall.EPOLL_CTL_ADD, int(ls.fd), &ev)
}

const (
	// acceptBatch bounds what one turn accepts from one socket.
	acceptBatch = 64
	// acceptPause is how long nothing is accepted when there are no descriptors left.
	acceptPause = 100 * time.Millisecond
)

// accept takes new connections.
func (l *loop) accept(ls *listener) {
	for range acceptBatch {
		fd, peer, e := l.k.accept(ls.fd)
		switch e {
		case 0:
			if to := l.better(); to != nil {
				if to.post(func(to *loop) { to.admit(ls.entry, fd, peer) }) {
					continue
				}
			}
			l.admit(ls.entry, fd, peer)
		case syscall.EAGAIN:
			return
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
			l.log().Warn().Str("entryPointName", ls.entry.cfg.Name).Err(e).Msg("no more connections can be accepted for now")
			l.k.unwatch(ls.fd)
			time.AfterFunc(acceptPause, func() {
				l.post(func(l *loop) {
					if slices.Contains(l.listen, ls) {
						l.watchListener(ls)
					}
				})
			})
			return
		}
	}
}

// better returns a loop that should have a new connection rather than l, or nil. The kernel
// spreads connections by chance, which few long ones do not even out. And while there is
// next to nothing to do, one loop does it: it finds its connections to servers open.
func (l *loop) better() *loop {
	own := l.load.Load()
	if first := l.g.loops[0]; l != first && own == 0 && first.load.Load() == 0 {
		return first
	}
	if own < 4 {
		return nil
	}
	best := l.g.lightest()
	if least := best.load.Load(); own <= least+least/4+4 {
		return nil
	}
	return best
}

// newConnGrace is how long a connection that was made just before the end may take to send
// its request, which may be on its way.
const newConnGrace = 500 * time.Millisecond

// drain stops listening and ends the connections that wait for a request.
func (l *loop) drain() {
	if l.draining {
		return
	}
	l.stopListening(nil)
	l.draining = true
	l.endIdle(nil)
	for _, p := range l.pools {
		for p != nil && len(p.idle) > 0 && l.open == 0 {
			l.drop(p.idle[len(p.idle)-1])
		}
	}
}
