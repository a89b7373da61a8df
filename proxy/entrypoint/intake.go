package entrypoint

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/sluice-edge/sluice/proxy/serve"
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

// Intake serves a fresh connection to its end. A lane passes those that it cannot begin
// itself; c.Peer and c.Local are those of the socket.
func (e *EntryPoint) Intake(c serve.Conn) {
	in := &intake{e: e, c: c, buf: c.Buffered}
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
	limit := helloTimeout
	if e.proxies.from(in.c.Peer.Addr()) {
		_ = in.c.SetReadDeadline(time.Now().Add(limit))
		if !in.proxyHeader() {
			return false
		}
	}
	tcp := e.tcp.Load().TCP
	hello := Hello{Peer: in.c.Peer, Local: in.c.Local}
	var clear Taker
	if tcp != nil {
		if clear = tcp.Match(&hello); clear != nil && !tcp.Peek() && e.cfg.TLS == nil {
			return in.give(clear)
		}
		if clear != nil {
			limit = peekTimeout
		}
	}
	if e.cfg.TLS == nil && tcp == nil {
		return in.http(nil)
	}
	if len(in.buf) == 0 {
		if t := e.readTimeout(); clear == nil {
			limit = t
		}
		if !in.first(limit, clear != nil) {
			return false
		}
	}
	if len(in.buf) == 0 || in.buf[0] != recordHandshake {
		if clear != nil {
			return in.give(clear)
		}
		return in.http(nil)
	}
	return in.secure(tcp, &hello)
}

// recordHandshake begins a TLS connection (RFC 8446 §5.1).
const recordHandshake = 22

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

// proxyHeader reads a PROXY header in whatever pieces it comes. Without one the
// connection's own addresses hold, as in the reference.
func (in *intake) proxyHeader() bool {
	for {
		if len(in.buf) > 0 {
			h, n, err := wire.ParseProxy(in.buf)
			if err != nil {
				return !looksLikeProxy(in.buf)
			}
			if n > 0 {
				in.buf = in.buf[n:]
				if !h.Local {
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
func (in *intake) give(t Taker) bool {
	e, c := in.e, in.c
	_ = c.SetDeadline(time.Time{})
	c.Buffered = in.buf
	in.track(false)
	e.streams.Add(1)
	e.mu.Lock()
	e.takers[c.Conn] = struct{}{}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.takers, c.Conn)
		e.mu.Unlock()
		e.streams.Add(-1)
	}()
	t.ServeTCP(c)
	return true
}

// secure handles a connection that begins with TLS: a TCP route, or HTTP after the handshake.
func (in *intake) secure(tcp TCP, hello *Hello) bool {
	e := in.e
	_ = in.c.SetDeadline(time.Now().Add(helloTimeout))
	if tcp != nil {
		for {
			h, more, err := wire.PeekHello(in.buf)
			if err != nil {
				break // crypto/tls says what is wrong with it
			}
			if !more {
				hello.SNI, hello.ALPN = h.SNI, h.ALPN
				break
			}
			if in.read() != nil {
				return false
			}
		}
		hello.TLS = true
		if t := tcp.Match(hello); t != nil {
			return in.give(t)
		}
	}
	if e.cfg.TLS == nil {
		return in.http(nil)
	}
	tc := tls.Server(&replay{Conn: in.c.Conn, first: in.buf}, &tls.Config{GetConfigForClient: e.cfg.TLS, MinVersion: tls.VersionTLS12})
	if err := tc.Handshake(); err != nil {
		e.cfg.Log.Debug().Err(err).Stringer("client", in.c.Peer).Msg("TLS handshake ended")
		return false
	}
	state := tc.ConnectionState()
	in.buf = nil
	in.track(false)
	in.c.Conn = tc
	return in.http(&state)
}

// replay is a connection whose first bytes were read already.
type replay struct {
	net.Conn
	first []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(p, r.first)
		if r.first = r.first[n:]; len(r.first) == 0 {
			r.first = nil
		}
		return n, nil
	}
	return r.Conn.Read(p)
}

// CloseWrite ends the sending half.
func (r *replay) CloseWrite() error {
	if h, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}
