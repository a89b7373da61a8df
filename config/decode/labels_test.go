package decode

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// problemList gives the problems as "code key; suggestion", one a line.
func problemList(ps []config.Problem) string {
	var b strings.Builder
	for _, p := range ps {
		b.WriteString(p.Code + " " + p.Field)
		if p.Suggestion != "" {
			b.WriteString("; " + p.Suggestion)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestLabels(t *testing.T) {
	tests := []struct {
		name     string
		labels   map[string]string
		want     string // JSON of the configuration
		problems string
	}{
		{"router", map[string]string{
			"traefik.http.routers.a.rule":        "Host(`a.test`)",
			"traefik.http.routers.a.entrypoints": "web, websecure",
			"traefik.http.routers.a.priority":    "7",
		}, `{"http":{"routers":{"a":{"entryPoints":["web","websecure"],"rule":"Host(` + "`a.test`" + `)","priority":7}}}}`, ""},
		{"any case", map[string]string{
			"traefik.http.routers.MyRouter.Rule":                   "x",
			"traefik.HTTP.services.MySvc.LoadBalancer.Server.Port": "80",
		}, `{"http":{"routers":{"MyRouter":{"rule":"x"}},"services":{"MySvc":{"loadBalancer":{"servers":[{}],"strategy":"wrr","passHostHeader":true,"responseForwarding":{"flushInterval":"100ms"}}}}}}`, ""},
		{"wrong key costs itself", map[string]string{
			"traefik.http.routers.a.rule":    "x",
			"traefik.http.routers.a.priorty": "3",
		}, `{"http":{"routers":{"a":{"rule":"x"}}}}`,
			"unknown_key traefik.http.routers.a.priorty; did you mean traefik.http.routers.a.priority?\n"},
		{"a router of wrong labels only is none", map[string]string{
			"traefik.http.routers.a.colour": "red",
		}, `{}`, "unknown_key traefik.http.routers.a.colour; known keys: entryPoints, middlewares, service, rule, ruleSyntax, priority, tls, observability\n"},
		{"certificates are for files", map[string]string{
			"sluice.tls.certificates[0].certFile":                   "/etc/passwd",
			"sluice.tls.stores.default.defaultCertificate.certFile": "/etc/passwd",
		}, `{}`, "unknown_key sluice.tls.certificates[0].certFile; known keys: options, stores\n" +
			"unknown_key sluice.tls.stores.default.defaultCertificate.certFile; known keys: defaultGeneratedCert\n"},
		{"default TLS options hold for everybody", map[string]string{
			"sluice.tls.options.default.minVersion":                     "VersionTLS10",
			"sluice.tls.options.DEFAULT@file.clientAuth.clientAuthType": "NoClientCert",
			"sluice.tls.options.own.minVersion":                         "VersionTLS13",
		}, `{"tls":{"options":{"own":{"minVersion":"VersionTLS13","clientAuth":{},"alpnProtocols":["h2","http/1.1","acme-tls/1"]}}}}`,
			"not_supported sluice.tls.options.DEFAULT@file.clientAuth.clientAuthType; give the options another name and the router tls.options=NAME, or write them to a file\n" +
				"not_supported sluice.tls.options.default.minVersion; give the options another name and the router tls.options=NAME, or write them to a file\n"},
		{"wrong value", map[string]string{
			"traefik.http.routers.a.rule":     "x",
			"traefik.http.routers.a.priority": "high",
		}, `{"http":{"routers":{"a":{"rule":"x"}}}}`, "invalid_value traefik.http.routers.a.priority\n"},
		{"one level off", map[string]string{
			"traefik.http.routers.a.certresolver": "le",
			"traefik.http.routers.a.rule":         "x",
		}, `{"http":{"routers":{"a":{"rule":"x"}}}}`,
			"unknown_key traefik.http.routers.a.certresolver; did you mean traefik.http.routers.a.tls.certResolver?\n"},
		{"without leaf", map[string]string{"traefik.http.routers.a": "x"}, `{"http":{"routers":{"a":{}}}}`,
			"invalid_value traefik.http.routers.a; add one of entryPoints, middlewares, service, rule, ruleSyntax, priority, tls, observability\n"},
		{"tls", map[string]string{
			"traefik.http.routers.a.tls":                 "true",
			"traefik.http.routers.a.tls.domains[1].main": "c.test",
			"traefik.http.routers.a.tls.domains[0].main": "a.test",
			"traefik.http.routers.a.tls.domains[0].sans": "*.a.test, b.test",
		}, `{"http":{"routers":{"a":{"tls":{"domains":[{"main":"a.test","sans":["*.a.test","b.test"]},{"main":"c.test"}]}}}}}`, ""},
		{"tls off wins", map[string]string{
			"traefik.http.routers.a.rule":        "x",
			"traefik.http.routers.a.tls":         "false",
			"traefik.http.routers.a.tls.options": "o",
		}, `{"http":{"routers":{"a":{"rule":"x"}}}}`, ""},
		{"empty value switches on", map[string]string{"traefik.http.middlewares.c.compress": ""},
			`{"http":{"middlewares":{"c":{"compress":{"encodings":["gzip","br","zstd"]}}}}}`, ""},
		{"header names keep case and dots", map[string]string{
			"traefik.http.middlewares.m.headers.customrequestheaders.X-Q":       `"quoted"`,
			"traefik.http.middlewares.m.headers.customrequestheaders.X-Dot.Ted": "1",
		}, `{"http":{"middlewares":{"m":{"headers":{"customRequestHeaders":{"X-Dot.Ted":"1","X-Q":"\"quoted\""}}}}}}`, ""},
		{"words by position", map[string]string{
			"traefik.http.routers.a.middlewares[0]": "one",
			"traefik.http.routers.a.middlewares[1]": "two",
		}, `{"http":{"routers":{"a":{"middlewares":["one","two"]}}}}`, ""},
		{"other roots are left alone", map[string]string{
			"traefik.foo.bar": "1", "com.example": "2", "traefik": "3", "traefik.x.rule": "z",
		}, `{}`, ""},
		{"near roots are named", map[string]string{
			"traefik.htp.routers.a.rule": "1", "traefik.port": "80", "traefik.tls.options.o.sniStrict": "true",
		}, `{}`, "unknown_key traefik.htp.routers.a.rule; did you mean traefik.http.routers.a.rule?\n" +
			"deprecated traefik.port; write traefik.http.routers.NAME.rule and traefik.http.services.NAME.loadbalancer.server.port\n" +
			"not_supported traefik.tls.options.o.sniStrict; write sluice.tls.options.o.sniStrict\n"},
		{"ours by traefik", map[string]string{
			"traefik.http.services.w.weighted.services[0].name": "s1",
			"traefik.http.middlewares.d.ipdenylist.sourcerange": "10.0.0.1",
		}, `{"http":{"middlewares":{"d":{}}}}`, "unknown_key traefik.http.middlewares.d.ipdenylist.sourcerange; write sluice.http.middlewares.d.ipdenylist.sourcerange\n" +
			"unknown_key traefik.http.services.w.weighted.services[0].name; write sluice.http.services.w.weighted.services[0].name\n"},
		{"ours by sluice", map[string]string{
			"sluice.http.services.w.weighted.services[0].name":   "s1",
			"sluice.http.services.w.weighted.services[0].weight": "3",
			"sluice.http.middlewares.d.ipdenylist.sourcerange":   "10.0.0.1",
			"sluice.tls.options.o.minversion":                    "VersionTLS13",
			"sluice.http.routers.r.rule":                         "x",
		}, `{"http":{"routers":{"r":{"rule":"x"}},"services":{"w":{"weighted":{"services":[{"name":"s1","weight":3}]}}},"middlewares":{"d":{"ipDenyList":{"sourceRange":["10.0.0.1"]}}}},"tls":{"options":{"o":{"minVersion":"VersionTLS13","clientAuth":{},"alpnProtocols":["h2","http/1.1","acme-tls/1"]}}}}`, ""},
		{"names that differ by case", map[string]string{
			"traefik.http.routers.App.rule": "x", "traefik.http.routers.app.priority": "2",
		}, `{"http":{"routers":{"App":{"rule":"x","priority":2}}}}`, "conflict traefik.http.routers.app.priority\n"},
		{"empty part", map[string]string{"traefik.http.routers..rule": "x", "traefik.http.[0].rule": "y"}, `{}`,
			"unknown_key traefik.http.[0].rule\nunknown_key traefik.http.routers..rule\n"},
		{"value and keys", map[string]string{"traefik.http.routers.a.rule": "x", "traefik.http.routers.a.rule.y": "z"},
			`{"http":{"routers":{"a":{"rule":"x"}}}}`, "unknown_key traefik.http.routers.a.rule.y\n"},
		{"two kinds stay", map[string]string{
			"traefik.http.middlewares.m.addprefix.prefix":     "/p",
			"traefik.http.middlewares.m.stripprefix.prefixes": "/q",
		}, `{"http":{"middlewares":{"m":{"addPrefix":{"prefix":"/p"},"stripPrefix":{"prefixes":["/q"]}}}}}`, ""},
		{"tcp and udp", map[string]string{
			"traefik.tcp.routers.r.rule":                      "HostSNI(`*`)",
			"traefik.tcp.services.s.loadbalancer.server.port": "9",
			"traefik.udp.routers.u.entrypoints":               "dns",
			"traefik.tcp.routers.r.tls.passthrough":           "true",
		}, `{"tcp":{"routers":{"r":{"rule":"HostSNI(` + "`*`" + `)","tls":{"passthrough":true}}},"services":{"s":{"loadBalancer":{"servers":[{}]}}}},"udp":{"routers":{"u":{"entryPoints":["dns"]}}}}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dyn, _, problems := Labels(tt.labels, "container web-1")
			if got := asJSON(t, dyn); got != tt.want {
				t.Errorf("configuration\n got %s\nwant %s", got, tt.want)
			}
			if got := problemList(problems); got != tt.problems {
				t.Errorf("problems\n got %s\nwant %s", got, tt.problems)
			}
			for _, p := range problems {
				if p.Source != "container web-1" || p.Text == "" {
					t.Errorf("problem without source or text: %+v", p)
				}
			}
		})
	}
}

func TestLabelsServer(t *testing.T) {
	dyn, extra, problems := Labels(map[string]string{
		"traefik.http.services.s.loadbalancer.server.port":         "8080",
		"traefik.http.services.s.loadbalancer.server.scheme":       "h2c",
		"traefik.http.services.s.loadbalancer.server.weight":       "3",
		"traefik.http.services.s.loadbalancer.server.preservepath": "true",
		"traefik.http.services.s.loadbalancer.passhostheader":      "false",
		"traefik.http.services.s.loadbalancer.sticky.cookie":       "true",
	}, "container a")
	if len(problems) != 0 || extra.Refused != nil {
		t.Fatal(problems)
	}
	lb := dyn.HTTP.Services["s"].LoadBalancer
	s := lb.Servers[0]
	if s.Port != "8080" || s.Scheme != "h2c" || *s.Weight != 3 || !s.PreservePath || *lb.PassHostHeader || lb.Sticky.Cookie == nil || *lb.Sticky.Cookie.Path != "/" {
		t.Errorf("got %+v in %s", s, asJSON(t, lb))
	}
}

func TestLabelsExtra(t *testing.T) {
	tests := []struct {
		labels  map[string]string
		enable  string
		refused string
	}{
		{map[string]string{"traefik.enable": "1"}, "true", ""},
		{map[string]string{"traefik.Enable": "True"}, "true", ""},
		{map[string]string{"traefik.enable": "T"}, "true", ""},
		{map[string]string{"sluice.enable": "false"}, "false", ""},
		{map[string]string{"traefik.enable": "yes"}, "false", ""},
		{map[string]string{"traefik.enable": ""}, "false", ""},
		{map[string]string{}, "", ""},
		{map[string]string{"TRAEFIK.HTTP.ROUTERS.up.RULE": "x"}, "", "TRAEFIK.HTTP.ROUTERS.up.RULE"},
		{map[string]string{"traefik.http.services.s.loadbalancer.servers[0].port": "81"}, "", "traefik.http.services.s.loadbalancer.servers[0].port"},
	}
	for _, tt := range tests {
		_, x, _ := Labels(tt.labels, "c")
		got := ""
		if x.Enable != nil {
			got = map[bool]string{true: "true", false: "false"}[*x.Enable]
		}
		refused := ""
		if x.Refused != nil {
			refused = x.Refused.Field
		}
		if got != tt.enable || refused != tt.refused {
			t.Errorf("%v: enable %q, refused %q", tt.labels, got, refused)
		}
	}
	_, x, _ := Labels(map[string]string{
		"traefik.docker.network": "front", "traefik.docker.lbswarm": "true", "traefik.docker.allownonrunning": "true", "traefik.swarm.network": "n",
	}, "c")
	if x.Docker != (EngineLabels{Network: "front", LBSwarm: true, AllowNonRunning: true, Given: true}) || x.Swarm != (EngineLabels{Network: "n", Given: true}) {
		t.Errorf("got %+v", x)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"rule", "middlewares", "entryPoints", "service", "tls", "priority"}
	for word, want := range map[string]string{
		"rul": "rule", "Rules": "rule", "middleware": "middlewares", "entrypoint": "entryPoints", "sevrice": "service",
		"colour": "", "x": "", "tsl": "tls", "port": "", "prio": "priority",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("traefik.http.routers.a.rule", "Host(`a`)", "traefik.http.routers.a.tls", "true")
	f.Add("traefik.http.services.s.loadbalancer.server.port", "80", "sluice.http.services.w.weighted.services[0].name", "s")
	f.Add("traefik.http.routers[0].rule", "", "TRAEFIK.docker.network", "x")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		labels := map[string]string{k1: v1, k2: v2}
		dyn, extra, problems := Labels(labels, "c")
		again, _, more := Labels(labels, "c")
		if asJSON(t, dyn) != asJSON(t, again) || len(problems) != len(more) {
			t.Error("two decodings of the same labels differ")
		}
		for _, p := range problems {
			if p.Field != k1 && p.Field != k2 {
				t.Errorf("problem names %q, which is no label", p.Field)
			}
		}
		if extra.Refused != nil && len(problems) == 0 {
			t.Error("refused without a problem")
		}
	})
}
