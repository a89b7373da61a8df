package exchange

import (
	"crypto/tls"
	"sync/atomic"
	"time"
	"unsafe"
)

func str(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Endpoint is a server as the data plane reaches it. Endpoints are kept in the Book of
// package balance: the same server under the same transport is the same *Endpoint in
// every table, so pools, counters and health outlive tables. Its plain fields never change.
type Endpoint struct {
	// ID is dense and unique among live and past endpoints; lanes index their pools by it.
	ID uint32
	// URL as configured; logs, the API and sticky cookies show it.
	URL string
	// Scheme is http, https or h2c.
	Scheme string
	// Network is tcp or unix; Addr is host:port or a path.
	Network, Addr string
	// Host is the authority sent where passHostHeader is off.
	Host string
	// Path is put before the request's path where preservePath is set; "" otherwise.
	Path string
	// Origin says what the server is, for reasons ("container web-1").
	Origin    string
	Transport *Transport

	// InFlight counts requests under way.
	InFlight atomic.Int64
	// Down is set by health checks; Fenced by providers and drain: no new requests.
	Down, Fenced atomic.Bool
	// Starting is set until the endpoint has passed its readiness probe.
	Starting atomic.Bool
	// Since is when it entered rotation last, in ns since 1970.
	Since atomic.Int64
	// Served is set once it has answered a request, and cleared when it does not any more.
	Served atomic.Bool
	// Gone is set when no table names the endpoint any more: lanes close its idle connections.
	Gone atomic.Bool
	// DownUntil is set by passive health checks, in ns since 1970.
	DownUntil atomic.Int64
	// Latency is a moving average of the time to the response head, in ns; Measured is when it
	// was last told apart from what it was before, in ns since 1970.
	Latency, Measured atomic.Int64
	// Samples counts the measures that Latency is made of.
	Samples atomic.Int64
}

// Up reports whether the endpoint may take a request at now (ns since 1970).
func (e *Endpoint) Up(now int64) bool {
	return !e.Down.Load() && !e.Leaving() && !e.Starting.Load() && (e.DownUntil.Load() == 0 || e.DownUntil.Load() <= now)
}

// Leaving reports that the endpoint is on its way out, or out: what runs there finishes, and
// its connections are not kept.
func (e *Endpoint) Leaving() bool { return e.Fenced.Load() || e.Gone.Load() }

// Transport is how endpoints are reached. It is immutable. Zero times mean no limit.
type Transport struct {
	// Name of the serversTransport ("default@internal").
	Name                  string
	DialTimeout           time.Duration
	ResponseHeaderTimeout time.Duration
	IdleConnTimeout       time.Duration
	ReadIdleTimeout       time.Duration
	PingTimeout           time.Duration
	// MaxIdlePerHost bounds idle connections to one endpoint; zero means 200, negative none.
	MaxIdlePerHost int
	DisableHTTP2   bool
	// TLS is the client configuration of https endpoints; nil is the default. ServerName is
	// filled per endpoint by the dialler where empty.
	TLS *tls.Config
	// NoTLS says why https endpoints cannot be reached: what is configured for them cannot be
	// used, and nothing less must be. Others do not need it.
	NoTLS error
	// Warning tells which parts of the configuration were left out, or "".
	Warning string
}
