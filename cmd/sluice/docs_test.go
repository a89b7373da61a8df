package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/check"
	"github.com/sluice-edge/sluice/config/decode"
)

// pages returns the documentation, by path from the top of the repository.
func pages(t *testing.T) map[string]string {
	t.Helper()
	top := os.DirFS(filepath.Join("..", ".."))
	found := map[string]string{}
	err := fs.WalkDir(top, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || name != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case filepath.Ext(name) != ".md":
			return nil
		}
		b, err := fs.ReadFile(top, name)
		found[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 30 || found["README.md"] == "" {
		t.Fatalf("only %d pages were found", len(found))
	}
	return found
}

// fences returns the fenced blocks of a page in one language.
func fences(page, language string) []string {
	var out []string
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?\n)```").FindAllStringSubmatch(page, -1) {
		out = append(out, m[1])
	}
	return out
}

// TestDocsSnippets reads every YAML and TOML example as `sluice check` does: nothing in it may be
// unknown or wrong. What a part of a configuration names without having it is no fault.
func TestDocsSnippets(t *testing.T) {
	elsewhere := []string{config.CodeUnknownService, config.CodeUnknownMiddleware, config.CodeUnknownEntryPoint, config.CodeUnknownResolver, config.CodeMissingPort}
	n := 0
	for name, page := range pages(t) {
		for _, language := range []string{"yaml", "toml"} {
			for _, block := range fences(page, language) {
				if strings.HasPrefix(block, "labels:") { // a part of a compose service
					block = "services:\n  app:\n    image: app\n    " + strings.ReplaceAll(strings.TrimSpace(block), "\n", "\n    ") + "\n"
				}
				n++
				k := check.New(check.World{})
				guess(k, k.Compose, name+"."+language, []byte(block))
				for _, f := range k.Findings() {
					if !slices.Contains(elsewhere, f.Code) {
						t.Errorf("%s: %s: %s\n%s", name, f.Code, f.Text, block)
					}
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d examples were found", n)
	}
}

var (
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	dotted   = regexp.MustCompile(`--([a-zA-Z]+(?:\.[\w\[\]-]+)+)(=[^\s"']*)?`)
	labelled = regexp.MustCompile(`^(?:traefik|sluice)\.[\w.\[\]-]+=.+$`)
)

// wrongOnPurpose are labels that a page shows as mistakes.
var wrongOnPurpose = []string{"traefik.http.routers.x.middleware=auth"}

// TestDocsFlags: every flag with a dot, and every label with a value, is one that is read. Values
// that stand for others (NAME, ...) are left out.
func TestDocsFlags(t *testing.T) {
	flags, labels := 0, 0
	for name, page := range pages(t) {
		if name == "CHANGELOG.md" || strings.HasPrefix(name, "docs/reference/") {
			continue
		}
		for _, m := range dotted.FindAllStringSubmatch(page, -1) {
			if strings.HasPrefix(m[1], "http.") { // of another program
				continue
			}
			flags++
			arg := "--" + m[1]
			if err := decode.Flags([]string{arg + m[2]}, &config.Static{}); err != nil && strings.Contains(err.Error(), "unknown key") {
				t.Errorf("%s: %s: %v", name, arg, err)
			}
		}
		for _, m := range codeSpan.FindAllStringSubmatch(page, -1) {
			if !labelled.MatchString(m[1]) || strings.Contains(m[1], "...") || slices.Contains(wrongOnPurpose, m[1]) {
				continue
			}
			labels++
			key, value, _ := strings.Cut(m[1], "=")
			_, _, problems := decode.Labels(map[string]string{key: value}, name)
			for _, p := range problems {
				if p.Code == config.CodeUnknownKey {
					t.Errorf("%s: %s", name, p)
				}
			}
		}
	}
	if flags < 20 || labels < 10 {
		t.Errorf("only %d flags and %d labels were found", flags, labels)
	}
}

// TestDocsCommands: every command of the program and every target of make that is named is there.
func TestDocsCommands(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	app := (&program{}).app()
	code := regexp.MustCompile("(?m)`([^`\n]+)`|^    (.+)$")
	run := regexp.MustCompile(`(?:^|[ ;&|])sluice ([a-z]+)\b`)
	make := regexp.MustCompile(`(?:^|[ ;&|])make ([a-z0-9-]+)\b`)
	commands, targets := 0, 0
	for name, page := range pages(t) {
		texts := fences(page, "sh")
		for _, m := range code.FindAllStringSubmatch(page, -1) {
			texts = append(texts, m[1]+m[2])
		}
		for _, text := range texts {
			for _, m := range run.FindAllStringSubmatch(text, -1) {
				if commands++; app.Command(m[1]) == nil {
					t.Errorf("%s: there is no command in %q", name, text)
				}
			}
			for _, m := range make.FindAllStringSubmatch(text, -1) {
				if targets++; !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
					t.Errorf("%s: there is no target in %q", name, text)
				}
			}
		}
	}
	if commands < 10 || targets < 10 {
		t.Errorf("only %d commands and %d targets were found", commands, targets)
	}
}

// TestDocsLinks: every relative link leads to a file, and to a heading of it if it names one.
func TestDocsLinks(t *testing.T) {
	all := pages(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	n := 0
	for name, page := range all {
		for _, m := range link.FindAllStringSubmatch(page, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			n++
			path, anchor, _ := strings.Cut(m[1], "#")
			to := name
			if path != "" {
				to = filepath.Join(filepath.Dir(name), path)
			}
			if _, err := os.Stat(filepath.Join("..", "..", to)); err != nil {
				t.Errorf("%s: %s leads nowhere", name, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(all[to]), anchor) {
				t.Errorf("%s: %s: there is no such heading", name, m[1])
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d links were found", n)
	}
}

// anchors are the names of a page's headings, as they stand in links.
func anchors(page string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(page, -1) {
		text := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(text, " ", "-"))
	}
	return out
}

// TestDeployFiles: nothing in the files that users take is found by check. A group is checked together.
func TestDeployFiles(t *testing.T) {
	for _, group := range [][]string{
		{"docker-compose.yml"},
		{"deploy/compose/base.yml", "deploy/compose/dev.yml", "deploy/compose/app.yml"},
		{"deploy/compose/base.yml", "deploy/compose/dev.yml", "deploy/compose/sleep.yml"},
		{"deploy/compose/base.yml", "deploy/compose/prod.yml", "deploy/compose/app.yml"},
		{"deploy/swarm/stack.yml", "deploy/swarm/app.yml"},
		{"deploy/swarm/ha.yml", "deploy/swarm/app.yml"},
		{"deploy/systemd/sluice.yml", "deploy/systemd/routes.yml"},
	} {
		k := check.New(check.World{})
		for _, name := range group {
			b, err := os.ReadFile(filepath.Join("..", "..", name))
			if err != nil {
				t.Fatal(err)
			}
			guess(k, k.Compose, name, b)
		}
		for _, f := range k.Findings() {
			t.Errorf("%v: %s: %s: %s", group, f.Code, f.Object, f.Text)
		}
	}
}

// TestUnit: what the systemd unit needs of the program is there, and systemd takes it.
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze")
	}
	dir := t.TempDir()
	for _, name := range []string{"sluice.service", "sluice-web.socket", "sluice-websecure.socket"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "deploy", "systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		self, err := os.Executable() // any program that is there
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "/usr/local/bin/sluice ", self+" ")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(analyze, "verify", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || strings.Contains(string(out), name) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
