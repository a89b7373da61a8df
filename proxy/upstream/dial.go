package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// handshakeTimeout bounds TLS handshakes with servers where the transport has no dial time-out that is shorter.
const handshakeTimeout = 10 * time.Second

// Error is why a server could not be reached or did not answer well.
type Error struct {
	Reason exchange.Reason
	Err    error
	// Unsent is set where no byte of the request reached the server, so that another server
	// may be asked.
	Unsent bool
	// Repeat is set where the request was sent, not a byte of an answer came, and sending it
	// again does no harm (RFC 9110 §9.2.2).
	Repeat bool
}

// errLeaving ends a dial to a server that is known to stop.
var errLeaving = errors.New("the server is stopping")

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Reason, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Dial connects to ep, with TLS for https endpoints; protos are the ALPN protocols to
// offer there. The error is always an *Error with Unsent set.
func Dial(ctx context.Context, ep *exchange.Endpoint, protos []string) (net.Conn, error) {
	tr := ep.Transport
	if ep.Scheme == "https" && tr.NoTLS != nil {
		return nil, &Error{Reason: exchange.UpstreamTLS, Err: tr.NoTLS, Unsent: true}
	}
	d := net.Dialer{Timeout: tr.DialTimeout, KeepAlive: 15 * time.Second}
	dctx, stop := watchDial(ctx, ep)
	nc, err := d.DialContext(dctx, ep.Network, ep.Addr)
	stop()
	if err != nil {
		if ctx.Err() == nil && context.Cause(dctx) == errLeaving {
			return nil, &Error{Reason: exchange.DialFailed, Err: errLeaving, Unsent: true}
		}
		return nil, &Error{Reason: DialReason(ctx, err), Err: err, Unsent: true}
	}
	if ep.Scheme != "https" {
		return nc, nil
	}
	limit := handshakeTimeout
	if tr.DialTimeout > 0 && tr.DialTimeout < limit {
		limit = tr.DialTimeout
	}
	hctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tc := tls.Client(nc, clientTLS(ep, protos))
	if err := tc.HandshakeContext(hctx); err != nil {
		_ = nc.Close()
		reason := exchange.UpstreamTLS
		switch {
		case ctx.Err() != nil:
			reason = exchange.ClientGone
		case hctx.Err() != nil:
			reason = exchange.DialTimeout
		}
		return nil, &Error{Reason: reason, Err: err, Unsent: true}
	}
	return tc, nil
}

// clientTLS is the transport's configuration for this endpoint.
func clientTLS(ep *exchange.Endpoint, protos []string) *tls.Config {
	cfg := ep.Transport.TLS
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if cfg.ServerName != "" && len(protos) == 0 && len(cfg.NextProtos) == 0 {
		return cfg
	}
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = hostname(ep.Host)
		if cfg.ServerName == "" {
			cfg.ServerName = hostname(ep.Addr)
		}
	}
	cfg.NextProtos = protos
	return cfg
}

func hostname(authority string) string {
	if h, _, err := net.SplitHostPort(authority); err == nil {
		return h
	}
	return authority
}

// DialReason tells why a server could not be reached.
func DialReason(ctx context.Context, err error) exchange.Reason {
	var dns *net.DNSError
	var ne net.Error
	switch {
	case ctx.Err() != nil && context.Cause(ctx) != context.DeadlineExceeded:
		return exchange.ClientGone
	case errors.Is(err, syscall.ECONNREFUSED):
		return exchange.DialRefused
	case errors.As(err, &dns):
		if dns.IsTimeout {
			return exchange.DialTimeout
		}
		return exchange.DialNoHost
	case errors.As(err, &ne) && ne.Timeout():
		return exchange.DialTimeout
	default:
		return exchange.DialFailed
	}
}
