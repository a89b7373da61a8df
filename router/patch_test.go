package router

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/balance"
)

// editing makes random changes to a configuration. Objects that are the same keep their
// pointers, as those of providers do.
type editing struct {
	r   *rand.Rand
	cfg *config.Dynamic
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func (e *editing) rare(n int) bool { return e.r.IntN(n) == 0 }

func (e *editing) router() *config.Router {
	r := e.r
	host := fmt.Sprintf("h%d.test", r.IntN(60))
	cfg := &config.Router{Rule: fmt.Sprintf("Host(`%s`) && PathPrefix(`/%d`)", host, r.IntN(9)), Service: fmt.Sprintf("s%d", r.IntN(12))}
	switch r.IntN(12) {
	case 0:
		cfg.Rule = fmt.Sprintf("Host(`%s`) || Path(`/a/%d`)", host, r.IntN(9))
	case 1:
		cfg.Rule = pick(r, "PathPrefix(`/`)", "Path(`/x`)", "HostRegexp(`^h1.*`)", "Host(`*.test`)", "Host(`**.test`) && PathPrefix(`/1`)")
	case 2:
		cfg.Rule = pick(r, "Host(`x", "Host(`bücher.test`)", "Host(`xn--bcher-kva.test`)", "Host(`h1.test`)", "Host(`h1.test`) && !Method(`PUT`)")
	}
	if e.rare(3) {
		cfg.TLS = &config.RouterTLS{}
		if e.rare(3) {
			cfg.TLS.CertResolver = pick(r, "le", "le", "le", "nobody")
		}
		if e.rare(8) {
			cfg.TLS.Options = pick(r, "strict@x", "default", "nosuch")
		}
	}
	if e.rare(3) {
		cfg.EntryPoints = pick(r, []string{"web"}, []string{"websecure"}, []string{"inner"}, []string{"web", "inner"}, []string{"nowhere"})
	}
	for range r.IntN(3) {
		cfg.Middlewares = append(cfg.Middlewares, fmt.Sprintf("m%d", r.IntN(8)))
	}
	if e.rare(10) {
		cfg.Priority = r.IntN(5)
	}
	if e.rare(40) {
		cfg.Middlewares, cfg.Broken = nil, "unreadable"
	}
	return cfg
}

func (e *editing) service() *config.Service {
	url := func() string { return fmt.Sprintf("http://10.0.0.%d:80", e.r.IntN(9)) }
	s := lb(url(), url())
	switch e.r.IntN(8) {
	case 0:
		s = &config.Service{Weighted: &config.Weighted{Services: []config.WeightedService{{Name: "s1"}, {Name: "s2"}}}}
	case 1:
		s.LoadBalancer.Sticky = &config.Sticky{Cookie: &config.Cookie{}}
	case 2:
		s.Middlewares = []string{"m1"}
	case 3:
		s = pick(e.r, &config.Service{}, lb("://"), &config.Service{LoadBalancer: &config.LoadBalancer{ServersTransport: "t"}},
			&config.Service{Failover: &config.Failover{Service: "s2", Fallback: "s3"}})
	}
	return s
}

func (e *editing) middleware() *config.Middleware {
	return pick(e.r,
		&config.Middleware{AddPrefix: &config.AddPrefix{Prefix: "/p"}}, &config.Middleware{AddPrefix: &config.AddPrefix{Prefix: "/q"}},
		&config.Middleware{Compress: &config.Compress{}}, &config.Middleware{Errors: &config.ErrorPage{Service: fmt.Sprintf("s%d", e.r.IntN(4))}},
		&config.Middleware{Chain: &config.Chain{Middlewares: []string{fmt.Sprintf("m%d", e.r.IntN(9)), "m7"}}},
		&config.Middleware{BasicAuth: &config.BasicAuth{UsersFile: "u"}})
}

// change sets or removes one of n objects named prefix.
func change[T any](e *editing, m map[string]*T, prefix string, n int, fresh func() *T) map[string]*T {
	m = maps.Clone(m)
	name := fmt.Sprintf("%s%d@x", prefix, e.r.IntN(n))
	if m[name] != nil && e.rare(4) {
		delete(m, name)
	} else {
		m[name] = fresh()
	}
	return m
}

func (e *editing) next() {
	h := *e.cfg.HTTP
	tcp := *e.cfg.TCP
	for range 1 + e.r.IntN(2) {
		switch e.r.IntN(12) {
		case 0, 1:
			h.Services = change(e, h.Services, "s", 12, e.service)
		case 2:
			h.Middlewares = change(e, h.Middlewares, "m", 8, e.middleware)
		case 3:
			tcp.Routers = change(e, tcp.Routers, "t", 2, func() *config.TCPRouter {
				return &config.TCPRouter{Rule: fmt.Sprintf("HostSNI(`h%d.test`)", e.r.IntN(9)), Service: "db", TLS: &config.TCPRouterTLS{}}
			})
		default:
			h.Routers = change(e, h.Routers, "r", 80, e.router)
		}
	}
	e.cfg = &config.Dynamic{HTTP: &h, TCP: &tcp, TLS: e.cfg.TLS}
}

func newEditing(r *rand.Rand) *editing {
	e := &editing{r: r, cfg: &config.Dynamic{
		HTTP: &config.HTTP{Routers: map[string]*config.Router{}, Services: map[string]*config.Service{}, Middlewares: map[string]*config.Middleware{},
			ServersTransports: map[string]*config.ServersTransport{"t@x": {}}},
		TCP: &config.TCP{Routers: map[string]*config.TCPRouter{}, Services: map[string]*config.TCPService{
			"db@x": {LoadBalancer: &config.TCPLoadBalancer{Servers: []config.TCPServer{{Address: "10.0.0.1:1"}}}},
		}},
		TLS: &config.TLS{Options: map[string]*config.TLSOptions{"strict@x": {}}},
	}}
	for i := range 12 {
		e.cfg.HTTP.Services[fmt.Sprintf("s%d@x", i)] = lb(fmt.Sprintf("http://10.0.1.%d", i))
	}
	for i := range 8 {
		e.cfg.HTTP.Middlewares[fmt.Sprintf("m%d@x", i)] = &config.Middleware{AddPrefix: &config.AddPrefix{Prefix: "/"}}
	}
	for i := range 40 {
		e.cfg.HTTP.Routers[fmt.Sprintf("r%d@x", i)] = &config.Router{Rule: fmt.Sprintf("Host(`r%d.test`)", i), Service: fmt.Sprintf("s%d", i%12)}
	}
	return e
}

func (e *editing) input(models bool) Input {
	in := input(nil)
	in.Config, in.Resolvers, in.Same = e.cfg, []string{"le"}, "same"
	in.EntryPoints = entryPoints(map[string]string{"web": ":80", "websecure": ":443", "inner": ":81"})
	if models {
		in.EntryPoints["websecure"].HTTP.TLS = &config.EntryPointTLS{}
		in.EntryPoints["inner"].HTTP.Middlewares = []string{"m1@x"}
	}
	return in
}

// says is everything that a table tells, but for suggestions: those name what there is, and
// a problem that stays may have been better or worse advised when it came up.
func says(table *Table) string {
	rt := *table.Runtime
	rt.Problems = slices.Clone(rt.Problems)
	for i := range rt.Problems {
		rt.Problems[i].Suggestion = ""
	}
	b, err := json.MarshalIndent([]any{rt, table.Certificates(), table.HostOptions(), len(table.dead)}, "", " ")
	if err != nil {
		panic(err)
	}
	return string(b)
}

// does is what becomes of a request: the route with its parts, or why there is none.
func does(table *Table, ep, url string) string {
	ex := exchangeFor(ep, url)
	route, why := table.EntryPoint(ep).Match(ex)
	if route == nil {
		return string(why)
	}
	s := fmt.Sprint(route.Router, route.Service, route.Rule, route.Priority, route.Broken, route.Ops, route.Tail != nil)
	if lb, ok := route.To.(*balance.LoadBalancer); ok {
		s += lb.Name()
	}
	return s
}

// TestPatchIsAWholeTable edits configurations at random and holds the tables that are
// patched against such as are compiled whole.
func TestPatchIsAWholeTable(t *testing.T) {
	patches, whole := 0, 0
	for seed := range uint64(12) {
		e := newEditing(rand.New(rand.NewPCG(seed, 9)))
		book, other := balance.NewBook(nil, balance.Events{}), balance.NewBook(nil, balance.Events{})
		var last *Table
		for step := range 60 {
			if step > 0 {
				e.next()
			}
			in := e.input(seed%2 == 0)
			in.Book, in.Previous = book, last
			got := Compile(in)
			got.Commit()
			if got.Rebuilt() != nil {
				patches++
			} else {
				whole++
			}
			in = e.input(seed%2 == 0)
			in.Book = other
			want := Compile(in)
			want.Commit()
			if a, b := says(got), says(want); a != b {
				t.Fatalf("seed %d step %d (patched %v): %s", seed, step, slices.Sorted(maps.Keys(got.Rebuilt())), firstDifference(a, b))
			}
			for range 100 {
				ep := pick(e.r, "web", "websecure", "inner")
				url := fmt.Sprintf("%s://%s%d.test/%d/x", pick(e.r, "http", "https"), pick(e.r, "h", "r"), e.r.IntN(60), e.r.IntN(9))
				if a, b := does(got, ep, url), does(want, ep, url); a != b {
					t.Fatalf("seed %d step %d: %s %s: %s, want %s", seed, step, ep, url, a, b)
				}
			}
			if a, b := servers(book), servers(other); a != b {
				t.Fatalf("seed %d step %d: live servers differ: %s", seed, step, firstDifference(a, b))
			}
			last = got
		}
	}
	t.Logf("%d patches, %d whole tables", patches, whole)
	if patches < 100 || whole < 50 {
		t.Error("one of the two ways is hardly tried")
	}
}

func servers(b *balance.Book) string {
	var out []string
	for _, s := range b.Servers() {
		out = append(out, s.Service+" "+s.URL)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range x {
		if i >= len(y) || x[i] != y[i] {
			lo := max(0, i-12)
			return fmt.Sprintf("line %d\n%s\nwant\n%s", i, strings.Join(x[lo:min(i+6, len(x))], "\n"), strings.Join(y[lo:min(i+6, len(y))], "\n"))
		}
	}
	return "only in want: " + strings.Join(y[len(x):], "\n")
}

// TestPatchKeepsTheOldTable holds that a table is not changed by its successors.
func TestPatchKeepsTheOldTable(t *testing.T) {
	e := newEditing(rand.New(rand.NewPCG(5, 6)))
	in := e.input(false)
	var tables []*Table
	var said []string
	for range 40 {
		in.Config = e.cfg
		table := Compile(in)
		table.Commit()
		tables, said = append(tables, table), append(said, says(table)+does(table, "web", "http://r3.test/")+fmt.Sprint(len(table.EntryPoint("web").(*entryPoint).clear.order)))
		in.Previous = table
		e.next()
	}
	for i, table := range tables {
		if now := says(table) + does(table, "web", "http://r3.test/") + fmt.Sprint(len(table.EntryPoint("web").(*entryPoint).clear.order)); now != said[i] {
			t.Errorf("table %d: %s", i, firstDifference(now, said[i]))
		}
	}
}

// TestEditedIndexIsANewOne edits an index at random and holds it against one made anew, by
// what they find; the one before must go on finding what it found.
func TestEditedIndexIsANewOne(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 60 {
		var list []*slot[int]
		ix := newIndex[int](nil)
		for step := range 40 {
			var gone, added []*slot[int]
			for i := len(list) - 1; i >= 0; i-- {
				if r.IntN(12) == 0 {
					gone, list = append(gone, list[i]), slices.Delete(list, i, i+1)
				}
			}
			for range r.IntN(4) {
				s := slots(compileAll(t, randomRule(r, r.IntN(3))))[0]
				s.rank = int64(r.IntN(1 << 30))
				if !slices.ContainsFunc(list, func(o *slot[int]) bool { return o.rank == s.rank }) {
					added, list = append(added, s), append(list, s)
				}
			}
			slices.SortFunc(list, func(a, b *slot[int]) int { return int(a.rank - b.rank) })
			old := ix
			before := found(old, step)
			ix = ix.edit(gone, added)
			whole := newIndex(list)
			if a, b := found(ix, step), found(whole, step); !slices.Equal(a, b) {
				t.Fatal("the edited index finds something else")
			}
			if !slices.Equal(found(old, step), before) {
				t.Fatal("the old index changed")
			}
		}
	}
}

// found is what an index finds for requests that depend on seed alone.
func found(ix *index[int], seed int) []*slot[int] {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	var out []*slot[int]
	for range 60 {
		out = append(out, find(ix, randomRequest(r)))
	}
	return out
}
