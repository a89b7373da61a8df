package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluice-edge/sluice/proxy/loop/epoll"
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
		k, err := epoll.New()
		if err != nil {
			g.discard()
			return nil, err
		}
		l := newLoop(g, i, k)
		l.poll = k
		g.loops = append(g.loops, l)
	}
	return g, nil
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

// Listen opens the entry point's sockets, one a loop. It answers 404 until SetMatcher.
func (g *Group) Listen(cfg EntryPoint) (*Entry, error) {
	e, err := g.newEntry(cfg)
	if err != nil {
		return nil, err
	}
	var fds []int32
	if cfg.Listener != nil {
		fds, err = epoll.Duplicates(cfg.Listener, len(g.loops))
		e.addr = cfg.Listener.Addr()
	} else {
		fds, e.addr, err = epoll.Listen(cfg.Addr, cfg.ReusePort, len(g.loops))
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
