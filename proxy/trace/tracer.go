package trace

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/telemetry/otlp"
)

// Options set up a Tracer.
type Options struct {
	Config *config.Tracing
	// Version is the program's.
	Version string
	// Lookup reads the environment, for the variables OTEL_*; nil reads none.
	Lookup func(string) (string, bool)
	Log    zerolog.Logger
}

// Tracer makes traces and sends them. It is safe for concurrent use.
type Tracer struct {
	out *otlp.Exporter
	// bound is what half of a trace's number must be below to be sampled.
	bound     uint64
	internals bool
	ways      []way
	// request and response are the fields that become attributes.
	request, response []captured
	safe              []string
}

// captured is a field of a head and the attribute that it becomes.
type captured struct{ field, attribute string }

// New checks the options. Nothing is sent before Run.
func New(o Options) (*Tracer, error) {
	c := o.Config
	t := &Tracer{
		bound: uint64(c.SampleRate * (1 << 63)), internals: c.AddInternals, safe: c.SafeQueryParams,
		request: capture(c.CapturedRequestHeaders, "http.request.header."), response: capture(c.CapturedResponseHeaders, "http.response.header."),
	}
	if c.SampleRate >= 1 {
		t.bound = math.MaxUint64
	}
	var target otlp.Target
	if c.OTLP != nil {
		target = otlp.Target{HTTP: c.OTLP.HTTP, GRPC: c.OTLP.GRPC}
	}
	attributes := c.ResourceAttributes
	if len(attributes) == 0 {
		attributes = c.GlobalAttributes
	}
	var err error
	if t.out, err = otlp.NewExporter(otlp.Options{
		Signal: otlp.Traces, Target: target, Log: o.Log,
		Resource: otlp.Resource{Service: c.ServiceName, Version: o.Version, Attributes: attributes, Lookup: o.Lookup},
	}); err != nil {
		return nil, fmt.Errorf("tracing.otlp: %w", err)
	}
	list := ""
	if o.Lookup != nil {
		list, _ = o.Lookup("OTEL_PROPAGATORS")
	}
	if t.ways, err = choose(list); err != nil {
		o.Log.Error().Err(err).Msg("tracecontext and baggage are used")
		t.ways, _ = choose("")
	}
	return t, nil
}

func capture(fields []string, prefix string) []captured {
	var out []captured
	for _, f := range fields {
		if !strings.EqualFold(f, "User-Agent") || prefix != "http.request.header." { // it has an attribute of its own
			out = append(out, captured{f, prefix + strings.ToLower(f)})
		}
	}
	return out
}

// Run sends spans until ctx ends, and then what is left.
func (t *Tracer) Run(ctx context.Context) error { return t.out.Run(ctx) }

// Matcher begins the traces of the requests that m matches. off says that the entry point
// traces no requests without a router.
func (t *Tracer) Matcher(m exchange.Matcher, off bool) exchange.Matcher {
	return &matcher{t: t, to: m, off: off}
}

type matcher struct {
	t   *Tracer
	to  exchange.Matcher
	off bool
}

// Match implements exchange.Matcher.
func (m *matcher) Match(ex *exchange.Exchange) (*exchange.Route, exchange.Reason) {
	route, why := m.to.Match(ex)
	switch {
	case ex.Trace != nil:
	case route == nil && m.off, route != nil && (route.NoTracing || route.Internal && !m.t.internals):
	default:
		m.t.begin(ex, route)
	}
	return route, why
}

// sampled decides for a trace that begins here.
func (t *Tracer) sampled(id traceID) bool {
	if t.bound == math.MaxUint64 {
		return true
	}
	n := uint64(0)
	for _, b := range id[8:] {
		n = n<<8 | uint64(b)
	}
	return n>>1 < t.bound
}

func (t *Tracer) isSafe(param string) bool { return slices.Contains(t.safe, param) }
