package labels

import (
	"strings"
	"testing"
)

func TestConstraints(t *testing.T) {
	l := map[string]string{"env": "prod", "tier": "front", "q": "a`b", "empty": ""}
	for expr, want := range map[string]bool{
		"":                         true,
		"  ":                       true,
		"Label(`env`,`prod`)":      true,
		"Label(\"env\", \"prod\")": true,
		"Label(`env`,`dev`)":       false,
		"Label(`none`,``)":         true,
		"Label(`empty`,``)":        true,
		"!Label(`env`,`dev`)":      true,
		"!!Label(`env`,`dev`)":     false,
		"LabelRegex(`env`, `^pr`)": true,
		"LabelRegex(`env`,`^r`)":   false,
		"LabelRegex(`none`,`.*`)":  true,
		"Label(\"q\",\"a`b\")":     true,
		"Label(`env`,`x`)||Label(`tier`,`front`)&&Label(`env`,`prod`)":             true,
		"(Label(`env`,`dev`) || Label(`tier`,`front`)) && LabelRegex(`tier`,`.*`)": true,
		"Label(`env`,`prod`) || Label(`x`,`y`) && Label(`z`,`z`)":                  true,
		"!(Label(`env`,`prod`) && Label(`tier`,`front`))":                          false,
		"! ( Label ( `env` , `dev` ) ) \t&& Label(`env`,`prod`)":                   true,
	} {
		c, err := ParseConstraints(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
		} else if got := c.Match(l); got != want {
			t.Errorf("%s: %v, want %v", expr, got, want)
		}
	}
}

func TestConstraintErrors(t *testing.T) {
	for expr, want := range map[string]string{
		"Label(`a`)":                      "column 10: \",\" is expected, not \")\"",
		"Tag(`a`)":                        "column 1: \"Tag\" is not known",
		"label(`a`,`b`)":                  "column 1: \"label\" is not known",
		"Label(`a`,`b`) &&":               "column 18: a condition is missing",
		"Label(`a`,`b`":                   "\")\" is missing at the end",
		"Label(`a`,`b`)) ":                "column 15: \")\" is not expected here",
		"Label(`a`,`b`) Label(`a`,`b`)":   "column 16: \"Label\" is not expected here",
		"(Label(`a`,`b`)":                 "\")\" is missing at the end",
		"Label(a,`b`)":                    "column 7: a quoted text is expected, not \"a\"",
		"Label('a',`b`)":                  "column 7: a quoted text is expected",
		"LabelRegex(`a`,`(`)":             "missing closing )",
		"Label(`a`,`b":                    "a quoted text is expected",
		"Label(`a`,`b`) & Label(`a`,`b`)": "column 16: \"&\" is not expected",
		strings.Repeat("!", 200) + "Label(`a`,`b`)": "nested too deeply",
	} {
		_, err := ParseConstraints(expr)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", expr, err, want)
		}
	}
}

// FuzzConstraints holds two properties: a negated expression gives the opposite
// answer, and brackets change nothing.
func FuzzConstraints(f *testing.F) {
	f.Add("Label(`env`,`prod`) && !(LabelRegex(`a`,`b+`) || Label(\"x\",\"y\\\"\"))")
	f.Add("((Label(`a`,`b`)))")
	l := map[string]string{"env": "prod", "a": "bb"}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseConstraints(s)
		if err != nil || strings.TrimSpace(s) == "" {
			return
		}
		not, err := ParseConstraints("!(" + s + ")")
		if err != nil {
			if strings.Contains(err.Error(), "nested") {
				return
			}
			t.Fatal(err)
		}
		if c.Match(l) == not.Match(l) {
			t.Errorf("%q and its negation agree", s)
		}
	})
}

func TestNormalizeAndAutoName(t *testing.T) {
	for in, want := range map[string]string{
		"my_shop.eu": "my-shop-eu", "/web": "web", "a__b--c": "a-b-c", "Ann & Bob_2": "Ann-Bob-2", "é.x": "é-x", "-": "",
	} {
		if got := Normalize(in); got != want {
			t.Errorf("Normalize(%q) = %q, want %q", in, got, want)
		}
	}
	compose := map[string]string{ComposeProject: "my_shop.eu", ComposeService: "web_front"}
	if got := AutoName("x", compose); got != "web-front-my-shop-eu" {
		t.Error(got)
	}
	delete(compose, ComposeProject)
	if got := AutoName("x_1", compose); got != "x-1" {
		t.Error(got)
	}
}

func TestDefaultRule(t *testing.T) {
	labels := map[string]string{"who": "Ann & Bob_2"}
	for text, want := range map[string]string{
		"Host(`{{ normalize .Name }}`)":                         "Host(`w-p`)",
		"Host(`{{ .ContainerName }}.n`) || Host(`{{ .Name }}`)": "Host(`c_1.n`) || Host(`w-p`)",
		"Host(`{{ normalize (index .Labels \"who\") }}.test`)":  "Host(`Ann-Bob-2.test`)",
		`{{ index .Labels "none" }}`:                            "",
		"Host(`{{ .Name | upper | trimSuffix \"P\" }}`)":        "Host(`W-`)",
	} {
		d, err := ParseDefaultRule(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := d.Render("w-p", "c_1", labels); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"{{ nosuch }}", "Host(`{{ .Name `)"} {
		if _, err := ParseDefaultRule(text); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
	for _, text := range []string{`{{ .Nothing }}`, `{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`, `{{ range until 100000 }}xxxxxxxx{{ end }}`} {
		d, err := ParseDefaultRule(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Render("", "", nil); err == nil {
			t.Errorf("%s: rendered to %.40q", text, got)
		}
	}
}
