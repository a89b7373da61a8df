package router

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/router/rule"
)

// maxCandidates bounds how many routers an Explanation lists.
const maxCandidates = 20

// Explanation tells what became of a request at the table, and why.
type Explanation struct {
	EntryPoint string `json:"entryPoint"`
	TLS        bool   `json:"tls"`
	// Host and Path are what rules are compared with.
	Host string `json:"host"`
	Path string `json:"path"`
	// Router that serves the request, with its service; empty where none does.
	Router  string `json:"router,omitempty"`
	Service string `json:"service,omitempty"`
	// Reason why the edge answers by itself.
	Reason exchange.Reason `json:"reason,omitempty"`
	// Candidates are the routers looked at, the one that serves first, then those that
	// match too, then the nearest misses.
	Candidates []Candidate `json:"candidates"`
}

// Candidate is a router as one request meets it.
type Candidate struct {
	Router      string   `json:"router"`
	Rule        string   `json:"rule"`
	Priority    int      `json:"priority"`
	EntryPoints []string `json:"entryPoints"`
	TLS         bool     `json:"tls"`
	// Serves is set for the router that gets the request; Matches where only another
	// router, the entry point, TLS or an error of its own is in the way.
	Serves  bool `json:"serves"`
	Matches bool `json:"matches"`
	// Failed are the matchers that do not hold.
	Failed []rule.Failure `json:"failed,omitempty"`
	// Obstacle is what else is in the way: "another router comes first", "wrong entry point" ...
	Obstacle string `json:"obstacle,omitempty"`
	// Errors of the router, if it is not served as it should be.
	Errors []string `json:"errors,omitempty"`

	distance int
}

// deadRouter is a router that is not mounted; explanations name it all the same.
type deadRouter struct {
	name string
	rule *rule.Rule
	info *config.RouterInfo
}

// Explain says which routers a request meets on its entry point and why the others do
// not match. It looks at every router: it is for people, not for requests.
func (t *Table) Explain(req *exchange.Request) Explanation {
	ep, _ := t.EntryPoint(req.EntryPoint).(*entryPoint)
	var s rule.Subject
	s.HTTP(req, ep.pool)
	defer s.Done()
	x := Explanation{EntryPoint: req.EntryPoint, TLS: req.TLS != nil, Host: s.Host, Path: s.Path}
	ex := &exchange.Exchange{Req: *req}
	route, why := ep.match(&s, x.TLS, ex)
	x.Reason = why
	if route != nil {
		x.Router, x.Service, x.Reason = route.Router, route.Service, route.Broken
	}
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(t.entryPoints)) {
		for i, set := range []*set{t.entryPoints[name].clear, t.entryPoints[name].tls} {
			for _, m := range set.order {
				name := m.to.route.Router
				if seen[name] {
					continue
				}
				seen[name] = true
				info := t.Runtime.Routers[name]
				c := candidate(name, info, m.rule, &s, x.EntryPoint, x.TLS, i == 1)
				c.Serves = route != nil && c.Router == route.Router
				if c.Matches && !c.Serves && c.Obstacle == "" && route != nil {
					c.Obstacle = "the router " + route.Router + " comes first"
				}
				x.Candidates = append(x.Candidates, c)
			}
		}
	}
	for _, d := range t.dead {
		c := candidate(d.name, d.info, d.rule, &s, x.EntryPoint, x.TLS, d.info.TLS != nil)
		c.Obstacle = "the router is disabled"
		c.distance++
		x.Candidates = append(x.Candidates, c)
	}
	slices.SortStableFunc(x.Candidates, func(a, b Candidate) int {
		if a.Serves != b.Serves {
			if a.Serves {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Router, b.Router))
	})
	if len(x.Candidates) > maxCandidates {
		x.Candidates = x.Candidates[:maxCandidates]
	}
	return x
}

// candidate holds a router against a request. Its distance counts what is in the way: a
// matcher counts two, so that a router whose rule matches comes before one whose does not.
func candidate(name string, info *config.RouterInfo, r *rule.Rule, s *rule.Subject, entryPoint string, tls, routerTLS bool) Candidate {
	c := Candidate{Router: name, TLS: routerTLS}
	if info != nil {
		c.Rule, c.Priority, c.EntryPoints, c.Errors = info.Rule, info.Priority, info.Using, info.Errors
	}
	if r == nil {
		c.distance = 100
		return c
	}
	var held int
	c.Matches, c.Failed, held = r.Explain(s)
	c.distance = 4*len(c.Failed) - min(held, 3)
	if c.Matches {
		c.distance = 0
	}
	switch {
	case !slices.Contains(c.EntryPoints, entryPoint):
		c.Obstacle = "wrong entry point"
		c.distance += 2
	case tls && !routerTLS:
		c.Obstacle = "the request came with TLS and the router has no tls"
		c.distance++
	case !tls && routerTLS:
		c.Obstacle = "the request came without TLS and the router has tls"
		c.distance++
	}
	return c
}
