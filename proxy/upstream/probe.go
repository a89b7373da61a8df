package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http2"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Prober runs health checks: balance.Prober. The zero value is ready to use. Every probe
// opens a connection of its own, as a client that has none yet would.
type Prober struct{}

// errNotServing is a gRPC health answer other than SERVING.
var errNotServing = errors.New("the gRPC health service does not answer SERVING")

// reach connects to ep and says nothing: the readiness probe of those that name none.
func reach(ctx context.Context, ep *exchange.Endpoint) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, ep.Network, ep.Addr)
	if err != nil {
		return err
	}
	return c.Close()
}

// Probe asks ep once. A nil error means the server works; ctx bounds the time.
func (Prober) Probe(ctx context.Context, ep *exchange.Endpoint, hc *config.HealthCheck) error {
	if hc.Mode == config.ReadyTCP {
		return reach(ctx, ep)
	}
	u, err := probeURL(ep, hc)
	if err != nil {
		return err
	}
	if u.Scheme == "https" && ep.Transport.NoTLS != nil {
		return ep.Transport.NoTLS
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		if ep.Network == "unix" {
			return d.DialContext(ctx, "unix", ep.Addr)
		}
		return d.DialContext(ctx, "tcp", hostPort(u))
	}
	if strings.EqualFold(hc.Mode, "grpc") {
		return probeGRPC(ctx, ep, hc, u, dial)
	}
	tr := &http.Transport{
		MaxIdleConnsPerHost: -1, // none is kept; the server need not be told
		TLSClientConfig:     ep.Transport.TLS.Clone(),
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if ep.Network == "unix" || addr == hostPort(u) {
				return dial(ctx)
			}
			var d net.Dialer // a redirect elsewhere
			return d.DialContext(ctx, network, addr)
		},
	}
	var rt http.RoundTripper = tr
	if u.Scheme == "h2c" {
		u.Scheme = "http"
		rt = h2Transport(ep, dial, true)
	}
	c := &http.Client{Transport: rt}
	if hc.FollowRedirects != nil && !*hc.FollowRedirects {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	method := hc.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, strings.ToUpper(method), u.String(), nil)
	if err != nil {
		return err
	}
	setProbeHeaders(req, hc)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case hc.Status != 0 && resp.StatusCode != hc.Status:
		return fmt.Errorf("status %d instead of %d", resp.StatusCode, hc.Status)
	case hc.Status == 0 && (resp.StatusCode < 200 || resp.StatusCode > 399):
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

func setProbeHeaders(req *http.Request, hc *config.HealthCheck) {
	if hc.Hostname != "" {
		req.Host = hc.Hostname
	}
	for k, v := range hc.Headers {
		if strings.EqualFold(k, "Host") {
			if hc.Hostname == "" {
				req.Host = v
			}
			continue
		}
		req.Header.Set(k, v)
	}
}

// probeURL is the server's URL with the check's scheme, port and path; a path without a slash,
// or none, is relative to the server's.
func probeURL(ep *exchange.Endpoint, hc *config.HealthCheck) (*url.URL, error) {
	u := &url.URL{Scheme: ep.Scheme, Host: ep.Host}
	base := new(url.URL)
	if ep.Network != "unix" {
		if server, err := url.Parse(ep.URL); err == nil {
			base = &url.URL{Scheme: "http", Host: "server", Path: server.Path, RawPath: server.RawPath, RawQuery: server.RawQuery}
		}
	}
	if hc.Scheme != "" {
		u.Scheme = strings.ToLower(hc.Scheme)
	}
	if hc.Port != 0 {
		u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(hc.Port))
	}
	p, err := base.Parse(hc.Path)
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath, u.RawQuery = p.Path, p.RawPath, p.RawQuery
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
		u.RawPath = ""
	}
	return u, nil
}

func hostPort(u *url.URL) string {
	if p := u.Port(); p != "" {
		return net.JoinHostPort(u.Hostname(), p)
	}
	if u.Scheme == "https" {
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

func h2Transport(ep *exchange.Endpoint, dial func(context.Context) (net.Conn, error), clear bool) *http2.Transport {
	return &http2.Transport{
		AllowHTTP:       clear,
		TLSClientConfig: ep.Transport.TLS.Clone(),
		DialTLSContext: func(ctx context.Context, _, _ string, cfg *tls.Config) (net.Conn, error) {
			c, err := dial(ctx)
			if err != nil || clear {
				return c, err
			}
			tc := tls.Client(c, cfg)
			if err := tc.HandshakeContext(ctx); err != nil {
				_ = c.Close()
				return nil, err
			}
			return tc, nil
		},
	}
}

// probeGRPC calls grpc.health.v1.Health/Check for the whole server: an empty message in
// a gRPC frame (a flag byte and four bytes of length); the answer's field 1 is the state,
// 1 for SERVING.
func probeGRPC(ctx context.Context, ep *exchange.Endpoint, hc *config.HealthCheck, u *url.URL, dial func(context.Context) (net.Conn, error)) error {
	clear := u.Scheme != "https"
	u.Scheme = "https"
	if clear {
		u.Scheme = "http"
	}
	u.Path, u.RawPath, u.RawQuery = "/grpc.health.v1.Health/Check", "", ""
	tr := h2Transport(ep, dial, clear)
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(make([]byte, 5)))
	if err != nil {
		return err
	}
	setProbeHeaders(req, hc)
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return err
	}
	st := resp.Trailer.Get("Grpc-Status")
	if st == "" {
		st = resp.Header.Get("Grpc-Status")
	}
	if resp.StatusCode != http.StatusOK || (st != "" && st != "0") {
		return fmt.Errorf("status %d, grpc-status %s", resp.StatusCode, st)
	}
	if len(body) < 5 || int(binary.BigEndian.Uint32(body[1:5])) > len(body)-5 {
		return errNotServing
	}
	if msg := body[5:]; len(msg) < 2 || msg[0] != 0x08 || msg[1] != 1 {
		return errNotServing
	}
	return nil
}
