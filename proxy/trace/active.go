package trace

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/telemetry/otlp"
)

// active is the trace of one request under way. It belongs to the exchange and is used as it
// is: by one goroutine at a time.
type active struct {
	t        *Tracer
	from     parent // what the request brought along; its span is the zero where it began here
	trace    traceID
	sampled  bool
	detailed bool
	spans    []span
	first    [3]span // where spans begin: most traces have no more
	// current is the innermost span that has begun: the parent of the next.
	current spanID
	service bool // it has its span
	// attempt counts the requests to servers; asking is the index of the span of the one under
	// way, or -1. owner is who gave the endpoint.
	attempt, asking int
	owner           exchange.Releaser
}

// The kinds of a span, as OTLP numbers them.
const (
	kindInternal = 1
	kindServer   = 2
	kindClient   = 3
)

// span is a span that is under way or over. Its attributes are encoded already.
type span struct {
	id, parent spanID
	name       string
	kind       uint64
	start, end int64
	attrs      []byte
	failed     bool
	why        string
	dropped    bool
}

// The args by which an active is told of answers; further ones are attempts.
const (
	whole = iota
	firstAttempt
)

// begin starts the trace of a request.
func (t *Tracer) begin(ex *exchange.Exchange, route *exchange.Route) {
	a := &active{t: t, asking: -1, attempt: firstAttempt - 1}
	for _, w := range t.ways {
		if p, ok := w.extract(&ex.Req.Fields); ok {
			a.from = p
		}
	}
	if a.from.valid() {
		a.trace, a.sampled = a.from.trace, a.from.sampled
		a.from.state = string([]byte(a.from.state)) // the exchange's memory may go first
	} else {
		a.from = parent{}
		a.trace = newTraceID()
		a.sampled = t.sampled(a.trace)
	}
	a.detailed = a.sampled && route != nil && route.DetailedTrace
	a.current = a.from.span
	a.start("EntryPoint", kindServer, ex.Now)
	if a.sampled {
		a.describeRequest(ex)
	}
	var ids [48]byte
	hex.Encode(ids[:32], a.trace[:])
	hex.Encode(ids[32:], a.current[:])
	text := text(ex.Hold(ids[:]))
	ex.Log.TraceID, ex.Log.SpanID = text[:32], text[32:]
	ex.Trace = a
	ex.OnResponse(a, whole)
	ex.OnDone(a, whole)
	if a.detailed {
		s := a.start("Router", kindInternal, now())
		s.attr("traefik.service.name", route.Service)
		s.attr("traefik.router.name", route.Router)
		s.attr("http.route", route.Rule)
	}
}

func now() int64 { return time.Now().UnixNano() }

// start begins a span inside the current one.
func (a *active) start(name string, kind uint64, at int64) *span {
	id := newSpanID()
	s := span{id: id, parent: a.current, name: name, kind: kind, start: at}
	if a.sampled {
		s.attrs = make([]byte, 0, 480) // most spans fit, and grow no more
	}
	if a.spans == nil {
		a.spans = a.first[:0]
	}
	a.spans = append(a.spans, s)
	a.current = id
	return &a.spans[len(a.spans)-1]
}

// attributes is the field of a Span that they are appended as.
const attributes = 9

func (s *span) attr(key, value string) {
	if value != "" {
		s.attrs = otlp.AppendAttr(s.attrs, attributes, key, value)
	}
}

func (s *span) number(key string, value int64) {
	s.attrs = otlp.AppendIntAttr(s.attrs, attributes, key, value)
}

// status notes the status of an answer. failsFrom is the first that is an error: for a server
// its own, for a client the other side's too.
func (s *span) status(code, failsFrom int) {
	if code > 0 {
		s.number("http.response.status_code", int64(code))
	}
	switch {
	case code < 100 || code >= 600:
		s.failed, s.why = true, fmt.Sprintf("Invalid HTTP status code %d", code)
	case code >= failsFrom:
		s.failed = true
	}
}

// Response implements exchange.ResponseOp: for the whole request it comes after all others,
// for an attempt before them.
func (a *active) Response(ex *exchange.Exchange, arg uint64) {
	switch {
	case !a.sampled:
	case arg == whole:
		a.captureResponse(&a.spans[0], ex)
	case int(arg) == a.attempt && a.asking >= 0:
		a.answered(ex, ex.Resp.Status)
	}
}

// Done implements exchange.DoneOp.
func (a *active) Done(ex *exchange.Exchange, _ uint64) {
	if !a.sampled {
		return
	}
	end := now()
	a.spans[0].status(ex.Resp.Status, 500)
	buf := make([]byte, 0, 1024)
	for i := range a.spans {
		s := &a.spans[i]
		if s.dropped {
			continue
		}
		if s.end == 0 {
			s.end = end
		}
		buf = a.encode(buf[:0], s, i == 0)
		a.t.out.Add(buf)
	}
}

// encode appends the message Span.
func (a *active) encode(b []byte, s *span, first bool) []byte {
	b = otlp.AppendBytes(b, 1, a.trace[:])
	b = otlp.AppendBytes(b, 2, s.id[:])
	if a.from.state != "" {
		b = otlp.AppendString(b, 3, otlp.Valid(a.from.state))
	}
	if s.parent != (spanID{}) {
		b = otlp.AppendBytes(b, 4, s.parent[:])
	}
	b = otlp.AppendString(b, 5, otlp.Valid(s.name))
	b = otlp.AppendUint(b, 6, s.kind)
	b = otlp.AppendFixed64(b, 7, uint64(s.start))
	b = otlp.AppendFixed64(b, 8, uint64(max(s.start, s.end)))
	b = append(b, s.attrs...)
	if s.failed {
		var at int
		b, at = otlp.Open(b, 15)
		if s.why != "" {
			b = otlp.AppendString(b, 2, s.why)
		}
		b = otlp.Close(otlp.AppendUint(b, 3, 2), at) // STATUS_CODE_ERROR
	}
	const sampled, knowsRemote, remote = 1, 0x100, 0x200
	flags := uint32(sampled | knowsRemote)
	if first && s.parent != (spanID{}) {
		flags |= remote
	}
	return otlp.AppendFixed32(b, 16, flags)
}
