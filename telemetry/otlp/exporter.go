package otlp

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Options set up an Exporter.
type Options struct {
	Signal   Signal
	Target   Target
	Resource Resource
	Log      zerolog.Logger
}

// Exporter sends what it is given to a collector, in batches and from one goroutine: Run.
// Nothing waits for a collector: where it is slow or gone, what does not fit is dropped.
type Exporter struct {
	signal   Signal
	sender   *sender
	resource []byte
	version  string
	log      zerolog.Logger

	// every is how long items wait for company, most how many go in a request, room how many
	// may wait.
	every      time.Duration
	most, room int
	poke       chan struct{}

	mu      sync.Mutex
	items   []byte
	ends    []int
	dropped uint64
}

// patience bounds the repetitions of one request; last the time for what is left at the end.
const (
	patience = time.Minute
	last     = 5 * time.Second
)

// NewExporter checks the options. The variables OTEL_BSP_SCHEDULE_DELAY, OTEL_BSP_MAX_QUEUE_SIZE
// and OTEL_BSP_MAX_EXPORT_BATCH_SIZE (OTEL_BLRP_... for logs) are read.
func NewExporter(o Options) (*Exporter, error) {
	s, err := newSender(o.Signal, o.Target, o.Resource.Lookup)
	if err != nil {
		return nil, err
	}
	e := &Exporter{
		signal: o.Signal, sender: s, resource: o.Resource.encode(), version: o.Resource.Version, log: o.Log,
		every: 5 * time.Second, most: 512, room: 2048, poke: make(chan struct{}, 1),
	}
	family := "OTEL_BSP_"
	if o.Signal == Logs {
		e.every, family = time.Second, "OTEL_BLRP_"
	}
	number := func(name string, set func(int)) {
		if n, err := strconv.Atoi(o.Resource.env(family + name)); err == nil && n > 0 {
			set(n)
		}
	}
	number("SCHEDULE_DELAY", func(n int) { e.every = time.Duration(n) * time.Millisecond })
	number("MAX_QUEUE_SIZE", func(n int) { e.room = n })
	number("MAX_EXPORT_BATCH_SIZE", func(n int) { e.most = n })
	e.most = min(e.most, e.room)
	return e, nil
}

// Add gives an encoded Span, Metric or LogRecord. It copies it and never waits.
func (e *Exporter) Add(item []byte) {
	e.mu.Lock()
	n := len(e.ends)
	if n >= e.room {
		e.dropped++
		e.mu.Unlock()
		return
	}
	e.items = AppendBytes(e.items, 2, item) // ScopeSpans.spans, ScopeMetrics.metrics, ScopeLogs.log_records
	e.ends = append(e.ends, len(e.items))
	e.mu.Unlock()
	if n+1 == e.most {
		select {
		case e.poke <- struct{}{}:
		default:
		}
	}
}

// Dropped counts what did not fit since the start.
func (e *Exporter) Dropped() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dropped
}

// Run sends until ctx ends, and then what is left.
func (e *Exporter) Run(ctx context.Context) error {
	defer e.Close()
	t := time.NewTicker(e.every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), last)
			defer cancel()
			e.Flush(end)
			return nil
		case <-t.C:
		case <-e.poke:
		}
		e.Flush(ctx)
	}
}

// Close closes idle connections to the collector.
func (e *Exporter) Close() { e.sender.client.CloseIdleConnections() }

// Flush sends what waits; what cannot be delivered until ctx ends is lost.
func (e *Exporter) Flush(ctx context.Context) {
	for {
		body, n, rest := e.take()
		if n == 0 {
			return
		}
		if f := e.deliver(ctx, body); f != nil {
			e.log.Warn().Err(f.err).Int("lost", n).Msg("telemetry not sent to the collector")
		}
		if rest == 0 {
			return
		}
	}
}

// take makes a request of the first items that wait.
func (e *Exporter) take() (body []byte, n, rest int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n = min(len(e.ends), e.most)
	if n == 0 {
		return nil, 0, 0
	}
	cut := e.ends[n-1]
	body = e.request(e.items[:cut])
	e.items = e.items[:copy(e.items, e.items[cut:])]
	for i, end := range e.ends[n:] {
		e.ends[i] = end - cut
	}
	e.ends = e.ends[:len(e.ends)-n]
	if len(e.ends) == 0 && cap(e.items) > 1<<20 {
		e.items = nil
	}
	return body, n, len(e.ends)
}

// request wraps items, which are fields of a scope already, into the message of the signal.
// It is the same for all three: the collector's request holds resources, these hold scopes.
func (e *Exporter) request(items []byte) []byte {
	b := make([]byte, 0, len(items)+len(e.resource)+256)
	b, resource := Open(b, 1)
	b = AppendBytes(b, 1, e.resource)
	b, scope := Open(b, 2)
	b, name := Open(b, 1)
	b = AppendString(b, 1, "github.com/sluice-edge/sluice")
	b = Close(AppendString(b, 2, e.version), name)
	b = append(b, items...)
	return Close(Close(b, scope), resource)
}

// deliver sends body, again and again where that makes sense; at the end of the program, whose
// context has a deadline, once more at most.
func (e *Exporter) deliver(ctx context.Context, body []byte) *failure {
	begin, wait := time.Now(), time.Second
	_, ending := ctx.Deadline()
	sending := ctx
	if !ending {
		// What is on its way is not cut off by the end: it may have arrived, and would be sent twice.
		var cancel context.CancelFunc
		sending, cancel = lingering(ctx)
		defer cancel()
	}
	for first := true; ; first = false {
		f := e.sender.send(sending, body)
		if f == nil || !f.again || ending && !first {
			return f
		}
		if ctx.Err() != nil {
			return e.atLast(ctx, body, f)
		}
		pause := max(f.after, wait/2+rand.N(wait))
		if ending {
			pause = max(f.after, wait/5)
		}
		if time.Since(begin)+pause > patience {
			return f
		}
		e.log.Debug().Err(f.err).Dur("pause", pause).Msg("the collector is asked again")
		select {
		case <-ctx.Done():
			return e.atLast(ctx, body, f)
		case <-time.After(pause):
		}
		wait = min(2*wait, 15*time.Second)
	}
}

// lingering returns a context that ends a while after ctx.
func lingering(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(last, cancel)
		context.AfterFunc(longer, func() { t.Stop() })
	})
	return longer, func() { stop(); cancel() }
}

// atLast makes one more attempt for what the end of the program has come upon.
func (e *Exporter) atLast(ctx context.Context, body []byte, f *failure) *failure {
	if _, ending := ctx.Deadline(); ending {
		return f
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), last)
	defer cancel()
	return e.sender.send(end, body)
}
