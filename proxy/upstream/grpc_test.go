package upstream

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

func TestGRPCTimeout(t *testing.T) {
	for v, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "40m": 40 * time.Millisecond, "5u": 5 * time.Microsecond,
		"99999999n": 99999999, "0m": 0, "99999999H": 2562047 * time.Hour,
		"": -1, "1": -1, "m": -1, "1x": -1, "-1m": -1, "100000000n": -1, "1.5S": -1,
	} {
		if d, ok := grpcTimeout(v); ok != (want >= 0) || ok && d != want {
			t.Errorf("%q: %v %v, want %v", v, d, ok, want)
		}
	}
}

// A server that resets a call is not away; what it meant is a code of gRPC.
func TestCancelledCall(t *testing.T) {
	reset := func(code http2.ErrCode) error { return http2.StreamError{StreamID: 1, Code: code} }
	for _, c := range []struct {
		name, kind, timeout string
		err                 error
		want                string // the code, "" where it is no answer
	}{
		{"cancelled", "application/grpc+proto", "", reset(http2.ErrCodeCancel), "1"},
		{"before the deadline", "application/grpc", "1H", reset(http2.ErrCodeCancel), "1"},
		{"at the deadline", "application/grpc; x=y", "10m", reset(http2.ErrCodeCancel), "4"},
		{"no call", "text/plain", "10m", reset(http2.ErrCodeCancel), ""},
		{"gRPC-Web that nobody translated", "application/grpc-web", "10m", reset(http2.ErrCodeCancel), ""},
		{"refused", "application/grpc", "10m", reset(http2.ErrCodeRefusedStream), ""},
		{"another error", "application/grpc", "10m", errors.New("closed"), ""},
	} {
		ex := &exchange.Exchange{}
		ex.Now = time.Now().Add(-time.Second).UnixNano()
		ex.Req.Fields.Add("Content-Type", c.kind)
		if c.timeout != "" {
			ex.Req.Fields.Add("Grpc-Timeout", c.timeout)
		}
		answered := cancelledCall(ex, c.err)
		if answered != (c.want != "") || ex.Resp.Fields.Get("Grpc-Status") != c.want {
			t.Errorf("%s: %v, %v", c.name, answered, ex.Resp.Fields.All())
		}
		if answered && (ex.Resp.Status != 200 || len(ex.Body) != 0 || ex.Reason == exchange.NoReason || ex.Resp.Fields.Get("Content-Type") != "application/grpc") {
			t.Errorf("%s: %+v", c.name, ex.Resp)
		}
	}
}
