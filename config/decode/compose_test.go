package decode

import (
	"slices"
	"testing"
)

// A command that is one text is taken apart as compose does, quotes and line ends included.
func TestComposeWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                      nil,
		"  --a   --b=c\n--d\t ": {"--a", "--b=c", "--d"},
		`--rule="Host(` + "`{{ .Name }}.a.test`" + `)" --x`: {"--rule=Host(`{{ .Name }}.a.test`)", "--x"},
		`'one two' "three four" five\ six`:                  {"one two", "three four", "five six"},
		`--empty= "" x`:                                     {"--empty=", "", "x"},
		`"it's" 'a"b' 'c\d'`:                                {"it's", `a"b`, `c\d`},
		"traefik \\\n  --api":                               {"traefik", "--api"},
		`"open end`:                                         {"open end"},
	} {
		if got := shellWords(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Both ways to write a mount tell the place in the container and what is there.
func TestComposeMounts(t *testing.T) {
	c, err := ParseCompose("dir/compose.yml", []byte(`
services:
  a:
    volumes:
    - ./conf:/etc/conf:ro
    - ${DATA:-./data}/x:/x
    - named:/named
    - /alone
    - {type: bind, source: ./long, target: /long}
    configs:
    - short
    - {source: file, target: /etc/file}
    secrets: [quiet]
configs:
  file: {file: ./file.yml}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Services[0]
	if want := []string{"/etc/conf", "/x", "/named", "/alone", "/long", "/short", "/etc/file"}; !slices.Equal(s.Volumes, want) {
		t.Errorf("places %q, want %q", s.Volumes, want)
	}
	for target, source := range map[string]string{"/etc/conf": "./conf", "/x": "${DATA:-./data}/x", "/named": "named",
		"/alone": "", "/long": "./long", "/short": "short", "/etc/file": "file"} {
		if s.Sources[target] != source {
			t.Errorf("%s: %q, want %q", target, s.Sources[target], source)
		}
	}
	if c.Configs["file"] != "./file.yml" || c.Dir != "dir" {
		t.Errorf("configs %v, directory %q", c.Configs, c.Dir)
	}
}
