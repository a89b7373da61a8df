package router

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/router/rule"
)

// The words of random rules and requests are few, so that they meet often.
var (
	words = map[string][]string{
		"host": {"a.test", "b.test", "x.a.test", "y.x.a.test", "A.Test.", "b.test.", "", "q.test:80", "[::1]", "xn--bcher-kva.test"},
		"path": {"/", "/a", "/ab", "/a/b", "/a/b/c", "/a%20b", "/b", "/abc/d", "/a/", "*"},
	}
	calls = []string{
		"Host(`a.test`)", "Host(`b.test.`)", "Host(`*.a.test`)", "Host(`**.a.test`)", "Host(`*`)", "Host(`bücher.test`)", "Host(`::1`)",
		"HostRegexp(`^[a-b][.]test`)", "HostRegexp(`x`)",
		"Path(`/a`)", "Path(`/a b`)", "Path(`/`)", "PathPrefix(`/`)", "PathPrefix(`/a`)", "PathPrefix(`/a/b`)", "PathPrefix(`/abc`)",
		"PathRegexp(`^/a/.`)", "PathRegexp(`b$`)",
		"Method(`GET`)", "Header(`X`, `1`)", "Query(`q`)", "ClientIP(`192.0.2.0/24`)",
	}
)

func randomRule(r *rand.Rand, depth int) string {
	if depth == 0 || r.IntN(3) == 0 {
		c := calls[r.IntN(len(calls))]
		if r.IntN(6) == 0 {
			c = "!" + c
		}
		return c
	}
	op := [...]string{" && ", " || "}[r.IntN(2)]
	kids := make([]string, 2+r.IntN(2))
	for i := range kids {
		kids[i] = randomRule(r, depth-1)
	}
	e := "(" + strings.Join(kids, op) + ")"
	if r.IntN(8) == 0 {
		e = "!" + e
	}
	return e
}

func randomRequest(r *rand.Rand) *exchange.Request {
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	q := &exchange.Request{Method: pick([]string{"GET", "POST"}), Host: pick(words["host"]), Path: pick(words["path"])}
	q.Query = pick([]string{"", "q", "q=1"})
	q.Peer = netip.MustParseAddrPort(pick([]string{"192.0.2.1:1", "198.51.100.1:1"}))
	if r.IntN(2) == 0 {
		q.Fields.Add("X", pick([]string{"0", "1"}))
	}
	return q
}

// TestIndexFindsWhatALinearSearchFinds is the property that the index must have: the
// first rule in order that matches, for any rules and any request, from any rank on.
func TestIndexFindsWhatALinearSearchFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var pool rule.Pool
	for round := range 300 {
		var rules []*rule.Rule
		for range 1 + r.IntN(40) {
			c, err := rule.Compile(randomRule(r, r.IntN(4)), rule.V3)
			if err != nil {
				t.Fatal(err)
			}
			rules = append(rules, c)
		}
		ix := newIndex(slots(rules))
		for range 100 {
			req := randomRequest(r)
			after := r.IntN(len(rules)) - 1
			var from *slot[int]
			if after >= 0 {
				from = &slot[int]{rank: int64(after)}
			}
			var s rule.Subject
			s.HTTP(req, &pool)
			want := -1
			for i := after + 1; i < len(rules); i++ {
				if rules[i].Match(&s) {
					want = i
					break
				}
			}
			got := -1
			if m := ix.find(&s, from); m != nil {
				got = m.to
			}
			if got != want {
				for i, c := range rules {
					t.Logf("%d %s", i, c.Text())
				}
				t.Fatalf("round %d: %+v after %d: found %d, want %d", round, req, after, got, want)
			}
			s.Done()
		}
	}
}

func TestRadix(t *testing.T) {
	var root radix[int]
	texts := []string{"/api", "/a", "/apix", "/api/v1", "/b", "/", "/api"}
	for i, p := range texts {
		root.add(p, &slot[int]{rank: int64(i), to: i})
	}
	for _, path := range []string{"/", "/a", "/ap", "/api", "/api/v1/x", "/apixy", "/b", "/c", "x", ""} {
		want := map[int]bool{}
		for i, p := range texts {
			if strings.HasPrefix(path, p) {
				want[i] = true
			}
		}
		got := map[int]bool{}
		for n, rest := &root, path; n != nil; n, rest = n.step(rest) {
			for _, r := range n.slots {
				got[r.to] = true
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func slots(rules []*rule.Rule) []*slot[int] {
	out := make([]*slot[int], len(rules))
	for i, r := range rules {
		out[i] = &slot[int]{rank: int64(i), rule: r, to: i}
	}
	return out
}

func benchRules(n int) []*rule.Rule {
	rules := make([]*rule.Rule, n)
	for i := range rules {
		text := fmt.Sprintf("Host(`app-%d.example.com`)", i/2)
		if i%2 == 0 {
			text += fmt.Sprintf(" && PathPrefix(`/api/v%d`)", i%7)
		}
		rules[i], _ = rule.Compile(text, rule.V3)
	}
	return rules
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ix := newIndex(slots(benchRules(max(n, 2))))
			req := &exchange.Request{Method: "GET", Host: fmt.Sprintf("app-%d.example.com", n/4), Path: "/api/v9/users/17"}
			var pool rule.Pool
			b.ReportAllocs()
			for b.Loop() {
				var s rule.Subject
				s.HTTP(req, &pool)
				if ix.find(&s, nil) == nil {
					b.Fatal("nothing found")
				}
				s.Done()
			}
		})
	}
}

func compileAll(t *testing.T, texts ...string) []*rule.Rule {
	t.Helper()
	var rules []*rule.Rule
	for _, text := range texts {
		c, err := rule.Compile(text, rule.V3)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, c)
	}
	return rules
}

func find(ix *index[int], req *exchange.Request) *slot[int] {
	var s rule.Subject
	s.HTTP(req, &rule.Pool{})
	defer s.Done()
	return ix.find(&s, nil)
}
