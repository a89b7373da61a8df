package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// pkg is what these tests need of `go list -json`.
type pkg struct {
	Dir, ImportPath, Name, Doc string
	Standard                   bool
	GoFiles, IgnoredGoFiles    []string
	TestGoFiles, XTestGoFiles  []string
	Imports                    []string
	Error                      *struct{ Err string }
}

// room is the path of the package below the module.
func (p pkg) room() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

// root is the directory of the module.
func root(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// list returns every package of the module as the go tool sees it.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=Dir,ImportPath,Name,Doc,GoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles,Imports,Error", "./...")
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 5 {
		t.Fatalf("go list found %d packages; the test looks at the wrong place", len(pkgs))
	}
	return pkgs
}

// within reports whether room is path or lies below it.
func within(room, path string) bool { return room == path || strings.HasPrefix(room, path+"/") }

// ruleOf returns the rule with the longest path that covers a room.
func ruleOf(name string) (room, bool) {
	var best room
	found := false
	for _, r := range rooms {
		if within(name, r.path) && (!found || len(r.path) > len(best.path)) {
			best, found = r, true
		}
	}
	return best, found
}

// allowed reports whether a package of rule r may import the package at to.
func allowed(r room, to string) bool {
	for _, a := range r.allow {
		if exact, ok := strings.CutPrefix(a, "="); ok && to == exact {
			return true
		} else if !ok && within(to, a) {
			return true
		}
	}
	return false
}

func TestImportDirection(t *testing.T) {
	for _, p := range list(t) {
		name := p.room()
		if name == "" {
			t.Errorf("there is no package at the root, found %s", p.Name)
			continue
		}
		r, ok := ruleOf(name)
		if !ok {
			t.Errorf("%s: no such room; see docs/architecture.md and rules_test.go", name)
			continue
		}
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module+"/")
			if ours && !allowed(r, to) {
				t.Errorf("%s imports %s: not in the import table", name, to)
			}
		}
	}
}

func TestThirdPartyConfinement(t *testing.T) {
	for _, p := range list(t) {
		name := p.room()
		for _, imp := range p.Imports {
			for _, c := range confine {
				if !within(imp, c.module) {
					continue
				}
				if !slices.ContainsFunc(c.rooms, func(r string) bool { return within(name, r) }) {
					t.Errorf("%s imports %s, which belongs to %v: %s", name, imp, c.rooms, c.why)
				}
			}
			external := strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") && !within(imp, module)
			pure := slices.Contains(bareExact, name)
			for _, b := range bare {
				// A store driver lies below store and brings its client.
				pure = pure || (within(name, b) && b != "store")
			}
			if external && pure {
				t.Errorf("%s imports %s: this room uses the standard library only", name, imp)
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range list(t) {
		if len(p.GoFiles) == 0 && len(p.IgnoredGoFiles) > 0 {
			continue // built for other systems only
		}
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s: no package comment", p.room())
		}
	}
}

func TestNoInit(t *testing.T) {
	for _, p := range list(t) {
		if initAllowed[p.room()] != "" {
			continue
		}
		for _, f := range p.GoFiles {
			file := filepath.Join(p.Dir, f)
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			for _, d := range tree.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "init" && fn.Recv == nil {
					t.Errorf("%s/%s has an init function; write the table out instead", p.room(), f)
				}
			}
		}
	}
}

// TestSizes keeps files and packages at a size one can read. Tests may be
// longer than what they test, by half.
func TestSizes(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t) {
		total := 0
		for _, f := range slices.Concat(p.GoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles) {
			data, err := os.ReadFile(filepath.Join(p.Dir, f))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			name, limit := p.room()+"/"+f, maxLines
			lines := bytes.Count(data, []byte("\n"))
			if strings.HasSuffix(f, "_test.go") {
				limit += limit / 2
			} else {
				total += lines
			}
			seen[name] = true
			if lines > limit && longFiles[name] == "" {
				t.Errorf("%s has %d lines, more than %d: split it, or name the reason in longFiles", name, lines, limit)
			}
		}
		seen[p.room()] = true
		if total > maxPackage && bigPackages[p.room()] == "" {
			t.Errorf("package %s has %d lines, more than %d", p.room(), total, maxPackage)
		}
	}
	for _, m := range []map[string]string{longFiles, bigPackages} {
		for name := range m {
			if !seen[name] {
				t.Errorf("%s is excepted but does not exist", name)
			}
		}
	}
}

func TestForbiddenWords(t *testing.T) {
	top := root(t)
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, path)
		if d.IsDir() {
			switch d.Name() {
			case ".git", "bin", "dist", "node_modules", "__pycache__":
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || d.Name() == "go.sum" {
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody's temporary file
		} else if err != nil {
			return err
		}
		if !utf8.Valid(data) {
			return nil
		}
		for n, line := range strings.Split(string(data), "\n") {
			for _, w := range forbiddenWords {
				if strings.Contains(line, w) {
					t.Errorf("%s:%d: mentions %q", rel, n+1, w)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTable checks the checker: a wrong import must be seen as one.
func TestTable(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"proxy/wire", "proxy/exchange", true},
		{"proxy/exchange", "proxy/wire", false},
		{"proxy/loop", "proxy/serve", false},
		{"proxy/entrypoint", "proxy/loop", true},
		{"provider/docker", "config/decode", true},
		{"provider/docker", "proxy/balance", false},
		{"config", "telemetry", false},
		{"middleware", "proxy/exchange", true},
		{"middleware", "proxy/wire", false},
		{"router/rule", "router", false},
		{"api", "server", false},
		{"cmd/sluice", "proxy/loop", false},
	} {
		r, ok := ruleOf(c.from)
		if !ok {
			t.Fatalf("no room for %s", c.from)
		}
		if got := allowed(r, c.to); got != c.want {
			t.Errorf("%s -> %s: allowed = %v, want %v", c.from, c.to, got, c.want)
		}
	}
}
