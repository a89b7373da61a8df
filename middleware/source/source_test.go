package source

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func request(peer, host string, fields ...string) *exchange.Exchange {
	ex := &exchange.Exchange{}
	ex.Req.Peer, ex.Req.Host = netip.MustParseAddrPort(peer), host
	for i := 0; i < len(fields); i += 2 {
		ex.Req.Fields.Add(fields[i], fields[i+1])
	}
	return ex
}

func TestRanges(t *testing.T) {
	r, err := ParseRanges("sourceRange", []string{"10.0.0.0/8", " 10.1.0.0/16", "192.168.1.7", "2001:db8::/32", "::1", "::ffff:1.2.3.0/120", "10.255.255.255", "11.0.0.0/32"})
	if err != nil {
		t.Fatal(err)
	}
	for a, want := range map[string]bool{
		"10.0.0.0": true, "10.255.255.255": true, "9.255.255.255": false, "11.0.0.0": true, "11.0.0.1": false, "192.168.1.7": true, "192.168.1.8": false,
		"2001:db8::": true, "2001:db8:ffff::1": true, "2001:db9::": false, "::1": true, "::2": false, "1.2.3.4": true, "::ffff:1.2.3.4": true,
		"::ffff:10.1.1.1": true, "2001:db8::1%eth0": true, "255.255.255.255": false, "0.0.0.0": false, "::": false,
	} {
		if got := r.Contains(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v", a, got)
		}
	}
	if r.Contains(netip.Addr{}) {
		t.Error("no address is in the set")
	}
	for _, bad := range []string{"", "x", "10.0.0.0/33", "10.0.0", "1.2.3.4:80"} {
		if _, err := ParseRanges("f", []string{bad}); err == nil || !strings.Contains(err.Error(), "f: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzRanges holds: Contains agrees with netip's own prefixes.
func FuzzRanges(f *testing.F) {
	f.Add("10.0.0.0/8,10.1.2.3", "10.2.3.4")
	f.Add("2001:db8::/33,::/0", "fe80::1")
	f.Fuzz(func(t *testing.T, list, addr string) {
		items := strings.Split(list, ",")
		r, err := ParseRanges("f", items)
		a, err2 := netip.ParseAddr(addr)
		if err != nil || err2 != nil {
			return
		}
		want := false
		for _, it := range items {
			p, err := parsePrefix(strings.TrimSpace(it))
			if err != nil {
				t.Fatal(err)
			}
			want = want || p.Contains(plain(a))
		}
		if got := r.Contains(a); got != want {
			t.Fatalf("%q contains %s: %v, want %v", list, a, got, want)
		}
	})
}

func TestStrategy(t *testing.T) {
	bits := 64
	xff := func(v ...string) []string {
		var f []string
		for _, s := range v {
			f = append(f, "X-Forwarded-For", s)
		}
		return f
	}
	for _, c := range []struct {
		cfg    *config.IPStrategy
		fields []string
		want   string
	}{
		{nil, xff("9.9.9.9"), "127.0.0.1"},
		{&config.IPStrategy{}, xff("9.9.9.9"), "127.0.0.1"},
		{&config.IPStrategy{Depth: 1}, xff("9.9.9.9, 10.0.0.1"), "10.0.0.1"},
		{&config.IPStrategy{Depth: 2}, xff("1.1.1.1,10.0.0.1,9.9.9.9"), "10.0.0.1"},
		{&config.IPStrategy{Depth: 9}, xff("10.0.0.1"), ""},
		{&config.IPStrategy{Depth: 1}, nil, ""},
		{&config.IPStrategy{Depth: 1}, xff("junk"), ""},
		{&config.IPStrategy{Depth: 1}, xff("9.9.9.9", "10.0.0.1"), "10.0.0.1"},
		{&config.IPStrategy{Depth: 2}, xff("9.9.9.9", "10.0.0.1"), "9.9.9.9"},
		{&config.IPStrategy{Depth: 1}, xff("10.0.0.1, "), ""},
		{&config.IPStrategy{Depth: 1}, xff("10.0.0.1:4711"), "10.0.0.1"},
		{&config.IPStrategy{Depth: 1}, xff("[2001:db8::1]:4711"), "2001:db8::1"},
		{&config.IPStrategy{Depth: 1}, xff("[2001:db8::1]"), "2001:db8::1"},
		{&config.IPStrategy{Depth: 1, IPv6Subnet: &bits}, xff("2001:db8::1:2:3:4"), "2001:db8::"},
		{&config.IPStrategy{Depth: 1, IPv6Subnet: &bits}, xff("::ffff:10.0.0.1"), "10.0.0.1"},
		{&config.IPStrategy{ExcludedIPs: []string{"10.0.0.0/8"}}, xff("9.9.9.9, 8.8.8.8, 10.0.0.1,10.0.0.2"), "8.8.8.8"},
		{&config.IPStrategy{ExcludedIPs: []string{"10.0.0.0/8"}}, xff("10.0.0.1"), ""},
		{&config.IPStrategy{ExcludedIPs: []string{"10.0.0.0/8"}, IPv6Subnet: &bits}, xff("2001:db8::1:2:3:4, 10.0.0.1"), "2001:db8::1:2:3:4"},
		{&config.IPStrategy{Depth: 1, ExcludedIPs: []string{"10.0.0.0/8"}}, xff("9.9.9.9, 10.0.0.1"), "10.0.0.1"},
		{&config.IPStrategy{Depth: -1}, xff("9.9.9.9, 10.0.0.1"), "127.0.0.1"},
		{&config.IPStrategy{ExcludedIPs: []string{"10.0.0.0/8"}}, xff("9.9.9.9, junk, 10.0.0.1"), ""},
		{&config.IPStrategy{ExcludedIPs: []string{"10.0.0.0/8"}}, xff("9.9.9.9, , 10.0.0.1"), "9.9.9.9"},
	} {
		s, err := NewStrategy("ipStrategy", c.cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if a := s.Addr(request("127.0.0.1:5", "a.test", c.fields...)); a.IsValid() {
			got = a.String()
		}
		if got != c.want {
			t.Errorf("%+v of %q: %q, want %q", c.cfg, c.fields, got, c.want)
		}
	}
	many, none := 129, 0
	for _, cfg := range []*config.IPStrategy{{IPv6Subnet: &many}, {IPv6Subnet: &none}, {Depth: 1, IPv6Subnet: &none}, {ExcludedIPs: []string{"x"}}} {
		if _, err := NewStrategy("ipStrategy", cfg, nil); err == nil || !strings.Contains(err.Error(), "ipStrategy.") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	warned := ""
	if _, err := NewStrategy("ipStrategy", &config.IPStrategy{Depth: -1}, func(field, _, _ string) { warned = field }); err != nil || warned != "ipStrategy.depth" {
		t.Errorf("a negative depth: %v, warned of %q", err, warned)
	}
}

func TestCriterion(t *testing.T) {
	build := func(cfg *config.SourceCriterion, byHost bool) *Criterion {
		c, err := NewCriterion(cfg, byHost, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	peer, host := build(nil, false), build(nil, true)
	header := build(&config.SourceCriterion{RequestHeaderName: "X-Key"}, true)
	a := request("10.0.0.1:1", "a.test", "X-Key", "1")
	for _, c := range []struct {
		c     *Criterion
		b     *exchange.Exchange
		equal bool
	}{
		{peer, request("10.0.0.1:2", "b.test"), true},
		{peer, request("10.0.0.2:1", "a.test"), false},
		{host, request("10.0.0.2:1", "A.test:80"), true},
		{host, request("10.0.0.1:1", "b.test"), false},
		{header, request("10.0.0.2:1", "b.test", "x-key", "1"), true},
		{header, request("10.0.0.1:1", "a.test", "X-Key", "2"), false},
		{header, request("10.0.0.1:1", "a.test"), false},
	} {
		if got := c.c.Key(a) == c.c.Key(c.b); got != c.equal {
			t.Errorf("keys of %+v and %+v: equal %v", a.Req.Host, c.b.Req.Host, got)
		}
		if got := c.c.Text(a) == c.c.Text(c.b); got != c.equal {
			t.Errorf("texts %q and %q", c.c.Text(a), c.c.Text(c.b))
		}
	}
	if got := host.Text(request("10.0.0.1:1", "[2001:DB8::1]:80")); got != "[2001:db8::1]" {
		t.Error(got)
	}
	if _, err := NewCriterion(&config.SourceCriterion{RequestHost: true, RequestHeaderName: "X"}, false, nil); err == nil {
		t.Error("two criteria accepted")
	}
}

func TestDoesNotAllocate(t *testing.T) {
	s, _ := NewStrategy("f", &config.IPStrategy{ExcludedIPs: []string{"10.0.0.0/8"}}, nil)
	r, _ := ParseRanges("f", []string{"10.0.0.0/8", "2001:db8::/32"})
	host, _ := NewCriterion(nil, true, nil)
	peer, _ := NewCriterion(nil, false, nil)
	ex := request("10.0.0.1:2", "A.test:80", "X-Forwarded-For", "9.9.9.9, 10.1.1.1")
	if n := testing.AllocsPerRun(200, func() {
		r.Contains(s.Addr(ex))
		host.Key(ex)
		peer.Key(ex)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
