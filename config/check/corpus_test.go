package check

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/sluice-edge/sluice/config"
)

var update = flag.Bool("update", false, "write what is found into testdata/broken")

// world is a machine on which the directory /unwritable cannot be written, and there is no /missing.
var world = World{
	Env: func(string) (string, bool) { return "", false },
	Writable: func(file string) error {
		if strings.HasPrefix(file, "/unwritable/") {
			return errors.New("permission denied")
		}
		if strings.HasPrefix(file, "/missing/") {
			return fs.ErrNotExist
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
	archives(t, "broken", 60, func(t *testing.T, file string, a *txtar.Archive) {
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
	for _, name := range []string{"dev.yml", "prod.yml", "app.yml", "sleep.yml", "base.yml"} { // each by itself too
		data, err := os.ReadFile(filepath.Join("../../deploy/compose", name))
		if err != nil {
			t.Fatal(err)
		}
		c := New(world)
		c.Compose(name, data)
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

// Running containers: replicas are no conflict, different ones are; networks and ports
// are those the engine tells.
func TestContainers(t *testing.T) {
	labels := map[string]string{"traefik.http.routers.r.rule": "Host(`a.test`)"}
	c := New(world)
	c.Containers([]Container{
		{Name: "edge", Networks: []string{"front"}, Router: true},
		{Name: "web-1", Labels: labels, Networks: []string{"front"}, Ports: []int{80}},
		{Name: "web-2", Labels: labels, Networks: []string{"front"}, Ports: []int{80}},
		{Name: "other", Labels: map[string]string{"traefik.http.routers.r.rule": "Host(`b.test`)"}, Networks: []string{"front"}, Ports: []int{80, 81}},
		{Name: "silent", Labels: map[string]string{"traefik.http.routers.s.rule": "Host(`s.test`)", "traefik.docker.network": "nowhere"}, Networks: []string{"back"}},
		{Name: "bad", Labels: map[string]string{"traefik.http.routers.x.rul": "Host(`x.test`)", "traefik.http.routers.x.rule": "Host(`x.test`)",
			"traefik.http.services.x.loadbalancer.server.port": "http"}, Networks: []string{"front"}},
		{Name: "off", Labels: map[string]string{"traefik.enable": "false", "traefik.http.routers.o.rule": "Host("}},
	})
	var got strings.Builder
	for _, f := range c.Findings() {
		fmt.Fprintf(&got, "%s %s %s\n", f.where(), f.Code, f.Text)
	}
	const want = "container bad invalid_value \"http\" is no port\n" +
		"container other conflict is defined a second time\n" +
		"container other missing_port the container exposes several ports; the lowest of [80 81] is taken\n" +
		"container silent missing_port the container exposes no port\n" +
		"container silent no_shared_network shares no network with the router \"edge\"\n" +
		"container bad unknown_key unknown key \"rul\"\n" +
		"container silent unknown_network the container is not in the network \"nowhere\"\n"
	if sorted(got.String()) != sorted(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func sorted(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// The corpus in testdata/fine: forms that people write and that work. Nothing may be found in them.
func TestFine(t *testing.T) {
	archives(t, "fine", 6, func(t *testing.T, _ string, a *txtar.Archive) {
		for _, f := range find(a) {
			t.Errorf("%s %s %s %s", f.where(), f.Severity, f.Code, f.message())
		}
	})
}

// archives gives each of a folder of testdata to do; there are at least so many.
func archives(t *testing.T, folder string, atLeast int, do func(t *testing.T, file string, a *txtar.Archive)) {
	files, err := filepath.Glob("../../testdata/" + folder + "/*.txtar")
	if err != nil || len(files) < atLeast {
		t.Fatalf("%d archives, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			do(t, file, a)
		})
	}
}
