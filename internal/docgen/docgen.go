// Package docgen writes the reference documentation of the configuration from the
// structs of package config and their comments. Run its command after a change there:
//
//	go run ./internal/docgen/cmd
package docgen

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/sluice-edge/sluice/config/schema"
)

// descriptionsFile holds the comments for programs that have no source at hand.
const descriptionsFile = "config/schema/descriptions.txt"

// Descriptions reads the comments of the structs and fields below root/config. The
// documentation itself is made from what package schema embeds, so write this first.
func Descriptions(root string) (name string, text []byte, err error) {
	found := map[string]string{}
	files, err := filepath.Glob(filepath.Join(root, "config", "*.go"))
	if err != nil {
		return "", nil, err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return "", nil, err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ParseComments)
		if err != nil {
			return "", nil, err
		}
		collect(f, found)
	}
	names := make([]string, 0, len(found))
	for n := range found {
		names = append(names, n)
	}
	sort.Strings(names)
	var b bytes.Buffer
	for _, n := range names {
		fmt.Fprintf(&b, "%s\t%s\n", n, found[n])
	}
	return descriptionsFile, b.Bytes(), nil
}

// collect takes the comments of exported structs and their fields.
func collect(f *ast.File, found map[string]string) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, s := range g.Specs {
			t := s.(*ast.TypeSpec)
			st, ok := t.Type.(*ast.StructType)
			if !ok || !t.Name.IsExported() {
				continue
			}
			doc := t.Doc
			if doc == nil {
				doc = g.Doc
			}
			if text := sentence(t.Name.Name, doc); text != "" {
				found[t.Name.Name] = text
			}
			for _, field := range st.Fields.List {
				for _, n := range field.Names {
					if text := sentence(n.Name, field.Doc); text != "" {
						found[t.Name.Name+"."+n.Name] = text
					}
				}
			}
		}
	}
}

// sentence makes a comment a description: one line, without the Go name that a doc
// comment begins with where what follows can stand alone ("Rule lists", "Rule is").
func sentence(name string, doc *ast.CommentGroup) string {
	text := strings.Join(strings.Fields(doc.Text()), " ")
	if rest, ok := strings.CutPrefix(text, name+" "); ok {
		verb, after, _ := strings.Cut(rest, " ")
		switch {
		case verb == "is" || verb == "are":
			text = after
		case strings.HasSuffix(verb, "s") && verb != "as" && verb != "has":
			text = rest
		}
	}
	first, rest, _ := strings.Cut(text, " ")
	if text == "" || strings.HasSuffix(first, ",") || strings.HasPrefix(rest, "or ") {
		return text // a list of values, spelled as they are
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// Pages returns the reference pages by their path below the repository's root.
func Pages() map[string][]byte {
	return map[string][]byte{
		"docs/reference/static.md":  static(),
		"docs/reference/dynamic.md": dynamic(),
		"docs/reference/labels.md":  labels(),
	}
}

const generated = "<!-- Generated from the comments in config/. Change them there, then run: go run ./internal/docgen/cmd -->\n\n"

func static() []byte {
	var b bytes.Buffer
	b.WriteString(generated)
	b.WriteString(`# Static configuration

Read once at start, from the first source that yields anything: a file, else flags, else environment. A source that
is given and not used gets a warning; ` + "`--sluice.mergeSources`" + ` merges all of them (flags win over environment,
environment over file). Settings below ` + "`sluice`" + ` are merged always.

| source | spelling of the same setting |
|---|---|
| file (YAML, TOML, JSON) | ` + "`entryPoints: {web: {address: \":80\"}}`" + ` in the file of ` + "`--configFile`" + `, or in ` + "`sluice.yml`, `traefik.yml`" + ` (.toml, .yaml) below /etc/sluice, /etc/traefik, $XDG_CONFIG_HOME, $HOME/.config, or the working directory |
| flag | ` + "`--entryPoints.web.address=:80`" + ` |
| environment | ` + "`TRAEFIK_ENTRYPOINTS_WEB_ADDRESS=:80`, `SLUICE_ENTRYPOINTS_WEB_ADDRESS=:80`" + `; ` + "`NAME_FILE`" + ` takes a text from a file |

Keys match in any case. ` + "`<name>`" + ` is a name of your choice, ` + "`[n]`" + ` a position from 0. *Switch* marks groups that their bare
name turns on (` + "`--api`, `tls: {}`" + `). Durations are written ` + "`1m30s`" + `; a bare number counts seconds.

`)
	tables(&b, schema.Static())
	return b.Bytes()
}

func dynamic() []byte {
	var b bytes.Buffer
	b.WriteString(generated)
	b.WriteString(`# Dynamic configuration

Routers, services, middlewares and certificates, from files (YAML, TOML, JSON) of the file and HTTP providers. The same
keys as [labels](labels.md) make up a container's share. Keys match in any case; a list may be one text with commas.
A key that is wrong costs itself only and is reported as a problem with its line and the nearest right key.

`)
	tables(&b, schema.Dynamic())
	return b.Bytes()
}

func labels() []byte {
	var b bytes.Buffer
	b.WriteString(generated)
	b.WriteString(`# Labels

Labels of containers (Docker) and services (Swarm). Every label that begins with ` + "`traefik.`" + ` may begin with ` + "`sluice.`" + ` instead;
those that are listed with ` + "`sluice.`" + ` have that spelling only. Keys match in any case, names of routers, services and
middlewares keep theirs. Lists are written with commas. In compose files a ` + "`$`" + ` is written ` + "`$$`" + `.

| label | type | default | |
|---|---|---|---|
`)
	for _, k := range schema.Labels() {
		row(&b, k)
	}
	return b.Bytes()
}

// tables writes a section with a table for each key at the top, and for each of the next
// level where the top is large.
func tables(b *bytes.Buffer, keys []schema.Key) {
	section := ""
	for _, k := range keys {
		parts := strings.SplitN(k.Path, ".", 3)
		head := parts[0]
		if len(parts) > 1 && split(parts[0]) {
			head += "." + parts[1]
		}
		if head != section {
			section = head
			if k.Type == "group" || k.Type == "names" || k.Type == "list" {
				if k.Path == head && split(head) {
					section = ""
					continue
				}
			}
			fmt.Fprintf(b, "\n## `%s`\n\n", head)
			if k.Path == head && k.Text != "" {
				b.WriteString(escape(k.Text) + "\n\n")
			}
			b.WriteString("| key | type | default | |\n|---|---|---|---|\n")
		}
		row(b, k)
	}
}

// split names the top keys whose parts get sections of their own.
func split(top string) bool {
	return top == "providers" || top == "http" || top == "tcp" || top == "udp" || top == "tls"
}

func row(b *bytes.Buffer, k schema.Key) {
	kind := k.Type
	if k.Switch {
		kind += ", switch"
	}
	if k.Secret {
		kind += ", secret"
	}
	def := k.Default
	if def != "" {
		def = "`" + strings.ReplaceAll(def, "`", "'") + "`"
	}
	fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.Path, kind, strings.ReplaceAll(def, "|", "\\|"), escape(k.Text))
}

func escape(s string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(s)
}
