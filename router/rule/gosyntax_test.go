package rule

import (
	"go/ast"
	goparser "go/parser"
	gotoken "go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// The reference parses rules as Go expressions. goRule is the Expr of one that has nothing in it
// but calls with strings, !, && and ||; ok tells that.
func goRule(e ast.Expr, depth int) (_ *Expr, ok bool) {
	if depth > maxDepth/2 {
		return nil, false
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		return goRule(e.X, depth+1)
	case *ast.UnaryExpr:
		kid, ok := goRule(e.X, depth+1)
		return &Expr{Op: Not, Kids: []*Expr{kid}}, ok && e.Op == gotoken.NOT
	case *ast.BinaryExpr:
		op, known := map[gotoken.Token]Op{gotoken.LAND: And, gotoken.LOR: Or}[e.Op]
		x, okX := goRule(e.X, depth+1)
		y, okY := goRule(e.Y, depth+1)
		if !known || !okX || !okY {
			return nil, false
		}
		out := &Expr{Op: op}
		for _, k := range []*Expr{x, y} {
			if k.Op == op {
				out.Kids = append(out.Kids, k.Kids...)
			} else {
				out.Kids = append(out.Kids, k)
			}
		}
		return out, true
	case *ast.CallExpr:
		name, isName := e.Fun.(*ast.Ident)
		if !isName || e.Ellipsis.IsValid() {
			return nil, false
		}
		out := &Expr{Name: name.Name}
		for _, a := range e.Args {
			lit, isLit := a.(*ast.BasicLit)
			if !isLit || lit.Kind != gotoken.STRING {
				return nil, false
			}
			value, err := strconv.Unquote(lit.Value)
			if err != nil {
				return nil, false
			}
			out.Args = append(out.Args, value)
		}
		return out, true
	}
	return nil, false
}

// FuzzParseAsGo: what the reference's parser takes means the same here, and what it refuses is
// refused here, but for lines that begin with an operator.
func FuzzParseAsGo(f *testing.F) {
	for _, s := range []string{
		"Host(`a`)", "Host(`a`,)", "!(A() && B(`x`, \"y\") || !C())", "A() || B() && C() || D()", "((A()))", "A(`x`) // y", "A(/* x */`y`)",
		"A (`x`)", "A(\"\\x41\\u00e9\\\"\")", "!!A()", "A()&&B()||C()", "\tA()\r", "a_1(`b`)", "A(`a\rb`)", "A(''), B", "A(1)", "if()", "A(`x`...)",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "\n\x00\ufeff") || len(text) > 4096 || !utf8.ValidString(text) {
			return
		}
		var want *Expr
		ok := false
		if e, err := goparser.ParseExpr(text); err == nil {
			want, ok = goRule(e, 0)
		}
		got, err := Parse(text)
		switch {
		case ok && err != nil:
			t.Errorf("%q: %v, but Go takes it as %s", text, err, want)
		case !ok && err == nil && !hasKeyword(got):
			t.Errorf("%q is taken as %s, Go does not", text, got)
		case ok && !got.Equal(want):
			t.Errorf("%q: %s, Go has %s", text, got, want)
		}
	})
}

// hasKeyword reports a name that is a keyword of Go, which no matcher is.
func hasKeyword(e *Expr) bool {
	return gotoken.IsKeyword(e.Name) || slices.ContainsFunc(e.Kids, hasKeyword)
}
