package header

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func request(method, host string, fields ...string) *exchange.Exchange {
	ex := &exchange.Exchange{Route: &exchange.Route{}}
	ex.Req.Method, ex.Req.Host, ex.Req.Path, ex.Req.Target = method, host, "/", "/"
	for i := 0; i < len(fields); i += 2 {
		ex.Req.Fields.Add(fields[i], fields[i+1])
	}
	return ex
}

func build(t testing.TB, cfg *config.Headers) exchange.Op {
	t.Helper()
	op, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// dump gives fields as sorted lines "name: value".
func dump(f *exchange.Fields) string {
	var out []string
	for _, g := range f.All() {
		out = append(out, strings.ToLower(g.Name)+": "+g.Value)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func lines(s ...string) string { slices.Sort(s); return strings.Join(s, "\n") }

func TestCustom(t *testing.T) {
	op := build(t, &config.Headers{
		CustomRequestHeaders: map[string]string{"X-New": "one", "X-Gone": "", "X-Over": "proxy", "lower-case": "v", "X-Sp": " padded ", "X-Folded": "a\n b\r\nc",
			"X-Forwarded-For": "", "Content-Length": "7"},
		CustomResponseHeaders: map[string]string{"X-Resp": "two", "X-Hide": "", "X-Set": "proxy"},
	})
	ex := request("GET", "a.test", "x-gone", "x", "X-Over", "client", "X-Keep", "k", "X-Forwarded-For", "9.9.9.9", "X-Over", "again")
	if v := op.Request(ex); v != exchange.Next || !ex.Req.NoForwardedFor {
		t.Fatal(v, ex.Req.NoForwardedFor)
	}
	if got, want := dump(&ex.Req.Fields), lines("x-over: proxy", "x-keep: k", "lower-case: v", "x-new: one", "x-sp: padded", "x-folded: a  b c"); got != want {
		t.Errorf("request:\n%s\nwant\n%s", got, want)
	}
	ex.Resp.Fields.Add("x-hide", "secret")
	ex.Resp.Fields.Add("X-Set", "backend")
	ex.Resp.Fields.Add("X-Set", "again")
	ex.Resp.Fields.Add("X-Other", "o")
	ex.RunResponse()
	if got, want := dump(&ex.Resp.Fields), lines("x-resp: two", "x-set: proxy", "x-other: o"); got != want {
		t.Errorf("response:\n%s\nwant\n%s", got, want)
	}
	ex = request("GET", "h.test")
	build(t, &config.Headers{CustomRequestHeaders: map[string]string{"host": "inner.test"}}).Request(ex)
	if ex.Req.Host != "inner.test" || ex.Req.Fields.Len() != 0 {
		t.Errorf("Host: %q %v", ex.Req.Host, ex.Req.Fields.All())
	}
}

func TestSecurityFields(t *testing.T) {
	feature := "camera 'none'"
	cfg := &config.Headers{
		FrameDeny: true, ContentTypeNosniff: true, BrowserXSSFilter: true, ContentSecurityPolicy: "default-src\n 'self'", ContentSecurityPolicyReportOnly: "r",
		PublicKey: "pin", ReferrerPolicy: "no-referrer", PermissionsPolicy: "p=()", FeaturePolicy: &feature,
		STSSeconds: 100, STSIncludeSubdomains: true, STSPreload: true, SSLProxyHeaders: map[string]string{"X-Tls": "on"},
		CustomResponseHeaders: map[string]string{"X-Content-Type-Options": ""},
	}
	plain := []string{"x-frame-options: DENY", "x-xss-protection: 1; mode=block", "content-security-policy: default-src  'self'",
		"content-security-policy-report-only: r", "referrer-policy: no-referrer", "permissions-policy: p=()"}
	over := append(slices.Clone(plain), "public-key-pins: pin", "strict-transport-security: max-age=100; includeSubDomains; preload")
	for _, c := range []struct {
		name string
		edit func(*config.Headers)
		ex   *exchange.Exchange
		want []string
	}{
		{"plain", func(*config.Headers) {}, request("GET", "a.test"), plain},
		{"proxy says TLS", func(*config.Headers) {}, request("GET", "a.test", "x-tls", "on"), over},
		{"proxy says no", func(*config.Headers) {}, request("GET", "a.test", "x-tls", "off"), plain},
		{"forced", func(c *config.Headers) { c.ForceSTSHeader = true }, request("GET", "a.test"),
			append(slices.Clone(plain), "strict-transport-security: max-age=100; includeSubDomains; preload")},
		{"development", func(c *config.Headers) { c.IsDevelopment, c.AllowedHosts = true, []string{"other.test"} }, request("GET", "a.test", "x-tls", "on"), plain},
		{"custom values", func(c *config.Headers) { c.CustomFrameOptionsValue, c.CustomBrowserXSSValue = "SAMEORIGIN", "0" }, request("GET", "a.test"),
			append([]string{"x-frame-options: SAMEORIGIN", "x-xss-protection: 0"}, plain[2:]...)},
	} {
		one := *cfg
		c.edit(&one)
		op := build(t, &one)
		if v := op.Request(c.ex); v != exchange.Next {
			t.Fatalf("%s: %d", c.name, v)
		}
		c.ex.Resp.Fields.Add("X-Frame-Options", "of the server")
		c.ex.RunResponse()
		if got := dump(&c.ex.Resp.Fields); got != lines(c.want...) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, lines(c.want...))
		}
	}
	ex := request("GET", "a.test")
	ex.Req.TLS = &tls.ConnectionState{}
	build(t, &config.Headers{STSSeconds: 7}).Request(ex)
	if ex.RunResponse(); ex.Resp.Fields.Get("Strict-Transport-Security") != "max-age=7" {
		t.Error("no STS over TLS")
	}
}

func TestAllowedHosts(t *testing.T) {
	op := build(t, &config.Headers{AllowedHosts: []string{"good.test"}, HostsProxyHeaders: []string{"X-Orig-Host"}, FrameDeny: true,
		CustomResponseHeaders: map[string]string{"X-R": "1"}})
	for _, c := range []struct {
		host, orig string
		status     int
	}{
		{"good.test", "", 0}, {"Good.test", "", 0}, {"good.test:81", "", 500}, {"bad.test", "", 500}, {"bad.test", "good.test", 0}, {"good.test", "bad.test", 500},
	} {
		ex := request("GET", c.host)
		if c.orig != "" {
			ex.Req.Fields.Add("X-Orig-Host", c.orig)
		}
		op.Request(ex)
		ex.RunResponse()
		if ex.Resp.Status != c.status || ex.Resp.Fields.Get("X-R") != "1" || (ex.Resp.Fields.Get("X-Frame-Options") == "") != (c.status == 500) {
			t.Errorf("%+v: %d %v", c, ex.Resp.Status, ex.Resp.Fields.All())
		}
		if c.status != 0 && string(ex.Body) != "Bad Host\n" {
			t.Errorf("body %q", ex.Body)
		}
	}
}

func TestCORS(t *testing.T) {
	age, zero := int64(77), int64(0)
	a := &config.Headers{
		AccessControlAllowMethods: []string{"GET", "PUT"}, AccessControlAllowHeaders: []string{"X-A", "X-B"},
		AccessControlAllowOriginList: []string{"https://app.test", "https://two.test"}, AccessControlMaxAge: &age,
		AccessControlAllowCredentials: true, AccessControlExposeHeaders: []string{"X-E", "X-F"}, AddVaryHeader: true,
	}
	star := &config.Headers{AccessControlAllowMethods: []string{"*"}, AccessControlAllowOriginList: []string{"*"}, AccessControlAllowHeaders: []string{"*"}}
	trusting := &config.Headers{AccessControlAllowMethods: []string{"GET", "*"}, AccessControlAllowOriginList: []string{"https://first.test", "*"},
		AccessControlAllowHeaders: []string{"*"}, AccessControlExposeHeaders: []string{"*"}, AccessControlAllowCredentials: true}
	rx := &config.Headers{AccessControlAllowOriginListRegex: []string{`^https://.*\.ok\.test$`}, AccessControlAllowMethods: []string{"GET"}}
	max0 := &config.Headers{AccessControlAllowOriginList: []string{"*"}, AccessControlMaxAge: &zero}
	deny := []string{"access-control-allow-credentials: true", "access-control-allow-headers: X-A,X-B", "access-control-allow-methods: GET,PUT",
		"access-control-expose-headers: X-E,X-F", "access-control-max-age: 77"}
	for _, c := range []struct {
		name   string
		cfg    *config.Headers
		method string
		origin string
		acrm   string
		pre    bool
		want   []string
	}{
		{"allowed", a, "OPTIONS", "https://two.test", "PUT", true, append(slices.Clone(deny), "access-control-allow-origin: https://two.test")},
		{"denied", a, "OPTIONS", "https://bad.test", "PUT", true, deny},
		{"null", a, "OPTIONS", "null", "PUT", true, deny},
		{"star", star, "OPTIONS", "null", "PUT", true, []string{"access-control-allow-headers: *", "access-control-allow-methods: *", "access-control-allow-origin: *"}},
		{"regex", rx, "OPTIONS", "https://x.ok.test", "PUT", true, []string{"access-control-allow-methods: GET", "access-control-allow-origin: https://x.ok.test"}},
		{"regex denied", rx, "OPTIONS", "https://x.bad.test", "PUT", true, []string{"access-control-allow-methods: GET"}},
		{"max age zero", max0, "OPTIONS", "https://x.test", "PUT", true, []string{"access-control-allow-origin: *", "access-control-max-age: 0"}},
		{"no request method", a, "OPTIONS", "https://app.test", "", false, []string{"access-control-allow-credentials: true",
			"access-control-allow-origin: https://app.test", "access-control-expose-headers: X-E,X-F", "vary: Accept,Origin"}},
		{"no origin", a, "OPTIONS", "", "PUT", false, []string{"access-control-allow-credentials: true", "access-control-expose-headers: X-E,X-F", "vary: Accept,Origin"}},
		{"any with credentials", trusting, "OPTIONS", "https://x.test", "PATCH", true, []string{"access-control-allow-credentials: true",
			"access-control-allow-headers: x-a, x-b", "access-control-allow-methods: PATCH", "access-control-allow-origin: https://x.test"}},
		{"any with credentials, simple", trusting, "GET", "https://x.test", "", false, []string{"access-control-allow-credentials: true",
			"access-control-allow-origin: https://x.test", "vary: Accept"}},
		{"any with credentials, no origin", trusting, "GET", "", "", false, []string{"access-control-allow-credentials: true",
			"access-control-allow-origin: ", "vary: Accept"}},
		{"simple", star, "GET", "https://x.test", "", false, []string{"access-control-allow-origin: *", "vary: Accept"}},
	} {
		ex := request(c.method, "a.test")
		if c.origin != "" {
			ex.Req.Fields.Add("Origin", c.origin)
		}
		if c.acrm != "" {
			ex.Req.Fields.Add("Access-Control-Request-Method", c.acrm)
			ex.Req.Fields.Add("Access-Control-Request-Headers", "x-a, x-b")
		}
		v := build(t, c.cfg).Request(ex)
		if (v == exchange.Answer) != c.pre {
			t.Errorf("%s: verdict %d", c.name, v)
		}
		if c.pre {
			if ex.Resp.Status != 200 || ex.Resp.Framing != exchange.Sized || ex.Resp.Length != 0 || ex.Reason != exchange.Preflight {
				t.Errorf("%s: %+v", c.name, ex.Resp)
			}
		} else {
			ex.Resp.Fields.Add("Vary", "Accept")
			ex.RunResponse()
		}
		if got := dump(&ex.Resp.Fields); got != lines(c.want...) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, lines(c.want...))
		}
	}
}

func TestOrderAroundOthers(t *testing.T) {
	one := build(t, &config.Headers{CustomRequestHeaders: map[string]string{"X-Last": "one"}, CustomResponseHeaders: map[string]string{"X-Last": "one"}})
	two := build(t, &config.Headers{CustomRequestHeaders: map[string]string{"X-Last": "two"}, CustomResponseHeaders: map[string]string{"X-Last": "two"}})
	ex := request("GET", "a.test")
	one.Request(ex)
	two.Request(ex)
	ex.Reply(403, exchange.IPDenied, "") // answers made behind are seen too
	ex.RunResponse()
	if ex.Req.Fields.Get("X-Last") != "two" || ex.Resp.Fields.Get("X-Last") != "one" {
		t.Errorf("%v %v", ex.Req.Fields.All(), ex.Resp.Fields.All())
	}
}

func TestBadOptions(t *testing.T) {
	for _, c := range []struct {
		cfg  config.Headers
		want string
	}{
		{config.Headers{}, "no option"},
		{config.Headers{AccessControlAllowOriginListRegex: []string{"^("}}, "accessControlAllowOriginListRegex"},
		{config.Headers{CustomRequestHeaders: map[string]string{"X Y": "1"}}, "customRequestHeaders"},
		{config.Headers{CustomResponseHeaders: map[string]string{"X-Y": "a\x00b"}}, "customResponseHeaders.X-Y"},
		{config.Headers{AccessControlAllowHeaders: []string{"a\x01"}}, "accessControlAllowHeaders"},
		{config.Headers{ContentSecurityPolicy: "a\x01"}, "Content-Security-Policy"},
	} {
		if _, err := New(&c.cfg, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
	on, warned := true, 0
	op, err := New(&config.Headers{SSLRedirect: &on}, func(string, string, string) { warned++ })
	if err != nil || warned != 1 {
		t.Errorf("a deprecated option: %v, %d warnings", err, warned)
	}
	if v := op.Request(request("GET", "a.test")); v != exchange.Next {
		t.Error("a deprecated option does something")
	}
}

func TestDoesNotAllocate(t *testing.T) {
	op := build(t, &config.Headers{CustomRequestHeaders: map[string]string{"X-A": "1", "X-B": ""}, CustomResponseHeaders: map[string]string{"X-C": "2", "Server": ""},
		STSSeconds: 1, ForceSTSHeader: true, FrameDeny: true, AccessControlAllowOriginList: []string{"https://o.test"}, AddVaryHeader: true})
	ex := request("GET", "a.test")
	if n := testing.AllocsPerRun(200, func() {
		ex.Reset()
		ex.Req.Fields.Add("Origin", "https://o.test")
		ex.Req.Fields.Add("X-B", "x")
		op.Request(ex)
		ex.Resp.Fields.Add("Server", "x")
		ex.Resp.Fields.Add("Vary", "Accept")
		ex.RunResponse()
		ex.RunDone()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzValues holds: whatever is accepted as a field cannot break out of its line.
func FuzzValues(f *testing.F) {
	f.Add("X-A", "v\r\nX-B: 1", "^https://.*")
	f.Fuzz(func(t *testing.T, name, value, regex string) {
		op, err := New(&config.Headers{CustomRequestHeaders: map[string]string{name: value}, CustomResponseHeaders: map[string]string{name: value},
			ReferrerPolicy: value, AccessControlAllowOriginListRegex: []string{regex}, AccessControlExposeHeaders: []string{value}}, nil)
		if err != nil {
			return
		}
		ex := request("GET", "a.test", "Origin", "https://o.test")
		op.Request(ex)
		ex.RunResponse()
		for _, fields := range [][]exchange.Field{ex.Req.Fields.All(), ex.Resp.Fields.All()} {
			for _, g := range fields {
				if strings.ContainsAny(g.Name, "\r\n: ") || strings.ContainsAny(g.Value, "\r\n\x00") {
					t.Fatalf("%q: %q", g.Name, g.Value)
				}
			}
		}
	})
}
