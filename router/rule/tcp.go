package rule

import "strings"

// acmeALPN is the protocol of the TLS-ALPN challenge (RFC 8737); the edge answers it itself.
const acmeALPN = "acme-tls/1"

func buildSNI(c *compiler, n *node, e *Expr) error { return c.sni(n, e, 0, true) }

func buildSNIV2(c *compiler, n *node, e *Expr) error {
	return each(n, e, func(n *node, i int) error { return c.sni(n, e, i, false) })
}

func (c *compiler) sni(n *node, e *Expr, i int, wild bool) error {
	written := e.Args[i]
	n.src = e
	if written == "*" {
		n.kind = sniAny
		return nil
	}
	name, err := toASCII(strings.ToLower(written))
	n.kind, n.text = hostIs, name
	if wild {
		if rest, ok := strings.CutPrefix(name, "**."); ok {
			n.kind, n.text = hostLabels, strings.TrimSuffix(rest, ".")
		} else if rest, ok := strings.CutPrefix(name, "*."); ok {
			n.kind, n.text = hostLabel, rest
		}
	}
	if err != nil || n.text == "" || strings.ContainsFunc(n.text, notHostByte) {
		return errAt(e.ArgPos[i], "", "%q is not a host name", written)
	}
	c.wants(name, written, e.ArgPos[i])
	return nil
}

// notHostByte reports characters that the reference refuses in a HostSNI.
func notHostByte(r rune) bool {
	return !(r == '.' || r == '-' || r == ':' || r == '_' || r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z')
}

func buildSNIRegexp(c *compiler, n *node, e *Expr) error {
	if !isASCII(e.Args[0]) {
		return errAt(e.ArgPos[0], "write the name in punycode (xn--...)", "a pattern for host names must be ASCII")
	}
	n.kind = hostRegexp
	return c.pattern(n, e, 0, e.Args[0])
}

func buildSNIRegexpV2(c *compiler, n *node, e *Expr) error { return buildHostRegexpV2(c, n, e) }

func buildALPN(c *compiler, n *node, e *Expr) error { return c.alpn(n, e, 0) }

func buildALPNV2(c *compiler, n *node, e *Expr) error {
	return each(n, e, func(n *node, i int) error { return c.alpn(n, e, i) })
}

func (c *compiler) alpn(n *node, e *Expr, i int) error {
	if e.Args[i] == acmeALPN {
		return errAt(e.ArgPos[i], "", "%s cannot be routed: the edge answers it itself", acmeALPN)
	}
	*n = node{kind: alpnHas, text: e.Args[i], src: e}
	return nil
}
