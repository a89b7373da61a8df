package labels

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// Two compose projects made from one template use the same names for different things.
// In the reference their routers then stand against each other and both are dropped.
// Here the first project by name keeps its names, and whatever the others call the same
// gets the project's name behind it, with the references among their objects.

// scopes finds projects that have to be told apart.
type scopes struct {
	routers map[string][]claim[config.Router] // all claims, as the workloads make them
	dirty   map[string]bool
	// clashes are the projects in each router's way, the first by name left out.
	clashes map[string][]string
	moved   map[string]bool // projects whose names are scoped now
	changed bool            // a share came or went since they were
	// uses counts the shares of each project ("" for none) by kind and name, as the
	// workloads make them.
	uses map[use]map[string]int
	raw  map[string]map[string]*Share
	put  map[string]*Share // what stands in the Merger for a raw share, by key
}

// use is a name of one kind.
type use struct{ kind, name string }

func newScopes() *scopes {
	return &scopes{routers: map[string][]claim[config.Router]{}, dirty: map[string]bool{}, clashes: map[string][]string{},
		moved: map[string]bool{}, uses: map[use]map[string]int{}, raw: map[string]map[string]*Share{}, put: map[string]*Share{}}
}

// project is the compose project of a share.
func (s *Share) project() string {
	p, _, _ := strings.Cut(s.Replica, "\x00")
	return p
}

// note keeps the books on a share that comes or goes.
func (c *scopes) note(s *Share, add bool) {
	p := s.project()
	c.changed = true
	if s.Config != nil && s.Config.HTTP != nil {
		count(c, "service", s.Config.HTTP.Services, p, add)
		count(c, "middleware", s.Config.HTTP.Middlewares, p, add)
	}
	if p == "" {
		return
	}
	if add {
		if c.raw[p] == nil {
			c.raw[p] = map[string]*Share{}
		}
		c.raw[p][s.Key] = s
	} else if delete(c.raw[p], s.Key); len(c.raw[p]) == 0 {
		delete(c.raw, p)
	}
	if s.Config == nil || s.Config.HTTP == nil || s.Rank == Down {
		return
	}
	for name, r := range s.Config.HTTP.Routers {
		c.dirty[name] = true
		if add {
			c.routers[name] = append(c.routers[name], claim[config.Router]{s, r})
			continue
		}
		left := slices.DeleteFunc(c.routers[name], func(o claim[config.Router]) bool { return o.share == s })
		if c.routers[name] = left; len(left) == 0 {
			delete(c.routers, name)
		}
	}
}

// count notes who uses names.
func count[T any](c *scopes, kind string, objs map[string]*T, project string, add bool) {
	for name := range objs {
		u := use{kind, name}
		if c.uses[u] == nil {
			c.uses[u] = map[string]int{}
		}
		if add {
			c.uses[u][project]++
		} else if c.uses[u][project]--; c.uses[u][project] == 0 {
			if delete(c.uses[u], project); len(c.uses[u]) == 0 {
				delete(c.uses, u)
			}
		}
	}
}

// clash gives the projects that use a router's name for another rule than the first project.
func (c *scopes) clash(name string) []string {
	rules := map[string]map[string]bool{}
	for _, o := range c.routers[name] {
		p := o.share.project()
		if rules[p] == nil {
			rules[p] = map[string]bool{}
		}
		rules[p][o.obj.Rule] = true
	}
	projects := slices.Sorted(maps.Keys(rules))
	if len(projects) < 2 {
		return nil
	}
	return slices.DeleteFunc(projects[1:], func(p string) bool { return maps.Equal(rules[p], rules[projects[0]]) })
}

// settleScopes brings the shares of projects up to date that clash now, or no longer do.
func (m *Merger) settleScopes() {
	c := m.scopes
	if len(c.dirty) == 0 && (!c.changed || len(c.moved) == 0) {
		return
	}
	c.changed = false
	for name := range c.dirty {
		if ps := c.clash(name); len(ps) > 0 {
			c.clashes[name] = ps
		} else {
			delete(c.clashes, name)
		}
	}
	clear(c.dirty)
	moved := map[string]bool{}
	for _, ps := range c.clashes {
		for _, p := range ps {
			moved[p] = true
		}
	}
	for p := range c.raw {
		if !moved[p] && !c.moved[p] {
			continue
		}
		for key, s := range c.raw[p] {
			is := s
			if moved[p] {
				is = c.scoped(s, p)
			}
			if was := c.put[key]; was != is && !reflect.DeepEqual(was, is) {
				m.replace(was, is)
				c.put[key] = is
			}
		}
	}
	c.moved = moved
}

// scoped is a copy of a share whose names carry the project where others use them too.
func (c *scopes) scoped(s *Share, project string) *Share {
	if s.Config == nil || s.Config.HTTP == nil {
		return s
	}
	h := s.Config.HTTP
	services := renames(c, "service", h.Services, project)
	middlewares := renames(c, "middleware", h.Middlewares, project)
	out := *s
	cfg, http := *s.Config, *h
	cfg.HTTP = &http
	out.Config = &cfg
	http.Services, http.Middlewares = rekey(h.Services, services), rekey(h.Middlewares, middlewares)
	for name, mw := range http.Middlewares {
		if mw != nil && mw.Chain != nil {
			own, chain := *mw, *mw.Chain
			chain.Middlewares = reword(chain.Middlewares, middlewares)
			own.Chain = &chain
			http.Middlewares[name] = &own
		}
	}
	http.Routers = make(map[string]*config.Router, len(h.Routers))
	for name, r := range h.Routers {
		own := *r
		if to, ok := services[own.Service]; ok {
			own.Service = to
		}
		own.Middlewares = reword(own.Middlewares, middlewares)
		if slices.Contains(c.clashes[name], project) {
			to := name + "-" + Normalize(project)
			out.Problems = append(slices.Clone(out.Problems), config.Problem{Source: s.Source, Object: "router " + to,
				Code: config.CodeConflict, Severity: config.Warning,
				Text:       fmt.Sprintf("another compose project has a router %q with another rule; this one is called %q", name, to),
				Suggestion: "use another name in one of the projects"})
			name = to
		}
		http.Routers[name] = &own
	}
	return &out
}

// renames maps the names of a share that others use too to their new names.
func renames[T any](c *scopes, kind string, own map[string]*T, project string) map[string]string {
	out := map[string]string{}
	for name := range own {
		if u := c.uses[use{kind, name}]; len(u) > 1 || (len(u) == 1 && u[project] == 0) {
			out[name] = name + "-" + Normalize(project)
		}
	}
	return out
}

func rekey[T any](in map[string]*T, renames map[string]string) map[string]*T {
	out := make(map[string]*T, len(in))
	for name, v := range in {
		if to, ok := renames[name]; ok {
			name = to
		}
		out[name] = v
	}
	return out
}

// reword renames references; those with a provider behind them are somebody else's.
func reword(in []string, renames map[string]string) []string {
	out := slices.Clone(in)
	for i, n := range out {
		if to, ok := renames[n]; ok {
			out[i] = to
		}
	}
	return out
}
