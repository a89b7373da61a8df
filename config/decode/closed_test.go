package decode

import (
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

// brokenIn lists what is marked as broken: "router a", "middleware b" ...
func brokenIn(d *config.Dynamic) string {
	var out []string
	add := func(kind, name, why string) {
		if why != "" {
			out = append(out, kind+" "+name)
		}
	}
	if d.HTTP != nil {
		for n, r := range d.HTTP.Routers {
			add("router", n, r.Broken)
		}
		for n, m := range d.HTTP.Middlewares {
			add("middleware", n, m.Broken)
		}
		for n, s := range d.HTTP.Services {
			add("service", n, s.Broken)
		}
	}
	if d.TCP != nil {
		for n, r := range d.TCP.Routers {
			add("tcp router", n, r.Broken)
		}
		for n, m := range d.TCP.Middlewares {
			add("tcp middleware", n, m.Broken)
		}
	}
	return strings.Join(out, ", ")
}

func TestUnreadProtectionClosesItsObject(t *testing.T) {
	const rule = "traefik.http.routers.a.rule"
	for _, c := range []struct{ label, value, want string }{
		{"traefik.http.routers.a.middleware", "auth", "router a"},
		{"traefik.http.routers.a.Middlwares", "auth", "router a"},
		{"traefik.http.routers.A.middleware", "auth", "router A"},
		{"traefik.http.router.a.middlewares", "auth", "router a"},
		{"traefik.http.router.A.middleware", "auth", "router a"},
		{"traefik.htpp.routers.a.middlewares", "auth", "router a"},
		{"traefik.http.routers.a..middlewares", "auth", "router a"},
		{"traefik.http.routers.a.middlewares.auth", "", "router a"},
		{"traefik.http.routers.a.entrypoint", "private", "router a"},
		{"traefik.http.routers.a.tls", "yes", "router a"},
		{"traefik.http.routers.a.tls.option", "mtls@file", "router a"},
		{"traefik.http.routers.a.basicauth.users", "u:p", "router a"},
		{"traefik.http.routers.a.auth.basic", "u:p", "router a"},
		{"traefik.http.routers.b.middleware", "auth", "router b"},
		{"traefik.http.routers.a.priorty", "7", ""},
		{"traefik.http.routers.a.tls.certresolvr", "le", ""},
		{"traefik.http.routers.a.colour", "red", ""},
		{"traefik.http.routers.a.middlewares", "auth", ""},
		{"traefik.htpp.routers.b.middlewares", "auth", ""},
		{"traefik.http.middlewares.m.basicauth.user", "u:p", "middleware m"},
		{"traefik.http.middlewares.m.ratelimit.average", "ten", "middleware m"},
		{"traefik.http.middlewares.m.ipallowlist.ipstrategy.depht", "1", "middleware m"},
		{"traefik.http.middlewares.m.inflightreq.amount", "many", "middleware m"},
		{"traefik.http.middlewares.m.chain.middleware", "auth", "middleware m"},
		{"traefik.http.middlewares.m.digestauht.users", "u:p", "middleware m"},
		{"traefik.http.middlewares.m.stripprefix.prefixs", "/x", ""},
		{"traefik.http.middlewares.m.compress.minresponsebodybytes", "x", ""},
		{"traefik.http.services.s.middleware", "auth", "service s"},
		{"traefik.tcp.routers.t.middleware", "ips", "tcp router t"},
		{"traefik.tcp.middlewares.t.ipallowlist.sourcerang", "10.0.0.0/8", "tcp middleware t"},
	} {
		labels := map[string]string{
			rule: "Host(`a.test`)", "traefik.http.services.s.loadbalancer.server.port": "80",
			"traefik.tcp.routers.t.rule": "HostSNI(`*`)", "traefik.tcp.middlewares.t.inflightconn.amount": "3",
		}
		if strings.Contains(c.label, "routers.A.") {
			delete(labels, rule)
			labels["traefik.http.routers.A.rule"] = "Host(`a.test`)"
		}
		labels[c.label] = c.value
		dyn, _, problems := Labels(labels, "container x")
		if got := brokenIn(dyn); got != c.want {
			t.Errorf("%s=%s: broken %q, want %q", c.label, c.value, got, c.want)
		}
		if c.want != "" && (len(problems) != 1 || problems[0].Field == "") {
			t.Errorf("%s=%s: problems %v", c.label, c.value, problems)
		}
	}
}

func TestMiddlewareKeepsItsKindsThoughOneIsUnknown(t *testing.T) {
	dyn, _, _ := Labels(map[string]string{
		"traefik.http.middlewares.m.headers.customrequestheaders.X": "1",
		"traefik.http.middlewares.m.oidc.issuer":                    "https://id.test",
	}, "container x")
	if got := brokenIn(dyn); got != "middleware m" {
		t.Errorf("broken %q", got)
	}
}

func TestFilesAreClosedAlike(t *testing.T) {
	for text, want := range map[string]string{
		"http:\n  routers:\n    a:\n      rule: x\n      middleware: auth\n":                          "router a",
		"http:\n  routers:\n    a:\n      rule: x\n      middlewares: {auth: {}}\n":                   "router a",
		"http:\n  middlewares:\n    m:\n      ipAllowList:\n        sourceRange: {a: b}\n":            "middleware m",
		"http:\n  middlewares:\n    m:\n      rateLimit:\n        average: 5\n        period: soon\n": "middleware m",
		"http:\n  routers:\n    a:\n      rule: x\n      priorty: 5\n":                                "",
	} {
		var dyn config.Dynamic
		if _, err := File("x.yml", []byte(text), &dyn); err != nil {
			t.Fatal(err)
		}
		if got := brokenIn(&dyn); got != want {
			t.Errorf("%s: broken %q, want %q", text, got, want)
		}
	}
}
