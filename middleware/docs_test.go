package middleware

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

const docs = "../docs/middlewares"

// blocks returns the fenced examples of a page in one language.
func blocks(page, language string) []string {
	var out []string
	for _, part := range strings.Split(page, "\n```"+language+"\n")[1:] {
		body, _, _ := strings.Cut(part, "\n```")
		out = append(out, body+"\n")
	}
	return out
}

// labelsOf reads a list of labels as compose does: each doubled dollar is one.
func labelsOf(t *testing.T, block string) map[string]string {
	t.Helper()
	labels := map[string]string{}
	for _, line := range strings.Split(block, "\n") {
		item, ok := strings.CutPrefix(strings.TrimSpace(line), "- ")
		if !ok {
			continue
		}
		text, err := strconv.Unquote(item)
		if err != nil {
			t.Fatalf("%s: %v", item, err)
		}
		key, value, ok := strings.Cut(strings.ReplaceAll(text, "$$", "$"), "=")
		if !ok {
			t.Fatalf("%s is no label", item)
		}
		labels[key] = value
	}
	return labels
}

// TestPages: each kind has a page, whose three examples say the same, decode without a
// Problem, and build.
func TestPages(t *testing.T) {
	page := func(string) (http.Handler, error) { return http.NotFoundHandler(), nil }
	index, err := os.ReadFile(filepath.Join(docs, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds() {
		if k.name == "plugin" || k.name == "ipWhiteList" {
			continue
		}
		file := strings.ToLower(k.name) + ".md"
		text, err := os.ReadFile(filepath.Join(docs, file))
		if err != nil {
			t.Errorf("%s has no page: %v", k.name, err)
			continue
		}
		if !bytes.Contains(index, []byte("["+k.name+"]("+file+")")) {
			t.Errorf("the index does not name %s", k.name)
		}
		yaml, toml := blocks(string(text), "yaml"), blocks(string(text), "toml")
		if len(yaml) != 2 || len(toml) != 1 {
			t.Errorf("%s: %d YAML and %d TOML examples", file, len(yaml), len(toml))
			continue
		}
		labels, _, problems := decode.Labels(labelsOf(t, yaml[0]), "container x")
		byYAML, byTOML := &config.Dynamic{}, &config.Dynamic{}
		p2, err2 := decode.File("x.yml", []byte(yaml[1]), byYAML)
		p3, err3 := decode.File("x.toml", []byte(toml[0]), byTOML)
		if len(problems)+len(p2)+len(p3) > 0 || err2 != nil || err3 != nil {
			t.Errorf("%s: %v %v %v %v %v", file, problems, p2, p3, err2, err3)
			continue
		}
		var first []byte
		for i, d := range []*config.Dynamic{byYAML, byTOML, labels} {
			if d.HTTP == nil || len(d.HTTP.Middlewares) != 1 {
				t.Fatalf("%s, example %d: no middleware", file, i)
			}
			for _, m := range d.HTTP.Middlewares {
				if Kind(m) != k.name {
					t.Errorf("%s, example %d: the kind is %q", file, i, Kind(m))
				}
				var warned []string
				if _, err := Build("m@file", m, Deps{Service: page, Warn: func(f, text, _ string) { warned = append(warned, f+": "+text) }}); err != nil || warned != nil {
					t.Errorf("%s, example %d: %v %q", file, i, err, warned)
				}
				got, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = got
				}
				bare := k.name == "compress" || k.name == "rewriteLocation" // whose label only switches them on
				if !bare && !bytes.Equal(first, got) {
					t.Errorf("%s, example %d: %s, want %s", file, i, got, first)
				}
			}
		}
	}
}

// TestPagesNameEveryOption: no option of a kind is left out of its page.
func TestPagesNameEveryOption(t *testing.T) {
	for _, name := range optionNames(t) {
		kind, option, _ := strings.Cut(name, ".")
		text, err := os.ReadFile(filepath.Join(docs, strings.ToLower(kind)+".md"))
		if err != nil {
			continue // TestPages says so
		}
		if !bytes.Contains(text, []byte(option)) {
			t.Errorf("%s does not name %s", kind, option)
		}
	}
}

// optionNames lists "kind.option" for the options that stand directly below a kind.
func optionNames(t *testing.T) []string {
	t.Helper()
	var out []string
	typ := reflect.TypeFor[config.Middleware]()
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Type.Kind() != reflect.Pointer || jsonName(f) == "ipWhiteList" {
			continue
		}
		for j := range f.Type.Elem().NumField() {
			out = append(out, jsonName(f)+"."+jsonName(f.Type.Elem().Field(j)))
		}
	}
	return out
}
