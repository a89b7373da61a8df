package entrypoint

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/sluice-edge/sluice/proxy/serve"
	"github.com/sluice-edge/sluice/proxy/stream"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// proxyTrust says whose PROXY headers are read.
type proxyTrust struct {
	on, all bool
	nets    []netip.Prefix
}

func (t *proxyTrust) from(a netip.Addr) bool {
	return t.on && (t.all || wire.InNetworks(t.nets, a))
}

const (
	// helloTimeout bounds a connection's beginning: PROXY header, ClientHello, handshake.
	helloTimeout = 10 * time.Second
	// peekTimeout is how long to wait for a client that says nothing, where a clear TCP
	// route would take it anyway: its protocol may have the server speak first.
	peekTimeout = 200 * time.Millisecond
	// maxHello bounds what is read to find a ClientHello's end.
	maxHello = 64 << 10
)

// Intake serves a fresh connection to its end. c.Peer and c.Local are those of the socket.
func (e *EntryPoint) Intake(c serve.Conn) { e.intake(c, e.proxies.on) }

// IntakeBehindProxy is Intake for a lane that has read the PROXY header, if there was one.
func (e *EntryPoint) IntakeBehindProxy(c serve.Conn) { e.intake(c, false) }

func (e *EntryPoint) intake(c serve.Conn, proxied bool) {
	if !c.Local.IsValid() { // a loop asks the kernel for it only where somebody wants to know
		c.Local = addrPort(c.LocalAddr())
	}
	in := &intake{e: e, c: c, buf: c.Buffered, proxied: proxied}
	if !in.track(true) {
		_ = c.Close()
		return
	}
	ok := in.begin()
	in.track(false)
	if !ok {
		_ = c.Close()
	}
}

// Trusted reports whether a PROXY header from this peer is read.
func (e *EntryPoint) Trusted(peer netip.Addr) bool { return e.proxies.from(peer) }

// intake is a connection before it is known who serves it.
type intake struct {
	e       *EntryPoint
	c       serve.Conn
	buf     []byte
	proxied bool
	tracked bool
}

// track lists the connection among those that Shutdown may close at once.
func (in *intake) track(on bool) bool {
	e := in.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if !on {
		if in.tracked {
			delete(e.opening, in.c.Conn)
			in.tracked = false
		}
		return true
	}
	if e.closed.Load() {
		return false
	}
	e.opening[in.c.Conn] = struct{}{}
	in.tracked = true
	return true
}

// begin finds out what the connection is and gives it to whom it belongs. False means
// that nobody took it.
func (in *intake) begin() bool {
	e := in.e
	if in.proxied {
		_ = in.c.SetReadDeadline(time.Now().Add(helloTimeout))
		if !in.proxyHeader() {
			return false
		}
	}
	tcp := e.tcp.Load().TCP
	if tcp == nil && e.cfg.TLS == nil {
		return in.http(nil)
	}
	sc := stream.Conn{Peer: in.c.Peer, Local: in.c.Local}
	var clear Taker
	if tcp != nil {
		clear = tcp.Match(&sc)
	}
	if clear != nil && !tcp.Peek() {
		return in.give(clear, sc)
	}
	limit := e.readTimeout()
	if clear != nil {
		limit = peekTimeout
	}
	if len(in.buf) == 0 && !in.first(limit, clear != nil) {
		return false
	}
	if tcp != nil && tcp.Peek() && len(in.buf) > 0 && in.buf[0] == 0 && !in.postgres(&sc) {
		return false
	}
	// A clear TCP route may speak a protocol that begins with SSL 2.0's byte.
	if len(in.buf) > 0 && (in.buf[0] == wire.HandshakeRecord || clear == nil && wire.OpensTLS(in.buf[0])) {
		return in.secure(tcp, &sc)
	}
	if clear != nil {
		return in.give(clear, sc)
	}
	return in.http(nil)
}

// postgres answers a PostgreSQL client that asks for TLS, so that its ClientHello follows.
// False means that the connection has ended.
func (in *intake) postgres(sc *stream.Conn) bool {
	_ = in.c.SetReadDeadline(time.Now().Add(helloTimeout))
	for len(in.buf) < len(stream.PostgresTLS) {
		if string(in.buf) != stream.PostgresTLS[:len(in.buf)] {
			return true
		}
		if in.read() != nil {
			return false
		}
	}
	if string(in.buf[:len(stream.PostgresTLS)]) != stream.PostgresTLS {
		return true
	}
	in.buf = in.buf[len(stream.PostgresTLS):]
	if len(in.buf) > 0 {
		return false // what follows before our answer was injected (CVE-2021-23214)
	}
	sc.Postgres = true
	if _, err := in.c.Write([]byte{'S'}); err != nil {
		return false
	}
	return in.read() == nil
}

func (e *EntryPoint) readTimeout() time.Duration {
	if t := e.cfg.EP.Transport; t != nil && t.RespondingTimeouts != nil {
		return time.Duration(t.RespondingTimeouts.ReadTimeout)
	}
	return 0
}

// first waits for the first bytes. With silent, saying nothing in time is fine.
func (in *intake) first(limit time.Duration, silent bool) bool {
	by := time.Time{}
	if limit > 0 {
		by = time.Now().Add(limit)
	}
	_ = in.c.SetReadDeadline(by)
	err := in.read()
	_ = in.c.SetReadDeadline(time.Time{})
	return err == nil || silent && errors.Is(err, os.ErrDeadlineExceeded)
}

// errHello means that a beginning is too long.
var errHello = errors.New("the beginning of the connection is too long")

func (in *intake) read() error {
	if len(in.buf) >= maxHello {
		return errHello
	}
	if cap(in.buf)-len(in.buf) < 512 {
		b := make([]byte, len(in.buf), max(1024, 2*cap(in.buf)))
		copy(b, in.buf)
		in.buf = b
	}
	n, err := in.c.Read(in.buf[len(in.buf):cap(in.buf)])
	in.buf = in.buf[:len(in.buf)+n]
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// proxyHeader reads a PROXY header in whatever pieces it comes. Without one, and for
// senders that are not trusted, the connection's own addresses hold, as in the reference.
func (in *intake) proxyHeader() bool {
	for {
		if len(in.buf) > 0 {
			h, n, err := wire.ParseProxy(in.buf)
			if err != nil {
				return !looksLikeProxy(in.buf)
			}
			if n > 0 {
				in.buf = in.buf[n:]
				if !h.Local && in.e.proxies.from(in.c.Peer.Addr()) {
					in.c.Peer, in.c.Local = h.Src, h.Dst
				}
				return true
			}
		}
		if in.read() != nil {
			return false
		}
	}
}

// looksLikeProxy tells a broken PROXY header from none at all.
func looksLikeProxy(b []byte) bool {
	return len(b) >= 6 && string(b[:6]) == "PROXY " || len(b) >= 4 && string(b[:4]) == "\r\n\r\n"
}

// http gives the connection to HTTP.
func (in *intake) http(state *tls.ConnectionState) bool {
	_ = in.c.SetDeadline(time.Time{})
	in.c.Buffered, in.c.TLS = in.buf, state
	in.track(false)
	in.e.server.Serve(in.c)
	return true
}

// give gives the connection to a TCP route.
func (in *intake) give(t Taker, sc stream.Conn) bool {
	e, nc := in.e, in.c.Conn
	_ = nc.SetDeadline(time.Time{})
	sc.Conn, sc.Buffered = nc, in.buf
	in.track(false)
	e.streams.Add(1)
	e.mu.Lock()
	e.takers[nc] = struct{}{}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.takers, nc)
		e.mu.Unlock()
		e.streams.Add(-1)
	}()
	t.ServeTCP(sc)
	return true
}

// acmeALPN is the protocol of ACME's TLS challenges (RFC 8737). They are for routes only
// where nobody here answers them, or the entry point leaves them to its servers.
const acmeALPN = "acme-tls/1"

// secure handles a connection that begins with TLS: a TCP route, or HTTP after the handshake.
func (in *intake) secure(tcp TCP, sc *stream.Conn) bool {
	e := in.e
	_ = in.c.SetDeadline(time.Now().Add(helloTimeout))
	if tcp != nil {
		if !in.hello(sc) {
			return false
		}
		if !slices.Contains(sc.ALPN, acmeALPN) || e.cfg.ForRoutes != nil && e.cfg.ForRoutes() {
			if t := tcp.Match(sc); t != nil {
				return in.give(t, *sc)
			}
		}
	}
	if e.cfg.TLS == nil || sc.Postgres {
		return e.cfg.TLS == nil && in.http(nil)
	}
	tc := tls.Server(&stream.Replay{Conn: in.c.Conn, First: in.buf}, e.tls)
	if err := tc.HandshakeContext(context.Background()); err != nil { // its time is bounded by the deadline
		e.cfg.Log.Debug().Err(err).Stringer("client", in.c.Peer).Msg("TLS handshake ended")
		return false
	}
	state := tc.ConnectionState()
	in.buf = nil
	in.track(false)
	in.c.Conn = tc
	return in.http(&state)
}

// hello reads the ClientHello. A malformed one ends the connection without a word, as in the
// reference: what nobody can read is for no route, not even for one that takes any name. A
// record of SSL 2.0 is left to crypto/tls to refuse.
func (in *intake) hello(sc *stream.Conn) bool {
	sc.TLS = true
	for {
		h, more, err := wire.PeekHello(in.buf)
		if err != nil {
			return errors.Is(err, wire.ErrNotTLS)
		}
		if !more {
			sc.SNI, sc.ALPN = h.SNI, h.ALPN
			return true
		}
		if in.read() != nil {
			return false
		}
	}
}
