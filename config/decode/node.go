package decode

import (
	"sort"
	"strconv"
	"strings"
)

// kind is the shape of a node.
type kind uint8

const (
	scalar kind = iota
	object
	list
	null
)

// node is a piece of configuration as written, before any type is known. Labels,
// flags, environment and files all become trees of nodes; one walk turns them into structs.
type node struct {
	key   string // name within the parent, as written
	full  string // the whole key as the user knows it, if the path does not tell: a label, a flag
	where string // the place, if file does not tell
	value string
	up    *node   // parent, in files
	file  *places // with line and column, the place in a file
	line  int
	col   int
	kind  kind
	ours  bool // written under the root "sluice."
	given bool // value was given; an object by label may have a value and children
	kids  []*node
}

// place is where the node was written, for Problem.Source; empty means the walker's source.
func (n *node) place() string {
	if n.where == "" && n.file != nil {
		return n.file.at(n.line, n.col)
	}
	return n.where
}

// path is the whole key of the node as the user knows it.
func (n *node) path() string {
	if n.full != "" || n.up == nil {
		if n.full == "" {
			return n.key
		}
		return n.full
	}
	up := n.up.path()
	if up == "" || strings.HasPrefix(n.key, "[") {
		return up + n.key
	}
	return up + "." + n.key
}

// below is the path of n below an ancestor.
func (n *node) below(top *node) []string {
	if n == top || n == nil {
		return nil
	}
	return append(n.up.below(top), n.key)
}

// adopt adds a child.
func (n *node) adopt(k *node) {
	k.up = n
	n.kids = append(n.kids, k)
}

// child returns the child with this key. With fold the case of letters does not matter.
func (n *node) child(key string, fold bool) *node {
	for _, k := range n.kids {
		if k.key == key || fold && strings.EqualFold(k.key, key) {
			return k
		}
	}
	return nil
}

// insert walks the path below n and makes what is missing. Names that differ only
// by case are one, under the spelling met first, as in the reference.
func (n *node) insert(path []string) *node {
	for _, seg := range path {
		n.kind = object
		k := n.child(seg, true)
		if k == nil {
			k = &node{key: seg, up: n}
			n.kids = append(n.kids, k)
		}
		n = k
	}
	return n
}

// position reads "[3]" or "3" as a list position.
func position(key string) (int, bool) {
	if len(key) > 2 && key[0] == '[' && key[len(key)-1] == ']' {
		key = key[1 : len(key)-1]
	}
	i, err := strconv.Atoi(key)
	return i, err == nil && i >= 0
}

// elements returns the children of a list that was written by position, in the order
// of the positions. Gaps close. It reports false if a child is no position.
func (n *node) elements() ([]*node, bool) {
	if n.kind == list {
		return n.kids, true
	}
	type at struct {
		i int
		n *node
	}
	all := make([]at, 0, len(n.kids))
	for _, k := range n.kids {
		i, ok := position(k.key)
		if !ok {
			return nil, false
		}
		all = append(all, at{i, k})
	}
	sort.SliceStable(all, func(a, b int) bool { return all[a].i < all[b].i })
	out := make([]*node, len(all))
	for i, a := range all {
		out[i] = a.n
	}
	return out, len(out) > 0
}

// leaves calls f for every node of the tree that holds a value or nothing at all.
func (n *node) leaves(f func(*node)) {
	if len(n.kids) == 0 || n.given {
		f(n)
	}
	for _, k := range n.kids {
		k.leaves(f)
	}
}

// flat gives the values below n with their relative keys joined by sep: a name that
// contains dots, such as a header or a URL, comes apart in labels and is joined here.
func (n *node) flat(prefix, sep string, f func(key string, leaf *node)) {
	if len(n.kids) == 0 || n.given {
		f(prefix, n)
	}
	for _, k := range n.kids {
		k.flat(prefix+sep+k.key, sep, f)
	}
}

// split takes a dotted key apart; "a[0].b" gives "a", "[0]", "b".
// It reports false for empty elements and misplaced brackets.
func split(key string) ([]string, bool) {
	out := make([]string, 0, 8)
	for seg := range strings.SplitSeq(key, ".") {
		if seg == "" || seg[0] == '[' {
			return nil, false
		}
		if i := strings.IndexByte(seg, '['); i > 0 && seg[len(seg)-1] == ']' {
			out = append(out, seg[:i])
			for idx := range strings.SplitSeq(seg[i+1:len(seg)-1], "][") {
				out = append(out, "["+idx+"]")
			}
			continue
		}
		out = append(out, seg)
	}
	return out, true
}
