package balance

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// newEndpoint reads a server's URL. Schemes are http, https, h2c, ws (http) and wss
// (https); "unix:///path" reaches a socket by HTTP.
func newEndpoint(s *config.Server, tr *exchange.Transport) (*exchange.Endpoint, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("server URL %q: %w", s.URL, errors.Unwrap(err))
	}
	ep := &exchange.Endpoint{URL: s.URL, Origin: s.Origin, Transport: tr, Network: "tcp", Host: u.Host}
	port := "80"
	switch strings.ToLower(u.Scheme) {
	case "http", "ws":
		ep.Scheme = "http"
	case "https", "wss":
		ep.Scheme, port = "https", "443"
	case "h2c":
		ep.Scheme = "h2c"
	case "unix":
		ep.Scheme, ep.Network, ep.Addr, ep.Host = "http", "unix", u.Path, "localhost"
		if u.Path == "" {
			return nil, fmt.Errorf("server URL %q has no path; write unix:///path/to/socket", s.URL)
		}
		return ep, nil
	default:
		return nil, fmt.Errorf("server URL %q must begin with http://, https:// or h2c://", s.URL)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("server URL %q has no host", s.URL)
	}
	if p := u.Port(); p != "" {
		port = p
	}
	ep.Addr = net.JoinHostPort(u.Hostname(), port)
	if s.PreservePath {
		ep.Path = strings.TrimSuffix(u.EscapedPath(), "/")
	}
	return ep, nil
}
