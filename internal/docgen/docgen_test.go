package docgen

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

func TestGeneratedFilesAreFresh(t *testing.T) {
	name, text, err := Descriptions(root)
	if err != nil {
		t.Fatal(err)
	}
	pages := Pages()
	pages[name] = text
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is stale; run: go run ./internal/docgen/cmd", name)
		}
	}
}

func TestPagesNameKeys(t *testing.T) {
	pages := Pages()
	for page, keys := range map[string][]string{
		"docs/reference/static.md":  {"`entryPoints.<name>.address`", "`providers.docker.exposedByDefault` | boolean | `true`", "`sluice.mergeSources`"},
		"docs/reference/dynamic.md": {"`http.routers.<name>.rule`", "`http.services.<name>.loadBalancer.servers[n].url`", "`tls.options.<name>.minVersion`"},
		"docs/reference/labels.md":  {"`traefik.http.services.<name>.loadbalancer.server.port`", "`sluice.http.services.<name>.weighted.services[n].name`", "`traefik.enable`"},
	} {
		for _, key := range keys {
			if !strings.Contains(string(pages[page]), key) {
				t.Errorf("%s lacks %s", page, key)
			}
		}
	}
	if strings.Contains(string(pages["docs/reference/labels.md"]), "traefik.tls.options") {
		t.Error("labels.md offers a label that nobody reads")
	}
}
