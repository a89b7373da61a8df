package rule

import (
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strings"

	"golang.org/x/net/idna"
)

func buildHost(c *compiler, n *node, e *Expr) error { return c.host(n, e, 0) }

// host builds Host of the v3 syntax, which knows wildcards and, unlike the reference's,
// names in Unicode.
func (c *compiler) host(n *node, e *Expr, i int) error {
	written := e.Args[i]
	name, err := toASCII(strings.ToLower(written))
	if err != nil {
		return errAt(e.ArgPos[i], "", "%q is not a host name: %v", written, err)
	}
	n.src = e
	switch {
	case name == "*":
		n.kind = hostAny
		return nil
	case strings.HasPrefix(name, "**."):
		n.kind, n.text = hostLabels, strings.TrimSuffix(name[3:], ".")
	case strings.HasPrefix(name, "*."):
		n.kind, n.text = hostLabel, name[2:]
	default:
		n.kind, n.text = hostIs, name
	}
	c.checkHost(e.ArgPos[i], name)
	c.wants(name, written, e.ArgPos[i])
	return nil
}

// wants notes a name that the rule asks for, if it is one that a certificate can have;
// a star is possible for the whole first label only.
func (c *compiler) wants(name, written string, pos int) {
	name = strings.TrimRight(name, ".")
	if c.negated || name == "" || strings.Contains(strings.TrimPrefix(name, "*."), "*") || strings.ContainsFunc(name, func(r rune) bool {
		return r > 0x7e || strings.ContainsRune(" :/[]@`\"'", r)
	}) {
		return
	}
	c.rule.hosts = append(c.rule.hosts, Host{Name: name, Written: written, Col: pos + 1})
}

func (c *compiler) checkHost(pos int, name string) {
	if _, err := netip.ParseAddr(name); err == nil {
		return
	}
	switch {
	case strings.Contains(name, "$"):
		c.note(pos, `in a file write {{ env "NAME" }}`, "no request has this host: variables are not replaced here")
	case strings.Contains(name, ","):
		c.note(pos, "write Host(`a`) || Host(`b`)", "no request has this host: it contains a comma")
	case strings.ContainsAny(name, "<>{}()'\""):
		c.note(pos, "write the name alone", "no request has this host: it contains a character that names do not have")
	case strings.HasPrefix(name, "["):
		c.note(pos, "write the address without brackets", "no request has this host: addresses are compared without brackets")
	case strings.Contains(name, ":"):
		c.note(pos, "leave the port out", "no request has this host: ports are left out before comparing")
	case strings.Contains(name, "/"):
		c.note(pos, "add && PathPrefix(`/...`)", "no request has this host: it contains a path")
	case strings.ContainsAny(name, " \t"):
		c.note(pos, "take the space out", "no request has this host: it contains a space")
	case strings.ContainsAny(strings.TrimLeft(name, "*"), "*") || strings.HasPrefix(name, "*") && !strings.HasPrefix(strings.TrimLeft(name, "*"), "."):
		c.note(pos, "a star stands for the whole first label: *.example.com; for more use HostRegexp", "this star is compared to the letter")
	}
}

// toASCII turns the Unicode labels of a name into punycode; ASCII names come back as they are.
func toASCII(name string) (string, error) {
	if isASCII(name) {
		return name, nil
	}
	stars := name[:len(name)-len(strings.TrimLeft(name, "*."))]
	ascii, err := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckJoiners(true)).ToASCII(name[len(stars):])
	return stars + ascii, err
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func buildHostRegexp(c *compiler, n *node, e *Expr) error {
	if !isASCII(e.Args[0]) {
		return errAt(e.ArgPos[0], "write the name in punycode (xn--...)", "a pattern for host names must be ASCII")
	}
	if i := strings.IndexByte(e.Args[0], '{'); i == 0 || i > 0 && strings.HasPrefix(e.Args[0][i-1:], "^{") {
		c.note(e.ArgPos[0], "write a plain regular expression such as `^[a-z]+[.]example[.]com$`, or "+keepV2, "{name:pattern} belongs to the v2 syntax")
	}
	n.kind = hostRegexp
	return c.pattern(n, e, 0, e.Args[0])
}

// pattern compiles a regular expression for n and remembers the literal it begins with.
func (c *compiler) pattern(n *node, e *Expr, i int, expr string) error {
	re, err := regexp.Compile(expr)
	if err != nil {
		text := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		return errAt(e.ArgPos[i], "", "%q is not a regular expression: %s", e.Args[i], text)
	}
	n.re, n.src = re, e
	if n.kind == pathRegexp {
		n.text = literalPrefix(expr)
	}
	return nil
}

// literalPrefix is what each text that matches an anchored expression begins with.
func literalPrefix(expr string) string {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return ""
	}
	if re = re.Simplify(); re.Op != syntax.OpConcat || re.Sub[0].Op != syntax.OpBeginText {
		return ""
	}
	if lit := re.Sub[1]; lit.Op == syntax.OpLiteral && lit.Flags&syntax.FoldCase == 0 {
		return string(lit.Rune)
	}
	return ""
}

func buildPath(c *compiler, n *node, e *Expr) error {
	n.kind = pathIs
	return c.path(n, e, 0)
}

func buildPathPrefix(c *compiler, n *node, e *Expr) error {
	n.kind = pathPrefix
	return c.path(n, e, 0)
}

func (c *compiler) path(n *node, e *Expr, i int) error {
	p := e.Args[i]
	if p[0] != '/' {
		return errAt(e.ArgPos[i], "write "+quote("/"+p), "the path %q does not begin with /", p)
	}
	n.text, n.src = p, e
	switch {
	case hasEscape(p):
		c.note(e.ArgPos[i], "write the character itself", "no path matches this escape: paths are decoded before comparing")
	case strings.Contains(p, "//") || strings.Contains(p, "/./") || strings.Contains(p, "/../"):
		c.note(e.ArgPos[i], "", "no path matches this: double slashes and dot segments are taken out before comparing")
	case c.grammar.name == "v3" && strings.Contains(p, "{"):
		c.note(e.ArgPos[i], "use PathRegexp, or "+keepV2, "braces are compared to the letter; {name:pattern} belongs to the v2 syntax")
	case strings.Contains(p, "?"):
		c.note(e.ArgPos[i], "add && Query(`name`, `value`)", "no path contains a question mark")
	}
	return nil
}

// hasEscape reports whether p has an escape that matching paths have decoded.
func hasEscape(p string) bool {
	for i := 0; i+2 < len(p); i++ {
		if p[i] == '%' && isHex(p[i+1]) && isHex(p[i+2]) &&
			strings.IndexByte(":/?#[]@!$&'()*+,;=%", unhex(p[i+1])<<4|unhex(p[i+2])) < 0 {
			return true
		}
	}
	return false
}

func buildPathRegexp(c *compiler, n *node, e *Expr) error {
	n.kind = pathRegexp
	return c.pattern(n, e, 0, e.Args[0])
}

func buildHeader(_ *compiler, n *node, e *Expr) error {
	*n = node{kind: headerIs, name: e.Args[0], text: e.Args[1], src: e}
	return nil
}

func buildHeaderRegexp(c *compiler, n *node, e *Expr) error {
	n.kind, n.name = headerMatch, e.Args[0]
	return c.pattern(n, e, 1, e.Args[1])
}

func buildMethod(_ *compiler, n *node, e *Expr) error {
	*n = node{kind: methodIs, text: strings.ToUpper(e.Args[0]), src: e}
	return nil
}

// buildQuery builds Query(`name`, `value`); without value it asks for an empty one, as in "?name".
func buildQuery(_ *compiler, n *node, e *Expr) error {
	*n = node{kind: queryIs, name: e.Args[0], src: e}
	if len(e.Args) == 2 {
		n.text = e.Args[1]
	}
	return nil
}

func buildQueryRegexp(c *compiler, n *node, e *Expr) error {
	if len(e.Args) == 1 {
		return buildQuery(c, n, e)
	}
	n.kind, n.name = queryMatch, e.Args[0]
	return c.pattern(n, e, 1, e.Args[1])
}

func buildClientIP(c *compiler, n *node, e *Expr) error { return c.clientIP(n, e, 0) }

func (c *compiler) clientIP(n *node, e *Expr, i int) error {
	n.kind, n.src = clientIn, e
	if a, err := netip.ParseAddr(e.Args[i]); err == nil && a.Zone() == "" {
		a = a.Unmap()
		n.net = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(e.Args[i])
	if err != nil {
		return errAt(e.ArgPos[i], "", "%q is neither an address nor a range such as 10.0.0.0/8", e.Args[i])
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	n.net = p.Masked()
	return nil
}
