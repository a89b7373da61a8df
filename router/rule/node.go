package rule

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// kind is what a node does.
type kind uint8

const (
	all  kind = iota // every kid holds
	some             // one of the kids holds

	// The leaves, cheapest first.
	hostAny     // any name at all
	hostIs      // a name, its final dot or not
	hostSame    // a name, to the letter
	hostLabel   // one label before text
	hostLabels  // labels before text
	sniAny      // always
	pathIs      // the path
	pathPrefix  // what the path begins with
	methodIs    // the method
	clientIn    // the peer's address
	alpnHas     // a protocol offered
	headerIs    // a value of field name
	queryIs     // a value of parameter name
	queryFirst  // the first value of parameter name
	hostRegexp  // the name, by pattern
	pathRegexp  // the path, by pattern
	headerMatch // a value of field name, by pattern
	queryMatch  // a value of parameter name, by pattern
	queryFirstMatch
)

// node is a rule or a part of it. A switch on kind rather than an interface keeps the
// Subject on the stack.
type node struct {
	kind kind
	not  bool // of leaves only
	// text is what is compared; for patterns the literal they begin with.
	text string
	// name of the field or parameter.
	name string
	re   *regexp.Regexp
	net  netip.Prefix
	kids []node
	src  *Expr
}

func (n *node) leaf() bool { return n.kind > some }

// negate turns n into its opposite, kids and all.
func (n *node) negate(not bool) {
	if !not {
		return
	}
	if n.leaf() {
		n.not = !n.not
		return
	}
	n.kind ^= some
	for i := range n.kids {
		n.kids[i].negate(true)
	}
}

// cheapFirst sorts the kids by cost; none has a side effect.
func (n *node) cheapFirst() {
	slices.SortStableFunc(n.kids, func(a, b node) int { return a.cost() - b.cost() })
}

func (n *node) cost() int {
	switch {
	case !n.leaf():
		return 3
	case n.kind >= hostRegexp:
		return 2
	case n.kind >= headerIs:
		return 1
	}
	return 0
}

func (n *node) match(s *Subject) bool {
	switch n.kind {
	case all:
		for i := range n.kids {
			if !n.kids[i].match(s) {
				return false
			}
		}
		return true
	case some:
		for i := range n.kids {
			if n.kids[i].match(s) {
				return true
			}
		}
		return false
	}
	return n.holds(s) != n.not
}

// holds evaluates a leaf.
func (n *node) holds(s *Subject) bool {
	switch n.kind {
	case hostAny:
		return s.Host != ""
	case hostIs:
		return sameName(s.Host, n.text)
	case hostSame:
		return s.Host == n.text
	case hostLabel:
		i := strings.IndexByte(s.Host, '.')
		return i >= 0 && sameName(s.Host[i+1:], n.text)
	case hostLabels:
		h := strings.TrimSuffix(s.Host, ".")
		return len(h) > len(n.text)+1 && h[len(h)-len(n.text)-1] == '.' && strings.HasSuffix(h, n.text)
	case sniAny:
		return true
	case pathIs:
		return s.Path == n.text
	case pathPrefix:
		return strings.HasPrefix(s.Path, n.text)
	case methodIs:
		return s.Req.Method == n.text
	case clientIn:
		return n.net.Contains(s.Peer)
	case alpnHas:
		return slices.Contains(s.ALPN, n.text)
	case hostRegexp:
		return n.re.MatchString(s.Host)
	case pathRegexp:
		return n.re.MatchString(s.Path)
	case headerIs, headerMatch:
		return n.header(s.Req)
	}
	return n.query(s)
}

// sameName compares host names; each may end in a dot that the other has not.
func sameName(a, b string) bool {
	if len(a) == len(b) {
		return a == b
	}
	if len(a) == len(b)+1 {
		return a[len(b)] == '.' && a[:len(b)] == b
	}
	return len(b) == len(a)+1 && b[len(a)] == '.' && b[:len(a)] == a
}

func (n *node) header(req *exchange.Request) bool {
	f := &req.Fields
	for i := f.Index(n.name, 0); i >= 0; i = f.Index(n.name, i+1) {
		v := f.At(i).Value
		if n.kind == headerIs && v == n.text || n.kind == headerMatch && n.re.MatchString(v) {
			return true
		}
	}
	return false
}

func (n *node) query(s *Subject) bool {
	for rest := s.Req.Query; rest != ""; {
		var key, val string
		key, val, rest = cutPair(rest)
		if !unescapesTo(key, n.name) || !validEscapes(val) {
			continue
		}
		var ok bool
		switch n.kind {
		case queryIs, queryFirst:
			ok = unescapesTo(val, n.text)
		default:
			ok = n.re.MatchString(s.unescape(val))
		}
		if ok || n.kind == queryFirst || n.kind == queryFirstMatch {
			return ok
		}
	}
	return false
}
