package labels

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Constraints is an expression over labels that says which workloads a provider looks
// at: Label(`key`, `value`), LabelRegex(`key`, `expression`), &&, ||, ! and parentheses. A
// label that is not there is one without a value, as in the reference.
// The zero value matches everything.
type Constraints struct{ match func(map[string]string) bool }

// Match reports whether the labels satisfy the expression.
func (c Constraints) Match(labels map[string]string) bool { return c.match == nil || c.match(labels) }

// maxConstraintDepth bounds parentheses and negations within each other.
const maxConstraintDepth = 100

// ParseConstraints reads an expression; an empty one matches everything. An error names the column.
func ParseConstraints(s string) (Constraints, error) {
	if strings.TrimSpace(s) == "" {
		return Constraints{}, nil
	}
	p := constraintParser{in: s}
	m, err := p.or(0)
	if err == nil && p.next() != "" {
		err = p.errorf("%q is not expected here", p.tok)
	}
	if err != nil {
		return Constraints{}, err
	}
	return Constraints{match: m}, nil
}

type constraintParser struct {
	in         string
	pos, start int    // behind and before tok
	tok        string // the token in hand, "" at the end
	peeked     bool
}

func (p *constraintParser) errorf(format string, args ...any) error {
	return fmt.Errorf("constraints, column %d: %s", utf8.RuneCountInString(p.in[:p.start])+1, fmt.Sprintf(format, args...))
}

// next looks at the next token without taking it: an operator, a bracket, a comma, a
// word, or a quoted string with its quotes.
func (p *constraintParser) next() string {
	if p.peeked {
		return p.tok
	}
	p.peeked = true
	rest := strings.TrimLeftFunc(p.in[p.pos:], unicode.IsSpace)
	p.start = len(p.in) - len(rest)
	first, n := utf8.DecodeRuneInString(rest)
	switch {
	case rest == "":
	case strings.HasPrefix(rest, "&&"), strings.HasPrefix(rest, "||"):
		n = 2
	case rest[0] == '`' || rest[0] == '"':
		n = quotedLen(rest)
	case unicode.IsLetter(first):
		n = strings.IndexFunc(rest, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if n < 0 {
			n = len(rest)
		}
	}
	p.tok, p.pos = rest[:n], p.start+n
	return p.tok
}

// quotedLen is the length of the string literal at the start of s, to its end if it is not closed.
func quotedLen(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && s[0] == '"':
			i++
		case s[i] == s[0]:
			return i + 1
		}
	}
	return len(s)
}

func (p *constraintParser) take() { p.next(); p.peeked = false }

func (p *constraintParser) expect(tok string) error {
	if got := p.next(); got != tok {
		if got == "" {
			return p.errorf("%q is missing at the end", tok)
		}
		return p.errorf("%q is expected, not %q", tok, got)
	}
	p.take()
	return nil
}

type matcher = func(map[string]string) bool

func (p *constraintParser) or(depth int) (matcher, error) {
	left, err := p.and(depth)
	for err == nil && p.next() == "||" {
		p.take()
		a := left
		var b matcher
		b, err = p.and(depth)
		left = func(l map[string]string) bool { return a(l) || b(l) }
	}
	return left, err
}

func (p *constraintParser) and(depth int) (matcher, error) {
	left, err := p.unary(depth)
	for err == nil && p.next() == "&&" {
		p.take()
		a := left
		var b matcher
		b, err = p.unary(depth)
		left = func(l map[string]string) bool { return a(l) && b(l) }
	}
	return left, err
}

func (p *constraintParser) unary(depth int) (matcher, error) {
	if depth > maxConstraintDepth {
		return nil, p.errorf("nested too deeply")
	}
	switch p.next() {
	case "!":
		p.take()
		m, err := p.unary(depth + 1)
		return func(l map[string]string) bool { return !m(l) }, err
	case "(":
		p.take()
		m, err := p.or(depth + 1)
		if err == nil {
			err = p.expect(")")
		}
		return m, err
	}
	return p.call()
}

// call reads Label(`k`, `v`) or LabelRegex(`k`, `re`).
func (p *constraintParser) call() (matcher, error) {
	name := p.next()
	switch name {
	case "Label", "LabelRegex":
		p.take()
	case "":
		return nil, p.errorf("a condition is missing at the end")
	default:
		return nil, p.errorf("%q is not known; use Label(`key`, `value`) or LabelRegex(`key`, `expression`)", name)
	}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	key, err := p.text()
	if err != nil {
		return nil, err
	}
	if err := p.expect(","); err != nil {
		return nil, err
	}
	value, err := p.text()
	if err != nil {
		return nil, err
	}
	at := p.start
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	if name == "Label" {
		return func(l map[string]string) bool { return l[key] == value }, nil
	}
	re, err := regexp.Compile(value)
	if err != nil {
		p.start = at
		return nil, p.errorf("%v", err)
	}
	return func(l map[string]string) bool { return re.MatchString(l[key]) }, nil
}

func (p *constraintParser) text() (string, error) {
	t := p.next()
	s, err := strconv.Unquote(t)
	if err != nil || t == "" || (t[0] != '`' && t[0] != '"') {
		return "", p.errorf("a quoted text is expected, not %q", t)
	}
	p.take()
	return s, nil
}
