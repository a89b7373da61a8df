package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/upstream"
	"github.com/sluice-edge/sluice/telemetry"
)

// ClientTLS is the Reason of a connection whose client did not come through the handshake
// with a router that ends TLS.
const ClientTLS exchange.Reason = "client_tls"

// Records takes what is told of connections at their ends; it keeps nothing of r.
type Records interface {
	Connection(r *telemetry.Record)
}

// ending is why a connection did not reach its server's answers.
type ending struct {
	reason exchange.Reason
	err    error
}

// Error is the cause's text.
func (e *ending) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *ending) Unwrap() error { return e.err }

func ended(reason exchange.Reason, err error) error { return &ending{reason, err} }

// notDialed is ended for a server that could not be reached.
func notDialed(ctx context.Context, err error) error {
	return ended(upstream.DialReason(ctx, err), err)
}

// notShaken is ended for a client that did not come through the handshake.
func notShaken(err error) error {
	if errors.Is(err, io.EOF) {
		return ended(exchange.ClientGone, err)
	}
	return ended(ClientTLS, err)
}

// reasonOf is the Reason of an error before the first byte of a server.
func reasonOf(err error) exchange.Reason {
	if e := (*ending)(nil); errors.As(err, &e) {
		return e.reason
	}
	return exchange.UpstreamEOF // it took the connection and went away before anything else
}

// statusOf is what HTTP answers for a Reason: what filters by status look at, and what stands for
// the status in formats that have to have one.
func statusOf(reason exchange.Reason) int {
	switch reason {
	case exchange.NoReason:
		return http.StatusOK
	case ClientTLS:
		return http.StatusBadRequest
	case exchange.ClientGone:
		return exchange.StatusClientGone
	case exchange.IPDenied:
		return http.StatusForbidden
	case exchange.InFlightLimit:
		return http.StatusTooManyRequests
	case exchange.RouterBroken, exchange.NoServer, exchange.NoServerUp:
		return http.StatusServiceUnavailable
	case exchange.DialTimeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// tell gives the record of a connection that began at began to whom it is for.
func (c *Conn) tell(r *telemetry.Record, began time.Time, reason exchange.Reason) {
	if c.Records == nil {
		return
	}
	r.Start, r.Duration = began.UnixNano(), int64(time.Since(began))
	r.Reason, r.Status = string(reason), statusOf(reason)
	c.Records.Connection(r)
}

// noteTLS notes the settings of TLS that ended here.
func noteTLS(r *telemetry.Record, state tls.ConnectionState) {
	r.TLSVersion, r.TLSCipher = state.Version, state.CipherSuite
	if len(state.PeerCertificates) > 0 {
		r.TLSClientSubject = state.PeerCertificates[0].Subject.String()
	}
}
