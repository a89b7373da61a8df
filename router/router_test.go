package router

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/balance"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// tag is an op that names itself in a field, and a stage that does.
type tag string

func (t tag) Request(ex *exchange.Exchange) exchange.Verdict {
	ex.Req.Fields.Add("Seen", string(t))
	return exchange.Next
}

// testParts make ops of addPrefix, stages of compress, and errors of whatever names "bad".
func testParts() Parts {
	return Parts{
		Middleware: func(name string, cfg *config.Middleware, d MiddlewareDeps) (exchange.Op, exchange.Stage, error) {
			switch {
			case strings.HasPrefix(name, "bad"):
				return nil, nil, &option.Error{Field: "prefix", Text: "cannot be built", Remedy: "do better"}
			case cfg.Errors != nil:
				if _, err := d.Service(cfg.Errors.Service); err != nil {
					return nil, nil, err
				}
			case cfg.Compress != nil:
				return nil, func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						_, _ = io.WriteString(w, "stage "+name+" ")
						next.ServeHTTP(w, r)
					})
				}, nil
			}
			return tag(name), nil, nil
		},
		OpHandler: func(ops []exchange.Op, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = fmt.Fprint(w, "ops ", ops, " ")
				next.ServeHTTP(w, r)
			})
		},
		Forward: func(s exchange.Service) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ep, why := s.Pick(&exchange.Exchange{})
				if ep == nil {
					_, _ = io.WriteString(w, string(why))
					return
				}
				_, _ = io.WriteString(w, ep.URL)
			})
		},
		Transport: func(name string, _ *config.ServersTransport) *exchange.Transport {
			t := &exchange.Transport{Name: name}
			if strings.HasPrefix(name, "bad") {
				t.NoTLS, t.Warning = errors.New("no such version"), "left out: an authority"
			}
			return t
		},
		TransportKey: func(cfg *config.ServersTransport) string { return fmt.Sprintf("%+v", *cfg) },
		Terminate: func(options string) func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New(options) }
		},
		TLSOptions: func(name string, cfg *config.TLSOptions) error {
			if slices.Contains(cfg.CipherSuites, "bad") {
				return errors.New("no such cipher suite")
			}
			return nil
		},
	}
}

func lb(urls ...string) *config.Service {
	l := &config.LoadBalancer{}
	l.SetDefaults()
	for _, u := range urls {
		l.Servers = append(l.Servers, config.Server{URL: u})
	}
	return &config.Service{LoadBalancer: l}
}

func entryPoints(addr map[string]string) map[string]*config.EntryPoint {
	m := map[string]*config.EntryPoint{}
	for n, a := range addr {
		e := &config.EntryPoint{Address: a}
		e.SetDefaults()
		m[n] = e
	}
	return m
}

func input(h *config.HTTP) Input {
	return Input{
		Config:             &config.Dynamic{HTTP: h},
		EntryPoints:        entryPoints(map[string]string{"web": ":80", "websecure": ":443", "dns": ":53/udp"}),
		DefaultEntryPoints: []string{"web", "websecure"},
		Book:               balance.NewBook(nil, balance.Events{}),
		Parts:              testParts(),
	}
}

// ask matches a request "METHOD http(s)://host/path" on an entry point.
func ask(t *testing.T, table *Table, ep, url string) (*exchange.Route, exchange.Reason) {
	t.Helper()
	ex := exchangeFor(ep, url)
	return table.EntryPoint(ep).Match(ex)
}

func exchangeFor(ep, url string) *exchange.Exchange {
	ex := &exchange.Exchange{}
	ex.Req.Method, ex.Req.EntryPoint = "GET", ep
	ex.Req.Peer = netip.MustParseAddrPort("192.0.2.1:9")
	rest, secure := strings.CutPrefix(url, "https://")
	if !secure {
		rest = strings.TrimPrefix(url, "http://")
	}
	host, path, _ := strings.Cut(rest, "/")
	sni := host
	if a, b, ok := strings.Cut(host, "|"); ok {
		host, sni = a, b
	}
	if secure {
		ex.Req.TLS = &tls.ConnectionState{ServerName: sni}
	}
	ex.Req.Host = host
	ex.Req.Path, ex.Req.Query, ex.Req.HasQuery = strings.Cut("/"+path, "?")
	return ex
}

func routerOf(r *exchange.Route, why exchange.Reason) string {
	if r == nil {
		return string(why)
	}
	if r.Broken != "" {
		return r.Router + "!" + string(r.Broken)
	}
	return r.Router
}

func TestRoutersAreMountedWhereTheyBelong(t *testing.T) {
	table := Compile(input(&config.HTTP{
		Routers: map[string]*config.Router{
			"clear@x": {Rule: "Host(`s.test`)", Service: "s"},
			"sec@x":   {Rule: "Host(`s.test`)", Service: "s", TLS: &config.RouterTLS{}},
			"only@x":  {Rule: "Host(`o.test`)", Service: "s", TLS: &config.RouterTLS{}},
			"web@x":   {Rule: "Host(`w.test`)", Service: "s@x", EntryPoints: []string{"web"}},
			"low@x":   {Rule: "PathPrefix(`/`)", Service: "s", Priority: -5, EntryPoints: []string{"web"}},
			"high@x":  {Rule: "Path(`/x`)", Service: "s", Priority: 1000},
		},
		Services: map[string]*config.Service{"s@x": lb("http://127.0.0.1:1")},
	}))
	for _, c := range []struct{ ep, url, want string }{
		{"web", "http://s.test/", "clear@x"},
		{"web", "https://s.test/", "sec@x"},
		{"websecure", "http://o.test/", "wrong_scheme"},
		{"websecure", "https://o.test/", "only@x"},
		{"web", "http://w.test/", "web@x"},
		{"websecure", "http://w.test/", "wrong_entry_point"},
		{"web", "http://other.test/", "low@x"},
		{"web", "http://s.test/x", "high@x"},
		{"nowhere", "http://s.test/x", "no_router"},
		{"websecure", "https://none.test/", "wrong_entry_point"},
	} {
		if got := routerOf(ask(t, table, c.ep, c.url)); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.ep, c.url, got, c.want)
		}
	}
	r := table.Runtime.Routers["clear@x"]
	if r.Priority != 14 || !slices.Equal(r.Using, []string{"web", "websecure"}) || r.Status != config.StatusEnabled || r.Service != "s" {
		t.Errorf("clear@x is %+v", r)
	}
	if u := table.Runtime.Services["s@x"].UsedBy; len(u) != 6 || u[0] != "clear@x" {
		t.Errorf("s@x is used by %v", u)
	}
	if len(table.Runtime.Problems) != 0 {
		t.Errorf("problems %v", table.Runtime.Problems)
	}
}

func TestABrokenGuardIsNotPassedOver(t *testing.T) {
	table := Compile(input(&config.HTTP{
		Routers: map[string]*config.Router{
			"all@x":   {Rule: "Host(`a.test`)", Service: "s"},
			"adm@x":   {Rule: "Host(`a.test`) && PathPrefix(`/admin`)", Service: "s", Middlewares: []string{"bad-auth"}},
			"gone@x":  {Rule: "Host(`a.test`) && PathPrefix(`/gone`)", Service: "s", Middlewares: []string{"ghost"}},
			"pfx@x":   {Rule: "Host(`a.test`) && PathPrefix(`/pfx`)", Service: "s", Middlewares: []string{"bad-pfx"}},
			"alone@x": {Rule: "Host(`alone.test`)", Service: "s", Middlewares: []string{"ghost"}},
		},
		Services: map[string]*config.Service{"s@x": lb("http://127.0.0.1:1")},
		Middlewares: map[string]*config.Middleware{
			"bad-auth@x": {BasicAuth: &config.BasicAuth{}}, "bad-pfx@x": {StripPrefix: &config.StripPrefix{}},
		},
	}))
	for url, want := range map[string]string{
		"http://a.test/":      "all@x",
		"http://a.test/admin": "adm@x!router_broken",
		"http://a.test/gone":  "gone@x!router_broken",
		"http://a.test/pfx":   "all@x",
		"http://alone.test/":  "router_broken",
	} {
		if got := routerOf(ask(t, table, "web", url)); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

// What may have guarded a router and could not be read closes it, whoever else would take
// its requests or not.
func TestUnreadGuardsAnswer503(t *testing.T) {
	svc := lb("http://127.0.0.1:1")
	closed := lb("http://127.0.0.1:1")
	closed.Broken = "middleware: unknown key"
	table := Compile(input(&config.HTTP{
		Routers: map[string]*config.Router{
			"r@x": {Rule: "Host(`r.test`)", Service: "s", Broken: "middleware: unknown key"},
			"m@x": {Rule: "Host(`m.test`)", Service: "s", Middlewares: []string{"auth"}},
			"c@x": {Rule: "Host(`c.test`)", Service: "s", Middlewares: []string{"chain"}},
			"s@x": {Rule: "Host(`s.test`)", Service: "closed"},
			"w@x": {Rule: "Host(`w.test`)", Service: "weighted"},
			"o@x": {Rule: "Host(`o.test`)", Service: "s"},
		},
		Services: map[string]*config.Service{"s@x": svc, "closed@x": closed,
			"weighted@x": {Weighted: &config.Weighted{Services: []config.WeightedService{{Name: "closed"}}}}},
		Middlewares: map[string]*config.Middleware{
			"auth@x":  {BasicAuth: &config.BasicAuth{Users: []string{"u:p"}}, Broken: "users: wrong"},
			"chain@x": {Chain: &config.Chain{Middlewares: []string{"auth"}}},
		},
	}))
	for url, want := range map[string]string{
		"http://r.test/": "r@x!router_broken", "http://m.test/": "m@x!router_broken", "http://c.test/": "c@x!router_broken",
		"http://s.test/": "s@x!router_broken", "http://w.test/": "w@x!router_broken", "http://o.test/": "o@x",
	} {
		if got := routerOf(ask(t, table, "web", url)); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
	for _, object := range []string{"router r@x", "middleware auth@x", "service closed@x", "router m@x"} {
		if !slices.ContainsFunc(table.Runtime.Problems, func(p config.Problem) bool { return p.Object == object }) {
			t.Errorf("no problem about %s in %v", object, table.Runtime.Problems)
		}
	}
}

func TestEntryPointSettings(t *testing.T) {
	in := input(&config.HTTP{
		Routers: map[string]*config.Router{
			"r@x": {Rule: "Host(`r.test`)", Service: "s", Middlewares: []string{"three"}},
			"w@x": {Rule: "Host(`w.test`)", Service: "s", EntryPoints: []string{"websecure"}},
		},
		Services:    map[string]*config.Service{"s@x": lb("http://127.0.0.1:1")},
		Middlewares: map[string]*config.Middleware{"one@x": {AddPrefix: &config.AddPrefix{}}, "three@x": {AddPrefix: &config.AddPrefix{}}},
	})
	off := false
	in.EntryPoints["websecure"].HTTP.Middlewares = []string{"one@x"}
	in.EntryPoints["websecure"].HTTP.TLS = &config.EntryPointTLS{CertResolver: "le"}
	in.EntryPoints["websecure"].Observability.AccessLogs = &off
	in.EntryPoints["web"].HTTP.Redirections = &config.Redirections{EntryPoint: &config.RedirectEntryPoint{To: "websecure"}}
	in.EntryPoints["web"].HTTP.Redirections.EntryPoint.SetDefaults()
	in.EntryPoints["web"].HTTP.Redirections.EntryPoint.Priority = 10
	in.Resolvers = []string{"le"}
	table := Compile(in)
	run := table.Runtime
	if got := slices.Sorted(mapKeys(run.Routers)); !slices.Equal(got, []string{"r@x", "w@x", "web-to-websecure@internal", "websecure-r@x"}) {
		t.Fatalf("routers %v", got)
	}
	r := run.Routers["websecure-r@x"]
	if !slices.Equal(r.Middlewares, []string{"one@x", "three@x"}) || r.TLS == nil || r.TLS.CertResolver != "le" || *r.Observability.AccessLogs {
		t.Errorf("websecure-r@x is %+v", r.Router)
	}
	route, _ := ask(t, table, "websecure", "https://w.test/")
	if route == nil || !route.NoAccessLog || route.NoMetrics || len(route.Ops) != 1 || route.To == nil || route.Tail != nil {
		t.Errorf("route %+v", route)
	}
	hidden := run.Routers["web-to-websecure@internal"]
	if hidden.Rule != "HostRegexp(`^.+$`)" || hidden.Priority != 10 || hidden.RuleSyntax != "default" || hidden.Service != "noop@internal" {
		t.Errorf("the redirection is %+v", hidden.Router)
	}
	if m := run.Middlewares["redirect-web-to-websecure@internal"]; m == nil || *m.RedirectScheme != (config.RedirectScheme{Scheme: "https", Port: "443", Permanent: true}) {
		t.Errorf("its middleware is %+v", m)
	}
	if got := routerOf(ask(t, table, "web", "http://other.test/")); got != "web-to-websecure@internal" {
		t.Errorf("redirected by %s", got)
	}
	if got := routerOf(ask(t, table, "web", "http://r.test/")); got != "r@x" {
		t.Errorf("a lower priority of the redirection lets %s win", got)
	}
	if c := table.Certificates(); len(c) != 2 || c[0].Domain.Main != "w.test" || c[1].Domain.Main != "r.test" {
		t.Errorf("certificates %+v", c)
	}
}

func TestRedirectionTargets(t *testing.T) {
	for to, want := range map[string]string{":8443": "8443", ":443": "443", "websecure": "443", "dns": "53", ":x": "", "wbsecure": "", "": ""} {
		in := input(nil)
		in.EntryPoints["web"].HTTP.Redirections = &config.Redirections{EntryPoint: &config.RedirectEntryPoint{To: to, Scheme: "https", Priority: 1}}
		table := Compile(in)
		got := ""
		for _, m := range table.Runtime.Middlewares {
			got = m.RedirectScheme.Port
		}
		if got != want || (want == "") != (len(table.Runtime.Problems) == 1) {
			t.Errorf("%q: port %q, problems %v", to, got, table.Runtime.Problems)
		}
	}
}

func TestDefaultRuleSyntax(t *testing.T) {
	in := input(&config.HTTP{
		Routers:  map[string]*config.Router{"r@x": {Rule: "Host(`a`,`b`)", Service: "s", EntryPoints: []string{"web"}}, "v3@x": {Rule: "Header(`a`, `b`)", Service: "s", RuleSyntax: "v3", EntryPoints: []string{"web"}}},
		Services: map[string]*config.Service{"s@x": lb()},
	})
	in.DefaultRuleSyntax = "v2"
	table := Compile(in)
	for n, want := range map[string]string{"r@x": "v2", "v3@x": "v3"} {
		if r := table.Runtime.Routers[n]; r.Status != config.StatusEnabled || r.RuleSyntax != want {
			t.Errorf("%s: %s %v %q", n, r.Status, r.Errors, r.RuleSyntax)
		}
	}
}

func body(h http.Handler) string {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	h.ServeHTTP(w, r.WithContext(exchange.NewContext(r.Context(), &exchange.Exchange{})))
	return strings.TrimSpace(w.Body.String())
}

func TestComposition(t *testing.T) {
	guarded := lb("http://g")
	guarded.Middlewares = []string{"p3"}
	table := Compile(input(&config.HTTP{
		Routers: map[string]*config.Router{
			"ops@x":    {Rule: "Path(`/ops`)", Service: "s", Middlewares: []string{"p1", "chain"}},
			"stage@x":  {Rule: "Path(`/stage`)", Service: "g", Middlewares: []string{"p1", "z1", "p1", "p2", "z2", "empty"}},
			"svc@x":    {Rule: "Path(`/svc`)", Service: "g", Middlewares: []string{"p1"}},
			"deep@x":   {Rule: "Path(`/deep`)", Service: "w"},
			"noop@x":   {Rule: "Path(`/noop`)", Service: "noop@internal"},
			"api@x":    {Rule: "Path(`/api`)", Service: "api@internal", Middlewares: []string{"p1"}},
			"errors@x": {Rule: "Path(`/errors`)", Service: "s", Middlewares: []string{"errs"}},
		},
		Services: map[string]*config.Service{
			"s@x": lb("http://s"), "g@x": guarded,
			"w@x": {Weighted: &config.Weighted{Services: []config.WeightedService{{Name: "g"}}}},
		},
		Middlewares: map[string]*config.Middleware{
			"p1@x": {AddPrefix: &config.AddPrefix{}}, "p2@x": {AddPrefix: &config.AddPrefix{}}, "p3@x": {AddPrefix: &config.AddPrefix{}},
			"z1@x": {Compress: &config.Compress{}}, "z2@x": {Compress: &config.Compress{}},
			"chain@x": {Chain: &config.Chain{Middlewares: []string{"p2", "p1@x"}}}, "empty@x": {Chain: &config.Chain{}},
			"errs@x": {Errors: &config.ErrorPage{Service: "w"}},
		},
	}))
	table.Commit()
	get := func(path string) *exchange.Route {
		r, why := ask(t, table, "web", "http://a.test/"+path)
		if r == nil {
			t.Fatalf("%s: %s; %v", path, why, table.Runtime.Problems)
		}
		return r
	}
	if r := get("ops"); r.Tail != nil || r.To == nil || fmt.Sprint(r.Ops) != "[p1@x p2@x p1@x]" {
		t.Errorf("ops: %+v", r)
	}
	if r := get("svc"); r.Tail != nil || fmt.Sprint(r.Ops) != "[p1@x p3@x]" {
		t.Errorf("middlewares of the service run after the router's: %+v", r)
	}
	r := get("stage")
	if r.To != nil || fmt.Sprint(r.Ops) != "[p1@x]" {
		t.Fatalf("stage: %+v", r)
	}
	if got, want := body(r.Tail), "stage z1@x ops [p1@x p2@x] stage z2@x ops [p3@x] http://g"; got != want {
		t.Errorf("tail runs %q, want %q", got, want)
	}
	if got := body(get("deep").Tail); got != "ops [p3@x] http://g" {
		t.Errorf("a member's own middlewares: %q", got)
	}
	if r := get("noop"); !r.Internal || r.Tail == nil {
		t.Errorf("noop: %+v", r)
	}
	if got := routerOf(ask(t, table, "web", "http://a.test/api")); got != "no_router" {
		t.Errorf("api@internal is off, and got %s", got)
	}
	if r := get("errors"); len(r.Ops) != 1 || r.Service != "s@x" {
		t.Errorf("errors: %+v", r)
	}
}

func TestOrderIsDeterministic(t *testing.T) {
	h := &config.HTTP{
		Routers: map[string]*config.Router{
			"b@file":   {Rule: "Path(`/a`)", Service: "s"},
			"a@file":   {Rule: "Path(`/a`)", Service: "s"},
			"c@docker": {Rule: "Path(`/a`)", Service: "s@file"},
		},
		Services: map[string]*config.Service{"s@file": lb()},
	}
	for precedence, want := range map[string]string{"": "c@docker", "docker,file": "c@docker", "file": "a@file", "File,DOCKER": "a@file", "swarm": "a@file", "docker": "c@docker", "DOCKER": "c@docker"} {
		in := input(h)
		in.Precedence = strings.FieldsFunc(precedence, func(r rune) bool { return r == ',' })
		table := Compile(in)
		if got := routerOf(ask(t, table, "web", "http://x/a")); got != want {
			t.Errorf("precedence %q: %s, want %s", precedence, got, want)
		}
		dup := 0
		for _, p := range table.Runtime.Problems {
			if p.Code == config.CodeDuplicateHost && p.Severity == config.Warning {
				dup++
			}
		}
		if dup != 2 { // two routers behind the first
			t.Errorf("precedence %q: %d duplicates: %v", precedence, dup, table.Runtime.Problems)
		}
	}
}

func TestUnchangedRulesAreTakenOver(t *testing.T) {
	h := &config.HTTP{
		Routers:  map[string]*config.Router{"a@x": {Rule: "Host(`a`)", Service: "s"}, "b@x": {Rule: "Host(`b`)", Service: "s"}},
		Services: map[string]*config.Service{"s@x": lb()},
	}
	in := input(h)
	first := Compile(in)
	in.Previous = first
	in.Config = &config.Dynamic{HTTP: &config.HTTP{Routers: map[string]*config.Router{"a@x": {Rule: "Host(`a`)", Service: "s"}}, Services: h.Services}}
	second := Compile(in)
	k := ruleKey{text: "Host(`a`)"}
	if second.rules[k] == nil || second.rules[k] != first.rules[k] || len(second.rules) != 1 {
		t.Error("the rule was not taken over, or too much was")
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	if testnet.RaceDetector {
		t.Skip("pools are leaky under the race detector")
	}
	in := input(&config.HTTP{
		Routers: map[string]*config.Router{
			"a@x": {Rule: "Host(`a.test`) && PathPrefix(`/x y`)", Service: "s", TLS: &config.RouterTLS{Options: "o"}},
			"b@x": {Rule: "HostRegexp(`^[a-z]+[.]b[.]test$`)", Service: "s", TLS: &config.RouterTLS{}},
		},
		Services: map[string]*config.Service{"s@x": lb()},
	})
	in.Config.TLS = &config.TLS{Options: map[string]*config.TLSOptions{"o@x": {}}}
	table := Compile(in)
	for _, url := range []string{"https://A.test/x%20y/z", "https://q.b.test/", "https://none.test/", "http://a.test/x%20y"} {
		ex := exchangeFor("web", url)
		if ex.Req.TLS != nil {
			ex.Req.TLS.ServerName = strings.ToLower(ex.Req.TLS.ServerName)
		}
		m := table.EntryPoint("web")
		if n := testing.AllocsPerRun(200, func() { m.Match(ex) }); n >= 1 {
			t.Errorf("%s: %v allocations", url, n)
		}
	}
}

type cookie string

func (c cookie) CookieName() string { return string(c) }

func TestCookieNamesAreShown(t *testing.T) {
	plain := lb()
	plain.LoadBalancer.Sticky = &config.Sticky{Cookie: &config.Cookie{Secure: true}}
	mixed := &config.Service{Weighted: &config.Weighted{Sticky: &config.Sticky{Cookie: &config.Cookie{Name: "a b"}}}}
	for _, svc := range []*config.Service{plain, mixed, lb()} {
		before := fmt.Sprintf("%+v", svc)
		info := &config.ServiceInfo{Service: svc}
		showCookie(info, cookie("_58aa1"))
		if fmt.Sprintf("%+v", svc) != before {
			t.Error("the configuration was changed")
		}
		switch {
		case svc == plain:
			if c := info.LoadBalancer.Sticky.Cookie; c.Name != "_58aa1" || !c.Secure {
				t.Errorf("%+v", c)
			}
		case svc == mixed:
			if c := info.Weighted.Sticky.Cookie; c.Name != "_58aa1" {
				t.Errorf("%+v", c)
			}
		case info.Service != svc:
			t.Error("a service without cookie was copied")
		}
	}
}

// TestCookieNameOfMixedService: the name is shown too where a child is a handler.
func TestCookieNameOfMixedService(t *testing.T) {
	in := input(&config.HTTP{
		Routers: map[string]*config.Router{"r@x": {Rule: "Host(`a`)", Service: "w"}},
		Services: map[string]*config.Service{
			"s@x": lb("http://127.0.0.1:1"),
			"m@x": {Mirroring: &config.Mirroring{Service: "s"}},
			"w@x": {Weighted: &config.Weighted{Services: []config.WeightedService{{Name: "s"}, {Name: "m"}}, Sticky: &config.Sticky{Cookie: &config.Cookie{}}}},
		},
	})
	if name := Compile(in).Runtime.Services["w@x"].Weighted.Sticky.Cookie.Name; !strings.HasPrefix(name, "_") {
		t.Errorf("name %q", name)
	}
}
