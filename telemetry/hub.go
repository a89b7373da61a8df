package telemetry

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/telemetry/otlp"
)

// drainEvery is how long log lines wait for company before they are written.
const drainEvery = 40 * time.Millisecond

// Options set up a Hub.
type Options struct {
	// Static says what is logged and measured; its entry points' observability counts for
	// requests that no router matched.
	Static *config.Static
	// Stdout takes the access log that has no file; nil means os.Stdout.
	Stdout io.Writer
	// Certificates returns the certificates offered to clients, ServersUp the servers under a
	// health check; both are asked on each scrape and may be nil.
	Certificates func() []*x509.Certificate
	ServersUp    func() []ServerUp
	// Connections returns the open connections of entry points; asked on each scrape, may be nil.
	Connections func() []OpenConnections
	// Orders returns the orders of certificates since the start; asked on each scrape, may be nil.
	Orders func() []OrderCount
	// Location is the time zone of local times; nil means the system's.
	Location *time.Location
	// Version is the program's, and Lookup reads the environment: for what is sent by OTLP.
	// Without Lookup the variables OTEL_* are not read.
	Version string
	Lookup  func(string) (string, bool)
	Log     zerolog.Logger
}

// OpenConnections counts the connections of an entry point. Protocol is "TCP" or "UDP".
type OpenConnections struct {
	EntryPoint, Protocol string
	Open                 int
}

// OrderCount counts the orders of a certificate resolver that ended in one way.
type OrderCount struct {
	Resolver, Result string
	N                uint64
}

// ServerUp is the state of a server under a health check.
type ServerUp struct {
	Service, URL string
	Up           bool
}

// Hub joins what the lanes tell of requests: the access log, metrics and counters. It is
// the Sink of the handler lane and safe for concurrent use; loops take a Shard each.
type Hub struct {
	settings atomic.Pointer[settings]
	wants    Wants
	// measured are the fields of heads that metrics want.
	measured fields
	stdout   io.Writer

	countInternals bool

	bounds       []float64
	nanos        []int64
	headerLabels []headerLabel
	registry     *prometheus.Registry
	// named is set where somebody asks for series by name, semantic where they are to be told
	// apart by the semantic conventions of OpenTelemetry.
	named, semantic bool
	pushers         []*pusher

	certificates func() []*x509.Certificate
	serversUp    func() []ServerUp
	location     *time.Location
	log          zerolog.Logger

	drained struct {
		sync.Mutex
		queue queue
	}

	// collector takes the access log by OTLP; nil where it is not sent.
	collector *otlp.Exporter

	requests atomic.Uint64
	shared   []*Shard
	poke     chan struct{}

	open   func() []OpenConnections
	orders func() []OrderCount

	mu      sync.Mutex // shards
	shards  []*Shard
	scrape  sync.Mutex // one scrape or fold at a time
	live    atomic.Pointer[names]
	reloads atomic.Uint64
	loaded  atomic.Int64 // ns since 1970
	failed  atomic.Bool
}

type connectionKey struct{ entryPoint, protocol string }

// New checks the options and opens the access log.
func New(o Options) (*Hub, error) {
	if o.Static == nil {
		o.Static = &config.Static{}
	}
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	h := &Hub{
		certificates: o.Certificates, serversUp: o.ServersUp, open: o.Connections, orders: o.Orders, location: o.Location, log: o.Log,
		poke: make(chan struct{}, 1), stdout: o.Stdout,
	}
	h.settings.Store(&settings{})
	if err := h.setMetrics(&o); err != nil {
		return nil, err
	}
	var err error
	if c := o.Static.AccessLog; c != nil {
		if h.collector, err = newLogExporter("accessLog", c.OTLP, o.Static, &o); err != nil {
			return nil, err
		}
	}
	apply, _, err := h.Prepare(o.Static)
	if c := o.Static.AccessLog; err != nil && c != nil {
		// As the reference: a router without its log is better than none.
		h.log.Error().Err(err).Str(File, c.FilePath).Msg("access log not opened; nothing is written to it")
		apply, _, err = h.Prepare(withoutFile(o.Static))
	}
	if err != nil {
		return nil, err
	}
	apply()
	for range min(runtime.GOMAXPROCS(0), 8) {
		h.shared = append(h.shared, h.Shard())
	}
	return h, nil
}

// withoutFile is s without the access log, but for what is sent by OTLP.
func withoutFile(s *config.Static) *config.Static {
	out := *s
	if out.AccessLog = nil; s.AccessLog.OTLP != nil {
		sent := *s.AccessLog
		sent.DualOutput = false
		out.AccessLog = &sent
	}
	return &out
}

// Wants tells the lanes which fields of heads to put into Records.
func (h *Hub) Wants() *Wants { return &h.wants }

// Shard returns a new Shard, for one loop. Shards are never given back.
func (h *Hub) Shard() *Shard {
	s := newShard(h)
	h.mu.Lock()
	h.shards = append(h.shards, s)
	h.mu.Unlock()
	return s
}

// Request implements Sink for many goroutines.
func (h *Hub) Request(r *Record) { h.shared[rand.IntN(len(h.shared))].Request(r) }

// logs and counts say whether r belongs into the access log and into the counters.
func (h *Hub) logs(r *Record) bool {
	set := h.settings.Load()
	if set.format == nil && set.sent == nil || r.NoAccessLog || r.Internal && !set.logInternals {
		return false
	}
	return r.Router != "" || !set.quiet[r.EntryPoint]
}

func (h *Hub) counts(r *Record) bool {
	if r.NoMetrics || r.Internal && !h.countInternals {
		return false
	}
	return r.Router != "" || !h.settings.Load().unmeasured[r.EntryPoint]
}

func (h *Hub) wake() {
	select {
	case h.poke <- struct{}{}:
	default:
	}
}

// Run writes the access log and sends metrics until ctx ends, then writes and sends what is
// left. Call Close after it.
func (h *Hub) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range h.pushers {
		wg.Go(func() { h.runPusher(ctx, p) })
	}
	if h.collector != nil {
		// It goes on until all lines are with it.
		sending, stop := context.WithCancel(context.WithoutCancel(ctx))
		wg.Go(func() { _ = h.collector.Run(sending) })
		defer stop()
	}
	return h.write(ctx)
}

// write writes the access log until ctx ends.
func (h *Hub) write(ctx context.Context) error {
	for more := false; ; {
		if !more {
			select {
			case <-ctx.Done():
				h.flush()
				return nil
			case <-h.poke:
			}
		}
		more = h.drain(false)
		select {
		case <-ctx.Done():
			more = false
		case <-time.After(drainEvery):
		}
	}
}

// flush writes everything that waits in the shards.
func (h *Hub) flush() { h.drain(true) }

// drain writes what waits in the shards and is due, or all of it. It reports whether lines
// are left.
func (h *Hub) drain(all bool) (more bool) {
	d := &h.drained
	d.Lock()
	defer d.Unlock()
	if h.collector != nil {
		h.sendLines()
	}
	lines, more := d.queue.take(h.allShards(), time.Now(), all)
	if len(lines) == 0 {
		return more
	}
	out := h.settings.Load().output
	if out == nil {
		return more // it was switched off while lines waited
	}
	if err := out.write(lines); err != nil {
		h.log.Error().Err(err).Str(File, out.path).Msg("access log not written")
	}
	return more
}

// Reopen opens the file of the access log anew, after a rotation from outside (SIGUSR1).
// What waits is written to the old file first. On an error the old file stays in use.
func (h *Hub) Reopen() error {
	out := h.settings.Load().output
	if out == nil {
		return nil
	}
	time.Sleep(2 * drainEvery) // what has ended by now may still be on its way into the log
	h.flush()
	return out.reopen()
}

// Close writes what is left and closes the file of the access log.
func (h *Hub) Close() error {
	out := h.settings.Load().output
	if out == nil {
		return nil
	}
	h.flush()
	return out.close()
}

// connections returns the open connections of every entry point, also of those that
// nobody tells of: dashboards expect the gauge from the start.
func (h *Hub) connections() map[connectionKey]int {
	keys := h.settings.Load().entryPoints
	all := make(map[connectionKey]int, len(keys))
	for _, key := range keys {
		all[key] = 0
	}
	if h.open != nil {
		for _, c := range h.open() {
			all[connectionKey{c.EntryPoint, c.Protocol}] = c.Open
		}
	}
	return all
}

// Reloaded tells that rt is live now. Series of routers and services that it does not
// have any more are shown once more and then given up.
func (h *Hub) Reloaded(rt *config.Runtime) {
	h.reloads.Add(1)
	h.failed.Store(false)
	h.loaded.Store(time.Now().UnixNano())
	live := &names{rt.Routers, rt.Services}
	h.live.Store(live)
	if h.registry == nil {
		h.foldAll(live)
	}
}

// ReloadFailed tells that a configuration could not be made live.
func (h *Hub) ReloadFailed() {
	h.reloads.Add(1)
	h.failed.Store(true)
}

func (h *Hub) foldAll(live *names) {
	h.scrape.Lock()
	defer h.scrape.Unlock()
	for _, s := range h.allShards() {
		s.fold(live)
	}
}

func (h *Hub) allShards() []*Shard {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shards
}

// Counters sums what the shards have counted.
func (h *Hub) Counters() Counters {
	c := Counters{Classes: map[string]uint64{}, Reasons: map[string]uint64{}, Connections: map[string]int64{}}
	h.scrape.Lock()
	defer h.scrape.Unlock()
	for _, s := range h.allShards() {
		s.each(func(one *cell) {
			c.Requests += one.n
			c.Retries += one.retries
			code := one.kind.code()
			if code >= 500 {
				c.Failed += one.n
			}
			if code >= 100 && code < 600 {
				c.Classes[string(rune('0'+code/100))+"xx"] += one.n
			}
		})
		s.mu.Lock()
		for _, r := range s.reasons {
			c.Reasons[r.reason] += r.n
		}
		c.RequestBytes += s.traffic.in
		c.ResponseBytes += s.traffic.out
		c.LinesDropped += s.dropped
		s.mu.Unlock()
	}
	for key, n := range h.connections() {
		c.Connections[key.entryPoint] += int64(n)
	}
	return c
}

// names are the routers and services of the live configuration.
type names struct {
	routers  map[string]*config.RouterInfo
	services map[string]*config.ServiceInfo
}

func (n *names) has(c *cell) bool {
	return n == nil || (c.router == "" || n.routers[c.router] != nil) &&
		(c.service == "" || n.services[c.service] != nil) && (c.balancer == "" || n.services[c.balancer] != nil)
}

// rest is the series that a request counts for when what is gone is left out.
func (n *names) rest(c *cell) series {
	key := c.series
	if key.router != "" && n.routers[key.router] == nil {
		key.router = ""
	}
	if key.balancer != "" && n.services[key.balancer] == nil {
		key.balancer, key.kind = "", key.kind&^reachedBit
	}
	if key.service != "" && n.services[key.service] == nil {
		key.service = ""
		if key.balancer == "" {
			key.kind &^= reachedBit
		}
	}
	return key
}

var errClosed = errors.New("the access log is closed")
