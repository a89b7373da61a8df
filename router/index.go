package router

import (
	"math"
	"strings"

	"github.com/sluice-edge/sluice/router/rule"
)

// index finds the first of many rules, in a fixed order, that matches a subject. Rules
// are found by host in a hash and by path in a tree; a rule that has neither is looked
// at for every subject. It is immutable once built; edit makes the next one of it.
type index[T any] struct {
	exact  map[string]*paths[T] // hosts
	label  map[string]*paths[T] // what follows the first label of a host
	labels map[string]*paths[T] // what follows any dot of a host
	any    *paths[T]
}

// slot is a rule in its place, with what it leads to.
type slot[T any] struct {
	// rank is the place in the order; a lower one comes first. Ranks of one index differ.
	rank int64
	rule *rule.Rule
	to   T
}

// paths are the rules under one host, by path. Lists are in the order of ranks.
type paths[T any] struct {
	any    []*slot[T]
	exact  map[string][]*slot[T]
	prefix *radix[T]
}

// newIndex indexes slots, which come in the order of their ranks.
func newIndex[T any](slots []*slot[T]) *index[T] {
	ix := &index[T]{any: &paths[T]{}}
	var fresh slab[paths[T]]
	for _, s := range slots {
		for _, k := range s.rule.Keys() {
			ix.paths(k, len(slots), &fresh).add(k, s)
		}
	}
	return ix
}

// hosts returns the map that holds the hosts of a scope, or nil.
func (ix *index[T]) hosts(scope rule.Scope) *map[string]*paths[T] {
	switch scope {
	case rule.Exact:
		return &ix.exact
	case rule.OneLabel:
		return &ix.label
	case rule.Labels:
		return &ix.labels
	}
	return nil
}

func (ix *index[T]) paths(k rule.Key, size int, fresh *slab[paths[T]]) *paths[T] {
	m := ix.hosts(k.HostScope)
	if m == nil {
		return ix.any
	}
	if *m == nil {
		*m = make(map[string]*paths[T], size)
	}
	p := (*m)[k.Host]
	if p == nil {
		p = fresh.make()
		(*m)[k.Host] = p
	}
	return p
}

func (p *paths[T]) add(k rule.Key, s *slot[T]) {
	switch k.PathScope {
	case rule.Exact:
		if p.exact == nil {
			p.exact = map[string][]*slot[T]{}
		}
		p.exact[k.Path] = appendSlot(p.exact[k.Path], s)
	case rule.Prefix:
		if p.prefix == nil {
			p.prefix = &radix[T]{}
		}
		p.prefix.add(k.Path, s)
	default:
		p.any = appendSlot(p.any, s)
	}
}

// appendSlot adds a slot; they come in order, and one rule may have a key twice.
func appendSlot[T any](list []*slot[T], s *slot[T]) []*slot[T] {
	if n := len(list); n > 0 && list[n-1] == s {
		return list
	}
	return append(list, s)
}

// find returns the first slot behind after (nil: of all) whose rule matches, or nil. It
// does not allocate.
//
// The lists are searched one after the other, the narrowest first: a match bounds how
// far the later ones are looked at, so no merge of them is needed.
func (ix *index[T]) find(s *rule.Subject, after *slot[T]) *slot[T] {
	f := finder[T]{s: s, after: -1, bound: math.MaxInt64}
	if after != nil {
		f.after = after.rank
	}
	if h := strings.TrimRight(s.Host, "."); h != "" {
		if p := ix.exact[h]; p != nil {
			f.in(p)
		}
		if dot := strings.IndexByte(h, '.'); dot >= 0 {
			if p := ix.label[h[dot+1:]]; p != nil {
				f.in(p)
			}
			for ix.labels != nil && dot >= 0 {
				h = h[dot+1:]
				if p := ix.labels[h]; p != nil {
					f.in(p)
				}
				dot = strings.IndexByte(h, '.')
			}
		}
	}
	f.in(ix.any)
	return f.best
}

type finder[T any] struct {
	s            *rule.Subject
	after, bound int64
	best         *slot[T]
}

func (f *finder[T]) in(p *paths[T]) {
	if p.exact != nil {
		f.scan(p.exact[f.s.Path])
	}
	for n, rest := p.prefix, f.s.Path; n != nil; n, rest = n.step(rest) {
		f.scan(n.slots)
	}
	f.scan(p.any)
}

func (f *finder[T]) scan(slots []*slot[T]) {
	for _, s := range slots {
		if s.rank >= f.bound {
			return
		}
		if s.rank > f.after && s.rule.Match(f.s) {
			f.best, f.bound = s, s.rank
			return
		}
	}
}
