package rule

import (
	"fmt"
	"slices"
	"strings"
)

// grammar is the table of matchers of a syntax.
type grammar struct {
	name     string
	matchers []matcher
}

// matcher is one name of a grammar. Its build makes the node of a call whose arguments
// have been counted and are not empty.
type matcher struct {
	name     string
	min, max int // numbers of arguments; max 0 means any
	build    func(c *compiler, n *node, e *Expr) error
}

func (g *grammar) find(name string) *matcher {
	for i := range g.matchers {
		if m := &g.matchers[i]; m.spelled(name) {
			return m
		}
	}
	return nil
}

// spelled reports whether s is a spelling that the reference takes: as documented, all
// lower, all upper, or lower with a capital. Host, host, HOST; but not hosT.
func (m *matcher) spelled(s string) bool {
	if !strings.EqualFold(s, m.name) {
		return false
	}
	low := strings.ToLower(s)
	return s == m.name || s == low || s == strings.ToUpper(s) || s == strings.ToUpper(low[:1])+low[1:]
}

// The grammars. Each entry's build is in http.go, v2.go or tcp.go.
var (
	httpV3 = &grammar{"v3", []matcher{
		{"Host", 1, 1, buildHost},
		{"HostRegexp", 1, 1, buildHostRegexp},
		{"Path", 1, 1, buildPath},
		{"PathPrefix", 1, 1, buildPathPrefix},
		{"PathRegexp", 1, 1, buildPathRegexp},
		{"Header", 2, 2, buildHeader},
		{"HeaderRegexp", 2, 2, buildHeaderRegexp},
		{"Method", 1, 1, buildMethod},
		{"Query", 1, 2, buildQuery},
		{"QueryRegexp", 1, 2, buildQueryRegexp},
		{"ClientIP", 1, 1, buildClientIP},
	}}
	httpV2 = &grammar{"v2", []matcher{
		{"Host", 1, 0, buildHostsV2},
		{"HostHeader", 1, 0, buildHostsV2},
		{"HostRegexp", 1, 0, buildHostRegexpV2},
		{"Path", 1, 0, buildPathV2},
		{"PathPrefix", 1, 0, buildPathPrefixV2},
		{"Headers", 2, 0, buildHeadersV2},
		{"HeadersRegexp", 2, 0, buildHeadersRegexpV2},
		{"Method", 1, 0, buildMethodV2},
		{"Query", 1, 0, buildQueryV2},
		{"ClientIP", 1, 0, buildClientIPV2},
	}}
	tcpV3 = &grammar{"v3 TCP", []matcher{
		{"HostSNI", 1, 1, buildSNI},
		{"HostSNIRegexp", 1, 1, buildSNIRegexp},
		{"ClientIP", 1, 1, buildClientIP},
		{"ALPN", 1, 1, buildALPN},
	}}
	tcpV2 = &grammar{"v2 TCP", []matcher{
		{"HostSNI", 1, 0, buildSNIV2},
		{"HostSNIRegexp", 1, 0, buildSNIRegexpV2},
		{"ClientIP", 1, 0, buildClientIPV2},
		{"ALPN", 1, 0, buildALPNV2},
	}}
)

// compiler turns an Expr into nodes.
type compiler struct {
	rule     *Rule
	grammar  *grammar
	sibling  *grammar // the other syntax of the same protocol
	stranger *grammar // the other protocol
	negated  bool
}

// build fills n with e, negations pushed down to the leaves.
func (c *compiler) build(n *node, e *Expr, not bool) error {
	switch e.Op {
	case Not:
		return c.build(n, e.Kids[0], !not)
	case And, Or:
		n.kind = all
		if (e.Op == Or) != not {
			n.kind = some
		}
		n.kids = make([]node, len(e.Kids))
		for i, k := range e.Kids {
			if err := c.build(&n.kids[i], k, not); err != nil {
				return err
			}
		}
		n.cheapFirst()
		return nil
	}
	m, err := c.lookup(e)
	if err != nil {
		return err
	}
	c.negated = not
	if err := m.build(c, n, e); err != nil {
		return err
	}
	n.negate(not)
	return nil
}

func (c *compiler) lookup(e *Expr) (*matcher, error) {
	m := c.grammar.find(e.Name)
	if m == nil {
		return nil, errAt(e.Pos, c.suggest(e), "%s is not a matcher", e.Name)
	}
	if len(e.Args) < m.min || m.max > 0 && len(e.Args) > m.max {
		return nil, errAt(e.Pos, c.suggestCount(m, e), "%s takes %s, not %d", m.name, m.counts(), len(e.Args))
	}
	for i, a := range e.Args {
		if a == "" {
			return nil, errAt(e.ArgPos[i], "give it one; a variable that is not set leaves nothing", "%s has an empty value", m.name)
		}
	}
	return m, nil
}

func (m *matcher) counts() string {
	switch {
	case m.max == 0 && m.min == 1:
		return "one value or more"
	case m.max == 0:
		return fmt.Sprintf("%d values or more", m.min)
	case m.min != m.max:
		return fmt.Sprintf("%d or %d values", m.min, m.max)
	case m.min == 1:
		return "one value"
	}
	return fmt.Sprintf("%d values", m.min)
}

func (c *compiler) suggestCount(m *matcher, e *Expr) string {
	if m.max == 1 && len(e.Args) > 1 {
		alt := make([]string, len(e.Args))
		for i, a := range e.Args {
			alt[i] = m.name + "(" + quote(a) + ")"
		}
		return "write " + strings.Join(alt, " || ")
	}
	return ""
}

// renamed are matchers that have another name in the other syntax or protocol.
var renamed = map[string]string{
	"headers": "Header", "headersregexp": "HeaderRegexp", "hostheader": "Host",
	"header": "Headers", "headerregexp": "HeadersRegexp",
	"host": "HostSNI", "hostregexp": "HostSNIRegexp",
	"hostsni": "Host", "hostsniregexp": "HostRegexp",
}

func (c *compiler) suggest(e *Expr) string {
	low := strings.ToLower(e.Name)
	for _, m := range c.grammar.matchers {
		if strings.ToLower(m.name) == low {
			return "write " + m.name
		}
	}
	if to := renamed[low]; to != "" && c.grammar.find(to) != nil {
		return "write " + to
	}
	if c.sibling.find(e.Name) != nil {
		return "it belongs to the " + strings.Fields(c.sibling.name)[0] + " syntax"
	}
	if c.stranger.find(e.Name) != nil {
		if strings.Contains(c.grammar.name, "TCP") {
			return "it belongs to HTTP routers"
		}
		return "it belongs to TCP routers"
	}
	best, near := "", 4
	for _, m := range c.grammar.matchers {
		if d := Distance(low, strings.ToLower(m.name)); d < near {
			best, near = m.name, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	names := make([]string, len(c.grammar.matchers))
	for i, m := range c.grammar.matchers {
		names[i] = m.name
	}
	slices.Sort(names)
	return "there are " + strings.Join(names, ", ")
}

func (c *compiler) note(pos int, suggestion, text string) {
	c.rule.notes = append(c.rule.notes, Note{Col: pos + 1, Text: text, Suggestion: suggestion})
}

// Distance is the number of single-byte edits from a to b.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, diag+1, row[j]+1)
		}
	}
	return row[len(b)]
}
