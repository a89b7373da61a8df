package record_test

import (
	"slices"
	"testing"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/record"
	"github.com/sluice-edge/sluice/telemetry"
)

// request is an exchange as it came, from a trusted peer or another.
func request(trusted bool) *exchange.Exchange {
	ex := &exchange.Exchange{}
	ex.Req.Method, ex.Req.Upgrade, ex.Req.PeerTrusted = "GET", "websocket", trusted
	ex.Req.Fields.Add("X-Forwarded-For", "192.0.2.1")
	ex.Req.Fields.Add("Accept", "text/event-stream")
	return ex
}

// What ops and forwarding rules change is recorded as it came; the rest as it was at the end.
func TestFillTellsWhatCame(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		ex, a, r := request(trusted), record.Arrival{}, telemetry.Record{}
		a.Note(&ex.Req, nil)
		ex.Req.Method, ex.Req.Upgrade = "POST", ""
		ex.Req.Fields.Set("X-Forwarded-For", "192.0.2.1, 192.0.2.2")
		ex.Req.Fields.Del("Accept")
		ex.Route = &exchange.Route{Router: "r@file", Service: "weighted@file", NoMetrics: true}
		ex.Backend.Endpoint, ex.Backend.Service = &exchange.Endpoint{URL: "http://a", Addr: "a:80"}, "child@file"
		ex.Resp.Status = 200
		a.Fill(&r, ex, nil, 502)
		want := ""
		if trusted {
			want = "192.0.2.1"
		}
		if r.Method != "GET" || r.Upgrade != "websocket" || !r.EventStream || r.ForwardedFor != want {
			t.Errorf("trusted %v: %q %q %v %q", trusted, r.Method, r.Upgrade, r.EventStream, r.ForwardedFor)
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

func TestArrivalIsUsedAgain(t *testing.T) {
	ex, a, r := request(true), record.Arrival{}, telemetry.Record{}
	a.Note(&ex.Req, nil)
	a.Reset()
	a.Fill(&r, &exchange.Exchange{}, nil, 0)
	if r.Method+r.Upgrade+r.ForwardedFor != "" || r.EventStream {
		t.Errorf("%+v", r)
	}
}

func TestFillDoesNotAllocate(t *testing.T) {
	ex, a, r := request(true), record.Arrival{}, telemetry.Record{}
	if n := testing.AllocsPerRun(100, func() {
		a.Note(&ex.Req, nil)
		a.Fill(&r, ex, nil, 200)
		a.Reset()
		r.Reset()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
