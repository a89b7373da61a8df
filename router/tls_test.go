package router

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

func TestTLSOptionsOfHosts(t *testing.T) {
	in := input(&config.HTTP{
		Routers: map[string]*config.Router{
			"r1@x":   {Rule: "Host(`a.test`) && Path(`/1`)", Service: "s", TLS: &config.RouterTLS{Options: "v13"}},
			"r2@x":   {Rule: "Host(`a.test`) && Path(`/2`)", Service: "s", TLS: &config.RouterTLS{Options: "mtls"}},
			"same@x": {Rule: "Host(`same.test`) || Host(`*.w.test`)", Service: "s", TLS: &config.RouterTLS{Options: "mtls@x"}},
			"not@x":  {Rule: "!Host(`not.test`)", Service: "s", Priority: 1, TLS: &config.RouterTLS{Options: "mtls"}},
			"def@x":  {Rule: "Host(`def.test`)", Service: "s", TLS: &config.RouterTLS{}},
		},
		Services: map[string]*config.Service{"s@x": lb()},
	})
	in.Config.TLS = &config.TLS{Options: map[string]*config.TLSOptions{"v13@x": {}, "mtls@x": {}}}
	table := Compile(in)
	if got := fmt.Sprint(table.HostOptions()); got != "map[web:map[*.w.test:mtls@x same.test:mtls@x] websecure:map[*.w.test:mtls@x same.test:mtls@x]]" {
		t.Errorf("host options %s", got)
	}
	if r := table.Runtime.Routers["r1@x"]; r.Status != config.StatusWarning || len(r.Errors) != 1 {
		t.Errorf("r1@x: %s %v", r.Status, r.Errors)
	}
	for url, want := range map[string]string{
		"https://same.test/":              "same@x",
		"https://same.test|def.test/":     "misdirected",
		"https://SAME.test:443|def.test/": "misdirected",
		"https://same.test.|def.test/":    "misdirected",
		"https://def.test|same.test/":     "misdirected",
		"https://same.test|q.w.test/":     "same@x",
		"https://x.w.test|y.w.test/":      "same@x",
		"https://def.test|other.test/":    "def@x",
		"https://same.test|SAME.test/":    "same@x",
		"https://a.test|def.test/1":       "r1@x",
		"https://same.test|/":             "misdirected",
	} {
		if got := routerOf(ask(t, table, "websecure", url)); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

// A demand for client certificates outlasts whatever another router says of the same host:
// anybody who may write labels could take it away else.
func TestClientCertificatesAreStillAskedFor(t *testing.T) {
	own := func(options string, entryPoint string) *config.Router {
		return &config.Router{Rule: "Host(`a.test`)", Service: "s", EntryPoints: []string{entryPoint}, TLS: &config.RouterTLS{Options: options}}
	}
	cas := config.ClientAuth{CAFiles: []config.FileOrContent{"ca.pem"}}
	required := config.ClientAuth{CAFiles: []config.FileOrContent{"ca.pem"}, ClientAuthType: "RequireAndVerifyClientCert"}
	optional := config.ClientAuth{CAFiles: []config.FileOrContent{"ca.pem"}, ClientAuthType: "VerifyClientCertIfGiven"}
	for name, c := range map[string]struct {
		def                   config.ClientAuth
		owner, other, otherEP string
		want                  string
	}{
		"beside none":                         {owner: "mtls@x", other: "", otherEP: "websecure", want: "mtls@x"},
		"beside weak ones":                    {owner: "mtls@x", other: "weak", otherEP: "websecure", want: "mtls@x"},
		"beside weak ones elsewhere":          {owner: "mtls@x", other: "a-weak", otherEP: "web", want: "mtls@x"},
		"beside optional ones":                {owner: "mtls@x", other: "optional", otherEP: "websecure", want: "mtls@x"},
		"by the type":                         {owner: "typed@x", other: "weak", otherEP: "websecure", want: "typed@x"},
		"none demanded":                       {owner: "a-weak@x", other: "weak", otherEP: "websecure", want: ""},
		"by the default ones":                 {def: cas, owner: "", other: "weak", otherEP: "websecure", want: ""},
		"by the default ones, weak elsewhere": {def: cas, owner: "", other: "weak", otherEP: "web", want: ""},
		"default ones not, weak elsewhere":    {owner: "", other: "weak", otherEP: "web", want: ""},
		"demanded elsewhere":                  {owner: "", other: "mtls@x", otherEP: "web", want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(&config.HTTP{
				Routers:  map[string]*config.Router{"owner@x": own(c.owner, "websecure"), "other@y": own(c.other, c.otherEP)},
				Services: map[string]*config.Service{"s@x": lb(), "s@y": lb()},
			})
			in.Config.TLS = &config.TLS{Options: map[string]*config.TLSOptions{
				"default": {ClientAuth: c.def}, "mtls@x": {ClientAuth: cas}, "typed@x": {ClientAuth: required},
				"weak@y": {}, "a-weak@y": {}, "a-weak@x": {}, "optional@y": {ClientAuth: optional},
			}}
			if got := Compile(in).HostOptions()["websecure"]["a.test"]; got != c.want {
				t.Errorf("options %q, want %q", got, c.want)
			}
		})
	}
}

// Options are chosen by server name: a router that demands client certificates must not be
// reached by a name that has other ones.
func TestRoutersOfNoHostKeepTheirClientCertificates(t *testing.T) {
	cas := config.ClientAuth{CAFiles: []config.FileOrContent{"ca.pem"}}
	for name, c := range map[string]struct {
		def  config.ClientAuth
		want map[string]string
	}{
		"named": {want: map[string]string{
			"https://open.test/admin": "misdirected", "https://other.test/admin": "misdirected", "https://m.test/admin": "admin@x",
			"https://open.test/": "open@x", "https://m.test/": "m@x", "https://not.test/both": "misdirected",
		}},
		"by default": {def: cas, want: map[string]string{
			"https://weak.test/default": "misdirected", "https://other.test/default": "default@x", "https://m.test/default": "default@x", "https://weak.test/": "weak@x",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			own := func(rule, options string) *config.Router {
				return &config.Router{Rule: rule, Service: "s", EntryPoints: []string{"websecure"}, TLS: &config.RouterTLS{Options: options}}
			}
			in := input(&config.HTTP{
				Routers: map[string]*config.Router{
					"admin@x": own("PathPrefix(`/admin`)", "mtls"), "m@x": own("Host(`m.test`)", "mtls"), "open@x": own("Host(`open.test`)", ""),
					"both@x": own("Host(`b.test`) || Path(`/both`)", "mtls"), "default@x": own("Path(`/default`)", ""), "weak@x": own("Host(`weak.test`)", "weak"),
				},
				Services: map[string]*config.Service{"s@x": lb()},
			})
			in.Config.HTTP.Routers["admin@x"].Priority, in.Config.HTTP.Routers["default@x"].Priority = 1000, 1000
			in.Config.TLS = &config.TLS{Options: map[string]*config.TLSOptions{"default": {ClientAuth: c.def}, "mtls@x": {ClientAuth: cas}, "weak@x": {}}}
			table := Compile(in)
			for url, want := range c.want {
				if got := routerOf(ask(t, table, "websecure", url)); got != want {
					t.Errorf("%s: %s, want %s", url, got, want)
				}
			}
		})
	}
}

func TestCertificates(t *testing.T) {
	tlsFor := func(r string, d ...config.Domain) *config.RouterTLS {
		return &config.RouterTLS{CertResolver: r, Domains: d}
	}
	in := input(&config.HTTP{
		Routers: map[string]*config.Router{
			"a@x": {Rule: "Host(`a.test`) || Host(`B.test.`) && !Host(`no.test`)", Service: "s", TLS: tlsFor("le")},
			"b@x": {Rule: "Host(`rule.test`)", Service: "s", TLS: tlsFor("le", config.Domain{Main: "m.test", SANs: []string{"n.test"}})},
			"c@x": {Rule: "Host(`a.test`) || Host(`b.test`)", Service: "s", TLS: tlsFor("le"), Priority: 3},
			"d@x": {Rule: "Path(`/`)", Service: "s", TLS: tlsFor("le")},
			"e@x": {Rule: "Host(`e.test`)", Service: "s", TLS: tlsFor("lee")},
			"f@x": {Rule: "Host(`f.test`)", Service: "ghost", TLS: tlsFor("le")},
			"g@x": {Rule: "Host(`g.test`)", Service: "s"},
		},
		Services: map[string]*config.Service{"s@x": lb()},
	})
	in.Resolvers = []string{"le"}
	in.Config.TCP = &config.TCP{
		Routers:  map[string]*config.TCPRouter{"t@x": {Rule: "HostSNI(`t.test`)", Service: "t", TLS: &config.TCPRouterTLS{CertResolver: "le"}}},
		Services: map[string]*config.TCPService{"t@x": {LoadBalancer: &config.TCPLoadBalancer{}}},
	}
	table := Compile(in)
	var got []string
	for _, c := range table.Certificates() {
		got = append(got, fmt.Sprint(c.Resolver, " ", c.Domain.Main, c.Domain.SANs))
	}
	if want := "le a.test[b.test],le m.test[n.test],le t.test[]"; strings.Join(got, ",") != want {
		t.Errorf("certificates %q, want %q", got, want)
	}
	codes := map[string]bool{}
	for _, p := range table.Runtime.Problems {
		codes[p.Object+" "+p.Code] = true
	}
	if !codes["router e@x unknown_resolver"] || !codes["router d@x invalid_value"] {
		t.Errorf("problems %v", table.Runtime.Problems)
	}
}

func TestHostsOnDemand(t *testing.T) {
	routers := map[string]*config.Router{}
	for name, text := range map[string]string{
		"exact": "Host(`a.test`) && PathPrefix(`/app`)", "pattern": "HostRegexp(`^[a-z]+\\.tenant\\.test$`)", "post": "HostRegexp(`p`) && Method(`POST`)",
	} {
		routers[name+"@x"] = &config.Router{Rule: text, Service: "s", TLS: &config.RouterTLS{CertResolver: "le"}}
	}
	in := input(&config.HTTP{Routers: routers, Services: map[string]*config.Service{"s@x": lb()}})
	in.Resolvers, in.OnDemand = []string{"le"}, []string{"le"}
	table := Compile(in)
	for host, want := range map[string]int{"a.test": 1, "b.test": 0, "x.tenant.test": 1, "x.y.tenant.test": 0, "p": 0} {
		if got := table.OnDemand(host); len(got) != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}
