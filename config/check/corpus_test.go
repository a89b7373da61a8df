package check

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/sluice-edge/sluice/config"
)

var update = flag.Bool("update", false, "write what is found into testdata/broken")

// world is a machine on which only the directory /unwritable cannot be written.
var world = World{
	Env: func(string) (string, bool) { return "", false },
	Writable: func(file string) error {
		if strings.HasPrefix(file, "/unwritable/") {
			return errors.New("permission denied")
		}
		return nil
	},
}

// find checks the files of an archive: compose*, static* and dynamic ones.
func find(a *txtar.Archive) []Finding {
	c := New(world)
	for _, f := range a.Files {
		switch {
		case strings.HasPrefix(f.Name, "compose"):
			c.Compose(f.Name, f.Data)
		case strings.HasPrefix(f.Name, "static"):
			c.Static(f.Name, f.Data)
		default:
			c.Dynamic(f.Name, f.Data)
		}
	}
	return c.Findings()
}

// The corpus in testdata/broken: each archive holds files and, above them, a line
// "want: PLACE SEVERITY CODE MESSAGE" for everything that must be found, and nothing else may be.
func TestBroken(t *testing.T) {
	files, err := filepath.Glob("../../testdata/broken/*.txtar")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d archives, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got, want, prose strings.Builder
			for _, f := range find(a) {
				fmt.Fprintf(&got, "want: %s %s %s %s\n", f.where(), f.Severity, f.Code, f.message())
			}
			for line := range strings.Lines(string(a.Comment)) {
				if strings.HasPrefix(line, "want: ") {
					want.WriteString(line)
				} else {
					prose.WriteString(line)
				}
			}
			if *update {
				a.Comment = []byte(strings.TrimSpace(prose.String()) + "\n\n" + got.String())
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != want.String() {
				t.Errorf("got\n%s\nwant\n%s", got.String(), want.String())
			}
			if got.Len() == 0 {
				t.Error("nothing is found in a broken configuration")
			}
		})
	}
}

// Correct configurations give no findings.
func TestGood(t *testing.T) {
	for _, file := range []string{"docker-compose.yml"} {
		data, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		c := New(world)
		c.Compose(file, data)
		for _, f := range c.Findings() {
			t.Errorf("%s: %s", f.where(), f.message())
		}
	}
	c := New(world)
	for _, name := range []string{"base.yml", "prod.yml"} {
		data, err := os.ReadFile(filepath.Join("../../deploy/compose", name))
		if err != nil {
			t.Fatal(err)
		}
		c.Compose(name, data)
	}
	for _, f := range c.Findings() {
		t.Errorf("base and prod: %s: %s", f.where(), f.message())
	}
}

func TestWrite(t *testing.T) {
	findings := []Finding{
		{Problem: config.Problem{Source: "file a.yml", Object: "router r", Field: "http.x", Code: "unknown_key", Text: "unknown key \"x\"", Suggestion: "y?", Severity: config.Error}, File: "a.yml", Line: 3, Column: 5},
		{Problem: config.Problem{Source: "container web", Code: "missing_port", Text: "50% of, a: line\nbreak", Severity: config.Warning}},
	}
	for format, want := range map[string]string{
		"text": "a.yml:3:5: error: router r: http.x: unknown key \"x\"; y? [unknown_key]\ncontainer web: warning: 50% of, a: line\nbreak [missing_port]\n",
		"github": "::error file=a.yml,line=3,col=5,title=unknown_key::router r: http.x: unknown key \"x\"; y?\n" +
			"::warning title=missing_port::50%25 of, a: line%0Abreak\n",
	} {
		var b strings.Builder
		if err := Write(&b, format, findings); err != nil || b.String() != want {
			t.Errorf("%s\n got %s\nwant %s", format, b.String(), want)
		}
	}
	var b strings.Builder
	if err := Write(&b, "sarif", findings); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"version": "2.1.0"`, `"ruleId": "unknown_key"`, `"startLine": 3`, `"uri": "a.yml"`, `"level": "warning"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("SARIF lacks %s", want)
		}
	}
	if err := Write(&b, "xml", nil); err == nil {
		t.Error("xml is no format")
	}
	if Errors(findings) != 1 {
		t.Error("one of two is an error")
	}
}
