package upstream

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// The codes of gRPC that the edge answers by itself.
const (
	grpcCancelled = "1"
	grpcDeadline  = "4"
)

// isGRPC reports whether the request is a call of gRPC, not of gRPC-Web.
func isGRPC(ex *exchange.Exchange) bool {
	rest, ok := strings.CutPrefix(ex.Req.Fields.Get("Content-Type"), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// cancelledCall answers a gRPC call that its server ended by resetting the stream with
// CANCEL, as servers do at a call's deadline. To a client of gRPC a 502 would mean that the
// server is away, and many would call again; what the reset meant is one of gRPC's codes
// (PROTOCOL-HTTP2.md, "Errors"). It reports whether it did.
func cancelledCall(ex *exchange.Exchange, err error) bool {
	var se http2.StreamError
	if !errors.As(err, &se) || se.Code != http2.ErrCodeCancel || !isGRPC(ex) {
		return false
	}
	reason, code := exchange.UpstreamEOF, grpcCancelled
	if d, ok := grpcTimeout(ex.Req.Fields.Get("Grpc-Timeout")); ok && time.Since(time.Unix(0, ex.Now)) >= d {
		reason, code = exchange.UpstreamSlow, grpcDeadline
	}
	ex.Reply(http.StatusOK, reason, "")
	ex.Body, ex.Resp.Length = nil, 0
	ex.Resp.Fields.Set("Content-Type", "application/grpc")
	ex.Resp.Fields.Add("Grpc-Status", code)
	ex.Resp.Fields.Add("Grpc-Message", "the server ended the call")
	return true
}

// grpcTimeout reads the field of that name: up to eight digits and a unit.
func grpcTimeout(v string) (time.Duration, bool) {
	if len(v) < 2 || len(v) > 9 {
		return 0, false
	}
	n, err := strconv.ParseUint(v[:len(v)-1], 10, 32)
	if err != nil {
		return 0, false
	}
	var unit time.Duration
	switch v[len(v)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	return time.Duration(min(n, uint64(math.MaxInt64/unit))) * unit, true //nolint:gosec // it fits
}
