package serve

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

const protoHTTP3 = "HTTP/3.0"

// altSvc puts the offer of HTTP/3 before what the server says itself, as the reference does.
func altSvc(f *exchange.Fields, offer string) {
	if offer == "" {
		return
	}
	f.Add("Alt-Svc", offer)
	list := f.All()
	last := list[len(list)-1]
	copy(list[1:], list)
	list[0] = last
}

// H3 is the HTTP/3 side of a Server.
type H3 struct {
	s    *Server
	conn net.PacketConn
	srv  *http3.Server
}

// NewH3 serves HTTP/3 on a UDP socket, which it owns, once Run is called; tlsFor gives the
// settings for a ClientHello.
func (s *Server) NewH3(conn net.PacketConn, tlsFor func(*tls.ClientHelloInfo) (*tls.Config, error)) *H3 {
	h := &H3{s: s, conn: conn}
	h.srv = &http3.Server{
		Handler:        h,
		MaxHeaderBytes: s.cfg.MaxHead,
		IdleTimeout:    s.cfg.IdleTimeout,
		TLSConfig:      &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: tlsFor},
		QUICConfig: &quic.Config{
			MaxIncomingStreams: int64(s.cfg.Streams),
			// 0-RTT requests can be replayed by anybody who has seen them: not offered.
			Allow0RTT: false,
		},
	}
	return h
}

// Run serves until Shutdown.
func (h *H3) Run() error {
	if err := h.srv.Serve(h.conn); err != nil && err != http.ErrServerClosed { //nolint:errorlint // the documented sentinel
		return err
	}
	return nil
}

// Shutdown tells clients to go away, waits for running requests until ctx ends, and closes the socket.
func (h *H3) Shutdown(ctx context.Context) error {
	err := h.srv.Shutdown(ctx)
	_ = h.srv.Close()
	_ = h.conn.Close()
	return err
}

// ServeHTTP implements http.Handler for one stream.
func (h *H3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &h2conn{s: h.s, since: time.Now()}
	c.c.TLS = r.TLS
	c.c.Peer = unmapped(r.RemoteAddr)
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		c.c.Local = unmapped(a.String())
	}
	c.serve(w, r, protoHTTP3)
}

func unmapped(addr string) netip.AddrPort {
	ap, _ := netip.ParseAddrPort(addr)
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
