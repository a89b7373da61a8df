package rule

import (
	"net/netip"
	"strings"
)

// Failure is a matcher that did not hold, and what it found.
type Failure struct {
	// Matcher is the call as the rule has it, "!" before it where it was negated.
	Matcher string `json:"matcher"`
	// Got is what the request has in its place; empty if it has nothing.
	Got string `json:"got"`
}

// Explain says whether the rule matches, and if not, which matchers stand in the way. Of
// alternatives it names those of the nearest. held counts the matchers that did hold.
func (r *Rule) Explain(s *Subject) (ok bool, failed []Failure, held int) {
	failed, held = r.root.explain(s)
	return len(failed) == 0, failed, held
}

func (n *node) explain(s *Subject) (failed []Failure, held int) {
	switch n.kind {
	case all:
		for i := range n.kids {
			f, h := n.kids[i].explain(s)
			failed, held = addFailures(failed, f), held+h
		}
		return failed, held
	case some:
		best := -1
		for i := range n.kids {
			f, h := n.kids[i].explain(s)
			if len(f) == 0 {
				return nil, h
			}
			if best < 0 || len(f) < best || len(f) == best && h > held {
				best, failed, held = len(f), f, h
				continue
			}
			if len(f) == 1 && best == 1 && h == held && failed[0].Got == f[0].Got && failed[0].Matcher != f[0].Matcher {
				failed = []Failure{{failed[0].Matcher + " || " + f[0].Matcher, f[0].Got}}
			}
		}
		return failed, held
	}
	if n.match(s) {
		return nil, 1
	}
	text := n.src.String()
	if n.not {
		text = "!" + text
	}
	return []Failure{{text, n.got(s)}}, 0
}

func addFailures(list, more []Failure) []Failure {
next:
	for _, m := range more {
		for _, l := range list {
			if l == m {
				continue next
			}
		}
		list = append(list, m)
	}
	return list
}

// got tells, in words of its own memory, what a leaf looked at.
func (n *node) got(s *Subject) string {
	switch n.kind {
	case hostAny, hostIs, hostSame, hostLabel, hostLabels, hostRegexp, sniAny:
		return strings.Clone(s.Host)
	case pathIs, pathPrefix, pathRegexp:
		return strings.Clone(s.Path)
	case methodIs:
		return strings.Clone(s.Req.Method)
	case clientIn:
		if s.Peer == (netip.Addr{}) {
			return ""
		}
		return s.Peer.String()
	case alpnHas:
		return strings.Join(s.ALPN, ", ")
	case headerIs, headerMatch:
		var vals []string
		for _, f := range s.Req.Fields.All() {
			if strings.EqualFold(f.Name, n.name) {
				vals = append(vals, f.Value)
			}
		}
		return strings.Clone(strings.Join(vals, ", "))
	}
	return strings.Clone(s.Req.Query)
}
