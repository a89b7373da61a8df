package rewrite

import (
	"crypto/tls"
	"net/url"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// request makes an exchange as a lane hands it to ops.
func request(method, host, target string, fields ...string) *exchange.Exchange {
	ex := &exchange.Exchange{Route: &exchange.Route{}}
	ex.Req.Method, ex.Req.Host, ex.Req.Target, ex.Req.Proto = method, host, target, "HTTP/1.1"
	ex.Req.Path, ex.Req.Query, ex.Req.HasQuery = strings.Cut(target, "?")
	for i := 0; i < len(fields); i += 2 {
		ex.Req.Fields.Add(fields[i], fields[i+1])
	}
	return ex
}

// must is for constructors that cannot fail in a test.
func must(t testing.TB) func(op exchange.Op, err error) exchange.Op {
	return func(op exchange.Op, err error) exchange.Op {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return op
	}
}

func all(f *exchange.Fields, name string) string {
	var v []string
	for _, g := range f.All() {
		if exchange.EqualFold(g.Name, name) {
			v = append(v, g.Value)
		}
	}
	return strings.Join(v, " || ")
}

func TestStripPrefix(t *testing.T) {
	for _, c := range []struct{ prefixes, path, want, reported, stripped string }{
		{"/api", "/api", "/", "/api", "/api"},
		{"/api", "/api/", "/", "/api", "/api"},
		{"/api", "/api/v1/users", "/v1/users", "/api", "/api"},
		{"/api", "/apiary/x", "/ary/x", "/api", "/api"},
		{"/api", "/other/api", "/other/api", "", ""},
		{"/api", "/API/x", "/API/x", "", ""},
		{"/api", "/", "/", "", ""},
		{"/api/", "/api/x", "/x", "/api/", "/api"},
		{"/api/", "/api", "/api", "", ""},
		{"/", "/x/y", "/x/y", "/", ""},
		{"/", "/", "/", "/", ""},
		{"api", "/api/x", "/api/x", "", ""},
		{"/my app", "/my%20app/x%20y", "/x%20y", "/my app", "/my%20app"},
		{"/my%20app", "/my%20app/x", "/my%20app/x", "", ""},
		{"/my%20app", "/my%2520app/x", "/x", "/my%20app", "/my%2520app"},
		{"/p", "/p/a%20b/c%C3%A9", "/a%20b/c%C3%A9", "/p", "/p"},
		{"/p", "/p.../x", "/.../x", "/p", "/p"},
		{"/é", "/%C3%A9/x", "/x", "/é", "/%C3%A9"},
		{"/a,/a/b", "/a/b/c", "/b/c", "/a", "/a"},
		{"/a/b,/a", "/a/b/c", "/c", "/a/b", "/a/b"},
		{"/one,/two", "/three/one", "/three/one", "", ""},
		{"/a", "/%", "/%", "", ""},
		{"/a/b", "/a%2Fb/c", "/c", "/a/b", "/a%2Fb"},
	} {
		op := must(t)(NewStripPrefix(&config.StripPrefix{Prefixes: strings.Split(c.prefixes, ",")}, nil))
		ex := request("GET", "a.test", c.path)
		if v := op.Request(ex); v != exchange.Next {
			t.Errorf("%s of %s: verdict %d", c.prefixes, c.path, v)
		}
		if got := all(&ex.Req.Fields, ForwardedPrefix); ex.Req.Path != c.want || got != c.reported || ex.Log.StrippedPrefix != c.stripped {
			t.Errorf("%s of %s: path %q prefix %q stripped %q, want %q %q %q",
				c.prefixes, c.path, ex.Req.Path, got, ex.Log.StrippedPrefix, c.want, c.reported, c.stripped)
		}
	}
}

func TestStripPrefixTwiceAndOutside(t *testing.T) {
	a := must(t)(NewStripPrefix(&config.StripPrefix{Prefixes: []string{"/a"}}, nil))
	b := must(t)(NewStripPrefix(&config.StripPrefix{Prefixes: []string{"/b"}}, nil))
	ex := request("GET", "a.test", "/a/b/c")
	a.Request(ex)
	b.Request(ex)
	if ex.Req.Path != "/c" || all(&ex.Req.Fields, ForwardedPrefix) != "/a || /b" || ex.Log.StrippedPrefix != "/a/b" {
		t.Errorf("twice: %q %q %q", ex.Req.Path, all(&ex.Req.Fields, ForwardedPrefix), ex.Log.StrippedPrefix)
	}
	for _, path := range []string{"/a../x", "/a./x", "/a..", "/a%2e%2E/x", "/a//x", "/a/x/../y", "/a/x/."} {
		ex := request("GET", "a.test", path)
		if v := a.Request(ex); v != exchange.Answer || ex.Resp.Status != 400 || ex.Reason != exchange.PathRefused {
			t.Errorf("%s: verdict %d status %d", path, v, ex.Resp.Status)
		}
	}
}

func TestStripPrefixRegex(t *testing.T) {
	for _, c := range []struct{ regex, path, want, reported string }{
		{"/v[0-9]+", "/v12/x", "/x", "/v12"},
		{"^/v[0-9]+", "/v1", "/", "/v1"},
		{"/v[0-9]+", "/a/v1", "/a/v1", ""},
		{"/[a-z ]+/", "/my%20app/x", "/x", "/my app/"},
		{"/x*", "/yy", "/yy", "/"},
	} {
		op := must(t)(NewStripPrefixRegex(&config.StripPrefixRegex{Regex: []string{c.regex}}, nil))
		ex := request("GET", "a.test", c.path)
		op.Request(ex)
		if got := all(&ex.Req.Fields, ForwardedPrefix); ex.Req.Path != c.want || got != c.reported {
			t.Errorf("%s of %s: %q %q, want %q %q", c.regex, c.path, ex.Req.Path, got, c.want, c.reported)
		}
	}
}

// What a stripPrefix or replacePathRegex leaves of a path may be nothing: the middlewares
// behind it see that, the server is asked for /.
func TestNothingLeft(t *testing.T) {
	yes := true
	strip := func(p string) exchange.Op {
		return must(t)(NewStripPrefix(&config.StripPrefix{Prefixes: []string{p}}, nil))
	}
	add := must(t)(NewAddPrefix(&config.AddPrefix{Prefix: "/v2"}))
	slash := must(t)(NewStripPrefix(&config.StripPrefix{Prefixes: []string{"/a"}, ForceSlash: &yes}, nil))
	regex := must(t)(NewStripPrefixRegex(&config.StripPrefixRegex{Regex: []string{"/[a-z]"}}, nil))
	gone := must(t)(NewReplacePathRegex(&config.ReplacePathRegex{Regex: "^/a"}))
	every := must(t)(NewReplacePathRegex(&config.ReplacePathRegex{Regex: "^/(.*)", Replacement: "/x/$1"}))
	fixed := must(t)(NewReplacePath(&config.ReplacePath{Path: "/y"}, nil))
	for name, c := range map[string]struct {
		ops                      []exchange.Op
		want, stripped, replaced string
	}{
		"strip, add":             {[]exchange.Op{strip("/a"), add}, "/v2", "/a", ""},
		"strip, add, add":        {[]exchange.Op{strip("/a"), add, add}, "/v2/v2", "/a", ""},
		"forceSlash, add":        {[]exchange.Op{slash, add}, "/v2/", "/a", ""},
		"regex, add":             {[]exchange.Op{regex, add}, "/v2", "/a", ""},
		"strip, strip":           {[]exchange.Op{strip("/a"), strip("/")}, "/", "/a", ""},
		"strip, regex":           {[]exchange.Op{strip("/a"), regex}, "/", "/a", ""},
		"strip, replace all":     {[]exchange.Op{strip("/a"), every}, "/", "/a", ""},
		"strip, replace":         {[]exchange.Op{strip("/a"), fixed}, "/y", "/a", ""},
		"replace, add":           {[]exchange.Op{gone, add}, "/v2", "", "/a"},
		"strip, replace, add":    {[]exchange.Op{strip("/a"), fixed, add}, "/v2/y", "/a", ""},
		"forceSlash, strip, add": {[]exchange.Op{slash, strip("/"), add}, "/v2", "/a || /", ""},
	} {
		ex := request("GET", "a.test", "/a")
		for _, op := range c.ops {
			op.Request(ex)
		}
		if ex.Req.Path != c.want || all(&ex.Req.Fields, ForwardedPrefix) != c.stripped || all(&ex.Req.Fields, ReplacedPath) != c.replaced {
			t.Errorf("%s: %q, stripped %q, replaced %q", name, ex.Req.Path, all(&ex.Req.Fields, ForwardedPrefix), all(&ex.Req.Fields, ReplacedPath))
		}
	}
}

func TestAddPrefix(t *testing.T) {
	for _, c := range []struct{ prefix, path, want string }{
		{"/f", "/", "/f/"}, {"/f", "/x%2Fy", "/f/x%2Fy"}, {"f", "/x", "/f/x"}, {"/my app", "/x", "/my%20app/x"}, {"/f", "*", "*"},
	} {
		ex := request("GET", "a.test", c.path)
		must(t)(NewAddPrefix(&config.AddPrefix{Prefix: c.prefix})).Request(ex)
		if ex.Req.Path != c.want {
			t.Errorf("%q before %q: %q, want %q", c.prefix, c.path, ex.Req.Path, c.want)
		}
	}
}

func TestReplacePath(t *testing.T) {
	for _, c := range []struct{ regex, replacement, path, want, old string }{
		{`^/shop/([^/]+)/(.*)`, "/$2/of/$1", "/shop/red/a/b", "/a/b/of/red", "/shop/red/a/b"},
		{`^/shop/([^/]+)/(.*)`, "/$2/of/$1", "/shop/red", "/shop/red", ""},
		{`^/u/(?P<id>[0-9]+)`, "/user-${id}", "/u/17/x", "/user-17/x", "/u/17/x"},
		{`cat`, "dog", "/cat/cats", "/dog/dogs", "/cat/cats"},
		{`^/shop/([^/]+)/(.*)`, "/$2/of/$1", "/shop/a%20b/c%2520d", "/c%2520d/of/a%20b", "/shop/a%20b/c%2520d"},
		{`^/gone`, "", "/gone/x", "/x", "/gone/x"},
		{`^/gone`, "", "/gone", "/", "/gone"},
		{`^/q`, "/x?y=1", "/q", "/x%3Fy=1", "/q"},
		{`^/q`, "/x y", "/q", "/x%20y", "/q"},
	} {
		op := must(t)(NewReplacePathRegex(&config.ReplacePathRegex{Regex: c.regex, Replacement: c.replacement}))
		ex := request("GET", "a.test", c.path)
		op.Request(ex)
		if got := all(&ex.Req.Fields, ReplacedPath); ex.Req.Path != c.want || got != c.old {
			t.Errorf("%s on %s: %q, old %q; want %q, %q", c.regex, c.path, ex.Req.Path, got, c.want, c.old)
		}
	}
	// What is not normal, or no path, is refused as in the reference since 3.7.7.
	for _, c := range []struct{ regex, replacement, path string }{
		{"^/x(.*)", "/files/$1", "/x../y"},
		{"^/x(.*)", "/$1", "/x/y"},
		{"^/x/", "", "/x/y"},
		{"^/x", "y", "/x"},
		{"^/x", "/a/./b", "/x"},
	} {
		ex := request("GET", "a.test", c.path)
		op := must(t)(NewReplacePathRegex(&config.ReplacePathRegex{Regex: c.regex, Replacement: c.replacement}))
		if v := op.Request(ex); v != exchange.Answer || ex.Resp.Status != 400 {
			t.Errorf("%s on %s: verdict %d, path %q", c.regex, c.path, v, ex.Req.Path)
		}
	}
	ex := request("GET", "a.test", "/a?b")
	must(t)(NewReplacePath(&config.ReplacePath{Path: "/new path"}, nil)).Request(ex)
	if ex.Req.Path != "/new%20path" || ex.Req.Query != "b" || all(&ex.Req.Fields, ReplacedPath) != "/a" {
		t.Errorf("replacePath: %q ?%q old %q", ex.Req.Path, ex.Req.Query, all(&ex.Req.Fields, ReplacedPath))
	}
}

func TestRedirectScheme(t *testing.T) {
	https := &config.RedirectScheme{Scheme: "https"}
	for _, c := range []struct {
		cfg                        *config.RedirectScheme
		method, host, path, xproto string
		tls                        bool
		status                     int
		location                   string
	}{
		{https, "GET", "a.test", "/x?q=1", "", false, 302, "https://a.test/x?q=1"},
		{https, "GET", "a.test", "/x?", "", false, 302, "https://a.test/x?"},
		{https, "POST", "a.test", "/x", "", false, 307, "https://a.test/x"},
		{https, "HEAD", "a.test", "/x", "", false, 307, "https://a.test/x"},
		{&config.RedirectScheme{Scheme: "https", Permanent: true}, "GET", "a.test", "/", "", false, 301, "https://a.test/"},
		{&config.RedirectScheme{Scheme: "https", Permanent: true}, "PUT", "a.test", "/", "", false, 308, "https://a.test/"},
		{&config.RedirectScheme{Scheme: "https", Port: "443"}, "GET", "a.test:80", "/", "", false, 302, "https://a.test/"},
		{&config.RedirectScheme{Scheme: "https", Port: "8443"}, "GET", "a.test", "/", "", false, 302, "https://a.test:8443/"},
		{https, "GET", "[2001:db8::1]:8080", "/", "", false, 302, "https://[2001:db8::1]/"},
		{https, "GET", "[2001:db8::1]", "/", "", false, 302, "https://[2001:db8::1]/"},
		{https, "GET", "a.test", "/", "", true, 0, ""},
		{https, "GET", "a.test:443", "/", "", true, 0, ""},
		{https, "GET", "a.test:8443", "/", "", true, 302, "https://a.test/"},
		{https, "GET", "a.test", "/", "https", false, 0, ""},
		{https, "GET", "a.test", "/", "wss", false, 0, ""},
		{https, "GET", "a.test", "/", "HTTPS", false, 0, ""},
		{https, "GET", "a.test", "/", "ws", false, 302, "https://a.test/"},
		{https, "GET", "a.test", "/", "http", true, 302, "https://a.test/"},
		{https, "GET", "a.test", `/a{b}|"c"%20[d]?{q}`, "", false, 302, "https://a.test/a%7Bb%7D%7C%22c%22%20[d]?{q}"},
		{https, "GET", "a.test", "/a%2Fb/é", "", false, 302, "https://a.test/a%2Fb/%C3%A9"},
	} {
		ex := request(c.method, c.host, c.path)
		if c.xproto != "" {
			ex.Req.Fields.Add("X-Forwarded-Proto", c.xproto)
		}
		if c.tls {
			ex.Req.TLS = &tls.ConnectionState{}
		}
		v := must(t)(NewRedirectScheme(c.cfg)).Request(ex)
		if ex.Resp.Status != c.status || ex.Resp.Fields.Get("Location") != c.location || (v == exchange.Answer) != (c.status != 0) {
			t.Errorf("%+v %s %s%s tls=%v %s: %d %q, want %d %q", *c.cfg, c.method, c.host, c.path, c.tls, c.xproto,
				ex.Resp.Status, ex.Resp.Fields.Get("Location"), c.status, c.location)
		}
	}
}

// Servers get "&" for a semicolon, the client gets back what it sent.
func TestRedirectKeepsSemicolons(t *testing.T) {
	for query, want := range map[string]string{"a&b": "https://a.test/x?a;b", "a%3Bb": "https://a.test/x?a%3Bb", "c": "https://a.test/x?c"} {
		ex := request("GET", "a.test", "/x?a;b")
		ex.Req.Query = query // as the entry point, or a middleware, made it
		must(t)(NewRedirectScheme(&config.RedirectScheme{Scheme: "https"})).Request(ex)
		if got := ex.Resp.Fields.Get("Location"); got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
}

func TestRedirectRegex(t *testing.T) {
	for _, c := range []struct{ regex, replacement, host, path, location string }{
		{`^http://old\.test/(.*)`, "http://new.test/${1}", "old.test", "/a?b=c", "http://new.test/a?b=c"},
		{`^https?://www\.(.+)`, "https://${1}", "www.a.test", "/", "https://a.test/"},
		{`^http://none/`, "x", "a.test", "/", ""},
		{`.*`, "$0", "a.test", "/same", ""},
		{`^http://[^/]+/docs$`, "/docs/", "a.test", "/docs", "/docs/"},
		{`/old`, "/new", "a.test", "/old/x", "http://a.test/new/x"},
		// A path stays one, whatever the client puts behind its first slash.
		{`^https?://[^/]+/x(.*)`, "/${1}", "a.test", "/x/evil.test", "/evil.test"},
		{`^https?://[^/]+/x(.*)`, "/${1}", "a.test", `/x/\evil.test`, "/evil.test"},
		{`^https?://[^/]+/x(.*)`, "//${1}", "a.test", "/xb.test/", "//b.test/"},
		{`^(.*)$`, "http://192.168.0.%31/", "a.test", "/", "502"},
	} {
		ex := request("GET", c.host, c.path)
		must(t)(NewRedirectRegex(&config.RedirectRegex{Regex: c.regex, Replacement: c.replacement})).Request(ex)
		got := ex.Resp.Fields.Get("Location")
		if ex.Resp.Status == 502 {
			got = "502"
		}
		if got != c.location {
			t.Errorf("%s on %s%s: %q, want %q", c.regex, c.host, c.path, got, c.location)
		}
	}
}

func TestEncodedCharacters(t *testing.T) {
	refuse := NewEncodedCharacters(&config.EncodedCharacters{})
	slash := NewEncodedCharacters(&config.EncodedCharacters{AllowEncodedSlash: true})
	for path, want := range map[string]exchange.Verdict{
		"/a%2Fb": exchange.Answer, "/a%2fb": exchange.Answer, "/a%5Cb": exchange.Answer, "/%00": exchange.Answer, "/a%3b": exchange.Answer,
		"/a%25": exchange.Answer, "/a%3F": exchange.Answer, "/a%23": exchange.Answer, "/a%20b": exchange.Next, "/": exchange.Next, "/%": exchange.Next, "/%2": exchange.Next,
	} {
		if v := refuse.Request(request("GET", "a.test", path)); v != want {
			t.Errorf("%s: %d, want %d", path, v, want)
		}
	}
	if v := slash.Request(request("GET", "a.test", "/a%2Fb")); v != exchange.Next {
		t.Error("an allowed character is refused")
	}
}

func TestRewriteLocation(t *testing.T) {
	op := NewRewriteLocation(&config.RewriteLocation{})
	for _, c := range []struct{ field, value, want string }{
		{"Location", "/items/", "/app/items/"},
		{"Location", "/", "/app/"},
		{"Location", "/app/items", "/app/items"},
		{"Location", "/application", "/app/application"},
		{"Location", "//evil.test/x", "//evil.test/x"},
		{"Location", `/\evil.test`, `/\evil.test`},
		{"Location", "items", "items"},
		{"Location", "http://a.test/items?x=1", "http://a.test/app/items?x=1"},
		{"Location", "https://A.test", "https://A.test/app"},
		{"Location", "http://other.test/items", "http://other.test/items"},
		{"Location", "http://a.test@evil.test/", "http://a.test@evil.test/"},
		{"Location", "ftp://a.test/x", "ftp://a.test/x"},
		{"Content-Location", "/doc", "/app/doc"},
		{"Set-Cookie", "s=1; Path=/; HttpOnly", "s=1; Path=/app; HttpOnly"},
		{"Set-Cookie", "s=1; path=/admin", "s=1; path=/app/admin"},
		{"Set-Cookie", "s=1; Path=/app/x", "s=1; Path=/app/x"},
		{"Set-Cookie", "s=1", "s=1"},
		{"X-Other", "/x", "/x"},
	} {
		ex := request("GET", "a.test", "/app/x")
		op.Request(ex)
		must(t)(NewStripPrefix(&config.StripPrefix{Prefixes: []string{"/app"}}, nil)).Request(ex)
		ex.Resp.Fields.Add(c.field, c.value)
		ex.RunResponse()
		if got := ex.Resp.Fields.Get(c.field); got != c.want {
			t.Errorf("%s: %s -> %q, want %q", c.field, c.value, got, c.want)
		}
	}
	ex := request("GET", "a.test", "/x")
	op.Request(ex)
	ex.Resp.Fields.Add("Location", "/y")
	if ex.RunResponse(); ex.Resp.Fields.Get("Location") != "/y" {
		t.Error("changed a Location though nothing was stripped")
	}
}

func TestBadOptions(t *testing.T) {
	for name, err := range map[string]error{
		"empty prefix":      second(NewAddPrefix(&config.AddPrefix{})),
		"strip regex":       second(NewStripPrefixRegex(&config.StripPrefixRegex{Regex: []string{"/x("}}, nil)),
		"replace regex":     second(NewReplacePathRegex(&config.ReplacePathRegex{Regex: "^/("})),
		"replace path":      second(NewReplacePath(&config.ReplacePath{Path: "/%zz"}, nil)),
		"redirect regex":    second(NewRedirectRegex(&config.RedirectRegex{Regex: "^("})),
		"no scheme":         second(NewRedirectScheme(&config.RedirectScheme{})),
		"scheme with slash": second(NewRedirectScheme(&config.RedirectScheme{Scheme: "https://"})),
		"port":              second(NewRedirectScheme(&config.RedirectScheme{Scheme: "https", Port: "x"})),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func second(_ exchange.Op, err error) error { return err }

func TestOpsDoNotAllocate(t *testing.T) {
	strip := must(t)(NewStripPrefix(&config.StripPrefix{Prefixes: []string{"/api"}}, nil))
	add := must(t)(NewAddPrefix(&config.AddPrefix{Prefix: "/in"}))
	scheme := must(t)(NewRedirectScheme(&config.RedirectScheme{Scheme: "https"}))
	encoded := NewEncodedCharacters(&config.EncodedCharacters{})
	loc := NewRewriteLocation(&config.RewriteLocation{})
	regex := must(t)(NewRedirectRegex(&config.RedirectRegex{Regex: `^http://www\.`, Replacement: "x"}))
	state := &tls.ConnectionState{}
	ex := request("GET", "a.test", "/api/x")
	if n := testing.AllocsPerRun(200, func() {
		ex.Reset()
		ex.Req.Path, ex.Req.Host, ex.Req.Method, ex.Req.TLS = "/api/x", "a.test", "GET", state
		ex.Req.Fields.Add("Host", "a.test")
		for _, op := range []exchange.Op{loc, encoded, strip, add, scheme, regex} {
			op.Request(ex)
		}
		ex.Resp.Fields.Add("Location", "/y")
		ex.RunResponse()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCut holds: what cut takes decodes to the prefix, and nothing else is taken.
func FuzzCut(f *testing.F) {
	f.Add("/my%20app/x", "/my app")
	f.Add("/%2", "/%")
	f.Fuzz(func(t *testing.T, path, prefix string) {
		n, ok := cut(path, prefix)
		plain, err := url.PathUnescape(path)
		if err != nil {
			return
		}
		if ok != strings.HasPrefix(plain, prefix) {
			t.Fatalf("cut(%q, %q) = %v, decoded %q", path, prefix, ok, plain)
		}
		if ok {
			if head, err := url.PathUnescape(path[:n]); err != nil || head != prefix {
				t.Fatalf("cut(%q, %q) took %q", path, prefix, path[:n])
			}
		}
	})
}
