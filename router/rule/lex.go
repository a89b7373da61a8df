package rule

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is a rule that does not parse or build.
type Error struct {
	// Col is the place in the rule, in bytes from 1.
	Col int
	// Text says what is wrong there; Suggestion is the remedy, if one is known.
	Text, Suggestion string
}

// Error gives place, text and suggestion on one line.
func (e *Error) Error() string {
	s := "column " + strconv.Itoa(e.Col) + ": " + e.Text
	if e.Suggestion != "" {
		s += "; " + e.Suggestion
	}
	return s
}

func errAt(pos int, suggestion, format string, args ...any) *Error {
	return &Error{Col: pos + 1, Text: fmt.Sprintf(format, args...), Suggestion: suggestion}
}

type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokIdent
	tokString
	tokOpen
	tokClose
	tokComma
	tokAnd
	tokOr
	tokNot
)

func (k tokenKind) String() string {
	return [...]string{"the end of the rule", "a matcher", "a string", "'('", "')'", "','", "'&&'", "'||'", "'!'"}[k]
}

type token struct {
	kind tokenKind
	pos  int
	// text is the identifier, or the value of a string.
	text string
}

// lexer cuts a rule into tokens. Strings are those of Go: raw in backticks, or in
// double quotes with escapes; the reference parses rules as Go expressions.
type lexer struct {
	src string
	pos int
}

func (l *lexer) next() (token, error) {
	if err := l.skip(); err != nil {
		return token{}, err
	}
	if l.pos == len(l.src) {
		return token{kind: tokEOF, pos: l.pos}, nil
	}
	at, c := l.pos, l.src[l.pos]
	switch c {
	case '(':
		return l.short(tokOpen, 1), nil
	case ')':
		return l.short(tokClose, 1), nil
	case ',':
		return l.short(tokComma, 1), nil
	case '!':
		return l.short(tokNot, 1), nil
	case '&', '|':
		return l.operator(c)
	case '`', '"':
		return l.quoted(c)
	case '\'':
		return token{}, errAt(at, "write it in backticks", "a value in single quotes")
	}
	if isLetter(c) {
		for l.pos < len(l.src) && (isLetter(l.src[l.pos]) || l.src[l.pos] >= '0' && l.src[l.pos] <= '9') {
			l.pos++
		}
		return token{tokIdent, at, l.src[at:l.pos]}, nil
	}
	r, _ := utf8.DecodeRuneInString(l.src[at:])
	return token{}, errAt(at, "values stand in backticks: Path(`/x`)", "%q is not expected here", r)
}

// skip passes over blanks and Go's two kinds of comments.
func (l *lexer) skip() error {
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			l.pos++
		case strings.HasPrefix(rest, "//"):
			line, _, _ := strings.Cut(rest, "\n")
			l.pos += len(line)
		case strings.HasPrefix(rest, "/*"):
			comment, _, ended := strings.Cut(rest[2:], "*/")
			if !ended {
				return errAt(l.pos, "close it with */", "a comment that does not end")
			}
			l.pos += len(comment) + 4
		default:
			return nil
		}
	}
	return nil
}

func (l *lexer) short(k tokenKind, n int) token {
	l.pos += n
	return token{kind: k, pos: l.pos - n}
}

func (l *lexer) operator(c byte) (token, error) {
	if l.pos+1 >= len(l.src) || l.src[l.pos+1] != c {
		return token{}, errAt(l.pos, "write "+string([]byte{c, c}), "a single %q", c)
	}
	if c == '&' {
		return l.short(tokAnd, 2), nil
	}
	return l.short(tokOr, 2), nil
}

func (l *lexer) quoted(q byte) (token, error) {
	at, i := l.pos, l.pos+1
	for i < len(l.src) && l.src[i] != q {
		if q == '"' && l.src[i] == '\\' {
			i++
		}
		i++
	}
	if i >= len(l.src) {
		return token{}, errAt(at, "close it with "+string(q), "a string that does not end")
	}
	raw := l.src[at : i+1]
	val, err := strconv.Unquote(raw)
	if err != nil {
		return token{}, errAt(at, "put it in backticks, where a backslash is just that", "the string %s has an escape that is not known", raw)
	}
	l.pos = i + 1
	return token{tokString, at, val}, nil
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
