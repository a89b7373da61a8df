package server

import (
	"crypto/tls"
	"fmt"

	"github.com/sluice-edge/sluice/proxy/entrypoint"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/stream"
	"github.com/sluice-edge/sluice/router"
)

// tcpRoutes is a table's TCP routes as an entry point asks for them.
type tcpRoutes struct {
	*router.TCPTable
	entryPoint string
	records    stream.Records
}

// Match implements entrypoint.TCP.
func (t tcpRoutes) Match(c *stream.Conn) entrypoint.Taker {
	if r := t.Route(c); r != nil {
		return recorded{r, t.entryPoint, t.records}
	}
	return nil // not a nil *stream.Route in an interface
}

// recorded is a route whose connections are told of.
type recorded struct {
	*stream.Route
	entryPoint string
	records    stream.Records
}

// ServeTCP implements entrypoint.Taker.
func (r recorded) ServeTCP(c stream.Conn) {
	c.EntryPoint, c.Records = r.entryPoint, r.records
	r.Route.ServeTCP(c)
}

// publish swaps the routes of a table; connections and sessions keep their servers.
func (p *points) publish(t *router.Table, records stream.Records, traced func(entryPoint string, m exchange.Matcher) exchange.Matcher) {
	for _, ep := range p.tcp {
		ep.SetMatcher(traced(ep.Name(), t.EntryPoint(ep.Name())))
		if tcp := t.TCP(ep.Name()); tcp != nil {
			ep.SetTCP(tcpRoutes{tcp, ep.Name(), records})
		} else {
			ep.SetTCP(nil)
		}
	}
	for name, u := range p.udp {
		if r := t.UDP(name); r != nil {
			u.SetService(r.Service)
		} else {
			u.SetService(nil)
		}
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
