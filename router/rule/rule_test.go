package rule

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// request makes a request from "METHOD host target", header lines, and a peer line "from=ADDR".
func request(line string, headers ...string) *exchange.Request {
	f := strings.SplitN(line, " ", 3)
	r := &exchange.Request{Method: f[0], Host: f[1]}
	r.Path, r.Query, r.HasQuery = strings.Cut(f[2], "?")
	r.Peer = netip.MustParseAddrPort("192.0.2.7:1234")
	for _, h := range headers {
		if a, ok := strings.CutPrefix(h, "from="); ok {
			r.Peer = netip.AddrPortFrom(netip.MustParseAddr(a), 1)
			continue
		}
		k, v, _ := strings.Cut(h, ": ")
		r.Fields.Add(k, v)
	}
	return r
}

func matches(t testing.TB, r *Rule, req *exchange.Request) bool {
	t.Helper()
	var s Subject
	var p Pool
	s.HTTP(req, &p)
	defer s.Done()
	ok := r.Match(&s)
	if said, failed, _ := r.Explain(&s); said != ok {
		t.Errorf("%s: Match %v, Explain %v %v", r.Text(), ok, said, failed)
	}
	return ok
}

type matchCase struct {
	rule string
	req  string
	head []string
	want bool
}

func runCases(t *testing.T, syn Syntax, cases []matchCase) {
	t.Helper()
	for _, c := range cases {
		r, err := Compile(c.rule, syn)
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		if got := matches(t, r, request(c.req, c.head...)); got != c.want {
			t.Errorf("%s on %q %q: %v, want %v", c.rule, c.req, c.head, got, c.want)
		}
		again, err := Compile(r.Expr().String(), syn)
		if err != nil || matches(t, again, request(c.req, c.head...)) != c.want {
			t.Errorf("%s printed as %s: %v, or another answer", c.rule, r.Expr(), err)
		}
	}
}

func TestMatchV3(t *testing.T) {
	runCases(t, V3, []matchCase{
		{"Host(`one.test`)", "GET one.test /", nil, true},
		{"Host(`one.test`)", "GET ONE.Test:8080 /", nil, true},
		{"Host(`one.test`)", "GET one.test.:99 /", nil, true},
		{"Host(`one.test`)", "GET one.test.. /", nil, false},
		{"Host(`one.test`)", "GET xone.test /", nil, false},
		{"Host(`one.test`)", "GET one.test.evil /", nil, false},
		{"Host(`one.test`)", "GET  /", nil, false},
		{"Host(`TWO.Test`)", "GET two.test /", nil, true},
		{"Host(`dot.test.`)", "GET dot.test /", nil, true},
		{"Host(`dot.test.`)", "GET dot.test. /", nil, true},
		{"Host(`dot.test.`)", "GET dot.test.. /", nil, true},
		{"Host(`::1`)", "GET [::1] /", nil, true},
		{"Host(`::1`)", "GET [::1]:80 /", nil, true},
		{"Host(`[::1]`)", "GET [::1] /", nil, false},
		{"Host(`127.0.0.1`)", "GET 127.0.0.1:1234 /", nil, true},
		{"Host(`p.test:80`)", "GET p.test:80 /", nil, false},
		{"Host(` sp.test`)", "GET sp.test /", nil, false},
		{"Host(`a_b.test`)", "GET a_b.test /", nil, true},
		{"Host(`*.wild.test`)", "GET X.wild.test /", nil, true},
		{"Host(`*.wild.test`)", "GET *.wild.test /", nil, true},
		{"Host(`*.wild.test`)", "GET wild.test /", nil, false},
		{"Host(`*.wild.test`)", "GET a.b.wild.test /", nil, false},
		{"Host(`**.wild.test`)", "GET a.b.wild.test /", nil, true},
		{"Host(`**.wild.test`)", "GET wild.test /", nil, false},
		{"Host(`*.*.deep.test`)", "GET q.r.deep.test /", nil, false},
		{"Host(`a*.test`)", "GET abc.test /", nil, false},
		{"Host(`*`)", "GET anything.at.all /", nil, true},
		{"Host(`*`)", "GET  /", nil, false},
		{"Host(`bücher.test`)", "GET xn--bcher-kva.test /", nil, true},
		{"Host(`*.Bücher.test`)", "GET a.xn--bcher-kva.test /", nil, true},
		{"HostRegexp(`^m[34][.]test$`)", "GET M3.test:80 /", nil, true},
		{"HostRegexp(`^m[34][.]test$`)", "GET m5.test /", nil, false},
		{"HostRegexp(`{sub:[a-z]+}.test`)", "GET abc.test /", nil, false},
		{"Path(`/p`)", "GET h /p", nil, true},
		{"Path(`/p`)", "GET h /p/", nil, false},
		{"Path(`/p`)", "GET h /p?x", nil, true},
		{"Path(`/a b`)", "GET h /a%20b", nil, true},
		{"Path(`/e%20f`)", "GET h /e%20f", nil, false},
		{"Path(`/a%2Fb`)", "GET h /a%2fb", nil, true},
		{"Path(`/a/b`)", "GET h /a%2Fb", nil, false},
		{"Path(`/ü`)", "GET h /%C3%BC", nil, true},
		{"PathPrefix(`/api`)", "GET h /apix", nil, true},
		{"PathPrefix(`/api`)", "GET h /API", nil, false},
		{"PathPrefix(`/slash/`)", "GET h /slash", nil, false},
		{"PathPrefix(`/`)", "OPTIONS h *", nil, false},
		{"PathRegexp(`^/r\\d$`)", "GET h /r5", nil, true},
		{`PathRegexp("^/q\\d$")`, "GET h /q5", nil, true},
		{`Path("/dq")`, "GET h /dq", nil, true},
		{"Header(`X-Kind`, `alpha`)", "GET h /", []string{"x-kind: alpha"}, true},
		{"Header(`X-Kind`, `alpha`)", "GET h /", []string{"x-kind: Alpha"}, false},
		{"Header(`X-L`, `two`)", "GET h /", []string{"X-L: one", "X-L: two"}, true},
		{"Header(`X-L`, `two`)", "GET h /", []string{"X-L: one, two"}, false},
		{"HeaderRegexp(`X-L`, `^t`)", "GET h /", []string{"X-L: one", "x-l: two"}, true},
		{"HeaderRegexp(`X-L`, `^t`)", "GET h /", nil, false},
		{"Method(`get`)", "GET h /", nil, true},
		{"Method(`GET`)", "get h /", nil, false},
		{"Query(`a`, `1`)", "GET h /?a=0&a=1", nil, true},
		{"Query(`a`, `x y`)", "GET h /?a=x+y", nil, true},
		{"Query(`a`, `x y`)", "GET h /?a=x%20y", nil, true},
		{"Query(`a b`, `1`)", "GET h /?a%20b=1", nil, true},
		{"Query(`a`, `1`)", "GET h /?a=1;b", nil, false},
		{"Query(`a`, `%`)", "GET h /?a=%", nil, false},
		{"Query(`solo`)", "GET h /?solo", nil, true},
		{"Query(`solo`)", "GET h /?solo=", nil, true},
		{"Query(`solo`)", "GET h /?solo=1", nil, false},
		{"QueryRegexp(`id`, `^[0-9]+$`)", "GET h /?id=x&id=7", nil, true},
		{"QueryRegexp(`id`, `^[0-9]+$`)", "GET h /?id=%31%32", nil, true},
		{"QueryRegexp(`id`, `^[0-9]+$`)", "GET h /?id=1x", nil, false},
		{"QueryRegexp(`solo`)", "GET h /?solo", nil, true},
		{"ClientIP(`127.0.0.0/29`)", "GET h /", []string{"from=127.0.0.5"}, true},
		{"ClientIP(`127.0.0.0/29`)", "GET h /", []string{"from=::ffff:127.0.0.5"}, true},
		{"ClientIP(`127.0.0.0/29`)", "GET h /", []string{"from=127.0.0.9", "X-Forwarded-For: 127.0.0.1"}, false},
		{"ClientIP(`::1`)", "GET h /", []string{"from=::1"}, true},
		{"!(!(Path(`/a`)))", "GET h /a", nil, true},
		{"PathPrefix(`/b`) && !(Method(`GET`) && Header(`X-A`, `1`))", "GET h /b", nil, true},
		{"PathPrefix(`/b`) && !(Method(`GET`) && Header(`X-A`, `1`))", "GET h /b", []string{"X-A: 1"}, false},
		{"Path(`/a`) || Path(`/b`) && Method(`POST`)", "GET h /a", nil, true},
		{"Path(`/a`) || Path(`/b`) && Method(`POST`)", "GET h /b", nil, false},
		{"(Path(`/a`) || Path(`/b`)) && Method(`POST`)", "GET h /a", nil, false},
		{"Host(`a`)\n  && Path(`/x`)", "GET a /x", nil, true},
		{"host(`a`) && PATHPREFIX(`/x`) && Pathprefix(`/`)", "GET a /x", nil, true},
		{"Host(`a`) /* the old name: */ || Host(`//b`) // and nothing else", "GET a /x", nil, true},
		{"Path(`/a//b`,) || Path(`/*c*/`)", "GET h /*c*/", nil, true},
	})
}

func TestMatchV2(t *testing.T) {
	runCases(t, V2, []matchCase{
		{"Host(`a.test`, `B.test`)", "GET b.test:81 /", nil, true},
		{"Host(`a.test`, `B.test`)", "GET x.a.test /", nil, false},
		{"!Host(`a.test`, `B.test`)", "GET b.test /", nil, false},
		{"HostHeader(`c.test`)", "GET c.test /", nil, true},
		{"Host(`d.test.`)", "GET d.test /", nil, true},
		{"Host(`*.w.test`)", "GET x.w.test /", nil, false},
		{"Host(`*.w.test`)", "GET *.w.test /", nil, true},
		{"HostRegexp(`^[a-z]+$`)", "GET abc /", nil, false},
		{"HostRegexp(`{sub:[a-z]+}.test`, `Plain.test`)", "GET ABC.test /", nil, true},
		{"HostRegexp(`{sub:[a-z]+}.test`, `Plain.test`)", "GET plain.test /", nil, true},
		{"HostRegexp(`{sub:[a-z]+}.test`)", "GET a.b.test /", nil, false},
		{"HostRegexp(`{sub}.test`)", "GET a-1.test /", nil, true},
		{"Path(`/item/{id:[0-9]+}`)", "GET h /item/12", nil, true},
		{"Path(`/item/{id:[0-9]+}`)", "GET h /item/12/", nil, false},
		{"Path(`/item/{id:[0-9]{2}}`)", "GET h /item/12", nil, true},
		{"Path(`/user/{name}`)", "GET h /user/a%20b", nil, true},
		{"Path(`/user/{name}`)", "GET h /user/", nil, false},
		{"Path(`/c`, `/cc`)", "GET h /cc", nil, true},
		{"Path(`/opt/{x:(?:a|b)}/end`)", "GET h /opt/b/end", nil, true},
		{"PathPrefix(`/u/{name}/x`)", "GET h /u/a/xyz", nil, true},
		{"Headers(`X-P`, `1`, `X-Q`, `2`)", "GET h /", []string{"X-P: 1", "X-Q: 2"}, true},
		{"Headers(`X-P`, `1`, `X-Q`, `2`)", "GET h /", []string{"X-P: 1"}, false},
		{"!Headers(`X-P`, `1`, `X-Q`, `2`)", "GET h /", []string{"X-P: 1"}, true},
		{"HeadersRegexp(`X-A`, `[0-9]`, `X-B`, `[a-c]`)", "GET h /", []string{"X-A: 1", "X-B: b"}, true},
		{"HeadersRegexp(`X-A`, `[0-9]`, `X-B`, `[a-c]`)", "GET h /", []string{"X-A: 1", "X-B: z"}, false},
		{"Method(`GET`, `post`)", "POST h /", nil, true},
		{"Query(`a=1`, `b={x:[0-9]+}`)", "GET h /?a=1&b=22", nil, true},
		{"Query(`a=1`, `b={x:[0-9]+}`)", "GET h /?a=1&b=x", nil, false},
		{"Query(`a=1`)", "GET h /?a=0&a=1", nil, false},
		{"Query(`a`, `1`)", "GET h /?a=1", nil, true},
		{"Query(`a=`)", "GET h /?a=anything", nil, true},
		{"Query(`a=`)", "GET h /", nil, false},
		{"ClientIP(`10.0.0.1`, `192.0.2.0/24`)", "GET h /", nil, true},
		{"Host(`a.test`, `b.test`) && (PathPrefix(`/x`) || Method(`POST`)) && !Headers(`X-No`, `1`)", "POST b.test /", nil, true},
	})
}

func TestErrors(t *testing.T) {
	cases := []struct {
		rule string
		syn  Syntax
		col  int
		part string
	}{
		{"", V3, 1, "empty"},
		{"Host(`a.test`", V3, 14, "','"},
		{"Host(`x", V3, 6, "does not end"},
		{"Host(`x`) /* y", V3, 11, "does not end"},
		{"Path('/sq')", V3, 6, "backticks"},
		{"Path(/nq)", V3, 6, "backticks"},
		{"Host(a)", V3, 6, "`a`"},
		{"PathRegexp(\"^/z\\d$\")", V3, 12, "escape"},
		{"HoSt(`g.test`)", V3, 1, "write Host"},
		{"pathPrefix(`/f`)", V3, 1, "write PathPrefix"},
		{"Headers(`a`, `b`)", V3, 1, "write Header"},
		{"HostHeader(`a`)", V3, 1, "write Host"},
		{"Hots(`a`)", V3, 1, "did you mean Host?"},
		{"HostSNI(`a`)", V3, 1, "write Host"},
		{"ALPN(`h2`)", V3, 1, "TCP routers"},
		{"Whatever(`h2`)", V3, 1, "there are"},
		{"Method(`GET`, `POST`)", V3, 1, "Method(`GET`) || Method(`POST`)"},
		{"Host()", V3, 1, "one value"},
		{"Host(``)", V3, 6, "empty"},
		{"Path(`one`)", V3, 6, "`/one`"},
		{"Host(`a`) & Path(`/b`)", V3, 11, "&&"},
		{"Host(`a`) and Path(`/b`)", V3, 11, "&&"},
		{"Host(`a`) Path(`/b`)", V3, 11, "expected"},
		{"(Host(`a`)", V3, 11, "')'"},
		{"`a`", V3, 1, "without a matcher"},
		{"Host(`a`) ||", V3, 13, "a matcher"},
		{"HostRegexp(`([a-z`)", V3, 12, "regular expression"},
		{"ClientIP(`300.1.1.1`)", V3, 10, "neither"},
		{"ClientIP(`10.0.0.0/99`)", V3, 10, "neither"},
		{"Host(`ü.test`)", V2, 6, "xn--tda.test"},
		{"Headers(`X-N`)", V2, 1, "2 values or more"},
		{"Headers(`a`, `b`, `c`)", V2, 1, "pairs"},
		{"Headers(`a`, ``)", V2, 14, "empty"},
		{"HostRegexp(`{a:[a-z}.test`)", V2, 12, "missing"},
		{"HostRegexp(`{}.test`)", V2, 12, "missing"},
		{"HostRegexp(`x{.test`)", V2, 12, "brace"},
		{"HostRegexp(`x}.test`)", V2, 12, "brace"},
		{"PathRegexp(`^/x`)", V2, 1, "v3 syntax"},
		{"Header(`X`, `1`)", V2, 1, "write Headers"},
		{"Query(`q`)", V2, 1, "pairs"},
		{strings.Repeat("!", 500) + "Host(`a`)", V3, maxDepth + 1, "nested"},
		{strings.Repeat("(", 500) + "Host(`a`)", V3, maxDepth + 1, "nested"},
	}
	for _, c := range cases {
		_, err := Compile(c.rule, c.syn)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v, want an Error", c.rule, err)
			continue
		}
		if e.Col != c.col || !strings.Contains(e.Error(), c.part) {
			t.Errorf("%s: %v, want column %d and %q", c.rule, e, c.col, c.part)
		}
	}
}

func TestTCP(t *testing.T) {
	peer := netip.MustParseAddr("10.1.2.3")
	cases := []struct {
		rule string
		syn  Syntax
		sni  string
		alpn []string
		want bool
	}{
		{"HostSNI(`*`)", V3, "", nil, true},
		{"HostSNI(`*`)", V2, "x", nil, true},
		{"HostSNI(`A.test`)", V3, "a.TEST", nil, true},
		{"HostSNI(`a.test.`)", V3, "a.test", nil, true},
		{"HostSNI(`*.w.test`)", V3, "x.w.test", nil, true},
		{"HostSNI(`*.w.test`)", V3, "y.x.w.test", nil, false},
		{"HostSNI(`a.test`, `b.test`)", V2, "b.test", nil, true},
		{"HostSNI(`bücher.test`)", V3, "xn--bcher-kva.test", nil, true},
		{"HostSNIRegexp(`^r[0-9]\\.test$`)", V3, "r7.test", nil, true},
		{"HostSNIRegexp(`{sub:[a-z]+}.test`)", V2, "abc.test", nil, true},
		{"ALPN(`h2`)", V3, "", []string{"http/1.1", "h2"}, true},
		{"ALPN(`h2`, `mqtt`)", V2, "", []string{"mqtt"}, true},
		{"HostSNI(`*`) && ClientIP(`10.0.0.0/8`)", V3, "", nil, true},
		{"HostSNI(`*`) && !ClientIP(`10.0.0.0/8`)", V3, "", nil, false},
	}
	for _, c := range cases {
		r, err := CompileTCP(c.rule, c.syn)
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		var s Subject
		s.TCP(c.sni, c.alpn, peer, new(Pool))
		if got := r.Match(&s); got != c.want {
			t.Errorf("%s on %q: %v", c.rule, c.sni, got)
		}
	}
	for _, bad := range []string{"HostSNI(", "HostSNI(`a b`)", "HostSNI(`*a.test`)", "ALPN(`acme-tls/1`)", "Host(`a`)", "HostSNI(`a`, `b`)", "HostSNIRegexp(`ü`)"} {
		if _, err := CompileTCP(bad, V3); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestPriority(t *testing.T) {
	for rule, want := range map[string]int{
		"Host(`bücher.test`)":  20,
		"Host(`a.test`":        13,
		"Host(`**.a.test`)":    15,
		"Path(`/**.a`)":        13,
		"!Host(`**.a.test`) &": 20,
	} {
		if got := Priority(rule); got != want {
			t.Errorf("%s: %d, want %d", rule, got, want)
		}
	}
	for rule, want := range map[string]int{"HostSNI(`*`)": -1, " hostsni(\"*\") ": -1, "HostSNI(`a`)": 12, "HostSNI(`*`) || HostSNI(`a`)": 28} {
		if got := PriorityTCP(rule); got != want {
			t.Errorf("%s: %d, want %d", rule, got, want)
		}
	}
}

func TestHosts(t *testing.T) {
	for text, want := range map[string]string{
		"Host(`A.test`) && !Host(`x.test`) || Host(`b.test.`)": "a.test b.test",
		"!(Host(`x.test`) && Path(`/`)) && Host(`*.c.test`)":   "*.c.test",
		"!(!Host(`y.test`))":                  "y.test",
		"Host(`*`) || HostRegexp(`^a$`)":      "",
		"Host(`bücher.test`) || Host(`a:80`)": "xn--bcher-kva.test",
	} {
		r, err := Compile(text, V3)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range r.Hosts() {
			got = append(got, h.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
}

func TestNotes(t *testing.T) {
	for text, part := range map[string]string{
		"Path(`/e%20f`)":            "escape",
		"PathPrefix(`/d//e`)":       "double slashes",
		"Host(`p.test:80`)":         "port",
		"Host(`[::1]`)":             "brackets",
		"Host(` sp.test`)":          "space",
		"Host(`a*.test`)":           "star",
		"Host(`*.*.test`)":          "star",
		"HostRegexp(`{a:[a-z]}.b`)": "v2",
		"Path(`/{id}`)":             "v2",
		"Path(`/a?b=1`)":            "question",
		"Host(`::1`) || Host(`*.a`) || Host(`**.a`) || Path(`/a%2Fb`)": "",
	} {
		r, err := Compile(text, V3)
		if err != nil {
			t.Fatal(err)
		}
		if n := r.Notes(); part == "" && len(n) > 0 || part != "" && (len(n) != 1 || !strings.Contains(n[0].Text+n[0].Suggestion, part)) {
			t.Errorf("%s: %v, want one with %q", text, n, part)
		}
	}
}

func TestExplain(t *testing.T) {
	for text, want := range map[string]string{
		"Host(`a.test`) && PathPrefix(`/x`)":   "Host(`a.test`)=b.test PathPrefix(`/x`)=/y",
		"Host(`b.test`) && PathPrefix(`/x`)":   "PathPrefix(`/x`)=/y",
		"Host(`a.test`) || Host(`c.test`)":     "Host(`a.test`) || Host(`c.test`)=b.test",
		"!Method(`GET`) && Path(`/y`)":         "!Method(`GET`)=GET",
		"Header(`X`, `1`) || Path(`/a`)":       "Path(`/a`)=/y",
		"Host(`b.test`) && ClientIP(`::/0`)":   "ClientIP(`::/0`)=192.0.2.7",
		"Query(`q`) && HostRegexp(`^b`)":       "Query(`q`)=a=1",
		"Host(`b.test`) && !PathRegexp(`^/x`)": "",
	} {
		r, err := Compile(text, V3)
		if err != nil {
			t.Fatal(err)
		}
		var s Subject
		s.HTTP(request("GET b.test /y?a=1", "X: 0"), new(Pool))
		_, failed, _ := r.Explain(&s)
		var got []string
		for _, f := range failed {
			got = append(got, f.Matcher+"="+f.Got)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	if testnet.RaceDetector {
		t.Skip("pools are leaky under the race detector")
	}
	r, err := Compile("(Host(`*.a.test`) || HostRegexp(`^[a-z]+[.]b[.]test$`)) && PathRegexp(`^/(x|y z)+$`) && "+
		"HeaderRegexp(`X-A`, `^[0-9]+$`) && QueryRegexp(`q`, `^(a|b) c$`) && Query(`e`, `1`) && ClientIP(`192.0.2.0/24`) && !Method(`POST`)", V3)
	if err != nil {
		t.Fatal(err)
	}
	req := request("GET FOO.b.test:80 /xy%20z?q=a%20c&e=1", "X-A: 77")
	var pool Pool
	if n := testing.AllocsPerRun(200, func() {
		var s Subject
		s.HTTP(req, &pool)
		if !r.Match(&s) {
			t.Fatal("no match")
		}
		s.Done()
	}); n >= 1 {
		t.Errorf("%v allocations a match", n)
	}
}

// FuzzParse holds that a rule's printed form parses to the same rule, that a rule which
// compiles still does so printed, and that its keys cover what it matches.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"Host(`a`) && !(Path(\"/x\\n\") || PathPrefix(`/`))", "!!Host(`a`)", "Host(`a`,`b`)", "Path(`/{a:[a-z]{2}}`)",
		"(((HostSNI(`*`))))", "Query(`a`, \"\\xff`\")", "a() || b() && c() || d()", "Host(`*.ü.test`) || HostRegexp(`^a`)", "PathRegexp(`^/a/[0-9]`)",
	} {
		f.Add(s, "a.test", "/x")
	}
	f.Fuzz(func(t *testing.T, text, host, path string) {
		e, err := Parse(text)
		if err != nil {
			var re *Error
			if !errors.As(err, &re) || re.Col < 1 || re.Col > len(text)+1 {
				t.Fatalf("%q: %v is out of place", text, err)
			}
			return
		}
		printed := e.String()
		again, err := Parse(printed)
		if err != nil {
			t.Fatalf("%q printed as %q: %v", text, printed, err)
		}
		if !e.Equal(again) || again.String() != printed {
			t.Fatalf("%q printed as %q is %q", text, printed, again)
		}
		req := request("GET x /")
		req.Host, req.Path = host, "/"+path
		for _, syn := range []Syntax{V2, V3} {
			r, err := Compile(text, syn)
			p, perr := Compile(printed, syn)
			if (err == nil) != (perr == nil) {
				t.Fatalf("%q: %v, printed %q: %v", text, err, printed, perr)
			}
			if err != nil {
				continue
			}
			if a, b := matches(t, r, req), matches(t, p, req); a != b {
				t.Fatalf("%q and %q match differently", text, printed)
			} else if a && !covered(r.Keys(), req) {
				t.Fatalf("%q matches %q %q outside of its keys %v", text, host, path, r.Keys())
			}
		}
	})
}

func covered(keys []Key, req *exchange.Request) bool {
	var s Subject
	s.HTTP(req, new(Pool))
	h := strings.TrimRight(s.Host, ".")
	for _, k := range keys {
		host := false
		switch k.HostScope {
		case Any:
			host = true
		case Exact:
			host = h == k.Host
		case OneLabel:
			_, rest, ok := strings.Cut(h, ".")
			host = ok && rest == k.Host
		case Labels:
			host = strings.HasSuffix(h, "."+k.Host)
		}
		if host && (k.PathScope == Any || k.PathScope == Exact && s.Path == k.Path || k.PathScope == Prefix && strings.HasPrefix(s.Path, k.Path)) {
			return true
		}
	}
	return false
}
