package decode

import (
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxAliased bounds how many nodes aliases may stand for, so that a small file of
// nested aliases cannot fill the memory.
const maxAliased = 200_000

// maxDepth bounds the nesting of any file.
const maxDepth = 64

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func parseYAML(p *places, data []byte) (*node, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, p.yamlError(err)
	}
	y := yamlTree{places: p}
	var n *node
	var err error
	if doc.Kind == yaml.DocumentNode && len(doc.Content) > 0 {
		n, err = y.build(doc.Content[0], 0)
	}
	if err != nil {
		return nil, err
	}
	if n == nil || n.kind == null {
		return nil, nil
	}
	return n, nil
}

func (p *places) yamlError(err error) *Error {
	m := yamlLine.FindStringSubmatch(strings.SplitN(err.Error(), "\n", 2)[0])
	if m == nil {
		return unreadable("file "+p.name, err.Error(), "")
	}
	line, _ := strconv.Atoi(m[1])
	if line == 0 || strings.Contains(m[2], "did not find expected") { // these count from 0
		line++
	}
	where, hint := p.at(line, 1), ""
	switch {
	case strings.Contains(m[2], "cannot start any token"), strings.Contains(m[2], "\t"):
		hint = "YAML is indented with spaces, not tabs"
	case strings.Contains(m[2], "mapping values are not allowed"):
		hint = "quote a value that contains \": \", and give every key the indentation of its neighbours"
	}
	return unreadable(where, m[2], hint)
}

type yamlTree struct {
	places  *places
	aliased int
	inAlias int
}

func (y *yamlTree) build(in *yaml.Node, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, unreadable(y.places.at(in.Line, in.Column), "is nested too deeply", "")
	}
	if y.inAlias > 0 {
		if y.aliased++; y.aliased > maxAliased {
			return nil, unreadable(y.places.at(in.Line, in.Column), "aliases stand for too much", "")
		}
	}
	out := &node{file: y.places, line: in.Line, col: in.Column}
	switch in.Kind {
	case yaml.AliasNode:
		y.inAlias++
		n, err := y.build(in.Alias, depth+1)
		y.inAlias--
		return n, err
	case yaml.ScalarNode:
		out.value = in.Value
		if in.Tag == "!!null" {
			out.kind = null
		}
		return out, nil
	case yaml.SequenceNode:
		out.kind = list
		for i, c := range in.Content {
			k, err := y.build(c, depth+1)
			if err != nil {
				return nil, err
			}
			k.key = "[" + strconv.Itoa(i) + "]"
			out.adopt(k)
		}
		return out, nil
	case yaml.MappingNode:
		out.kind = object
		return out, y.mapping(out, in, depth)
	}
	return nil, unreadable(out.place(), "is no value", "")
}

// mapping adds the pairs of in to out. Merged keys ("<<") come last: they fill what is
// not there.
func (y *yamlTree) mapping(out *node, in *yaml.Node, depth int) error {
	var merges []*yaml.Node
	seen := make(map[string]bool, len(in.Content)/2)
	for i := 0; i+1 < len(in.Content); i += 2 {
		key, value := in.Content[i], in.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.Tag == "!!merge" {
			merges = append(merges, value)
			continue
		}
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			return unreadable(y.places.at(key.Line, key.Column), "a key must be a word", "")
		}
		k, err := y.build(value, depth+1)
		if err != nil {
			return err
		}
		// The place of a pair is that of its key, which is what one looks for.
		k.key, k.line, k.col = key.Value, key.Line, key.Column
		if seen[k.key] {
			return unreadable(k.place(), "the key "+strconv.Quote(k.key)+" is there twice", "")
		}
		seen[k.key] = true
		out.adopt(k)
	}
	for _, m := range merges {
		if err := y.merge(out, m, seen, depth); err != nil {
			return err
		}
	}
	return nil
}

func (y *yamlTree) merge(out *node, m *yaml.Node, seen map[string]bool, depth int) error {
	n, err := y.build(m, depth+1)
	if err != nil {
		return err
	}
	from := []*node{n}
	if n.kind == list {
		from = n.kids
	}
	for _, src := range from {
		if src.kind != object {
			return unreadable(src.place(), "\"<<\" merges groups of keys only", "")
		}
		for _, k := range src.kids {
			if !seen[k.key] {
				seen[k.key] = true
				out.adopt(k)
			}
		}
	}
	return nil
}
