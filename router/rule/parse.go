package rule

import (
	"slices"
	"strconv"
	"strings"
)

// maxDepth bounds how deep parentheses and negations may be nested; a rule is read by
// recursion, and comes from whoever may write a label.
const maxDepth = 128

// Op is what an Expr does.
type Op uint8

// The operators. And and Or have two or more Kids, Not has one, Call has none.
const (
	Call Op = iota
	And
	Or
	Not
)

// Expr is a parsed rule, without regard to which matchers exist. It is immutable.
type Expr struct {
	Op   Op
	Kids []*Expr
	// Name and Args of a Call, as written.
	Name string
	Args []string
	// Pos is the place in the rule in bytes from 0; ArgPos that of each argument.
	Pos    int
	ArgPos []int
}

// Parse reads a rule: calls joined by &&, || and !, && binding stronger than ||. Errors are *Error.
func Parse(text string) (*Expr, error) {
	p := &parser{lex: lexer{src: text}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind == tokEOF {
		return nil, errAt(0, "for example Host(`example.com`)", "the rule is empty")
	}
	e, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokEOF {
		return nil, p.unexpected("&& or ||")
	}
	return e, nil
}

type parser struct {
	lex lexer
	tok token
}

func (p *parser) advance() (err error) {
	p.tok, err = p.lex.next()
	return err
}

func (p *parser) unexpected(want string) error {
	got := p.tok.kind.String()
	hint := ""
	if p.tok.kind == tokIdent {
		got = strconv.Quote(p.tok.text)
		switch strings.ToLower(p.tok.text) {
		case "and":
			hint = "write &&"
		case "or":
			hint = "write ||"
		}
	}
	return errAt(p.tok.pos, hint, "%s where %s is expected", got, want)
}

func (p *parser) or(depth int) (*Expr, error)  { return p.join(Or, tokOr, p.and, depth) }
func (p *parser) and(depth int) (*Expr, error) { return p.join(And, tokAnd, p.unary, depth) }

// join reads operands of one operator; nested ones of the same kind are flattened.
func (p *parser) join(op Op, sep tokenKind, operand func(int) (*Expr, error), depth int) (*Expr, error) {
	first, err := operand(depth)
	if err != nil || p.tok.kind != sep {
		return first, err
	}
	e := &Expr{Op: op, Pos: first.Pos}
	for kid := first; ; {
		if kid.Op == op {
			e.Kids = append(e.Kids, kid.Kids...)
		} else {
			e.Kids = append(e.Kids, kid)
		}
		if p.tok.kind != sep {
			return e, nil
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		if kid, err = operand(depth); err != nil {
			return nil, err
		}
	}
}

func (p *parser) unary(depth int) (*Expr, error) {
	if depth >= maxDepth {
		return nil, errAt(p.tok.pos, "", "the rule is nested too deeply")
	}
	at := p.tok.pos
	switch p.tok.kind {
	case tokNot:
		if err := p.advance(); err != nil {
			return nil, err
		}
		kid, err := p.unary(depth + 1)
		if err != nil {
			return nil, err
		}
		return &Expr{Op: Not, Kids: []*Expr{kid}, Pos: at}, nil
	case tokOpen:
		if err := p.advance(); err != nil {
			return nil, err
		}
		e, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.tok.kind != tokClose {
			return nil, p.unexpected("')'")
		}
		return e, p.advance()
	case tokIdent:
		return p.call()
	case tokString:
		return nil, errAt(at, "for example Host(`example.com`)", "a value without a matcher")
	}
	return nil, p.unexpected("a matcher")
}

func (p *parser) call() (*Expr, error) {
	e := &Expr{Name: p.tok.text, Pos: p.tok.pos}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind != tokOpen {
		return nil, errAt(p.tok.pos, "for example "+e.Name+"(`...`)", "%s where '(' is expected", p.tok.kind)
	}
	for {
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.tok.kind == tokClose {
			return e, p.advance()
		}
		if p.tok.kind != tokString {
			if p.tok.kind == tokIdent {
				return nil, errAt(p.tok.pos, "write `"+p.tok.text+"` in backticks", "a value without quotes")
			}
			return nil, p.unexpected("a value in backticks")
		}
		e.Args, e.ArgPos = append(e.Args, p.tok.text), append(e.ArgPos, p.tok.pos)
		if err := p.advance(); err != nil {
			return nil, err
		}
		switch p.tok.kind {
		case tokComma:
		case tokClose:
			return e, p.advance()
		default:
			return nil, p.unexpected("',' or ')'")
		}
	}
}

// String prints the rule in its normal form: values in backticks where they can be,
// parentheses only where they are needed. It parses to an equal Expr.
func (e *Expr) String() string {
	var b strings.Builder
	e.print(&b, Or)
	return b.String()
}

// print writes e as an operand; outer is the loosest operator that needs no parentheses.
func (e *Expr) print(b *strings.Builder, outer Op) {
	switch e.Op {
	case Call:
		b.WriteString(e.Name)
		b.WriteByte('(')
		for i, a := range e.Args {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quote(a))
		}
		b.WriteByte(')')
	case Not:
		b.WriteByte('!')
		e.Kids[0].print(b, Not)
	default:
		if open := e.Op == Or && outer != Or || outer == Not; open {
			b.WriteByte('(')
			defer b.WriteByte(')')
		}
		for i, k := range e.Kids {
			if i > 0 {
				b.WriteString(map[Op]string{And: " && ", Or: " || "}[e.Op])
			}
			k.print(b, And)
		}
	}
}

func quote(s string) string {
	if strconv.CanBackquote(s) || !strings.ContainsAny(s, "`\r") && strings.ToValidUTF8(s, "") == s {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}

// Equal reports whether two rules are the same but for their layout.
func (e *Expr) Equal(o *Expr) bool {
	return e.Op == o.Op && e.Name == o.Name && slices.Equal(e.Args, o.Args) &&
		slices.EqualFunc(e.Kids, o.Kids, (*Expr).Equal)
}
