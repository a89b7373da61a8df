package router

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/stream"
)

func TestTCPRoutes(t *testing.T) {
	on, pass := &config.TCPRouterTLS{}, &config.TCPRouterTLS{Passthrough: true}
	in := input(&config.HTTP{
		Routers:  map[string]*config.Router{"h@x": {Rule: "Host(`h.test`) || Host(`*.h.test`) || Host(`both.test`)", Service: "s", TLS: &config.RouterTLS{}}},
		Services: map[string]*config.Service{"s@x": lb()},
	})
	in.Config.TCP = &config.TCP{
		Routers: map[string]*config.TCPRouter{
			"any@x":   {Rule: "HostSNI(`*`)", Service: "t", TLS: on},
			"a@x":     {Rule: "HostSNI(`a.test`)", Service: "t", TLS: pass},
			"w@x":     {Rule: "HostSNI(`*.w.test`)", Service: "w", TLS: on},
			"both@x":  {Rule: "HostSNI(`both.test`)", Service: "t", TLS: on},
			"clear@x": {Rule: "HostSNI(`*`) && ClientIP(`10.0.0.0/8`)", Service: "t", Middlewares: []string{"lim"}, EntryPoints: []string{"web"}},
			"open@x":  {Rule: "HostSNI(`a.test`)", Service: "t"},
			"ghost@x": {Rule: "HostSNI(`*`)", Service: "tt"},
			"bad@x":   {Rule: "HostSNI(", Service: "t"},
			"nomw@x":  {Rule: "HostSNI(`*`)", Service: "t", Middlewares: []string{"ghost"}, EntryPoints: []string{"web"}},
			"opt@x":   {Rule: "HostSNI(`opt.test`)", Service: "t", TLS: &config.TCPRouterTLS{Options: "ghost"}},
			"own@x":   {Rule: "HostSNI(`own.test`)", Service: "own", TLS: on},
			"tr@x":    {Rule: "HostSNI(`tr.test`)", Service: "tr", TLS: on},
			"alpn@x":  {Rule: "HostSNI(`*`) && ALPN(`mqtt`)", Service: "t", TLS: on},
		},
		Services: map[string]*config.TCPService{
			"t@x":  {LoadBalancer: &config.TCPLoadBalancer{Servers: []config.TCPServer{{Address: "127.0.0.1:1"}}}},
			"w@x":  {Weighted: &config.TCPWeighted{Services: []config.WeightedService{{Name: "t"}}}},
			"tr@x": {LoadBalancer: &config.TCPLoadBalancer{ServersTransport: "ghost"}},
			// That of the static configuration has a name.
			"own@x": {LoadBalancer: &config.TCPLoadBalancer{ServersTransport: "default@internal"}},
		},
		Middlewares: map[string]*config.TCPMiddleware{
			"lim@x": {InFlightConn: &config.TCPInFlightConn{Amount: 1}},
			"ips@x": {IPAllowList: &config.TCPIPAllowList{SourceRange: []string{"x"}}},
		},
	}
	table := Compile(in)
	tcp := table.TCP("web")
	if tcp == nil || !tcp.Peek() || table.TCP("nowhere") != nil {
		t.Fatal("what there are routes for")
	}
	conn := func(peer string) *stream.Conn {
		return &stream.Conn{Peer: netip.AddrPortFrom(netip.MustParseAddr(peer), 5)}
	}
	name := func(r *stream.Route) string {
		switch {
		case r == nil:
			return "http"
		case r.Broken:
			return r.Router + "!"
		}
		return r.Router
	}
	for sni, want := range map[string]string{
		"a.test": "a@x", "A.test": "a@x", "x.w.test": "w@x", "y.x.w.test": "any@x", "": "any@x", "other.test": "any@x",
		"h.test": "http", "z.h.test": "http", "both.test": "http", "opt.test": "opt@x!", "tr.test": "any@x", "q.test|mqtt": "alpn@x",
	} {
		host, alpn, _ := strings.Cut(sni, "|")
		c := conn("192.0.2.1")
		c.TLS, c.SNI, c.ALPN = true, host, []string{alpn}
		if got := name(tcp.Route(c)); got != want {
			t.Errorf("%q: %s, want %s", sni, got, want)
		}
	}
	if got := name(tcp.Route(conn("192.0.2.1"))); got != "http" {
		t.Errorf("clear text from elsewhere: %s; a broken router alone leaves the connection to HTTP", got)
	}
	if got := name(tcp.Route(conn("10.1.1.1"))); got != "clear@x" {
		t.Errorf("clear text: %s", got)
	}
	run := table.Runtime
	for n, want := range map[string]config.Status{
		"any@x": "enabled", "open@x": "disabled", "ghost@x": "disabled", "bad@x": "disabled", "nomw@x": "disabled", "opt@x": "disabled", "tr@x": "disabled", "clear@x": "enabled",
	} {
		if r := run.TCPRouters[n]; r.Status != want {
			t.Errorf("%s: %s %v", n, r.Status, r.Errors)
		}
	}
	if p := run.TCPRouters["any@x"].Priority; p != -1 {
		t.Errorf("priority of the catch-all %d", p)
	}
	if p := run.TCPRouters["bad@x"].Priority; p != 8 {
		t.Errorf("priority of the broken rule %d", p)
	}
	if s := run.TCPServices["own@x"]; s.Status != config.StatusEnabled || s.LoadBalancer.ServersTransport != "default@internal" {
		t.Errorf("%+v", s)
	}
	if s := run.TCPServices["tr@x"]; s.Status != config.StatusDisabled || s.LoadBalancer.ServersTransport != "ghost@x" {
		t.Errorf("tr@x: %+v", s)
	}
	c := conn("10.1.1.1")
	if r := tcp.Route(c); len(r.Guards) != 1 || r.Terminate != nil || r.To == nil || r.Service != "t@x" {
		t.Errorf("clear@x: %+v", r)
	}
	c.TLS, c.SNI = true, "x.w.test"
	if r := tcp.Route(c); r.To == nil || r.Terminate == nil {
		t.Errorf("w@x: %+v", r)
	}
	if s := r0(table); s != "default" {
		t.Errorf("TLS of w@x ends with the options %q", s)
	}
}

// r0 returns the options that w@x ends TLS with, as the Terminate of the test names them.
func r0(table *Table) string {
	c := &stream.Conn{TLS: true, SNI: "x.w.test"}
	_, err := table.TCP("web").Route(c).Terminate(nil)
	return err.Error()
}

func TestAnHTTPSRouterWithoutHostGoesBeforeTheCatchAll(t *testing.T) {
	in := input(&config.HTTP{
		Routers:  map[string]*config.Router{"h@x": {Rule: "Path(`/`)", Service: "s", TLS: &config.RouterTLS{}}},
		Services: map[string]*config.Service{"s@x": lb()},
	})
	in.Config.TCP = &config.TCP{
		Routers: map[string]*config.TCPRouter{
			"any@x": {Rule: "HostSNI(`*`)", Service: "t", TLS: &config.TCPRouterTLS{}},
			"a@x":   {Rule: "HostSNI(`a.test`)", Service: "t", TLS: &config.TCPRouterTLS{}},
		},
		Services: map[string]*config.TCPService{"t@x": {LoadBalancer: &config.TCPLoadBalancer{}}},
	}
	tcp := Compile(in).TCP("web")
	if r := tcp.Route(&stream.Conn{TLS: true, SNI: "a.test"}); r == nil || r.Router != "a@x" {
		t.Errorf("a.test goes to %+v", r)
	}
	if r := tcp.Route(&stream.Conn{TLS: true, SNI: "b.test"}); r != nil {
		t.Errorf("b.test goes to %s", r.Router)
	}
}

func TestUDPRoutes(t *testing.T) {
	in := input(nil)
	in.EntryPoints["udp2"] = &config.EntryPoint{Address: ":54/udp"}
	in.Config.UDP = &config.UDP{
		Routers: map[string]*config.UDPRouter{
			"all@x":  {Service: "s"},
			"two@x":  {Service: "w", EntryPoints: []string{"udp2"}},
			"bad@x":  {Service: "ghost", EntryPoints: []string{"dns"}},
			"half@x": {Service: "s", EntryPoints: []string{"web", "dns"}},
		},
		Services: map[string]*config.UDPService{
			"s@x": {LoadBalancer: &config.UDPLoadBalancer{Servers: []config.UDPServer{{Address: "a:1"}}}},
			"w@x": {Weighted: &config.UDPWeighted{Services: []config.WeightedService{{Name: "s"}}}},
		},
	}
	table := Compile(in)
	if r := table.UDP("dns"); r == nil || r.Router != "all@x" || r.Service.Pick().Address != "a:1" {
		t.Errorf("dns: %+v", r)
	}
	if r := table.UDP("udp2"); r == nil || r.Router != "all@x" {
		t.Errorf("udp2: %+v", r)
	}
	if table.UDP("web") != nil {
		t.Error("a UDP route on a TCP entry point")
	}
	for n, want := range map[string]config.Status{"all@x": "enabled", "two@x": "enabled", "bad@x": "disabled", "half@x": "warning"} {
		if r := table.Runtime.UDPRouters[n]; r.Status != want {
			t.Errorf("%s: %s %v", n, r.Status, r.Errors)
		}
	}
}
