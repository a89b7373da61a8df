package loop

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/telemetry"
)

// ErrNotAvailable is what New returns where there is no loop lane; the handler lane does all the work then.
var ErrNotAvailable = errors.New("the loop lane needs Linux")

// Options set up a Group. The zero value of each field is usable.
type Options struct {
	// Loops is the number of loops; zero means one per usable processor.
	Loops int
	// Sink makes the sink of a loop's records (a telemetry.Shard); nil keeps none. Records
	// and their strings are good only during the call.
	Sink func() telemetry.Sink
	// Wants tells which fields of heads records need.
	Wants *telemetry.Wants
	// Resolve finds the addresses of a server's host name; nil asks the system. It is called
	// in a goroutine of its own.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// MaxResponseHead bounds the heads of servers' answers, in bytes; zero means 1 MiB.
	MaxResponseHead int
	Log             zerolog.Logger
}

// EntryPoint is what a Group needs to listen. Zero times mean no limit.
type EntryPoint struct {
	Name string
	// Addr is "[host]:port".
	Addr string
	// ReusePort lets other processes listen at the same address.
	ReusePort bool
	// Listener, where not nil, is used instead of Addr, by all loops together.
	Listener *net.TCPListener

	Forwarding *wire.Forwarding
	// ProxyInsecure believes PROXY headers of everybody, ProxyFrom those of the networks.
	ProxyInsecure bool
	ProxyFrom     []netip.Prefix

	// TLS answers the ClientHello of connections that begin with one; nil refuses TLS.
	// HTTP/2 is offered if it is in NextProtos of the result, which should have
	// DynamicRecordSizingDisabled set. It is called in goroutines.
	TLS func(*tls.ClientHelloInfo) (*tls.Config, error)
	// Raw reports whether new connections must be looked at by the handler lane first,
	// because routes of raw TCP exist; nil means never.
	Raw func() bool
	// HandOver takes what the loop does not do. It is called in a goroutine of its own and
	// owns the connection from then on; it must not be nil.
	HandOver func(*Handover)

	// MaxHead bounds request heads, in bytes, those of HTTP/1 wire.HeadSlack later; zero means 1 MiB.
	MaxHead int
	// ReadTimeout bounds the head in total and, while a body comes, the time without a
	// byte; with ReadTotal it bounds the whole request.
	ReadTimeout time.Duration
	ReadTotal   bool
	// WriteTimeout bounds the time from the head of a request to the end of its answer.
	WriteTimeout time.Duration
	// IdleTimeout bounds the wait for a further request.
	IdleTimeout time.Duration
	// HandshakeTimeout bounds the TLS handshake; zero means 10 s.
	HandshakeTimeout time.Duration
	// KeepAliveMaxTime and KeepAliveMaxRequests bound what one connection serves.
	KeepAliveMaxTime     time.Duration
	KeepAliveMaxRequests int
	// FinishHalfClosed finishes the answer for a client that has closed its sending half.
	// Off, that counts as going away, as in the reference.
	FinishHalfClosed bool
	// ReasonHeader tells trusted peers that send X-Sluice-Reason the Reason of the edge's own
	// answers in the same field.
	ReasonHeader bool
	// Dress may give an answer of the edge another body, before it is sent; nil never does.
	Dress func(*exchange.Exchange)
	// AltSvc is added to answers on TLS connections where not empty.
	AltSvc string

	// HandStream takes requests of HTTP/2 that the loop does not do, in a goroutine of their
	// own. Nil: connections of HTTP/2 are handed over as a whole (CauseHTTP2, CausePreface).
	HandStream func(Stream)
	// Streams is the number of concurrent streams of a connection; zero means 250.
	Streams uint32
	// DecoderTable and EncoderTable bound HPACK tables, in bytes; zero means 4096.
	DecoderTable, EncoderTable uint32
}

// Stream is a stream of HTTP/2 whose request the handler lane serves, while its frames stay
// with the loop. Its methods may be called by any goroutine.
type Stream interface {
	// Exchange is the request: parsed, prepared and matched, its ops up to NextOp have run.
	// The handler lane owns it.
	Exchange() *exchange.Exchange
	// Context ends with the stream.
	Context() context.Context

	// Read reads the request's body.
	Read(p []byte) (int, error)
	// Complete reports whether Read can give the rest without waiting.
	Complete() bool
	// Trailers are the request's trailers once Read has returned io.EOF; nil for none.
	Trailers() *exchange.Fields
	// Stop makes Read return an error; what still comes of the body is dropped.
	Stop()

	// Head takes a head: the final one, or with a status below 200 an interim one. end tells
	// that nothing follows it. date is added where it is not empty and the head has none.
	Head(resp *exchange.Response, date string, end bool) error
	// Write takes bytes of the body. It waits while the client does not take them.
	Write(p []byte) (int, error)
	// Flush sends what was taken so far.
	Flush() error
	// End ends the answer, with trailers if they are not nil.
	End(trailers *exchange.Fields) error
	// Cut resets the stream, whose answer is not whole.
	Cut()
}

// Cause is why a connection is handed over.
type Cause uint8

// The causes.
const (
	// CauseRoute: the route has a tail, an op that must wait, or a server that does not speak
	// clear HTTP/1.1.
	CauseRoute Cause = iota
	// CauseHTTP2: TLS with ALPN h2; Conn is a *tls.Conn after its handshake.
	CauseHTTP2
	// CausePreface: HTTP/2 with prior knowledge; Buffered begins with the preface.
	CausePreface
	// CauseRaw: Raw said so; nothing but a PROXY header has been read.
	CauseRaw
)

// Handover is a connection that leaves a loop.
type Handover struct {
	Cause      Cause
	EntryPoint string
	// Conn is the client's connection: a *tls.Conn after its handshake, or a clear one.
	Conn net.Conn
	// Buffered are bytes that were read and not used; with Ex they begin with its body.
	Buffered []byte
	// TLS is nil on clear connections.
	TLS *tls.ConnectionState
	// Peer is the client, after a trusted PROXY header; Local is invalid where unknown.
	Peer, Local netip.AddrPort
	// Ex, if not nil, is a request whose head is parsed, prepared and matched, and whose ops
	// before NextOp have run. The new lane owns it.
	Ex *exchange.Exchange
	// Requests were served on the connection so far, Ex not counted; Since is when it was accepted.
	Requests int
	Since    time.Time
	// Return takes the connection back between two requests; conn must be Conn, buffered
	// bytes that were read from it. False leaves it where it is.
	Return func(conn net.Conn, buffered []byte) bool
}

// Stats are figures of a Group.
type Stats struct {
	// Open is the number of clients on the loops.
	Open int
	// Turns counts turns of the loops by how long they took: under 0.1, 0.5, 1, 5, 20, 100 ms, and longer.
	Turns [7]uint64
}
