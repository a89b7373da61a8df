package router

import "strings"

// radix is a tree of path prefixes. A node's text follows that of its parent.
type radix[T any] struct {
	text  string
	slots []*slot[T]
	kids  []*radix[T] // by first byte
}

func (n *radix[T]) add(path string, s *slot[T]) {
	for {
		if path == "" {
			n.slots = appendSlot(n.slots, s)
			return
		}
		i, ok := n.kid(path[0])
		if !ok {
			n.kids = append(n.kids, nil)
			copy(n.kids[i+1:], n.kids[i:])
			n.kids[i] = &radix[T]{text: strings.Clone(path), slots: []*slot[T]{s}}
			return
		}
		k := n.kids[i]
		same := 0
		for same < len(path) && same < len(k.text) && path[same] == k.text[same] {
			same++
		}
		if same < len(k.text) {
			n.kids[i] = &radix[T]{text: k.text[:same], kids: []*radix[T]{k}}
			k.text = k.text[same:]
			k = n.kids[i]
		}
		n, path = k, path[same:]
	}
}

// kid returns the place of the kid that begins with c, or where it would be.
func (n *radix[T]) kid(c byte) (int, bool) {
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
func (n *radix[T]) step(path string) (*radix[T], string) {
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
