package limit

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// request makes an exchange of a peer, as a loop hands it to ops.
func request(peer string, fields ...string) *exchange.Exchange {
	ex := &exchange.Exchange{Route: &exchange.Route{}, Now: 1e18}
	ex.Req.Method, ex.Req.Host, ex.Req.Path, ex.Req.Peer = "GET", "a.test", "/", netip.MustParseAddrPort(peer+":4711")
	for i := 0; i < len(fields); i += 2 {
		ex.Req.Fields.Add(fields[i], fields[i+1])
	}
	return ex
}

func TestIPLists(t *testing.T) {
	list := []string{"127.0.0.1", "10.0.0.0/8"}
	depth := &config.IPStrategy{Depth: 1}
	for _, c := range []struct {
		name   string
		op     func() (exchange.Op, error)
		ex     *exchange.Exchange
		status int
		body   string
	}{
		{"allowed", func() (exchange.Op, error) { return NewIPAllowList(&config.IPAllowList{SourceRange: list}, nil) }, request("127.0.0.1"), 0, ""},
		{"not allowed", func() (exchange.Op, error) { return NewIPAllowList(&config.IPAllowList{SourceRange: list}, nil) }, request("127.0.0.2"), 403, "Forbidden"},
		{"status", func() (exchange.Op, error) {
			return NewIPAllowList(&config.IPAllowList{SourceRange: list, RejectStatusCode: 404}, nil)
		}, request("127.0.0.2"), 404, "Not Found"},
		{"depth", func() (exchange.Op, error) {
			return NewIPAllowList(&config.IPAllowList{SourceRange: list, IPStrategy: depth}, nil)
		}, request("9.9.9.9", "X-Forwarded-For", "10.0.0.1"), 0, ""},
		{"depth without field", func() (exchange.Op, error) {
			return NewIPAllowList(&config.IPAllowList{SourceRange: list, IPStrategy: depth}, nil)
		}, request("127.0.0.1"), 403, "Forbidden"},
		{"denied", func() (exchange.Op, error) { return NewIPDenyList(&config.IPDenyList{SourceRange: list}, nil) }, request("10.1.1.1"), 403, "Forbidden"},
		{"not denied", func() (exchange.Op, error) { return NewIPDenyList(&config.IPDenyList{SourceRange: list}, nil) }, request("9.9.9.9"), 0, ""},
		{"denied unknown", func() (exchange.Op, error) {
			return NewIPDenyList(&config.IPDenyList{SourceRange: list, IPStrategy: depth}, nil)
		}, request("9.9.9.9"), 403, "Forbidden"},
	} {
		op, err := c.op()
		if err != nil {
			t.Fatal(err)
		}
		v := op.Request(c.ex)
		if (v == exchange.Answer) != (c.status != 0) || c.ex.Resp.Status != c.status || string(c.ex.Body) != c.body {
			t.Errorf("%s: verdict %d, %d %q", c.name, v, c.ex.Resp.Status, c.ex.Body)
		}
		if c.status != 0 && c.ex.Reason != exchange.IPDenied {
			t.Errorf("%s: reason %s", c.name, c.ex.Reason)
		}
	}
	for want, cfg := range map[string]*config.IPAllowList{
		"sourceRange: is empty": {}, `"10.0.0.0/99"`: {SourceRange: []string{"10.0.0.0/99"}},
		"rejectStatusCode": {SourceRange: list, RejectStatusCode: 999}, "ipStrategy.excludedIPs": {SourceRange: list, IPStrategy: &config.IPStrategy{ExcludedIPs: []string{"x"}}},
	} {
		if _, err := NewIPAllowList(cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
}

func TestIPListDoesNotAllocate(t *testing.T) {
	op, _ := NewIPAllowList(&config.IPAllowList{SourceRange: []string{"127.0.0.1", "10.0.0.0/8", "2001:db8::/32"}}, nil)
	ex := request("10.2.3.4")
	if n := testing.AllocsPerRun(200, func() { op.Request(ex) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
