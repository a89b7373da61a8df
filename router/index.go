package router

import (
	"strings"

	"github.com/sluice-edge/sluice/router/rule"
)

// index finds the first of many rules, in a fixed order, that matches a subject. Rules
// are found by host in a hash and by path in a tree; a rule that has neither is looked
// at for every subject. It is immutable once built.
type index struct {
	rules  []*rule.Rule      // by rank
	exact  map[string]*paths // hosts
	label  map[string]*paths // what follows the first label of a host
	labels map[string]*paths // what follows any dot of a host
	any    paths
	slab   slab[paths]
}

// paths are the rules under one host, by path. Lists hold ranks, lowest first.
type paths struct {
	any    []int32
	exact  map[string][]int32
	prefix *radix
}

// newIndex indexes rules; the place of a rule is its rank.
func newIndex(rules []*rule.Rule) *index {
	ix := &index{rules: rules}
	for i, r := range rules {
		for _, k := range r.Keys() {
			ix.paths(k).add(k, int32(i))
		}
	}
	return ix
}

func (ix *index) paths(k rule.Key) *paths {
	var m *map[string]*paths
	switch k.HostScope {
	case rule.Exact:
		m = &ix.exact
	case rule.OneLabel:
		m = &ix.label
	case rule.Labels:
		m = &ix.labels
	default:
		return &ix.any
	}
	if *m == nil {
		*m = make(map[string]*paths, len(ix.rules))
	}
	p := (*m)[k.Host]
	if p == nil {
		p = ix.slab.make()
		(*m)[k.Host] = p
	}
	return p
}

func (p *paths) add(k rule.Key, rank int32) {
	switch k.PathScope {
	case rule.Exact:
		if p.exact == nil {
			p.exact = map[string][]int32{}
		}
		p.exact[k.Path] = appendRank(p.exact[k.Path], rank)
	case rule.Prefix:
		if p.prefix == nil {
			p.prefix = &radix{}
		}
		p.prefix.add(k.Path, rank)
	default:
		p.any = appendRank(p.any, rank)
	}
}

// appendRank adds a rank; ranks come in order, and one rule may have a key twice.
func appendRank(list []int32, rank int32) []int32 {
	if n := len(list); n > 0 && list[n-1] == rank {
		return list
	}
	return append(list, rank)
}

// find returns the lowest rank above after whose rule matches, or -1. It does not allocate.
//
// The lists are searched one after the other, the narrowest first: a match bounds how
// far the later ones are looked at, so no merge of them is needed.
func (ix *index) find(s *rule.Subject, after int) int {
	f := finder{ix: ix, s: s, after: int32(after), best: int32(len(ix.rules))}
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
	f.in(&ix.any)
	if int(f.best) == len(ix.rules) {
		return -1
	}
	return int(f.best)
}

type finder struct {
	ix          *index
	s           *rule.Subject
	after, best int32
}

func (f *finder) in(p *paths) {
	if p.exact != nil {
		f.scan(p.exact[f.s.Path])
	}
	for n, rest := p.prefix, f.s.Path; n != nil; n, rest = n.step(rest) {
		f.scan(n.ranks)
	}
	f.scan(p.any)
}

func (f *finder) scan(ranks []int32) {
	for _, r := range ranks {
		if r >= f.best {
			return
		}
		if r > f.after && f.ix.rules[r].Match(f.s) {
			f.best = r
			return
		}
	}
}

// radix is a tree of path prefixes. A node's text follows that of its parent.
type radix struct {
	text  string
	ranks []int32
	kids  []*radix // by first byte
}

func (n *radix) add(path string, rank int32) {
	for {
		if path == "" {
			n.ranks = appendRank(n.ranks, rank)
			return
		}
		i, ok := n.kid(path[0])
		if !ok {
			n.kids = append(n.kids, nil)
			copy(n.kids[i+1:], n.kids[i:])
			n.kids[i] = &radix{text: strings.Clone(path), ranks: []int32{rank}}
			return
		}
		k := n.kids[i]
		same := 0
		for same < len(path) && same < len(k.text) && path[same] == k.text[same] {
			same++
		}
		if same < len(k.text) {
			n.kids[i] = &radix{text: k.text[:same], kids: []*radix{k}}
			k.text = k.text[same:]
			k = n.kids[i]
		}
		n, path = k, path[same:]
	}
}

// kid returns the place of the kid that begins with c, or where it would be.
func (n *radix) kid(c byte) (int, bool) {
	lo, hi := 0, len(n.kids)
	for lo < hi {
		mid := (lo + hi) / 2
		if n.kids[mid].text[0] < c {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(n.kids) && n.kids[lo].text[0] == c
}

// step goes down along path; it returns nil where the tree ends.
func (n *radix) step(path string) (*radix, string) {
	if path == "" {
		return nil, ""
	}
	if i, ok := n.kid(path[0]); ok {
		if k := n.kids[i]; strings.HasPrefix(path, k.text) {
			return k, path[len(k.text):]
		}
	}
	return nil, ""
}
