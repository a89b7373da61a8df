package check

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/router/rule"
)

// maxCompared bounds the routers that are compared pair by pair.
const maxCompared = 2000

// overlaps compares routers that see the same requests.
func (m *model) overlaps(c *Checker) {
	names := m.routersOrder
	if len(names) > maxCompared {
		names = names[:maxCompared]
	}
	for i, an := range names {
		a, ra := m.routers[an], m.rules[an]
		if ra == nil {
			continue
		}
		for _, bn := range names[i+1:] {
			b, rb := m.routers[bn], m.rules[bn]
			if rb == nil || (a.cfg.TLS == nil) != (b.cfg.TLS == nil) || !m.meet(a.cfg, b.cfg) {
				continue
			}
			m.compare(c, a, b, ra, rb)
		}
	}
}

// meet reports whether two routers share an entry point.
func (m *model) meet(a, b *config.Router) bool {
	if len(a.ParentRefs)+len(b.ParentRefs) > 0 {
		return slices.Equal(a.ParentRefs, b.ParentRefs) // below others they see what those let through
	}
	if len(a.EntryPoints) == 0 || len(b.EntryPoints) == 0 {
		return true
	}
	for _, e := range a.EntryPoints {
		if slices.Contains(b.EntryPoints, e) {
			return true
		}
	}
	return false
}

func (m *model) compare(c *Checker, a, b *owned[*config.Router], ra, rb *rule.Rule) {
	pa, pb := priority(a.cfg), priority(b.cfg)
	same := pure(ra.Expr()) && pure(rb.Expr()) && covers(ra.Keys(), rb.Keys()) && covers(rb.Keys(), ra.Keys())
	switch {
	case same && pa == pb:
		m.report(c, b.at, b.key+".rule", "router "+b.name, config.CodeDuplicateHost, "the same requests are claimed by router "+a.name,
			"change one of the rules, or give one a priority", config.Warning)
		return
	case pa > pb && m.within(b.cfg, a.cfg) && pure(ra.Expr()) && covers(ra.Keys(), rb.Keys()):
		m.shadow(c, a, b, pa, pb)
		return
	case pb > pa && m.within(a.cfg, b.cfg) && pure(rb.Expr()) && covers(rb.Keys(), ra.Keys()):
		m.shadow(c, b, a, pb, pa)
		return
	}
	m.prefixes(c, a, b, ra, rb)
	m.prefixes(c, b, a, rb, ra)
}

// within reports whether every entry point of a is one of b's.
func (m *model) within(a, b *config.Router) bool {
	if len(b.EntryPoints) == 0 {
		return true
	}
	if len(a.EntryPoints) == 0 {
		return false
	}
	for _, e := range a.EntryPoints {
		if !slices.Contains(b.EntryPoints, e) {
			return false
		}
	}
	return true
}

func (m *model) shadow(c *Checker, winner, loser *owned[*config.Router], pw, pl int) {
	m.report(c, loser.at, loser.key+".rule", "router "+loser.name, CodeShadowed,
		fmt.Sprintf("never matches: router %s takes all its requests (priority %d over %d)", winner.name, pw, pl),
		"raise its priority or narrow the other rule", config.Warning)
}

func priority(r *config.Router) int {
	if r.Priority != 0 {
		return r.Priority
	}
	return rule.Priority(r.Rule)
}

// pure reports whether a rule is told by its keys alone: hosts and paths joined by
// and, or. Such a rule matches whenever one of its keys does.
func pure(e *rule.Expr) bool {
	if e.Op == rule.Call {
		return len(e.Args) > 0 && (strings.EqualFold(e.Name, "Host") || strings.EqualFold(e.Name, "Path") || strings.EqualFold(e.Name, "PathPrefix"))
	}
	if e.Op == rule.Not {
		return false
	}
	hosts, paths := 0, 0
	for _, k := range e.Kids {
		if !pure(k) {
			return false
		}
		// Two conditions on one part, joined by and, are narrower than a key can say.
		if e.Op == rule.And && k.Op == rule.Call {
			if strings.EqualFold(k.Name, "Host") {
				hosts++
			} else {
				paths++
			}
		}
		if e.Op == rule.And && k.Op != rule.Call {
			hosts, paths = hosts+1, paths+1
		}
	}
	return hosts < 2 && paths < 2
}

// covers reports whether every key of b lies within some key of a.
func covers(a, b []rule.Key) bool {
	for _, kb := range b {
		if !slices.ContainsFunc(a, func(ka rule.Key) bool { return hostCovers(ka, kb) && pathCovers(ka, kb) }) {
			return false
		}
	}
	return true
}

func hostCovers(a, b rule.Key) bool {
	switch a.HostScope {
	case rule.Any:
		return true
	case rule.Exact:
		return b.HostScope == rule.Exact && a.Host == b.Host
	case rule.OneLabel:
		if b.HostScope == rule.Exact {
			label, rest, ok := strings.Cut(b.Host, ".")
			return ok && label != "" && rest == a.Host
		}
		return b.HostScope == rule.OneLabel && a.Host == b.Host
	case rule.Labels:
		return b.HostScope != rule.Any && (b.HostScope != rule.Exact && a.Host == b.Host || strings.HasSuffix(b.Host, "."+a.Host))
	}
	return false
}

func pathCovers(a, b rule.Key) bool {
	switch a.PathScope {
	case rule.Any:
		return true
	case rule.Exact:
		return b.PathScope == rule.Exact && a.Path == b.Path
	case rule.Prefix:
		return b.PathScope != rule.Any && strings.HasPrefix(b.Path, a.Path)
	}
	return false
}

// prefixes warns where PathPrefix(`/api`) of a also takes /apiary, a path of b.
func (m *model) prefixes(c *Checker, a, b *owned[*config.Router], ra, rb *rule.Rule) {
	for _, ka := range ra.Keys() {
		if ka.PathScope != rule.Prefix || ka.Path == "" || strings.HasSuffix(ka.Path, "/") {
			continue
		}
		for _, kb := range rb.Keys() {
			if kb.PathScope == rule.Any || !hostCovers(ka, kb) && !hostCovers(kb, ka) {
				continue
			}
			if rest, ok := strings.CutPrefix(kb.Path, ka.Path); ok && rest != "" && rest[0] != '/' {
				m.report(c, a.at, a.key+".rule", "router "+a.name, CodePrefixOverlap,
					fmt.Sprintf("the prefix %s also takes %s, which is a path of router %s", ka.Path, kb.Path, b.name),
					"write PathPrefix(`"+ka.Path+"/`) || Path(`"+ka.Path+"`)", config.Warning)
				return
			}
		}
	}
}

// setKinds names the kinds that are set in a middleware.
func setKinds(mw *config.Middleware) []string {
	v := reflect.ValueOf(mw).Elem()
	var out []string
	for _, f := range decode.Fields(v.Type()) {
		if !v.FieldByIndex(f.Index).IsZero() {
			out = append(out, f.Name)
		}
	}
	return out
}
