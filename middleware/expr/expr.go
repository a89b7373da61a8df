// Package expr compiles the conditions of circuit breakers and retries: comparisons of
// numbers and calls, joined by &&, || and !, as in
//
//	NetworkErrorRatio() > 0.30 || LatencyAtQuantileMS(50.0) > 100
//
// The grammar is that of Go expressions, of which only these forms are let in.
package expr

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxLength bounds an expression, in bytes; maxDepth how deep it may nest.
const (
	maxLength = 4096
	maxDepth  = 64
)

// Func is a function that expressions may call with numbers. Logic functions yield 0 or 1
// and may stand alone as a condition.
type Func[T any] struct {
	Args  int
	Logic bool
	// Text functions yield Text of a text, which is equal to another or not.
	Text bool
	Call func(env T, args []float64) float64
	// Check refuses arguments at compile time; may be nil.
	Check func(args []float64) error
}

// Cond is a compiled condition. It does not allocate.
type Cond[T any] func(env T) bool

type number[T any] func(env T) float64

// Text is the number that stands for a text in conditions, where texts are only equal or not.
func Text(s string) float64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return float64(h.Sum32())
}

type compiler[T any] struct{ funcs map[string]Func[T] }

// Compile compiles text with the functions it may call.
func Compile[T any](text string, funcs map[string]Func[T]) (Cond[T], error) {
	if strings.TrimSpace(text) == "" {
		return nil, fmt.Errorf("is empty")
	}
	if len(text) > maxLength {
		return nil, fmt.Errorf("is longer than %d characters", maxLength)
	}
	tree, err := parser.ParseExpr(text)
	if err != nil {
		return nil, fmt.Errorf("%q does not parse: %w", text, err)
	}
	c := compiler[T]{funcs}
	return c.cond(tree, 0)
}

func (c compiler[T]) cond(e ast.Expr, depth int) (Cond[T], error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nests too deep")
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		return c.cond(e.X, depth+1)
	case *ast.UnaryExpr:
		if e.Op != token.NOT {
			break
		}
		x, err := c.cond(e.X, depth+1)
		if err != nil {
			return nil, err
		}
		return func(env T) bool { return !x(env) }, nil
	case *ast.BinaryExpr:
		if e.Op == token.LAND || e.Op == token.LOR {
			return c.join(e, depth)
		}
		return c.compare(e, depth)
	case *ast.CallExpr:
		f, n, err := c.call(e)
		if err != nil {
			return nil, err
		}
		if !f.Logic {
			return nil, fmt.Errorf("%s is a number: compare it, as in %s > 0", name(e), name(e)+"(...)")
		}
		return func(env T) bool { return n(env) != 0 }, nil
	}
	return nil, fmt.Errorf("a condition is a comparison such as %s() > 0.5, or several joined by && and ||", c.any())
}

func (c compiler[T]) join(e *ast.BinaryExpr, depth int) (Cond[T], error) {
	x, err := c.cond(e.X, depth+1)
	if err != nil {
		return nil, err
	}
	y, err := c.cond(e.Y, depth+1)
	if err != nil {
		return nil, err
	}
	if e.Op == token.LAND {
		return func(env T) bool { return x(env) && y(env) }, nil
	}
	return func(env T) bool { return x(env) || y(env) }, nil
}

func (c compiler[T]) compare(e *ast.BinaryExpr, depth int) (Cond[T], error) {
	var cmp func(a, b float64) bool
	switch e.Op {
	case token.EQL:
		cmp = func(a, b float64) bool { return a == b }
	case token.NEQ:
		cmp = func(a, b float64) bool { return a != b }
	case token.LSS:
		cmp = func(a, b float64) bool { return a < b }
	case token.LEQ:
		cmp = func(a, b float64) bool { return a <= b }
	case token.GTR:
		cmp = func(a, b float64) bool { return a > b }
	case token.GEQ:
		cmp = func(a, b float64) bool { return a >= b }
	default:
		return nil, fmt.Errorf("the operator %s is not known; there are ! == != < <= > >= && and ||", e.Op)
	}
	x, xt, err := c.operand(e.X, depth+1)
	if err != nil {
		return nil, err
	}
	y, yt, err := c.operand(e.Y, depth+1)
	switch {
	case err != nil:
		return nil, err
	case xt != yt:
		return nil, fmt.Errorf("a text is compared with a number, where a number was expected or both should be texts")
	case xt && e.Op != token.EQL && e.Op != token.NEQ:
		return nil, fmt.Errorf("texts are equal or not: the operator %s is for numbers", e.Op)
	}
	return func(env T) bool { return cmp(x(env), y(env)) }, nil
}

// operand is a side of a comparison; text tells of what kind.
func (c compiler[T]) operand(e ast.Expr, depth int) (n number[T], text bool, err error) {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		s, err := strconv.Unquote(lit.Value)
		v := Text(s)
		return func(T) float64 { return v }, true, err
	}
	n, err = c.number(e, depth)
	if call, ok := e.(*ast.CallExpr); ok {
		text = c.funcs[name(call)].Text
	}
	return n, text, err
}

func (c compiler[T]) number(e ast.Expr, depth int) (number[T], error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nests too deep")
	}
	if p, ok := e.(*ast.ParenExpr); ok {
		return c.number(p.X, depth+1)
	}
	if call, ok := e.(*ast.CallExpr); ok {
		_, n, err := c.call(call)
		return n, err
	}
	v, err := literal(e)
	if err != nil {
		return nil, err
	}
	return func(T) float64 { return v }, nil
}

func literal(e ast.Expr) (float64, error) {
	sign := 1.0
	if u, ok := e.(*ast.UnaryExpr); ok && u.Op == token.SUB {
		sign, e = -1, u.X
	}
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.INT && lit.Kind != token.FLOAT {
		return 0, fmt.Errorf("a number was expected")
	}
	v, err := strconv.ParseFloat(lit.Value, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", lit.Value)
	}
	return sign * v, nil
}

func (c compiler[T]) call(e *ast.CallExpr) (Func[T], number[T], error) {
	f, ok := c.funcs[name(e)]
	if !ok {
		return f, nil, fmt.Errorf("the function %q is not known; there are %s", name(e), strings.Join(slices.Sorted(maps.Keys(c.funcs)), ", "))
	}
	if len(e.Args) != f.Args {
		return f, nil, fmt.Errorf("%s takes %d arguments, not %d", name(e), f.Args, len(e.Args))
	}
	var args []float64
	for _, a := range e.Args {
		v, err := literal(a)
		if err != nil {
			return f, nil, fmt.Errorf("%s: %w", name(e), err)
		}
		args = append(args, v)
	}
	if f.Check != nil {
		if err := f.Check(args); err != nil {
			return f, nil, fmt.Errorf("%s: %w", name(e), err)
		}
	}
	return f, func(env T) float64 { return f.Call(env, args) }, nil
}

// name is the called function's name, or "" where it is no plain name.
func name(e *ast.CallExpr) string {
	if id, ok := e.Fun.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// any returns the name of one function, for examples.
func (c compiler[T]) any() string {
	for _, n := range slices.Sorted(maps.Keys(c.funcs)) {
		return n
	}
	return ""
}
