package expr

import (
	"errors"
	"strings"
	"testing"
)

type env struct{ a, b float64 }

var funcs = map[string]Func[env]{
	"A":  {Call: func(e env, _ []float64) float64 { return e.a }},
	"B":  {Args: 1, Call: func(e env, x []float64) float64 { return e.b * x[0] }, Check: func(x []float64) error { return check(x[0]) }},
	"M":  {Text: true, Call: func(env, []float64) float64 { return Text("POST") }},
	"Is": {Logic: true, Call: func(e env, _ []float64) float64 { return e.a }},
}

func check(x float64) error {
	if x > 100 {
		return errors.New("is over 100")
	}
	return nil
}

func TestCompile(t *testing.T) {
	for text, want := range map[string]bool{
		"A() > 0.5":                          true,
		"A() > 1":                            false,
		"A() >= 1.0 && B(2) == 4":            true,
		"A() < 1 || B(2.0) != 4":             false,
		"!(A() < 1)":                         true,
		"!Is()":                              false,
		"Is() && Attempts() < 3 || A() == 1": true,
		"-1 < A()":                           true,
		"(A()) <= (1)":                       true,
		" A()\t> 0 ":                         true,
		`M() == "POST" && "GET" != M()`:      true,
		"M() == `GET`":                       false,
	} {
		f := map[string]Func[env]{"Attempts": {Call: func(env, []float64) float64 { return 1 }}}
		for k, v := range funcs {
			f[k] = v
		}
		c, err := Compile(text, f)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c(env{1, 2}); got != want {
			t.Errorf("%s: %v", text, got)
		}
		if n := testing.AllocsPerRun(10, func() { c(env{1, 2}) }); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
	for text, want := range map[string]string{
		"": "empty", "Nonsense(": "parse", "Unknown() > 1": `"Unknown" is not known; there are A, B, Is, M`, "A()": "compare it", "A() + 1": "operator +",
		"1": "comparison", "A(1) > 1": "takes 0", "B() > 1": "takes 1", "B(A()) > 1": "number was expected", "A() > \"x\"": "number was expected",
		"B(101) > 1": "over 100", "M() == 1": "both should be texts", `M() > "x"`: "operator >", `B("x") > 1`: "number was expected", "M()": "compare it", "x.y() > 1": "not known", "func(){}() > 1": "not known", "A() > 1 > 2": "number was expected",
		strings.Repeat("(", 100) + "A() > 1" + strings.Repeat(")", 100): "too deep", strings.Repeat("A", 5000): "longer",
	} {
		if _, err := Compile(text, funcs); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}

// FuzzCompile holds: what compiles runs, and negating it gives the opposite.
func FuzzCompile(f *testing.F) {
	f.Add("A() > 0.5 || B(2) == 4 && !Is()")
	f.Add("!((A() <= 1))")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Compile(text, funcs)
		if err != nil {
			return
		}
		n, err := Compile("!("+text+"\n)", funcs)
		if err != nil {
			return // a comment or the bound on length
		}
		if c(env{1, 2}) == n(env{1, 2}) {
			t.Fatalf("%q equals its negation", text)
		}
	})
}
