package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/entrypoint"
	"github.com/sluice-edge/sluice/proxy/stream"
	"github.com/sluice-edge/sluice/router"
	"github.com/sluice-edge/sluice/telemetry"
)

// streams joins TCP and UDP routes with their ports.
type streams struct {
	book *stream.Book
	udp  map[string]*stream.UDP
}

func newStreams(s *Server) *streams {
	return &streams{book: stream.NewBook(s.healthChanged), udp: map[string]*stream.UDP{}}
}

func isUDP(ep *config.EntryPoint) bool {
	return strings.HasSuffix(strings.ToLower(ep.Address), "/udp")
}

// listen opens the UDP ports.
func (st *streams) listen(ctx context.Context, s *Server) error {
	for _, name := range slices.Sorted(maps.Keys(s.static.EntryPoints)) {
		ep := s.static.EntryPoints[name]
		if !isUDP(ep) {
			continue
		}
		a, err := entrypoint.ParseAddress(ep.Address)
		if err != nil {
			return fmt.Errorf("entry point %s: %w", name, err)
		}
		c, err := entrypoint.ListenUDP(ctx, a, ep.ReusePort)
		if err != nil {
			return fmt.Errorf("entry point %s: %w", name, err)
		}
		var timeout time.Duration
		if ep.UDP != nil {
			timeout = time.Duration(ep.UDP.Timeout)
		}
		st.udp[name] = stream.NewUDP(c, timeout, s.component("udp").With().Str(telemetry.EntryPoint, name).Logger())
		s.log.Info().Str(telemetry.EntryPoint, name).Stringer("address", c.LocalAddr()).Msg("listening for UDP")
	}
	return nil
}

// tcpRoutes is a table's TCP routes as an entry point asks for them.
type tcpRoutes struct{ *router.TCPTable }

// Match implements entrypoint.TCP.
func (t tcpRoutes) Match(c *stream.Conn) entrypoint.Taker {
	if r := t.Route(c); r != nil {
		return r
	}
	return nil // not a nil *stream.Route in an interface
}

// publish swaps the routes; connections and sessions keep their servers.
func (st *streams) publish(t *router.Table, eps []*entrypoint.EntryPoint) {
	for _, ep := range eps {
		if tcp := t.TCP(ep.Name()); tcp != nil {
			ep.SetTCP(tcpRoutes{tcp})
		} else {
			ep.SetTCP(nil)
		}
	}
	for name, u := range st.udp {
		if r := t.UDP(name); r != nil {
			u.SetService(r.Service)
		} else {
			u.SetService(nil)
		}
	}
}

// serve forwards datagrams until shutdown.
func (st *streams) serve() {
	var wg sync.WaitGroup
	for _, u := range st.udp {
		wg.Go(func() { _ = u.Run() })
	}
	wg.Wait()
}

func (st *streams) shutdown(ctx context.Context) {
	for _, u := range st.udp {
		_ = u.Shutdown(ctx)
	}
}

// terminate gives the settings that end TLS for a TCP router with named options.
func (s *Server) terminate(options string) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		c := s.certs.Config(options)
		if c == nil {
			return nil, fmt.Errorf("tls options %s cannot be used", options)
		}
		return c, nil
	}
}
