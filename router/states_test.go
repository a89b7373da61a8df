package router

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

func TestStatesOfWhatIsWrong(t *testing.T) {
	in := input(&config.HTTP{
		Routers: map[string]*config.Router{
			"ok@x":      {Rule: "Host(`ok.test`)", Service: "s"},
			"rule@x":    {Rule: "Host(`x", Service: "s"},
			"nosvc@x":   {Rule: "Host(`a`)"},
			"ghost@x":   {Rule: "Host(`b`)", Service: "ss"},
			"far@x":     {Rule: "Host(`c`)", Service: "s@docker"},
			"nomw@x":    {Rule: "Host(`d`)", Service: "s", Middlewares: []string{"pfx", "ghost"}},
			"badmw@x":   {Rule: "Host(`e`)", Service: "s", Middlewares: []string{"bad"}},
			"half@x":    {Rule: "Host(`f`)", Service: "s", EntryPoints: []string{"web", "ghost", "dns"}},
			"nowhere@x": {Rule: "Host(`g`)", Service: "s", EntryPoints: []string{"wep"}},
			"max@x":     {Rule: "Host(`h`)", Service: "s", Priority: math.MaxInt},
			"loop@x":    {Rule: "Host(`i`)", Service: "s", Middlewares: []string{"c1"}},
			"sloop@x":   {Rule: "Host(`j`)", Service: "w1"},
			"nil@x":     {Rule: "Host(`k`)", Service: "nil"},
			"two@x":     {Rule: "Host(`l`)", Service: "two"},
			"tr@x":      {Rule: "Host(`m`)", Service: "tr"},
			"badtr@x":   {Rule: "Host(`n`)", Service: "badtr"},
			"child@x":   {Rule: "Host(`o`)", Service: "s", ParentRefs: []string{"ok"}},
			"opt@x":     {Rule: "Host(`p`)", Service: "s", TLS: &config.RouterTLS{Options: "nosuch"}},
			"badopt@x":  {Rule: "Host(`q`)", Service: "s", TLS: &config.RouterTLS{Options: "bad"}},
			"idn@x":     {Rule: "Host(`bücher.test`)", Service: "s"},
			"ascii@x":   {Rule: "Host(`xn--bcher-kva.test`)", Service: "s"},
			"idn2@x":    {Rule: "Host(`höfe.test`)", Service: "s"},
		},
		Services: map[string]*config.Service{
			"s@x":   lb("http://127.0.0.1:1"),
			"w1@x":  {Weighted: &config.Weighted{Services: []config.WeightedService{{Name: "w2"}}}},
			"w2@x":  {Weighted: &config.Weighted{Services: []config.WeightedService{{Name: "w1"}}}},
			"nil@x": {}, "two@x": {LoadBalancer: &config.LoadBalancer{}, Mirroring: &config.Mirroring{}},
			"tr@x":    {LoadBalancer: &config.LoadBalancer{ServersTransport: "nosuch"}},
			"badtr@x": {LoadBalancer: &config.LoadBalancer{ServersTransport: "bad"}},
		},
		Middlewares: map[string]*config.Middleware{
			"pfx@x": {AddPrefix: &config.AddPrefix{}}, "bad@x": {AddPrefix: &config.AddPrefix{}},
			"c1@x": {Chain: &config.Chain{Middlewares: []string{"pfx", "c2"}}}, "c2@x": {Chain: &config.Chain{Middlewares: []string{"c1"}}},
			"unused@x": {IPAllowList: &config.IPAllowList{}},
		},
		ServersTransports: map[string]*config.ServersTransport{"bad@x": {}},
	})
	in.Config.TLS = &config.TLS{Options: map[string]*config.TLSOptions{"bad@x": {CipherSuites: []string{"bad"}}}}
	table := Compile(in)
	for name, want := range map[string]struct {
		status config.Status
		code   string
		text   string
	}{
		"ok@x":      {config.StatusEnabled, "", ""},
		"rule@x":    {config.StatusDisabled, config.CodeInvalidRule, "close it"},
		"nosvc@x":   {config.StatusDisabled, config.CodeUnknownService, "set service"},
		"ghost@x":   {config.StatusDisabled, config.CodeUnknownService, "did you mean s?"},
		"far@x":     {config.StatusDisabled, config.CodeUnknownService, "write s@x"},
		"nomw@x":    {config.StatusDisabled, config.CodeUnknownMiddleware, "ghost@x"},
		"badmw@x":   {config.StatusDisabled, config.CodeInvalidMiddleware, "cannot be built"},
		"half@x":    {config.StatusWarning, config.CodeUnknownEntryPoint, "ghost"},
		"nowhere@x": {config.StatusDisabled, config.CodeUnknownEntryPoint, "did you mean web?"},
		"max@x":     {config.StatusDisabled, config.CodeInvalidValue, "highest"},
		"loop@x":    {config.StatusDisabled, config.CodeLoop, "c1@x > c2@x > c1@x"},
		"sloop@x":   {config.StatusDisabled, config.CodeLoop, "w1@x > w2@x > w1@x"},
		"nil@x":     {config.StatusDisabled, config.CodeInvalidService, "no kind"},
		"two@x":     {config.StatusDisabled, config.CodeInvalidService, "two kinds"},
		"tr@x":      {config.StatusDisabled, config.CodeUnknownTransport, "nosuch@x"},
		"badtr@x":   {config.StatusEnabled, "", ""},
		"child@x":   {config.StatusDisabled, config.CodeInvalidValue, "has a service"},
		"opt@x":     {config.StatusDisabled, config.CodeUnknownTLSOptions, "nosuch@x"},
		"badopt@x":  {config.StatusDisabled, config.CodeInvalidValue, "cipher"},
		"idn@x":     {config.StatusDisabled, config.CodeDuplicateHost, "ascii@x"},
		"ascii@x":   {config.StatusEnabled, "", ""},
		"idn2@x":    {config.StatusEnabled, "", ""},
	} {
		r := table.Runtime.Routers[name]
		if r.Status != want.status || (len(r.Errors) > 0) != (want.status != config.StatusEnabled) {
			t.Errorf("%s: %s %v, want %s", name, r.Status, r.Errors, want.status)
		}
		var found bool
		for _, p := range table.Runtime.Problems {
			found = found || p.Object == "router "+name && p.Code == want.code && strings.Contains(p.String(), want.text) && p.Provider == "x"
		}
		if found != (want.code != "") {
			t.Errorf("%s: no problem %s with %q", name, want.code, want.text)
		}
	}
	run := table.Runtime
	for _, want := range []string{"no such version", "an authority"} { // servers without TLS work, and who needs it is told
		if !slices.ContainsFunc(run.Problems, func(p config.Problem) bool {
			return p.Object == "serversTransport bad@x" && strings.Contains(p.Text, want)
		}) {
			t.Errorf("no problem tells of %s: %v", want, run.Problems)
		}
	}
	if !slices.ContainsFunc(run.Problems, func(p config.Problem) bool {
		return p.Object == "middleware bad@x" && p.Field == "prefix" && p.Text == "cannot be built" && p.Suggestion == "do better"
	}) {
		t.Errorf("the option to blame is not named: %v", run.Problems)
	}
	if m := run.Routers["nomw@x"].Middlewares; !slices.Equal(m, []string{"pfx@x", "ghost@x"}) {
		t.Errorf("middlewares of nomw@x are %v", m)
	}
	if !slices.Equal(run.Routers["half@x"].Using, []string{"web"}) {
		t.Errorf("half@x uses %v", run.Routers["half@x"].Using)
	}
	for name, want := range map[string]config.Status{"bad@x": "disabled", "c1@x": "disabled", "c2@x": "disabled", "pfx@x": "enabled", "unused@x": "enabled"} {
		if got := run.Middlewares[name]; got.Status != want {
			t.Errorf("middleware %s: %s %v", name, got.Status, got.Errors)
		}
	}
	for name, want := range map[string]config.Status{"nil@x": "disabled", "tr@x": "disabled", "w1@x": "disabled", "s@x": "enabled", "noop@internal": "enabled"} {
		if got := run.Services[name]; got == nil || got.Status != want {
			t.Errorf("service %s: %+v", name, got)
		}
	}
	if tr := run.Services["tr@x"].LoadBalancer.ServersTransport; tr != "nosuch@x" {
		t.Errorf("the transport shows as %q", tr)
	}
	if got := routerOf(ask(t, table, "web", "http://xn--hfe-sna.test/")); got != "idn2@x" {
		t.Errorf("a host in Unicode: %s", got)
	}
}

// A guard that cannot be built answers 503; in files, which may be the reference's, and with
// sluice.compat404 its requests get the reference's 404. They never go to another router.
func TestUnbuildableGuards(t *testing.T) {
	for _, c := range []struct {
		provider, alone string
		compat          bool
	}{
		{"docker", "r@docker!router_broken", false},
		{"swarm", "r@swarm!router_broken", false},
		{"other-engine", "r@other-engine!router_broken", false},
		{"docker", "router_broken", true},
		{"file", "router_broken", false},
		{"http", "router_broken", false},
	} {
		for _, kind := range append(config.GuardKinds(), "plugin") {
			bad := &config.Middleware{}
			if f := reflect.ValueOf(bad).Elem().FieldByNameFunc(func(n string) bool { return strings.EqualFold(n, kind) }); kind == "plugin" {
				bad.Plugin = map[string]map[string]any{"bouncer": {"enabled": "true"}}
			} else {
				f.Set(reflect.New(f.Type().Elem()))
			}
			at := "@" + c.provider
			guarded := lb("http://127.0.0.1:1")
			guarded.Middlewares = []string{"bad"}
			in := input(&config.HTTP{
				Routers: map[string]*config.Router{
					"r" + at:     {Rule: "Host(`r.test`)", Service: "s", Middlewares: []string{"chain"}},
					"adm" + at:   {Rule: "Host(`a.test`) && Path(`/adm`)", Service: "s", Middlewares: []string{"bad"}},
					"all" + at:   {Rule: "Host(`a.test`)", Service: "s"},
					"plain" + at: {Rule: "Host(`p.test`)", Service: "s", Middlewares: []string{"badprefix"}},
					"ghost" + at: {Rule: "Host(`g.test`)", Service: "s", Middlewares: []string{"ghost"}},
					"w" + at:     {Rule: "Host(`w.test`)", Service: "w"},
				},
				Services: map[string]*config.Service{
					"s" + at: lb("http://127.0.0.1:1"), "kid" + at: guarded,
					"w" + at: {Weighted: &config.Weighted{Services: []config.WeightedService{{Name: "kid"}}}},
				},
				Middlewares: map[string]*config.Middleware{
					"bad" + at: bad, "badprefix" + at: {AddPrefix: &config.AddPrefix{}},
					"chain" + at: {Chain: &config.Chain{Middlewares: []string{"bad"}}},
				},
			})
			in.Compat404 = c.compat
			table := Compile(in)
			for url, want := range map[string]string{
				"http://r.test/": c.alone, "http://a.test/adm": "adm" + at + "!router_broken", "http://a.test/": "all" + at,
				"http://p.test/": "no_router", "http://g.test/": "router_broken", "http://w.test/": strings.Replace(c.alone, "r@", "w@", 1),
			} {
				if got := routerOf(ask(t, table, "web", url)); got != want {
					t.Errorf("%s of %s: %s: %s, want %s", kind, c.provider, url, got, want)
				}
			}
			for _, object := range []string{"middleware bad" + at, "router r" + at} {
				if !slices.ContainsFunc(table.Runtime.Problems, func(p config.Problem) bool {
					return p.Object == object && p.Severity == config.Error && strings.Contains(p.Text, "cannot be built")
				}) {
					t.Errorf("%s of %s: no problem about %s", kind, c.provider, object)
				}
			}
		}
	}
}

// TestServiceBehindItsOwnErrorPage: a service whose own middleware fetches pages from that
// service would be built for ever.
func TestServiceBehindItsOwnErrorPage(t *testing.T) {
	s := lb("http://127.0.0.1:1")
	s.Middlewares = []string{"pages"}
	table := Compile(input(&config.HTTP{
		Routers:     map[string]*config.Router{"r@x": {Rule: "Host(`a.test`)", Service: "s"}},
		Services:    map[string]*config.Service{"s@x": s},
		Middlewares: map[string]*config.Middleware{"pages@x": {Errors: &config.ErrorPage{Service: "s"}}},
	}))
	info := table.Runtime.Routers["r@x"]
	if info.Status != config.StatusDisabled || !strings.Contains(strings.Join(info.Errors, " "), "needs that service: s@x > s@x") {
		t.Errorf("%+v", info)
	}
}

// Chains of chains double with each level: they must cost their own router only.
func TestChainsDoNotExplode(t *testing.T) {
	mws := map[string]*config.Middleware{"ok@x": {AddPrefix: &config.AddPrefix{Prefix: "/p"}}}
	for i := range 40 {
		next := fmt.Sprintf("c%d", i+1)
		mws[fmt.Sprintf("c%d@x", i)] = &config.Middleware{Chain: &config.Chain{Middlewares: []string{next, next}}}
	}
	mws["c40@x"] = &config.Middleware{Chain: &config.Chain{}}
	many := make([]string, 500)
	for i := range many {
		many[i] = "ok"
	}
	began := time.Now()
	table := Compile(input(&config.HTTP{
		Routers: map[string]*config.Router{
			"bomb@x": {Rule: "Host(`bomb.test`)", Service: "s", Middlewares: []string{"c0"}},
			"long@x": {Rule: "Host(`long.test`)", Service: "s", Middlewares: many},
		},
		Middlewares: mws, Services: map[string]*config.Service{"s@x": lb()},
	}))
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("compiled in %s", took)
	}
	if got := routerOf(ask(t, table, "web", "http://long.test/")); got != "long@x" {
		t.Errorf("a long list of middlewares: %s", got)
	}
	if got := routerOf(ask(t, table, "web", "http://bomb.test/")); got == "bomb@x" {
		t.Error("the bomb is served")
	}
}
