package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/telemetry"
)

// Conn is a connection as a route gets it.
type Conn struct {
	net.Conn
	// Buffered are bytes that were read from it already.
	Buffered []byte
	// Peer is the client, after a trusted PROXY header; Local is where it connected to.
	Peer, Local netip.AddrPort
	// TLS is set where it begins with a ClientHello, of this name and these protocols.
	TLS  bool
	SNI  string
	ALPN []string
	// Postgres is set where the client asked for TLS in PostgreSQL's way and was told to go on.
	Postgres bool
	// EntryPoint is its name, and Records is told of the connection at its end; nil tells nobody.
	EntryPoint string
	Records    Records
}

// PostgresTLS is what a PostgreSQL client sends to ask for TLS: a length of 8 and the code
// 80877103. The server answers with one byte, 'S' for yes.
const PostgresTLS = "\x00\x00\x00\x08\x04\xd2\x16\x2f"

// Route is where a connection goes. It is immutable.
type Route struct {
	// Router and Service are names, for logs.
	Router, Service string
	To              Service
	Guards          []Guard
	// Terminate ends TLS with the settings it gives; nil passes everything through.
	Terminate func(*tls.ClientHelloInfo) (*tls.Config, error)
	// Broken closes every connection: what was to guard it cannot be built.
	Broken bool
	Log    zerolog.Logger
}

const (
	// handshakeTimeout bounds TLS with clients, and what servers are asked before.
	handshakeTimeout = 10 * time.Second
	// minHalfOpen is the least silence after which a connection with one half closed is cut.
	// The reference counts its terminationDelay (100 ms) from the half-close on and so drops
	// answers that take longer; here it is a time without a byte, and never below this.
	minHalfOpen = time.Minute
)

// ServeTCP serves c to its end; it owns it.
func (r *Route) ServeTCP(c Conn) {
	defer func() { _ = c.Close() }()
	began := time.Now()
	note := telemetry.Record{
		Connection: true, EntryPoint: c.EntryPoint, Router: r.Router, Service: r.Service, Peer: c.Peer, Host: c.SNI,
	}
	reason := r.take(&c, &note)
	c.tell(&note, began, reason)
}

// take serves c to its end and notes what is to be told of it. It returns why c did not
// reach a server.
func (r *Route) take(c *Conn, note *telemetry.Record) exchange.Reason {
	if r.Broken {
		return exchange.RouterBroken
	}
	peer := c.Peer.Addr().Unmap()
	for i, g := range r.Guards {
		if !g.Enter(peer) {
			r.Log.Debug().Str("routerName", r.Router).Stringer("client", c.Peer).Msg("TCP connection refused")
			for _, g := range r.Guards[:i] {
				g.Leave(peer)
			}
			return g.Reason()
		}
	}
	defer func() {
		for _, g := range r.Guards {
			g.Leave(peer)
		}
	}()
	s := r.To.Pick()
	if b, ok := r.To.(*Balancer); s == nil && ok {
		s = b.await()
	}
	if s == nil {
		r.Log.Debug().Str("serviceName", r.Service).Msg("no TCP server is up")
		if b, ok := r.To.(*Balancer); ok && len(b.servers) == 0 {
			return exchange.NoServer
		}
		return exchange.NoServerUp
	}
	s.enter()
	defer s.leave()
	note.ServerAddr = s.Address
	if err := r.serve(c, s, note); err != nil {
		r.Log.Debug().Err(err).Str("serviceName", r.Service).Str("serverURL", s.Address).Msg("TCP connection ended")
		return reasonOf(err)
	}
	return exchange.NoReason
}

func (r *Route) serve(c *Conn, s *Server, note *telemetry.Record) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := c.Conn
	if r.Terminate != nil && c.TLS {
		tc := tls.Server(&Replay{Conn: c.Conn, First: c.Buffered}, &tls.Config{GetConfigForClient: r.Terminate, MinVersion: tls.VersionTLS12})
		_ = c.Conn.SetDeadline(time.Now().Add(handshakeTimeout))
		if err := tc.HandshakeContext(ctx); err != nil {
			return notShaken(err)
		}
		noteTLS(note, tc.ConnectionState())
		_ = c.Conn.SetDeadline(time.Time{})
		client, c.Buffered = tc, nil
	}
	server, err := dial(ctx, s, s.Address, c.Peer, c.Local)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	if err := r.greet(c, server); err != nil {
		return err
	}
	delay := s.Transport.TerminationDelay
	if delay >= 0 {
		delay = max(delay, minHalfOpen)
	}
	note.RequestBytes, note.ResponseBytes = Pipe(client, server, c.Buffered, delay)
	return nil
}

// greet tells the server what comes before the client's bytes: TLS in PostgreSQL's way for
// a connection whose TLS is passed through.
func (r *Route) greet(c *Conn, server net.Conn) error {
	if !c.Postgres || r.Terminate != nil {
		return nil
	}
	_ = server.SetDeadline(time.Now().Add(handshakeTimeout))
	if _, err := io.WriteString(server, PostgresTLS); err != nil {
		return err
	}
	var b [1]byte
	if _, err := io.ReadFull(server, b[:]); err != nil {
		return err
	}
	if b[0] != 'S' {
		return ended(exchange.UpstreamTLS, errors.New("the PostgreSQL server does not offer TLS"))
	}
	return server.SetDeadline(time.Time{})
}

// dial connects to a server, with a PROXY header about the client first and TLS after it
// where the server takes them. Without a client the header says that there is none.
func dial(ctx context.Context, s *Server, addr string, peer, local netip.AddrPort) (net.Conn, error) {
	tr := s.Transport
	if s.TLS && tr.noTLS != nil {
		return nil, ended(exchange.UpstreamTLS, tr.noTLS)
	}
	d := net.Dialer{Timeout: tr.DialTimeout, KeepAlive: tr.KeepAlive}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, notDialed(ctx, err)
	}
	if tr.Proxy > 0 {
		if _, err := nc.Write(wire.AppendProxy(nil, tr.Proxy, peer, local)); err != nil {
			_ = nc.Close()
			return nil, err
		}
	}
	if !s.TLS {
		return nc, nil
	}
	cfg := tr.TLS
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		cfg.ServerName, _, _ = net.SplitHostPort(addr)
	}
	tc := tls.Client(nc, cfg)
	hctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := tc.HandshakeContext(hctx); err != nil {
		_ = nc.Close()
		return nil, ended(exchange.UpstreamTLS, err)
	}
	return tc, nil
}

// pipeBuf is the size of copy buffers.
const pipeBuf = 32 << 10

var pipeBufs = sync.Pool{New: func() any { b := make([]byte, pipeBuf); return &b }}

// Pipe copies between client and server in both directions until both have ended, and
// closes both. first are bytes read from the client already. A side that closes its sending
// half is passed on as such; from then on the other may be silent for delay at most
// (negative: for ever). It returns how many bytes came from the client and from the server.
func Pipe(client, server net.Conn, first []byte, delay time.Duration) (in, out int64) {
	p := &pipe{delay: delay}
	done := make(chan struct{})
	go func() {
		defer close(done)
		out = p.copy(client, server, nil)
	}()
	in = p.copy(server, client, first)
	<-done
	_ = client.Close()
	_ = server.Close()
	return in, out
}

type pipe struct {
	delay time.Duration
	half  atomic.Bool // one direction has ended
}

func (p *pipe) copy(dst, src net.Conn, first []byte) (n int64) {
	cut := func() int64 {
		_ = dst.Close()
		_ = src.Close()
		return n
	}
	if len(first) > 0 {
		k, err := dst.Write(first)
		if n = int64(k); err != nil {
			return cut()
		}
	}
	bp := pipeBufs.Get().(*[]byte)
	defer pipeBufs.Put(bp)
	for {
		if p.delay >= 0 && p.half.Load() {
			_ = src.SetReadDeadline(time.Now().Add(p.delay))
		}
		k, err := src.Read(*bp)
		if k > 0 {
			w, werr := dst.Write((*bp)[:k])
			n += int64(w)
			if werr != nil {
				return cut()
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if p.half.Swap(true) || closeWrite(dst) != nil {
				return cut()
			}
			if p.delay >= 0 {
				// Wakes a Read of the other direction that has no deadline yet.
				_ = dst.SetReadDeadline(time.Now().Add(p.delay))
			}
			return n
		default:
			return cut()
		}
	}
}

func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Replay is a connection whose first bytes were read already.
type Replay struct {
	net.Conn
	First []byte
}

// Read gives the first bytes, then those of the connection.
func (r *Replay) Read(p []byte) (int, error) {
	if len(r.First) > 0 {
		n := copy(p, r.First)
		if r.First = r.First[n:]; len(r.First) == 0 {
			r.First = nil
		}
		return n, nil
	}
	return r.Conn.Read(p)
}

// CloseWrite ends the sending half.
func (r *Replay) CloseWrite() error { return closeWrite(r.Conn) }
