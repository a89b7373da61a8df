// Package serve is the handler lane: HTTP/1.1 on a goroutine a connection with the codecs
// of package wire, HTTP/2 by golang.org/x/net/http2, and the bridge to http.Handler for
// what follows a route's ops. It can do everything and says what is right; the loop lane
// hands over to it what it cannot do.
package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/http2"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/upstream"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/telemetry"
)

// Config is what a Server needs. Client and Forwarding must be set. Zero times mean no limit.
type Config struct {
	EntryPoint string
	Client     *upstream.Client
	Forwarding *wire.Forwarding
	// Records takes finished requests; nil drops them. Wants tells which fields it needs.
	Records telemetry.Sink
	Wants   *telemetry.Wants
	Log     zerolog.Logger

	// MaxHead bounds request heads, in bytes, those of HTTP/1 wire.HeadSlack later; zero means 1 MiB.
	MaxHead int
	// ReadTimeout bounds the head in total and, while a body comes, the time without a
	// byte; with ReadTotal it bounds the whole request, the reference's meaning.
	ReadTimeout time.Duration
	ReadTotal   bool
	// WriteTimeout bounds the time from the head of a request to the end of its answer.
	WriteTimeout time.Duration
	// IdleTimeout bounds the wait for a further request.
	IdleTimeout time.Duration
	// KeepAliveMaxTime and KeepAliveMaxRequests bound what one connection serves.
	KeepAliveMaxTime     time.Duration
	KeepAliveMaxRequests int
	// FinishHalfClosed finishes the answer for a client that has closed its sending half.
	// Off, that counts as going away, as in the reference: the two cannot be told apart, and
	// servers should not work for clients that are gone.
	FinishHalfClosed bool

	// Streams is the number of concurrent HTTP/2 streams of a connection; zero means 250.
	Streams uint32
	// DecoderTable and EncoderTable bound HPACK tables, in bytes; zero means 4096.
	DecoderTable, EncoderTable uint32
	// NoH2C refuses HTTP/2 with prior knowledge on clear connections.
	NoH2C bool
	// ReasonHeader tells trusted peers that send X-Sluice-Reason the Reason of the edge's own
	// answers in the same field.
	ReasonHeader bool
	// Dress may give an answer of the edge another body, before it is sent; nil never does.
	Dress func(*exchange.Exchange)
	// AltSvc is added to answers on TLS connections where not empty: HTTP/3 is offered.
	AltSvc string
}

// Conn is a connection to serve: clear, or with TLS after its handshake.
type Conn struct {
	net.Conn
	// Buffered are bytes that were read from it already.
	Buffered []byte
	// Peer is the client, after a trusted PROXY header; Local is where it connected to.
	Peer, Local netip.AddrPort
	// TLS is nil on clear connections.
	TLS *tls.ConnectionState
}

// Handover is a connection that comes from the loop lane, between two requests or in the
// midst of one.
type Handover struct {
	Conn
	// Ex, if not nil, is a request whose head is parsed and prepared (wire.PrepareRequest),
	// matched (Route may be nil with Reason set) and whose ops up to NextOp have run. Its
	// strings live in its own memory. Buffered begins with its body.
	Ex *exchange.Exchange
	// Requests were served on the connection so far, Ex not counted; Since is when it was accepted.
	Requests int
	Since    time.Time
	// Return takes the connection back once it waits for the next request, with bytes of
	// it that were read already. False leaves it here. Nil is never asked.
	Return func(c net.Conn, buffered []byte) bool
}

type matcherBox struct{ exchange.Matcher }

// Server serves the connections of one entry point.
type Server struct {
	cfg     Config
	matcher atomic.Pointer[matcherBox]
	date    atomic.Pointer[dateText]

	base *http.Server // carries the graceful shutdown of HTTP/2 connections
	h2   *http2.Server

	draining atomic.Bool
	mu       sync.Mutex
	conns    map[*h1]struct{}
	streams  map[net.Conn]struct{}
	wg       sync.WaitGroup
}

// New returns a Server without routes: it answers 404 until SetMatcher.
func New(cfg Config) *Server {
	if cfg.MaxHead <= 0 {
		cfg.MaxHead = wire.DefaultMaxHead
	}
	if cfg.Streams == 0 {
		cfg.Streams = 250
	}
	s := &Server{cfg: cfg, conns: map[*h1]struct{}{}, streams: map[net.Conn]struct{}{}}
	s.base = &http.Server{
		MaxHeaderBytes: cfg.MaxHead, ReadHeaderTimeout: cfg.ReadTimeout,
		ErrorLog: log.New(debugLog{cfg.Log}, "", 0), // what clients do wrong is no error of ours
	}
	s.h2 = &http2.Server{
		MaxConcurrentStreams:      cfg.Streams,
		MaxDecoderHeaderTableSize: cfg.DecoderTable,
		MaxEncoderHeaderTableSize: cfg.EncoderTable,
		IdleTimeout:               cfg.IdleTimeout,
	}
	if err := http2.ConfigureServer(s.base, s.h2); err != nil {
		panic(err) // only for TLS settings, and base has none
	}
	s.matcher.Store(&matcherBox{nobody{}})
	return s
}

// debugLog takes the lines of a log.Logger.
type debugLog struct{ zerolog.Logger }

func (l debugLog) Write(p []byte) (int, error) {
	l.Debug().Bytes("text", bytes.TrimSpace(p)).Msg("HTTP/2 connection")
	return len(p), nil
}

// nobody matches nothing.
type nobody struct{}

func (nobody) Match(*exchange.Exchange) (*exchange.Route, exchange.Reason) {
	return nil, exchange.NoRouter
}

// SetMatcher swaps the routes; requests under way keep theirs.
func (s *Server) SetMatcher(m exchange.Matcher) { s.matcher.Store(&matcherBox{m}) }

// Open returns the number of open connections.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) + len(s.streams)
}

// Serve serves c until it ends; it owns it.
func (s *Server) Serve(c Conn) {
	if c.TLS != nil && c.TLS.NegotiatedProtocol == http2.NextProtoTLS {
		s.serveH2(c)
		return
	}
	s.serveH1(newH1(s, Handover{Conn: c, Since: time.Now()}))
}

// Continue serves a connection that the loop lane hands over, in the calling goroutine.
func (s *Server) Continue(h Handover) { s.serveH1(newH1(s, h)) }

func (s *Server) serveH1(h *h1) {
	s.mu.Lock()
	s.conns[h] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, h)
		s.mu.Unlock()
		s.wg.Done()
	}()
	defer func() {
		// A fault in an op ends its connection, not the process.
		if p := recover(); p != nil {
			s.cfg.Log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("a connection was ended by a fault")
			h.kill()
			h.ex.Release(exchange.Failed)
		}
	}()
	h.serve()
}

// Drain makes the server end its connections as soon as nothing is under way on them:
// idle ones at once, the others with the answer they wait for.
func (s *Server) Drain() {
	if s.draining.Swap(true) {
		return
	}
	s.mu.Lock()
	for h := range s.conns {
		h.hurry()
	}
	s.mu.Unlock()
	// Tells HTTP/2 clients to go away after the streams they have opened.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.base.Shutdown(ctx)
}

// Shutdown drains and waits; when ctx ends, what is left is cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for h := range s.conns {
		h.kill()
	}
	for c := range s.streams {
		_ = c.Close()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

type dateText struct {
	second int64
	text   string
}

// now returns the time in ns since 1970 and the Date field of that second.
func (s *Server) now() (int64, string) {
	t := time.Now()
	sec := t.Unix()
	if d := s.date.Load(); d != nil && d.second == sec {
		return t.UnixNano(), d.text
	}
	d := &dateText{sec, t.UTC().Format(http.TimeFormat)}
	s.date.Store(d)
	return t.UnixNano(), d.text
}
