package router

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/router/rule"
)

func mapKeys[T any](m map[string]T) iter.Seq[string] { return maps.Keys(m) }

// TestTableIsALinearSearch holds that matching equals "sorted by priority, first match
// wins, ties by name" on random routers, entry points, TLS and requests.
func TestTableIsALinearSearch(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		h := &config.HTTP{Routers: map[string]*config.Router{}, Services: map[string]*config.Service{"s@x": lb()}}
		for i := range 1 + r.IntN(60) {
			cfg := &config.Router{Rule: randomRule(r, r.IntN(3)), Service: "s", Priority: r.IntN(6) - 1}
			if r.IntN(3) == 0 {
				cfg.TLS = &config.RouterTLS{}
			}
			if r.IntN(3) == 0 {
				cfg.EntryPoints = []string{"web"}
			}
			h.Routers[fmt.Sprintf("r%d@x", i)] = cfg
		}
		table := Compile(input(h))
		names := slices.Sorted(maps.Keys(h.Routers))
		slices.SortStableFunc(names, func(a, b string) int {
			return table.Runtime.Routers[b].Priority - table.Runtime.Routers[a].Priority
		})
		for range 200 {
			url := "http://"
			if r.IntN(2) == 0 {
				url = "https://"
			}
			ep := []string{"web", "websecure"}[r.IntN(2)]
			ex := exchangeFor(ep, url+"h/")
			q := randomRequest(r)
			q.TLS, q.EntryPoint = ex.Req.TLS, ep
			ex.Req = *q
			want := ""
			for _, n := range names {
				info := table.Runtime.Routers[n]
				if slices.Contains(info.Using, ep) && (info.TLS != nil) == (q.TLS != nil) && info.Status == config.StatusEnabled {
					c, _ := rule.Compile(info.Rule, rule.V3)
					var s rule.Subject
					s.HTTP(q, nil)
					if c.Match(&s) {
						want = n
						break
					}
				}
			}
			route, why := table.EntryPoint(ep).Match(ex)
			got := ""
			if route != nil {
				got = route.Router
			}
			if got != want || (route == nil) == (why == "") {
				t.Fatalf("%s %+v: %q (%s), want %q", ep, q, got, why, want)
			}
			if x := table.Explain(&ex.Req); x.Router != want || want != "" && (x.Candidates[0].Router != want || !x.Candidates[0].Serves) {
				t.Fatalf("explained %+v, want %s", x, want)
			}
		}
	}
}

func TestExplainNamesTheNearestMiss(t *testing.T) {
	table := Compile(input(&config.HTTP{
		Routers: map[string]*config.Router{
			"far@x":    {Rule: "Host(`z.test`) && Path(`/q`) && Method(`PUT`)", Service: "s"},
			"near@x":   {Rule: "Host(`a.test`) && PathPrefix(`/api`)", Service: "s"},
			"sec@x":    {Rule: "Host(`a.test`)", Service: "s", TLS: &config.RouterTLS{}},
			"broken@x": {Rule: "Host(`a.test`", Service: "s"},
			"ghost@x":  {Rule: "Host(`a.test`) && Path(`/`)", Service: "ghost"},
		},
		Services: map[string]*config.Service{"s@x": lb()},
	}))
	x := table.Explain(&exchangeFor("web", "http://a.test/").Req)
	if x.Router != "" || x.Reason != "wrong_scheme" {
		t.Errorf("%+v", x)
	}
	var got []string
	for _, c := range x.Candidates {
		got = append(got, fmt.Sprintf("%s %v %q %v", c.Router, c.Matches, c.Obstacle, c.Failed))
	}
	want := []string{
		`ghost@x true "the router is disabled" []`,
		`sec@x true "the request came without TLS and the router has tls" []`,
		"near@x false \"\" [{PathPrefix(`/api`) /}]",
	}
	if len(got) != 5 || !slices.Equal(got[:3], want) {
		t.Errorf("candidates %q", got)
	}
	x = table.Explain(&exchangeFor("web", "http://a.test/api/x").Req)
	if x.Router != "near@x" || x.Service != "s@x" || !x.Candidates[0].Serves {
		t.Errorf("%+v", x)
	}
}

func bigConfig(n int) *config.HTTP {
	h := &config.HTTP{Routers: map[string]*config.Router{}, Services: map[string]*config.Service{}, Middlewares: map[string]*config.Middleware{"p@x": {AddPrefix: &config.AddPrefix{}}}}
	for i := range n {
		h.Routers[fmt.Sprintf("r%d@x", i)] = &config.Router{
			Rule: fmt.Sprintf("Host(`app-%d.example.com`) && PathPrefix(`/api`)", i), Service: fmt.Sprintf("s%d", i), Middlewares: []string{"p"},
		}
		h.Services[fmt.Sprintf("s%d@x", i)] = lb(fmt.Sprintf("http://10.0.%d.%d:80", i/250, i%250))
	}
	return h
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 1000, 10_000, 100_000} {
		table := Compile(input(bigConfig(n)))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ex := exchangeFor("web", fmt.Sprintf("http://app-%d.example.com/api/users/17", n/2))
			m := table.EntryPoint("web")
			b.ReportAllocs()
			for b.Loop() {
				if r, _ := m.Match(ex); r == nil {
					b.Fatal("nothing found")
				}
			}
		})
	}
}

// BenchmarkCompile measures a first table and one after a change of a single router.
func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		h := bigConfig(n)
		b.Run(fmt.Sprintf("first/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Compile(input(h))
			}
		})
		b.Run(fmt.Sprintf("change/%d", n), func(b *testing.B) {
			in := input(h)
			in.Same = "same"
			in.Previous = Compile(in)
			in.Previous.Commit()
			b.ReportAllocs()
			start := time.Now()
			i := 0
			for b.Loop() {
				i++
				next := *h
				next.Routers = maps.Clone(h.Routers)
				next.Routers["r0@x"] = &config.Router{Rule: fmt.Sprintf("Host(`app-0.example.com`) && PathPrefix(`/api/%d`)", i), Service: "s0", Middlewares: []string{"p"}}
				in.Config = &config.Dynamic{HTTP: &next}
				in.Previous = Compile(in)
				in.Previous.Commit()
			}
			b.ReportMetric(float64(time.Since(start).Milliseconds())/float64(b.N), "ms/change")
		})
	}
}
