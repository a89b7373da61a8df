package exchange

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Framing is how the end of a body is found.
type Framing uint8

// The framings of HTTP/1.1 (RFC 9112 §6.3); other versions use NoBody, Sized and Streamed.
const (
	NoBody     Framing = iota // there is no body
	Sized                     // Length bytes
	Streamed                  // chunked, or the frames of HTTP/2 and 3
	UntilClose                // a response that ends with its connection
)

// Request is a request head. Path and Query are what is matched and what is
// forwarded: the same bytes. An op that changes the path changes Path.
type Request struct {
	Method string
	// Proto is "HTTP/1.0", "HTTP/1.1", "HTTP/2.0" or "HTTP/3.0".
	Proto string
	// Host is the authority as sent, with its port; from an absolute target if there was one.
	Host string
	// Target is the request target as sent; it is what logs show.
	Target string
	// Path is the escaped path, beginning with "/", or "*".
	Path string
	// Query is what follows "?", without it. HasQuery tells "/a?" from "/a".
	Query    string
	HasQuery bool
	Fields   Fields
	Framing  Framing
	// Length of a Sized body in bytes.
	Length int64
	// Expect100 is set where the client waits for 100 (Continue).
	Expect100 bool
	// KeepAlive is set where the client's connection may serve another request.
	KeepAlive bool
	// Upgrade is the protocol of an upgrade request ("websocket"), or "".
	Upgrade string
	// TLS is set on a TLS connection.
	TLS *tls.ConnectionState
	// Peer is the client of the connection, after a trusted PROXY header.
	Peer  netip.AddrPort
	Local netip.AddrPort
	// Hops counts how often the request came from this very edge before.
	Hops uint8
	// PeerText is Peer's address as forwarded fields have it, once it was needed.
	PeerText string
	// Binds is set where the credentials of the request may hold for the connection to the
	// server, not for the request (NTLM, Negotiate).
	Binds bool
	// PeerTrusted is set where the peer's own X-Forwarded-* fields are believed.
	PeerTrusted bool
	// EntryPoint is the entry point's name.
	EntryPoint string
	// NoForwardedFor is set by the entry point's notAppendXForwardedFor, and by an op that
	// removed X-Forwarded-For on purpose: the lane does not append the peer to it then.
	NoForwardedFor bool
}

// Response is a response head.
type Response struct {
	Status int
	// StatusText is the reason phrase from the server; "" uses the usual one.
	StatusText string
	Fields     Fields
	Framing    Framing
	// Length of a Sized body in bytes.
	Length int64
	// KeepAlive is set where the server's connection may serve another request after this answer.
	KeepAlive bool
	// Upgrade is the protocol a 101 answer switches to, or "".
	Upgrade string
}

// Verdict is what a request op decides.
type Verdict uint8

// The verdicts.
const (
	// Next goes on with the next op.
	Next Verdict = iota
	// Answer ends the request with Exchange.Resp and Exchange.Body, which the op has set.
	Answer
	// Block says that the op must wait for something (a slow hash, another server) and
	// Exchange.MayBlock was false: the lane moves the request to a goroutine and calls
	// the same op again with MayBlock set. The op must not have changed anything yet.
	Block
)

// Op is a middleware that touches heads only. One Op serves many requests at once,
// in either lane; it neither blocks (but see Block) nor allocates in the common case.
type Op interface {
	Request(ex *Exchange) Verdict
}

// ResponseOp sees the head of the answer, if its op asked by Exchange.OnResponse. It
// also sees answers that the edge or a later op made.
type ResponseOp interface {
	Response(ex *Exchange, arg uint64)
}

// DoneOp is told when the exchange has ended, if its op asked by Exchange.OnDone.
type DoneOp interface {
	Done(ex *Exchange, arg uint64)
}

// Stage wraps the rest of a route where bodies or other servers are involved. A route
// with a stage continues in the handler lane from that stage on.
type Stage func(next http.Handler) http.Handler

// Route is a compiled router. It is immutable and shared by all requests.
type Route struct {
	// Router and Service are names with their provider ("api@docker"), for logs and metrics.
	Router  string
	Service string
	// Rule and Priority as the API shows them.
	Rule     string
	Priority int
	// Ops run first, in either lane.
	Ops []Op
	// Tail is what follows the ops if it needs the handler lane: stages, an internal
	// service, a mirroring service. The Exchange is found by FromContext. Nil if not needed.
	Tail http.Handler
	// To chooses the server after the ops where Tail is nil.
	To Service
	// Broken is set on a route that cannot be served safely: it answers 503 with this Reason.
	Broken Reason
	// Internal routes (API, ping, metrics) are left out of logs and metrics unless asked for.
	Internal bool
	// NoAccessLog, NoMetrics and NoTracing are set by observability options, DetailedTrace by a
	// traceVerbosity of detailed.
	NoAccessLog, NoMetrics, NoTracing, DetailedTrace bool
}

// Trace follows one request through the edge.
type Trace interface {
	// Call begins the span of a request that a middleware makes itself. It returns the fields
	// that carry the trace on, and a function to be called with the answer's status, or 0 where
	// there was none.
	Call(name, method, url string) (fields []Field, end func(status int))
}

// Matcher finds the route of a request by ex.Req, or nil with the Reason. It does not allocate.
type Matcher interface {
	Match(ex *Exchange) (*Route, Reason)
}

// Service chooses a server for a request. It neither blocks nor allocates.
type Service interface {
	// Pick chooses an endpoint that is not in ex.Tried, sets ex.Backend and counts the
	// request as in flight, or returns nil and the Reason. Each successful Pick is
	// followed by exactly one Release.
	Pick(ex *Exchange) (*Endpoint, Reason)
}

// Backend is what a Pick decided, beside the endpoint.
type Backend struct {
	Endpoint *Endpoint
	// Service is the load balancer's name, which may differ from Route.Service.
	Service string
	// DropHost sends the endpoint's own authority instead of the client's Host.
	DropHost bool
	// FlushInterval as configured; zero or less flushes at once.
	FlushInterval time.Duration
	// Owner is told of the end by Release.
	Owner Releaser
	// Holder is set by a Pick that found no server but may find one soon.
	Holder Holder
	// FailedOver is set by a Pick that found neither the main service of a failover nor its
	// fallback up.
	FailedOver bool
}

// Holder is a service whose requests may wait while its server is being replaced.
type Holder interface {
	// Hold takes a place in the queue: changed is closed when the servers change, after which
	// Pick should be asked again, and until says how long that may take. It is nil where
	// waiting makes no sense or the queue is full. Each place taken is given back by Let.
	// sure is set where the servers are known to be gone; else they have just refused ex.
	Hold(ex *Exchange) (changed <-chan struct{}, until time.Time, sure bool)
	Let()
	// MayHold reports whether Hold would take a place.
	MayHold(ex *Exchange) bool
}

// Releaser takes a picked endpoint back, with what became of the request.
type Releaser interface {
	Release(ex *Exchange, ep *Endpoint, outcome Outcome)
}

// Outcome is what became of a request at its server.
type Outcome uint8

// The outcomes.
const (
	OK      Outcome = iota // an answer was passed on; ex.Resp.Status says which
	Failed                 // no answer, or a broken one: ex.Reason says why
	Aborted                // the client went away
)

// maxTried bounds how many servers one request meets.
const maxTried = 4

// Exchange is one request and its answer. The lane owns it; ops and services use it
// only during their calls. It is not safe for concurrent use.
type Exchange struct {
	Req   Request
	Resp  Response
	Route *Route
	// Body is the body of an answer the edge makes itself. It is not kept after the exchange.
	Body []byte
	// Reason says why the edge answered itself; empty for answers of a server.
	Reason Reason
	// MayBlock is set where the op runs in a goroutine of its own.
	MayBlock bool
	// Ctx ends with the client's connection in the handler lane; nil on a loop.
	Ctx context.Context
	// Now is the lane's coarse clock at the time the request began, in ns since 1970; it is
	// good to about a millisecond under load. Ops use it instead of time.Now.
	Now     int64
	Backend Backend
	// OneServer is set by a stage that was told not to repeat requests after network
	// errors: a server that cannot be reached is not replaced by another then.
	OneServer bool
	// NextOp is the index in Route.Ops of the op to run next; used when lanes change.
	NextOp int
	// Outgoing is set where the head is ready for servers (wire.OutgoingRequest has run) when
	// lanes change.
	Outgoing bool
	// Failed is why the server failed that was asked last, when lanes change.
	Failed Reason
	// Log is what ops tell the access log.
	Log Log
	// Trace is nil where the request is not traced.
	Trace Trace

	tried  [maxTried]*Endpoint
	ntried int
	pend   []pending
	buf    []byte
}

// Log holds what ops add to the access log.
type Log struct {
	User    string
	Retries int
	// StrippedPrefix is the sum of what stripPrefix removed; rewriteLocation puts it back.
	StrippedPrefix string
	// Bare says that nothing is left of the path: Req.Path is "/" for the server only, and a
	// middleware further in sees "".
	Bare bool
	// TraceID and SpanID are the numbers of the request's trace and of its first span.
	TraceID, SpanID string
	// Sending, if set, is called where the ops have run and the fields for the server are about
	// to be added, each time the request is made ready for one.
	Sending func(*Request)
	// GRPCStatus is the field Grpc-Status of the server's trailers, or "".
	GRPCStatus string
}

type pending struct {
	resp ResponseOp
	done DoneOp
	arg  uint64
}

// OnResponse asks for op.Response when the answer's head is known. Calls are made in reverse order.
func (ex *Exchange) OnResponse(op ResponseOp, arg uint64) {
	ex.pend = append(ex.pend, pending{resp: op, arg: arg})
}

// OnDone asks for op.Done when the exchange has ended, whatever its end.
func (ex *Exchange) OnDone(op DoneOp, arg uint64) {
	ex.pend = append(ex.pend, pending{done: op, arg: arg})
}

// RunOps runs the route's ops from NextOp on and returns the verdict: Next when all
// have passed, Answer, or Block, after which RunOps goes on with the same op.
func (ex *Exchange) RunOps() Verdict {
	ops := ex.Route.Ops
	for ex.NextOp < len(ops) {
		switch v := ops[ex.NextOp].Request(ex); v {
		case Next:
			ex.NextOp++
		default:
			return v
		}
	}
	return Next
}

// RunResponse calls the response ops, inner to outer. The lane calls it once, for the
// final (not 1xx) head.
func (ex *Exchange) RunResponse() {
	for i := len(ex.pend) - 1; i >= 0; i-- {
		if p := ex.pend[i]; p.resp != nil {
			p.resp.Response(ex, p.arg)
		}
	}
}

// RunDone calls the done ops, inner to outer. The lane calls it once.
func (ex *Exchange) RunDone() {
	for i := len(ex.pend) - 1; i >= 0; i-- {
		if p := ex.pend[i]; p.done != nil {
			p.done.Done(ex, p.arg)
		}
	}
	clear(ex.pend)
	ex.pend = ex.pend[:0]
}

// Pending returns how many response and done ops wait; RunResponseFrom and a stage's
// own segment use it as a mark.
func (ex *Exchange) Pending() int { return len(ex.pend) }

// Tried notes that ep failed before anything was sent.
func (ex *Exchange) Tried(ep *Endpoint) {
	if ex.ntried < maxTried {
		ex.tried[ex.ntried] = ep
		ex.ntried++
	}
}

// WasTried reports whether ep has failed in this exchange.
func (ex *Exchange) WasTried(ep *Endpoint) bool {
	for _, t := range ex.tried[:ex.ntried] {
		if t == ep {
			return true
		}
	}
	return false
}

// MayTry reports whether another server may be tried.
func (ex *Exchange) MayTry() bool { return !ex.OneServer && ex.ntried < maxTried }

// Release tells the owner of the picked endpoint how it went; further calls do nothing.
func (ex *Exchange) Release(o Outcome) {
	b := ex.Backend
	if b.Owner == nil {
		return
	}
	ex.Backend.Owner = nil
	b.Owner.Release(ex, b.Endpoint, o)
}

// Hold copies b into memory that lives as long as the exchange.
func (ex *Exchange) Hold(b []byte) []byte {
	n := len(ex.buf)
	if n+len(b) > cap(ex.buf) {
		// A fresh block: strings that alias the old one keep it alive.
		ex.buf = make([]byte, 0, max(2048, 2*(n+len(b))))
		n = 0
	}
	ex.buf = append(ex.buf, b...)
	return ex.buf[n:len(ex.buf):len(ex.buf)]
}

// HoldString is Hold for the joined parts, as a string that aliases that memory.
func (ex *Exchange) HoldString(parts ...string) string {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n == 0 {
		return ""
	}
	if len(ex.buf)+n > cap(ex.buf) {
		ex.buf = make([]byte, 0, max(2048, 2*(len(ex.buf)+n)))
	}
	at := len(ex.buf)
	for _, p := range parts {
		ex.buf = append(ex.buf, p...)
	}
	return str(ex.buf[at:])
}

// Slim returns a copy for an exchange that may last for days (a tunnel): without the fields
// of both heads, in as little memory as can be. Done ops move to it; ex may be Reset.
func (ex *Exchange) Slim() *Exchange {
	s := new(Exchange)
	*s = *ex
	keep := [...]*string{
		&s.Req.Method, &s.Req.Host, &s.Req.Target, &s.Req.Path, &s.Req.Query, &s.Req.Upgrade, &s.Req.PeerText,
		&s.Resp.StatusText, &s.Resp.Upgrade, &s.Log.User, &s.Log.StrippedPrefix, &s.Log.TraceID, &s.Log.SpanID,
	}
	n := 0
	for _, p := range keep {
		n += len(*p)
	}
	s.buf = make([]byte, 0, n)
	for _, p := range keep {
		at := len(s.buf)
		s.buf = append(s.buf, *p...)
		*p = str(s.buf[at:])
	}
	s.Req.Fields, s.Resp.Fields, s.Body, s.pend = Fields{}, Fields{}, nil, nil
	for _, p := range ex.pend {
		if p.done != nil {
			s.pend = append(s.pend, p)
		}
	}
	clear(ex.pend)
	ex.pend = ex.pend[:0]
	return s
}

// Reset readies ex for the next request and keeps its memory.
func (ex *Exchange) Reset() {
	qf, rf, pend, buf := ex.Req.Fields, ex.Resp.Fields, ex.pend[:0], ex.buf[:0]
	clear(qf.list)
	clear(rf.list)
	clear(pend[:cap(pend)])
	qf.Reset()
	rf.Reset()
	if cap(buf) > 64<<10 {
		buf = nil
	}
	*ex = Exchange{pend: pend, buf: buf}
	ex.Req.Fields, ex.Resp.Fields = qf, rf
}

// Reply makes an answer of the edge: status, a text/plain body as the reference sends
// it, and the Reason. An empty text sends the status's name.
func (ex *Exchange) Reply(status int, reason Reason, body string) Verdict {
	if body == "" {
		body = http.StatusText(status)
	}
	ex.Resp.Status, ex.Resp.StatusText, ex.Reason = status, "", reason
	ex.Resp.Fields.Reset()
	ex.Resp.Fields.Add("Content-Type", "text/plain; charset=utf-8")
	ex.Body = append(ex.Body[:0:0], body...)
	ex.Resp.Framing, ex.Resp.Length = Sized, int64(len(body))
	return Answer
}

type ctxKey struct{}

// NewContext returns a context that carries ex.
func NewContext(ctx context.Context, ex *Exchange) context.Context {
	return context.WithValue(ctx, ctxKey{}, ex)
}

// FromContext returns the Exchange of a handler-lane request, or nil.
func FromContext(ctx context.Context) *Exchange {
	ex, _ := ctx.Value(ctxKey{}).(*Exchange)
	return ex
}

// Clone returns a copy of the request side of ex that shares no memory with it, for work
// that goes on after the exchange, such as mirroring. It has no pending ops and no backend.
func (ex *Exchange) Clone() *Exchange {
	c := &Exchange{Req: ex.Req, Route: ex.Route, Ctx: ex.Ctx, Now: ex.Now, MayBlock: ex.MayBlock, NextOp: ex.NextOp}
	r := &c.Req
	for _, s := range []*string{&r.Method, &r.Proto, &r.Host, &r.Target, &r.Path, &r.Query, &r.Upgrade, &r.EntryPoint} {
		*s = strings.Clone(*s)
	}
	r.Fields = Fields{list: make([]Field, len(ex.Req.Fields.list))}
	for i, f := range ex.Req.Fields.list {
		r.Fields.list[i] = Field{strings.Clone(f.Name), strings.Clone(f.Value)}
	}
	return c
}
