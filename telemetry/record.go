package telemetry

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// Record is one finished request, as the access log and the metrics need it. A lane
// fills one and passes it to a Sink; strings and slices need to live only as long as
// that call, so a lane reuses one Record and its slices (Record.Reset).
//
// A Record with an empty Method is a request that was never understood (a bad head, a
// failed handshake): it only counts its Reason and makes no log line, as in the reference.
type Record struct {
	// EntryPoint is the entry point's name. Router and Service are the route's names with
	// their provider ("api@docker"), or "" where no router matched.
	EntryPoint, Router, Service string
	// Balancer is the load balancer that picked the server where it is not Service (a child
	// of a weighted service); "" means Service. Series of services are kept by it.
	Balancer string
	// ServerURL and ServerAddr tell the server that was asked: its URL as configured and its
	// host:port. Both are "" where none was.
	ServerURL, ServerAddr string
	// Reason says why the edge answered by itself; "" for answers of a server.
	Reason string

	// Peer is the client of the connection, after a trusted PROXY header. ForwardedFor is
	// X-Forwarded-For as a trusted peer sent it, before the edge appended to it; or "".
	Peer         netip.AddrPort
	ForwardedFor string
	User         string

	// Method, Host, Target and Proto as sent: "GET", "a.test:80", "/x?q=1", "HTTP/1.1".
	Method, Host, Target, Proto string
	// Protocol is what the request speaks over HTTP. GRPCStatus is the status of a call of
	// gRPC: the field Grpc-Status, 2 (unknown) where there is none.
	Protocol   Protocol
	GRPCStatus uint8

	// TLSVersion and TLSCipher are those of crypto/tls.ConnectionState; zero without TLS.
	TLSVersion, TLSCipher uint16
	// TLSClientSubject is the subject of the client's certificate, or "".
	TLSClientSubject string

	// Status is what the client got (101 for a switched protocol, 499 for a client that went
	// away); OriginStatus is what the server sent, 0 where no server answered.
	Status, OriginStatus int
	// RequestBytes, OriginBytes and ResponseBytes are sizes of bodies: as the client sent it,
	// as the server sent it, and as the client got it.
	RequestBytes, OriginBytes, ResponseBytes int64
	// RequestHead and ResponseHead are sizes of heads in bytes, for the byte counters; 0 if unknown.
	RequestHead, ResponseHead int64
	// Retries counts further attempts at servers.
	Retries int

	// Start is in ns since 1970. Duration is from there to the end of the answer,
	// OriginDuration the share of the server; both in ns.
	Start, Duration, OriginDuration int64
	// Ended is a moment at which the client cannot have had the end of the answer yet, in ns
	// since 1970: lines are written in its order. Zero means Start plus Duration.
	Ended int64

	// TraceID and SpanID are set where the request is traced.
	TraceID, SpanID string

	// RequestHeaders, OriginHeaders and ResponseHeaders hold the fields for which Wants says
	// yes, in any order: of the request as it came, of the server's answer, of the client's.
	RequestHeaders, OriginHeaders, ResponseHeaders []Header

	// Connection marks a TCP connection that a TCP router took (Hub.Connection): Host is its
	// server name or "", Status what HTTP would have answered for its Reason, RequestBytes and
	// ResponseBytes what the client sent and got. Method, Target and Proto are not looked at.
	Connection bool
	// Internal marks requests to the edge itself (API, ping, metrics); they are left out
	// unless addInternals says otherwise.
	Internal bool
	// NoAccessLog and NoMetrics are the route's own switches. Where no router matched, the
	// Sink looks at the entry point's.
	NoAccessLog, NoMetrics bool
}

// Header is one field of a head.
type Header struct{ Name, Value string }

// Reset empties r and keeps the memory of its slices.
func (r *Record) Reset() {
	q, o, p := r.RequestHeaders, r.OriginHeaders, r.ResponseHeaders
	clear(q)
	clear(o)
	clear(p)
	*r = Record{RequestHeaders: q[:0], OriginHeaders: o[:0], ResponseHeaders: p[:0]}
}

// Sink takes finished requests. Hub is the Sink of the handler lane and may be used by
// many goroutines; a loop has a Shard of its own. Request neither blocks on I/O nor allocates.
type Sink interface {
	Request(r *Record)
}

// Turner is a Sink that is told of its loop's turns; see Shard.Turn.
type Turner interface{ Turn(at int64) }

// Wants tells a lane which fields of heads to put into a Record. The answer may change
// while the program runs. A nil *Wants wants nothing.
type Wants struct{ fields atomic.Pointer[fields] }

// fields is what a Wants says. It is immutable.
type fields struct {
	anyRequest, anyResponse bool
	requestAll, responseAll bool
	request, response       []string
}

// and is what a or b want.
func (a fields) and(b fields) fields {
	b.anyRequest, b.anyResponse = a.anyRequest || b.anyRequest, a.anyResponse || b.anyResponse
	b.requestAll, b.responseAll = a.requestAll || b.requestAll, a.responseAll || b.responseAll
	b.request, b.response = slices.Concat(a.request, b.request), slices.Concat(a.response, b.response)
	return b
}

// Request is false where no field of the request's head is wanted, the usual case: a lane
// then skips the walk.
func (w *Wants) Request() bool {
	if w == nil {
		return false
	}
	f := w.fields.Load()
	return f != nil && f.anyRequest
}

// Response is Request for the client's and the server's answer.
func (w *Wants) Response() bool {
	if w == nil {
		return false
	}
	f := w.fields.Load()
	return f != nil && f.anyResponse
}

// RequestHeader reports whether the request's field name (any case) is wanted.
func (w *Wants) RequestHeader(name string) bool {
	if !w.Request() {
		return false
	}
	f := w.fields.Load()
	return f.requestAll || hasFold(f.request, name)
}

// ResponseHeader reports whether the answer's field name (any case) is wanted.
func (w *Wants) ResponseHeader(name string) bool {
	if !w.Response() {
		return false
	}
	f := w.fields.Load()
	return f.responseAll || hasFold(f.response, name)
}

func hasFold(list []string, name string) bool {
	for _, s := range list {
		if foldEqual(s, name) {
			return true
		}
	}
	return false
}

// foldEqual reports whether a and b are equal but for ASCII case.
func foldEqual(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z' {
			return false
		}
	}
	return true
}

// balancer is the service whose series the request counts to.
func (r *Record) balancer() string {
	if r.Balancer != "" {
		return r.Balancer
	}
	return r.Service
}

// reached reports whether a server was asked.
func (r *Record) reached() bool { return r.ServerURL != "" || r.OriginStatus != 0 }

// requestSize is the size of the request's body as far as somebody asked for it: a server that
// was there. What passed through a switched protocol is no body.
func (r *Record) requestSize() int64 {
	refused := r.OriginStatus == 0 && strings.HasPrefix(r.Reason, "dial_")
	if !r.reached() || refused || r.Status == http.StatusSwitchingProtocols {
		return 0
	}
	return r.RequestBytes
}

// downstreamSize is the size of the answer's body; a switched protocol has none, whatever
// passed through it afterwards.
func (r *Record) downstreamSize() int64 {
	if r.Status == http.StatusSwitchingProtocols {
		return 0
	}
	return r.ResponseBytes
}
