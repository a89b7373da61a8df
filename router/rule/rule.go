// Package rule holds the rule language of routers: Host(`a.example`) && PathPrefix(`/x`).
//
// A rule is parsed to an Expr and compiled to a Rule, which matches a Subject: a request,
// or a TCP connection. There are two grammars that differ in their matchers: v3, and the
// older v2. What is matched and how follows the reference, Traefik 3.7; the one thing more
// is that host names may be written in Unicode.
package rule

import (
	"errors"
	"strings"
)

// Syntax is one of the two grammars.
type Syntax uint8

// The grammars.
const (
	V3 Syntax = iota
	V2
)

// ParseSyntax reads the name of a grammar. Like the reference it takes every name but
// "v2" as v3; ok is false where the name is not known.
func ParseSyntax(s string) (syn Syntax, ok bool) {
	switch strings.ToLower(s) {
	case "v2":
		return V2, true
	case "", "v3", "default":
		return V3, true
	}
	return V3, false
}

// Note is something in a rule that works, but hardly as meant.
type Note struct {
	Col              int
	Text, Suggestion string
}

// Rule is a compiled rule. It is immutable and safe for concurrent use.
type Rule struct {
	text   string
	normal string
	expr   *Expr
	root   node
	keys   []Key
	notes  []Note
	hosts  []Host
}

// Host is a name that a rule asks for, positively: `!Host(x)` does not.
type Host struct {
	// Name in lower case and ASCII, as in a certificate; "*.example.com" is possible.
	Name string
	// Written is the name as the rule has it.
	Written string
	// Col is its place, in bytes from 1.
	Col int
}

// International reports whether the name was written in Unicode.
func (h Host) International() bool { return !isASCII(h.Written) }

// Compile builds the rule of an HTTP router. Errors are *Error.
func Compile(text string, syn Syntax) (*Rule, error) {
	if syn == V2 {
		return compile(text, httpV2, httpV3, tcpV3)
	}
	return compile(text, httpV3, httpV2, tcpV3)
}

// CompileTCP builds the rule of a TCP router. Errors are *Error.
func CompileTCP(text string, syn Syntax) (*Rule, error) {
	if syn == V2 {
		return compile(text, tcpV2, tcpV3, httpV3)
	}
	return compile(text, tcpV3, tcpV2, httpV3)
}

func compile(text string, g, sibling, stranger *grammar) (*Rule, error) {
	e, err := Parse(text)
	if err != nil {
		return nil, err
	}
	c := &compiler{rule: &Rule{text: text, expr: e}, grammar: g, sibling: sibling, stranger: stranger}
	if err := c.build(&c.rule.root, e, false); err != nil {
		return nil, c.older(err, e)
	}
	c.rule.keys = c.rule.root.uniqueKeys()
	if c.rule.normal = e.String(); c.rule.normal == text {
		c.rule.normal = text
	}
	return c.rule, nil
}

// older tells in the error for a rule that is right in the v2 syntax how to go on with that.
func (c *compiler) older(err error, e *Expr) error {
	var re *Error
	if (c.grammar != httpV3 && c.grammar != tcpV3) || !errors.As(err, &re) {
		return err
	}
	old := &compiler{rule: &Rule{}, grammar: c.sibling, sibling: c.grammar, stranger: c.stranger}
	if old.build(&old.rule.root, e, false) != nil {
		return err
	}
	told := *re
	if told.Suggestion != "" {
		told.Suggestion += ", or "
	}
	told.Suggestion += keepV2
	return &told
}

// keepV2 is the remedy for a rule that was written for the v2 syntax.
const keepV2 = "set the router's ruleSyntax=v2, or --core.defaultRuleSyntax=v2 for all"

// Text is the rule as written.
func (r *Rule) Text() string { return r.text }

// Normal is the rule in the normal form of Expr.String: equal for rules that differ in layout only.
func (r *Rule) Normal() string { return r.normal }

// Keys returns the conditions under which the rule can match.
func (r *Rule) Keys() []Key { return r.keys }

// Expr is the parsed rule.
func (r *Rule) Expr() *Expr { return r.expr }

// Notes tell what in the rule is hardly meant so.
func (r *Rule) Notes() []Note { return r.notes }

// Hosts are the names the rule asks for, in order; the catch-all "*" is not one.
func (r *Rule) Hosts() []Host { return r.hosts }

// Match reports whether the rule holds. It does not allocate once the subject's pool is warm.
func (r *Rule) Match(s *Subject) bool { return r.root.match(s) }

// Priority is the default priority of a router with this rule text, whether it is right
// or not: its length in bytes. The two stars of a Host(`**.example.com`) do not count.
func Priority(text string) int {
	n := len(text)
	if strings.Contains(text, "**.") {
		if e, err := Parse(text); err == nil {
			n -= doubleStars(e)
		}
	}
	return n
}

func doubleStars(e *Expr) (n int) {
	for _, a := range e.Args {
		if strings.HasPrefix(a, "**.") && (strings.EqualFold(e.Name, "Host") || strings.EqualFold(e.Name, "HostSNI")) {
			n += 2
		}
	}
	for _, k := range e.Kids {
		n += doubleStars(k)
	}
	return n
}

// PriorityTCP is the default priority of a TCP router: that of the text, but -1 for the
// bare catch-all HostSNI(`*`), so that it comes last.
func PriorityTCP(text string) int {
	if IsCatchAll(text) {
		return -1
	}
	return Priority(text)
}

// IsCatchAll reports whether the rule is HostSNI(`*`) and nothing else.
func IsCatchAll(text string) bool {
	e, err := Parse(text)
	return err == nil && e.Op == Call && len(e.Args) == 1 && e.Args[0] == "*" && strings.EqualFold(e.Name, "HostSNI")
}
