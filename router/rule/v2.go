package rule

import (
	"errors"
	"regexp"
	"strings"
)

// each builds one kid for each value: any of them is enough.
func each(n *node, e *Expr, build func(n *node, i int) error) error {
	if len(e.Args) == 1 {
		return build(n, 0)
	}
	n.kind, n.kids = some, make([]node, len(e.Args))
	for i := range e.Args {
		if err := build(&n.kids[i], i); err != nil {
			return err
		}
	}
	n.cheapFirst()
	return nil
}

// buildHostsV2 builds Host and HostHeader, where a star is no wildcard and names are ASCII.
func buildHostsV2(c *compiler, n *node, e *Expr) error {
	return each(n, e, func(n *node, i int) error {
		a := e.Args[i]
		if !isASCII(a) {
			hint := ""
			if p, err := toASCII(strings.ToLower(a)); err == nil {
				hint = "write `" + p + "`"
			}
			return errAt(e.ArgPos[i], hint, "the v2 syntax takes host names in ASCII only, not %q", a)
		}
		n.kind, n.text, n.src = hostIs, strings.ToLower(a), e
		if strings.Contains(a, "*") {
			c.note(e.ArgPos[i], "use HostRegexp(`{sub:[^.]+}.example.com`) or the v3 syntax", "the v2 syntax compares a star to the letter")
		} else {
			c.checkHost(e.ArgPos[i], n.text)
		}
		if strings.EqualFold(e.Name, "Host") {
			c.wants(n.text, a, e.ArgPos[i])
		}
		return nil
	})
}

func buildHostRegexpV2(c *compiler, n *node, e *Expr) error {
	return each(n, e, func(n *node, i int) error {
		if !isASCII(e.Args[i]) {
			return errAt(e.ArgPos[i], "write the name in punycode (xn--...)", "a pattern for host names must be ASCII")
		}
		t, err := parseTemplate(e.Args[i], "[^.]+")
		if err != nil {
			return errAt(e.ArgPos[i], "", "%q: %v", e.Args[i], err)
		}
		if t.plain {
			*n = node{kind: hostSame, text: strings.ToLower(t.prefix), src: e}
			return nil
		}
		n.kind = hostRegexp
		return c.pattern(n, e, i, "(?i)^"+t.expr+"$")
	})
}

func buildPathV2(c *compiler, n *node, e *Expr) error {
	return each(n, e, func(n *node, i int) error { return c.pathV2(n, e, i, pathIs, "$") })
}

func buildPathPrefixV2(c *compiler, n *node, e *Expr) error {
	return each(n, e, func(n *node, i int) error { return c.pathV2(n, e, i, pathPrefix, "") })
}

func (c *compiler) pathV2(n *node, e *Expr, i int, k kind, end string) error {
	t, err := parseTemplate(e.Args[i], "[^/]+")
	if err != nil {
		return errAt(e.ArgPos[i], "", "%q: %v", e.Args[i], err)
	}
	n.kind = k
	if err := c.path(n, e, i); err != nil || t.plain {
		return err
	}
	n.kind = pathRegexp
	if err := c.pattern(n, e, i, "^"+t.expr+end); err != nil {
		return err
	}
	n.text = t.prefix
	return nil
}

// pairs builds one kid for each pair of values: all of them are needed.
func pairs(n *node, e *Expr, build func(n *node, i int) error) error {
	if len(e.Args)%2 != 0 {
		return errAt(e.Pos, "", "%s takes pairs of name and value, not %d values", e.Name, len(e.Args))
	}
	if len(e.Args) == 2 {
		return build(n, 0)
	}
	n.kind, n.kids = all, make([]node, len(e.Args)/2)
	for i := range n.kids {
		if err := build(&n.kids[i], 2*i); err != nil {
			return err
		}
	}
	n.cheapFirst()
	return nil
}

func buildHeadersV2(_ *compiler, n *node, e *Expr) error {
	return pairs(n, e, func(n *node, i int) error {
		*n = node{kind: headerIs, name: e.Args[i], text: e.Args[i+1], src: e}
		return nil
	})
}

func buildHeadersRegexpV2(c *compiler, n *node, e *Expr) error {
	return pairs(n, e, func(n *node, i int) error {
		n.kind, n.name = headerMatch, e.Args[i]
		return c.pattern(n, e, i+1, e.Args[i+1])
	})
}

func buildMethodV2(_ *compiler, n *node, e *Expr) error {
	return each(n, e, func(n *node, i int) error {
		*n = node{kind: methodIs, text: strings.ToUpper(e.Args[i]), src: e}
		return nil
	})
}

// buildQueryV2 builds Query(`a=1`, `b={x:[0-9]+}`): every one is needed, and of a
// parameter that is there twice the first value counts. The reference lists all names
// and values before it pairs them, so that Query(`a`, `1`) means Query(`a=1`).
func buildQueryV2(c *compiler, n *node, e *Expr) error {
	flat := &Expr{Name: e.Name, Pos: e.Pos}
	for i, a := range e.Args {
		name, value, both := strings.Cut(a, "=")
		flat.Args, flat.ArgPos = append(flat.Args, name), append(flat.ArgPos, e.ArgPos[i])
		if both {
			flat.Args, flat.ArgPos = append(flat.Args, value), append(flat.ArgPos, e.ArgPos[i])
		}
	}
	return pairs(n, flat, func(n *node, i int) error {
		t, err := parseTemplate(flat.Args[i+1], ".*")
		if err != nil {
			return errAt(flat.ArgPos[i+1], "", "%q: %v", flat.Args[i+1], err)
		}
		n.name, n.text, n.src = flat.Args[i], t.prefix, e
		switch {
		case flat.Args[i+1] == "":
			n.kind = queryFirstMatch
			return c.pattern(n, flat, i+1, "^.*$")
		case t.plain:
			n.kind = queryFirst
			return nil
		}
		n.kind = queryFirstMatch
		return c.pattern(n, flat, i+1, "^"+t.expr+"$")
	})
}

func buildClientIPV2(c *compiler, n *node, e *Expr) error {
	return each(n, e, func(n *node, i int) error { return c.clientIP(n, e, i) })
}

// template is a text with {name:pattern} pieces.
type template struct {
	// expr is the regular expression for it, without anchors.
	expr string
	// prefix is the literal text before the first piece; plain is set where there is none.
	prefix string
	plain  bool
}

var errBraces = errors.New("a brace has no counterpart")

// parseTemplate reads a template of the v2 syntax. A piece without pattern takes fallback.
func parseTemplate(s, fallback string) (template, error) {
	var expr strings.Builder
	t := template{plain: true}
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			i = len(s)
		}
		expr.WriteString(regexp.QuoteMeta(s[:i]))
		if t.plain {
			t.prefix = s[:i]
		}
		if i == len(s) {
			break
		}
		end := closing(s[i:])
		if end < 0 {
			return t, errBraces
		}
		name, pattern, given := strings.Cut(s[i+1:i+end], ":")
		if !given {
			pattern = fallback
		}
		if name == "" || pattern == "" {
			return t, errors.New("a name or pattern in braces is missing")
		}
		if _, err := regexp.Compile("^" + pattern + "$"); err != nil {
			return t, errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		expr.WriteString("(?:" + pattern + ")")
		t.plain = false
		s = s[i+end+1:]
	}
	t.expr = expr.String()
	return t, nil
}

// closing returns the place of the brace that closes the one at 0, or -1.
func closing(s string) int {
	level := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			level++
		case '}':
			if level--; level <= 0 {
				if level < 0 {
					return -1
				}
				return i
			}
		}
	}
	return -1
}
