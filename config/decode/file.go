package decode

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// Error is why a configuration cannot be used at all. It holds at least one Problem.
type Error struct {
	Problems []config.Problem
}

// Error gives each problem on a line of its own.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// File decodes a file's content into a *config.Dynamic or *config.Static (or any other
// struct of the schema), by the extension of its name: .yml, .yaml, .toml or .json.
//
// Keys match in any case; a single word stands for a list of one, words with commas
// for a list; numbers and booleans may be quoted. What cannot be placed (an unknown key,
// a bad value) becomes a Problem whose Source is "file NAME:LINE:COLUMN", and the rest
// is set. The error, an *Error, is kept for what cannot be read at all: a syntax error or an
// unknown extension. An empty file sets nothing and is fine.
func File(name string, data []byte, into any) ([]config.Problem, error) {
	root, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	w := newWalker("file " + name)
	_, w.static = into.(*config.Static)
	w.tree(root, into)
	w.soften(name, root, into)
	if d, ok := into.(*config.Dynamic); ok {
		w.failClosed(d)
	}
	return w.told(), nil
}

// soften makes warnings of unknown keys at the top of a file, where people keep YAML
// anchors and the like; the reference does not look at them. A file may be the static one and
// the file provider's too; then each reading leaves the other's keys alone.
func (w *walker) soften(name string, root *node, into any) {
	static, isStatic := into.(*config.Static)
	other, both := StaticKeys(), false
	if isStatic {
		other, both = DynamicKeys(), IsItsOwn(name, static)
	} else if root != nil {
		both = root.child("entryPoints", true) != nil || root.child("providers", true) != nil
	}
	for i := range w.problems {
		p := &w.problems[i]
		old := p.Code == config.CodeUnsupported && p.Text == removed("v2", "").text
		if p.Code != config.CodeUnknownKey && !old || strings.Contains(p.Field, ".") {
			continue
		}
		p.Severity = config.Warning
		switch {
		case !slices.ContainsFunc(other, func(k string) bool { return strings.EqualFold(k, p.Field) }):
		case both:
			p.Code = ""
		case isStatic:
			p.Text, p.Suggestion = "belongs to the dynamic configuration and is not used in the static file", "move it to a file that --providers.file reads"
		default:
			p.Text, p.Suggestion = "belongs to the static configuration and is not used here", "move it to the static file"
		}
	}
}

// told are the problems that are worth telling: soften takes the code from others.
func (w *walker) told() []config.Problem {
	return slices.DeleteFunc(w.problems, func(p config.Problem) bool { return p.Code == "" })
}

// IsItsOwn reports whether the static file with this name is what its file provider reads too,
// or may be: it may have another directory in a container.
func IsItsOwn(name string, s *config.Static) bool {
	f := s.Providers
	return f != nil && f.File != nil && f.File.Filename != "" && filepath.Base(f.File.Filename) == filepath.Base(name)
}

// tree fills the struct that into points to.
func (w *walker) tree(root *node, into any) {
	if root == nil {
		return
	}
	v := reflect.ValueOf(into).Elem()
	if root.kind != object {
		w.wrongShape(root, "a group of keys ("+w.some(v.Type())+")")
		return
	}
	w.fill(v, root, nil)
}

// parse gives the tree of a file, or nil for an empty one.
func parse(name string, data []byte) (*node, error) {
	data = []byte(strings.TrimPrefix(string(data), "\ufeff"))
	p := &places{name: name}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yml", ".yaml":
		return parseYAML(p, data)
	case ".toml":
		return parseTOML(p, data)
	case ".json":
		return parseJSON(p, data)
	}
	return nil, unreadable("file "+name, fmt.Sprintf("unknown extension %q", filepath.Ext(name)), "use .yml, .yaml, .toml or .json")
}

func unreadable(source, text, hint string) *Error {
	return &Error{Problems: []config.Problem{{Source: source, Code: config.CodeUnreadable, Text: text, Suggestion: hint, Severity: config.Error}}}
}

// places turns offsets into "file NAME:LINE:COLUMN".
type places struct {
	name  string
	lines []int // offsets at which lines begin; made by index
}

func (p *places) index(data []byte) {
	p.lines = append(p.lines[:0], 0)
	for i, c := range data {
		if c == '\n' {
			p.lines = append(p.lines, i+1)
		}
	}
}

func (p *places) at(line, column int) string {
	return fmt.Sprintf("file %s:%d:%d", p.name, line, column)
}

func (p *places) offset(off int) string { return p.node(off).place() }

// node is a new node at an offset.
func (p *places) node(off int) *node {
	i := sort.SearchInts(p.lines, off+1) - 1
	if i < 0 {
		i = 0
	}
	return &node{file: p, line: i + 1, col: off - p.lines[i] + 1}
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}
