package router

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/router/rule"
)

// edit returns the index without the slots of gone and with those of added. What is not
// concerned is shared with ix, which stays as it is.
func (ix *index[T]) edit(gone, added []*slot[T]) *index[T] {
	next := *ix
	e := editor[T]{ix: &next, own: map[*paths[T]]bool{}}
	for _, s := range gone {
		for _, k := range s.rule.Keys() {
			e.remove(k, s)
		}
	}
	for _, s := range added {
		for _, k := range s.rule.Keys() {
			e.add(k, s)
		}
	}
	return &next
}

// twin reports whether another slot has the same rule.
func (ix *index[T]) twin(s *slot[T]) bool {
	same := func(o *slot[T]) bool { return o != s && o.rule.Normal() == s.rule.Normal() }
	keys := s.rule.Keys()
	if len(keys) == 0 {
		return true // it matches nothing; whether another does so too is not worth a search
	}
	k, p := keys[0], ix.any
	if m := ix.hosts(k.HostScope); m != nil {
		p = (*m)[k.Host]
	}
	switch k.PathScope {
	case rule.Exact:
		return slices.ContainsFunc(p.exact[k.Path], same)
	case rule.Prefix:
		n, rest := p.prefix, k.Path
		for rest != "" {
			n, rest = n.step(rest)
		}
		return slices.ContainsFunc(n.slots, same)
	}
	return slices.ContainsFunc(p.any, same)
}

// editor copies what it changes: a map of hosts, and the paths of a host, once each.
type editor[T any] struct {
	ix     *index[T]
	own    map[*paths[T]]bool
	cloned [rule.Labels + 1]bool
}

// hosts returns the map of a scope, which may be changed.
func (e *editor[T]) hosts(scope rule.Scope) map[string]*paths[T] {
	m := e.ix.hosts(scope)
	if !e.cloned[scope] {
		e.cloned[scope] = true
		if *m = maps.Clone(*m); *m == nil {
			*m = map[string]*paths[T]{}
		}
	}
	return *m
}

// paths returns the paths of a key's host, which may be changed.
func (e *editor[T]) paths(k rule.Key) *paths[T] {
	var p *paths[T]
	if k.HostScope == rule.Any {
		p = e.ix.any
	} else if m := e.ix.hosts(k.HostScope); *m != nil {
		p = (*m)[k.Host]
	}
	if e.own[p] {
		return p
	}
	next := &paths[T]{}
	if p != nil {
		*next = *p
		next.exact = maps.Clone(p.exact)
	}
	e.own[next] = true
	if k.HostScope == rule.Any {
		e.ix.any = next
	} else {
		e.hosts(k.HostScope)[k.Host] = next
	}
	return next
}

func (e *editor[T]) remove(k rule.Key, s *slot[T]) {
	p := e.paths(k)
	switch k.PathScope {
	case rule.Exact:
		if list := without(p.exact[k.Path], s); len(list) > 0 {
			p.exact[k.Path] = list
		} else {
			delete(p.exact, k.Path)
		}
	case rule.Prefix:
		p.prefix = p.prefix.without(k.Path, s)
	default:
		p.any = without(p.any, s)
	}
	if len(p.any)+len(p.exact) == 0 && p.prefix == nil && k.HostScope != rule.Any {
		delete(e.hosts(k.HostScope), k.Host)
	}
}

func (e *editor[T]) add(k rule.Key, s *slot[T]) {
	p := e.paths(k)
	switch k.PathScope {
	case rule.Exact:
		if p.exact == nil {
			p.exact = map[string][]*slot[T]{}
		}
		p.exact[k.Path] = with(p.exact[k.Path], s)
	case rule.Prefix:
		p.prefix = p.prefix.with(k.Path, s)
	default:
		p.any = with(p.any, s)
	}
}

// with returns a copy of list with s in its place, once.
func with[T any](list []*slot[T], s *slot[T]) []*slot[T] {
	i, there := slices.BinarySearchFunc(list, s, func(a, b *slot[T]) int { return int(min(1, max(-1, a.rank-b.rank))) })
	if there {
		return list
	}
	out := make([]*slot[T], 0, len(list)+1)
	return append(append(append(out, list[:i]...), s), list[i:]...)
}

// without returns a copy of list without s.
func without[T any](list []*slot[T], s *slot[T]) []*slot[T] {
	out := make([]*slot[T], 0, len(list))
	for _, o := range list {
		if o != s {
			out = append(out, o)
		}
	}
	return out
}

// with returns a tree that has s at path too. Nodes on the way are copied. A nil tree is empty.
func (n *radix[T]) with(path string, s *slot[T]) *radix[T] {
	next := &radix[T]{}
	if n != nil {
		*next = *n
	}
	if path == "" {
		next.slots = with(next.slots, s)
		return next
	}
	i, ok := next.kid(path[0])
	if !ok {
		next.kids = slices.Insert(slices.Clone(next.kids), i, &radix[T]{text: strings.Clone(path), slots: []*slot[T]{s}})
		return next
	}
	next.kids = slices.Clone(next.kids)
	k := next.kids[i]
	same := 0
	for same < len(path) && same < len(k.text) && path[same] == k.text[same] {
		same++
	}
	if same < len(k.text) {
		rest := *k
		rest.text = k.text[same:]
		k = &radix[T]{text: k.text[:same], kids: []*radix[T]{&rest}}
	}
	next.kids[i] = k.with(path[same:], s)
	return next
}

// without returns a tree that has s not at path, or nil if nothing is left of it. s must
// be there.
func (n *radix[T]) without(path string, s *slot[T]) *radix[T] {
	if n == nil {
		return nil
	}
	next := *n
	if path == "" {
		next.slots = without(n.slots, s)
	} else if i, ok := n.kid(path[0]); ok && strings.HasPrefix(path, n.kids[i].text) {
		if k := n.kids[i].without(path[len(n.kids[i].text):], s); k != nil {
			next.kids = slices.Clone(n.kids)
			next.kids[i] = k
		} else {
			next.kids = slices.Delete(slices.Clone(n.kids), i, i+1)
		}
	}
	if len(next.slots)+len(next.kids) == 0 {
		return nil
	}
	return &next
}

// edit returns the set without the routes of gone and with those of added, which come in
// the order of before. It returns nil where no rank is left between two neighbours: the
// set is to be made anew; and where a route has the rule of another.
func (s *set) edit(gone map[*exchange.Route]bool, added []*routerDraft, before func(a, b *exchange.Route) int) *set {
	var out, in []*slot[mounted]
	next := &set{order: make([]*slot[mounted], 0, len(s.order)+len(added))}
	fresh := 0 // how many at the end of next.order have no rank yet
	for i := 0; i <= len(s.order); i++ {
		for len(added) > 0 && (i == len(s.order) || before(added[0].route, s.order[i].to.route) < 0) {
			m := &slot[mounted]{rule: added[0].rule, to: added[0].mount()}
			next.order, in, added = append(next.order, m), append(in, m), added[1:]
			fresh++
		}
		if i < len(s.order) && gone[s.order[i].to.route] {
			out = append(out, s.order[i])
			continue
		}
		high := int64(math.MaxInt64)
		if i < len(s.order) {
			high = s.order[i].rank
		}
		if !spread(next.order, fresh, high) {
			return nil
		}
		fresh = 0
		if i < len(s.order) {
			next.order = append(next.order, s.order[i])
		}
	}
	next.ix = s.ix.edit(out, in)
	if slices.ContainsFunc(in, next.ix.twin) {
		return nil
	}
	return next
}

// spread gives the last n slots ranks between those before and high. It reports whether
// there were enough.
func spread(order []*slot[mounted], n int, high int64) bool {
	if n == 0 {
		return true
	}
	low, rest := int64(0), order[len(order)-n:]
	if len(order) > n {
		low = order[len(order)-n-1].rank
	}
	step := min((high-low)/int64(n+1), rankGap)
	for i, m := range rest {
		m.rank = low + int64(i+1)*step
	}
	return step > 0
}
