package record_test

import (
	"io"
	"slices"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/record"
	"github.com/sluice-edge/sluice/telemetry"
)

// request is an exchange as it came, from a trusted peer or another.
func request(trusted bool) *exchange.Exchange {
	ex := &exchange.Exchange{}
	ex.Req.Method, ex.Req.Upgrade, ex.Req.PeerTrusted = "GET", "websocket", trusted
	ex.Req.Fields.Add("X-Forwarded-For", "192.0.2.1")
	return ex
}

// What ops and forwarding rules change is recorded as it came; the rest as it was at the end.
func TestFillTellsWhatCame(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		ex, a, r := request(trusted), record.Arrival{}, telemetry.Record{}
		a.Note(ex, nil)
		ex.Req.Method, ex.Req.Upgrade = "POST", ""
		ex.Req.Fields.Set("X-Forwarded-For", "192.0.2.1, 192.0.2.2")
		ex.Route = &exchange.Route{Router: "r@file", Service: "weighted@file", NoMetrics: true}
		ex.Backend.Endpoint, ex.Backend.Service = &exchange.Endpoint{URL: "http://a", Addr: "a:80"}, "child@file"
		ex.Resp.Status = 200
		a.Fill(&r, ex, nil, 502)
		want := ""
		if trusted {
			want = "192.0.2.1"
		}
		if r.Method != "GET" || r.Protocol != telemetry.WebSocket || r.ForwardedFor != want {
			t.Errorf("trusted %v: %q %v %q", trusted, r.Method, r.Protocol, r.ForwardedFor)
		}
		got := []string{r.Router, r.Service, r.Balancer, r.ServerURL, r.ServerAddr}
		if !slices.Equal(got, []string{"r@file", "weighted@file", "child@file", "http://a", "a:80"}) || !r.NoMetrics {
			t.Errorf("%q, no metrics %v", got, r.NoMetrics)
		}
		if r.Status != 200 || r.OriginStatus != 502 {
			t.Errorf("status %d, of the server %d", r.Status, r.OriginStatus)
		}
	}
}

func TestProtocols(t *testing.T) {
	for _, tt := range []struct {
		method, upgrade, accept, content string
		head, trailer                    string
		want                             telemetry.Protocol
		status                           uint8
	}{
		{method: "GET", want: telemetry.PlainHTTP},
		{method: "GET", upgrade: "WebSocket", accept: "text/event-stream", want: telemetry.WebSocket},
		{method: "GET", upgrade: "h2c", want: telemetry.PlainHTTP},
		{method: "GET", accept: "text/event-stream", want: telemetry.EventStream},
		{method: "POST", accept: "application/json, Text/Event-Stream ,*/*", want: telemetry.EventStream},
		{method: "GET", accept: "text/event-stream;q=1", want: telemetry.PlainHTTP},
		{method: "GET", accept: "text/html,application/xhtml+xml,*/*;q=0.8", want: telemetry.PlainHTTP},
		{method: "POST", content: "application/grpc-web+proto", trailer: "0", want: telemetry.GRPCWeb},
		{method: "POST", content: "application/grpc", trailer: "5", want: telemetry.GRPC, status: 5},
		{method: "POST", content: "application/grpc+proto", head: "16", trailer: "5", want: telemetry.GRPC, status: 16},
		{method: "POST", content: "application/grpc", want: telemetry.GRPC, status: 2},
		{method: "POST", content: "application/grpc", trailer: "17", want: telemetry.GRPC, status: 2},
		{method: "POST", content: "application/grpc", trailer: "-1", want: telemetry.GRPC, status: 2},
		{method: "POST", content: "application/json", head: "0", want: telemetry.PlainHTTP},
	} {
		ex, a, r := &exchange.Exchange{}, record.Arrival{}, telemetry.Record{}
		ex.Req.Method, ex.Req.Upgrade = tt.method, tt.upgrade
		if tt.accept != "" {
			ex.Req.Fields.Add("accept", tt.accept)
		}
		if tt.content != "" {
			ex.Req.Fields.Add("content-type", tt.content)
		}
		a.Note(ex, nil)
		if tt.head != "" {
			ex.Resp.Fields.Add("grpc-status", tt.head)
		}
		ex.Log.GRPCStatus = tt.trailer
		a.Fill(&r, ex, nil, 200)
		if r.Protocol != tt.want || r.GRPCStatus != tt.status {
			t.Errorf("%+v: protocol %d, status %d", tt, r.Protocol, r.GRPCStatus)
		}
	}
}

func TestArrivalIsUsedAgain(t *testing.T) {
	ex, a, r := request(true), record.Arrival{}, telemetry.Record{}
	a.Note(ex, nil)
	a.Reset()
	a.Fill(&r, &exchange.Exchange{}, nil, 0)
	if r.Method+r.ForwardedFor != "" || r.Protocol != telemetry.PlainHTTP {
		t.Errorf("%+v", r)
	}
}

func TestFillDoesNotAllocate(t *testing.T) {
	ex, a, r := request(true), record.Arrival{}, telemetry.Record{}
	if n := testing.AllocsPerRun(100, func() {
		a.Note(ex, nil)
		a.Fill(&r, ex, nil, 200)
		a.Reset()
		r.Reset()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The fields of the request are those that go to the server, but for what is added on the way;
// where no server is asked, those that the middlewares left.
func TestFieldsAreThoseBehindTheMiddlewares(t *testing.T) {
	w := wantAll(t)
	for _, sent := range []bool{false, true} {
		for _, upgrade := range []string{"", "websocket"} {
			ex, a, r := request(true), record.Arrival{}, telemetry.Record{}
			ex.Req.Upgrade = upgrade
			ex.Req.Fields.Add("Connection", "close")
			ex.Req.Fields.Add("X-Old", "o")
			ex.Req.Fields.Add("X-Forwarded-For", "192.0.2.3")
			a.Note(ex, w)
			ex.Req.Fields.Del("X-Old")
			ex.Req.Fields.Add("X-New", "n")
			if sent {
				ex.Log.Sending(&ex.Req)
				ex.Req.Fields.Add("X-Added", "a")
			}
			a.Fill(&r, ex, w, 200)
			want := []telemetry.Header{{Name: "X-Forwarded-For", Value: "192.0.2.1"}}
			if upgrade != "" {
				want = append(want, telemetry.Header{Name: "Connection", Value: "Upgrade"})
			}
			want = append(want, telemetry.Header{Name: "X-Forwarded-For", Value: "192.0.2.3"}, telemetry.Header{Name: "X-New", Value: "n"})
			if !slices.Equal(r.RequestHeaders, want) {
				t.Errorf("sent %v, upgrade %q: %v, want %v", sent, upgrade, r.RequestHeaders, want)
			}
			if r.ForwardedFor != "192.0.2.1, 192.0.2.3" {
				t.Errorf("%q", r.ForwardedFor)
			}
		}
	}
}

// wantAll wants every field.
func wantAll(t *testing.T) *telemetry.Wants {
	t.Helper()
	log := &config.AccessLog{}
	log.SetDefaults()
	log.Format, log.Fields.Headers.DefaultMode = "json", "keep"
	h, err := telemetry.New(telemetry.Options{Static: &config.Static{AccessLog: log}, Stdout: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return h.Wants()
}
