package decode

import (
	"errors"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// parseTOML checks the file with the decoder, which knows all rules of the language,
// and then reads it once more by the parser, which knows the places.
func parseTOML(p *places, data []byte) (*node, error) {
	p.index(data)
	var all map[string]any
	if err := toml.Unmarshal(data, &all); err != nil {
		var de *toml.DecodeError
		if errors.As(err, &de) {
			line, column := de.Position()
			return nil, unreadable(p.at(line, column), de.Error()[len("toml: "):], "")
		}
		return nil, unreadable("file "+p.name, strings.TrimPrefix(err.Error(), "toml: "), "")
	}
	if len(all) == 0 {
		return nil, nil
	}
	t := tomlTree{places: p, root: &node{kind: object}}
	t.parser.Reset(data)
	table := t.root
	for t.parser.NextExpression() {
		e := t.parser.Expression()
		switch e.Kind {
		case unstable.Table:
			table = t.walk(t.root, e.Key(), false)
			table.kind = object
		case unstable.ArrayTable:
			table = t.walk(t.root, e.Key(), true)
		case unstable.KeyValue:
			t.set(table, e, 0)
		}
	}
	if err := t.parser.Error(); err != nil {
		return nil, unreadable("file "+p.name, err.Error(), "")
	}
	return t.root, nil
}

type tomlTree struct {
	places *places
	parser unstable.Parser
	root   *node
}

// at is a new node at the place of one of the parser's.
func (t *tomlTree) at(n *unstable.Node) *node {
	off := int(n.Raw.Offset)
	if n.Raw.Length == 0 && len(n.Data) > 0 {
		defer func() { _ = recover() }() // Range panics for data that is not part of the input
		off = int(t.parser.Range(n.Data).Offset)
	}
	return t.places.node(off)
}

// walk goes down a dotted key and makes what is missing; a list is entered at its
// last element. With grow the key names a list that gets one more element.
func (t *tomlTree) walk(from *node, keys unstable.Iterator, grow bool) *node {
	n := from
	for keys.Next() {
		k := keys.Node()
		if n.kind == list {
			n = n.kids[len(n.kids)-1]
		}
		name := string(k.Data)
		c := n.child(name, false)
		if c == nil {
			n.kind = object
			c = t.at(k)
			c.key, c.kind = name, object
			n.adopt(c)
		}
		n = c
	}
	if grow {
		n.kind = list
		n = t.element(n)
		n.kind = object
	} else if n.kind == list && len(n.kids) > 0 {
		n = n.kids[len(n.kids)-1]
	}
	return n
}

func (t *tomlTree) element(n *node) *node {
	e := &node{key: "[" + strconv.Itoa(len(n.kids)) + "]", file: n.file, line: n.line, col: n.col}
	n.adopt(e)
	return e
}

func (t *tomlTree) set(table *node, kv *unstable.Node, depth int) {
	t.value(t.walk(table, kv.Key(), false), kv.Value(), depth+1)
}

func (t *tomlTree) value(n *node, v *unstable.Node, depth int) {
	switch v.Kind {
	case unstable.Array:
		n.kind, n.kids = list, nil
		for it := v.Children(); it.Next() && depth < maxDepth; {
			t.value(t.element(n), it.Node(), depth+1)
		}
	case unstable.InlineTable:
		n.kind = object
		for it := v.Children(); it.Next() && depth < maxDepth; {
			t.set(n, it.Node(), depth+1)
		}
	default:
		n.kind, n.value = scalar, string(v.Data)
	}
}
