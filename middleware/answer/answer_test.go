package answer

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func request(peer string, fields ...string) *exchange.Exchange {
	ex := &exchange.Exchange{Route: &exchange.Route{}}
	ex.Req.Method, ex.Req.Host, ex.Req.Path, ex.Req.Peer = "GET", "a.test", "/", netip.MustParseAddrPort(peer+":4711")
	for i := 0; i < len(fields); i += 2 {
		ex.Req.Fields.Add(fields[i], fields[i+1])
	}
	return ex
}

func TestRespond(t *testing.T) {
	for _, c := range []struct {
		cfg    config.Respond
		status int
		kind   string
	}{
		{config.Respond{Body: "hello"}, 200, "text/plain; charset=utf-8"},
		{config.Respond{Status: 410, Body: "<html></html>", Headers: map[string]string{"content-type": "a/b", "X-A": "1"}}, 410, "a/b"},
		{config.Respond{Status: 204}, 204, ""},
	} {
		op, err := NewRespond(&c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		ex := request("127.0.0.1")
		ex.Resp.Fields.Add("X-Old", "1")
		if v := op.Request(ex); v != exchange.Answer || ex.Resp.Status != c.status || string(ex.Body) != c.cfg.Body || ex.Resp.Length != int64(len(c.cfg.Body)) ||
			ex.Resp.Fields.Get("Content-Type") != c.kind || ex.Resp.Fields.Has("X-Old") || ex.Reason != exchange.Responded || ex.Resp.Fields.Has("X-A") != (c.cfg.Headers != nil) {
			t.Errorf("%+v: %d %q %v", c.cfg, ex.Resp.Status, ex.Body, ex.Resp.Fields.All())
		}
	}
	for want, cfg := range map[string]config.Respond{
		"status": {Status: 100}, "body": {Status: 204, Body: "x"}, "headers": {Headers: map[string]string{"X": "a\nb"}}, "set by the edge": {Headers: map[string]string{"content-length": "1"}},
	} {
		if _, err := NewRespond(&cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	op, _ := NewRespond(&config.Respond{Body: "hello"})
	ex := request("127.0.0.1")
	if n := testing.AllocsPerRun(100, func() { op.Request(ex) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMaintenance(t *testing.T) {
	off := false
	op, err := NewMaintenance(&config.Maintenance{Allow: []string{"10.0.0.0/8"}, Message: `Back at <9> & "ten"`, RetryAfter: 120})
	if err != nil {
		t.Fatal(err)
	}
	if v := op.Request(request("10.1.1.1")); v != exchange.Next {
		t.Error("an allowed address is kept out")
	}
	for _, c := range []struct{ accept, kind, part string }{
		{"text/html,application/xhtml+xml", "text/html; charset=utf-8", "Back at &lt;9&gt; &amp; "},
		{"application/json", "application/json", `Back at`}, {"*/*", "text/plain; charset=utf-8", `Back at <9> & "ten"`}, {"", "text/plain; charset=utf-8", "Back"},
	} {
		ex := request("9.9.9.9", "Accept", c.accept)
		if v := op.Request(ex); v != exchange.Answer || ex.Resp.Status != 503 || ex.Resp.Fields.Get("Content-Type") != c.kind || !strings.Contains(string(ex.Body), c.part) ||
			ex.Resp.Fields.Get("Retry-After") != "120" || ex.Reason != exchange.InMaintenance || ex.Resp.Length != int64(len(ex.Body)) {
			t.Errorf("%s: %d %q %v", c.accept, ex.Resp.Status, ex.Body, ex.Resp.Fields.All())
		}
		if c.kind == "application/json" {
			var v struct{ Message string }
			if err := json.Unmarshal(ex.Body, &v); err != nil || v.Message != `Back at <9> & "ten"` {
				t.Errorf("%s: %v", ex.Body, err)
			}
		}
	}
	if op, err := NewMaintenance(&config.Maintenance{Enabled: &off}); op != nil || err != nil {
		t.Error("switched off, yet there", err)
	}
	for _, cfg := range []config.Maintenance{{Allow: []string{"x"}}, {RetryAfter: -1}, {Enabled: &off, Allow: []string{"x"}}} {
		if _, err := NewMaintenance(&cfg); err == nil {
			t.Errorf("%+v accepted", cfg)
		}
	}
	if op, _ := NewMaintenance(&config.Maintenance{}); !strings.Contains(string(func() []byte { ex := request("1.1.1.1"); op.Request(ex); return ex.Body }()), "working on this site") {
		t.Error("no default message")
	}
}
