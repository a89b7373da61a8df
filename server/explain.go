package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/api"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/router"
	"github.com/sluice-edge/sluice/telemetry"
)

// explain says which routers a request would meet at each entry point, and why the others
// do not match.
func (s *Server) explain(_ context.Context, q api.ExplainRequest) (any, error) {
	t := s.table.Load()
	if t == nil {
		return nil, errors.New("no configuration is live yet")
	}
	u, err := url.Parse(q.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("url %q is not absolute; write http://host/path or https://host/path", q.URL)
	}
	req := exchange.Request{
		Method: strings.ToUpper(q.Method), Proto: "HTTP/1.1", Host: u.Host, Path: u.EscapedPath(), Query: u.RawQuery, HasQuery: u.RawQuery != "",
	}
	if req.Method == "" {
		req.Method = "GET"
	}
	if req.Path == "" {
		req.Path = "/"
	}
	req.Target = u.RequestURI()
	if u.Scheme == "https" {
		req.TLS = &tls.ConnectionState{ServerName: u.Hostname()}
	}
	if q.Client != "" {
		a, err := netip.ParseAddr(q.Client)
		if err != nil {
			return nil, fmt.Errorf("client %q is not an address", q.Client)
		}
		req.Peer = netip.AddrPortFrom(a, 0)
	}
	for name, values := range q.Headers {
		for _, v := range values {
			req.Fields.Add(name, v)
		}
	}
	names := s.points.Load().names()
	if q.EntryPoint != "" {
		if !slices.Contains(names, q.EntryPoint) {
			return nil, fmt.Errorf("there is no entry point %q; declared: %s", q.EntryPoint, strings.Join(names, ", "))
		}
		names = []string{q.EntryPoint}
	}
	out := make([]router.Explanation, 0, len(names))
	for _, n := range names {
		req.EntryPoint = n
		out = append(out, t.Explain(&req))
	}
	return out, nil
}

// connections are the open connections and sessions of every entry point.
func (s *Server) connections() []telemetry.OpenConnections {
	var out []telemetry.OpenConnections
	p := s.points.Load()
	for _, e := range p.tcp {
		out = append(out, telemetry.OpenConnections{EntryPoint: e.Name(), Protocol: "TCP", Open: e.Open()})
	}
	for name, u := range p.udp {
		out = append(out, telemetry.OpenConnections{EntryPoint: name, Protocol: "UDP", Open: u.Open()})
	}
	return out
}

// stringers turns addresses into what the log prints.
func stringers(in []net.Addr) []fmt.Stringer {
	out := make([]fmt.Stringer, len(in))
	for i, a := range in {
		out[i] = a
	}
	return out
}
