package decode

import (
	"reflect"
	"strings"
	"sync"

	"github.com/sluice-edge/sluice/config"
)

// field is one key of a level.
type field struct {
	name   string // canonical spelling
	index  []int
	typ    reflect.Type
	empty  bool   // cfg:"empty"
	secret bool   // cfg:"secret"
	label  bool   // known to labels only
	ours   bool   // cfg:"sluice"
	hidden bool   // cfg:"nolabel"
	one    string // cfg:"one:NAME"
}

// level is the set of keys of one struct, those of inlined structs included.
type level struct {
	fields []*field
	byName map[string]*field // lower case
}

// names lists the keys a user may write at this level.
func (l *level) names(labels bool) []string {
	out := make([]string, 0, len(l.fields))
	for _, f := range l.fields {
		switch {
		case !labels && f.label, labels && f.hidden:
		case labels && f.one != "":
			out = append(out, f.one)
		default:
			out = append(out, f.name)
		}
	}
	return out
}

// levels caches what reflection found beyond known; it belongs to one walk.
type levels map[reflect.Type]*level

// known holds the levels of the whole schema. It is built once and never changed.
var known = sync.OnceValue(func() levels {
	ls := levels{}
	var visit func(t reflect.Type)
	visit = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(t.Elem())
		case reflect.Struct:
			if ls[t] != nil {
				return
			}
			l := &level{byName: map[string]*field{}}
			l.add(t, nil)
			ls[t] = l
			for _, f := range l.fields {
				visit(f.typ)
			}
		}
	}
	visit(reflect.TypeFor[config.Dynamic]())
	visit(reflect.TypeFor[config.Static]())
	visit(reflect.TypeFor[extraLabels]())
	return ls
})

func (ls levels) of(t reflect.Type) *level {
	if l := known()[t]; l != nil {
		return l
	}
	if l := ls[t]; l != nil {
		return l
	}
	l := &level{byName: map[string]*field{}}
	l.add(t, nil)
	ls[t] = l
	return l
}

func (l *level) add(t reflect.Type, prefix []int) {
	for i := range t.NumField() {
		sf := t.Field(i)
		if !sf.IsExported() {
			continue
		}
		index := append(append([]int(nil), prefix...), i)
		name, opts, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if sf.Anonymous && opts == "inline" {
			l.add(sf.Type, index)
			continue
		}
		f := &field{name: name, index: index, typ: sf.Type}
		words := strings.Split(sf.Tag.Get("cfg"), ",")
		if words[0] == "-" {
			continue
		}
		if name == "-" {
			if len(words) < 2 || words[1] != "label" {
				continue
			}
			f.name = words[0]
		}
		f.read(words)
		l.fields = append(l.fields, f)
		l.byName[strings.ToLower(f.name)] = f
	}
}

func (f *field) read(words []string) {
	for _, w := range words {
		switch {
		case w == "empty":
			f.empty = true
		case w == "secret":
			f.secret = true
		case w == "label":
			f.label = true
		case w == "sluice":
			f.ours = true
		case w == "nolabel":
			f.hidden = true
		case strings.HasPrefix(w, "one:"):
			f.one = w[len("one:"):]
		}
	}
}

// find returns the field for a key as written, or nil. In labels a field with a
// singular name goes by that name only.
func (l *level) find(key string, labels bool) *field {
	lower := strings.ToLower(key)
	if labels {
		for _, f := range l.fields {
			if f.one != "" && strings.EqualFold(f.one, lower) {
				return f
			}
		}
	}
	f := l.byName[lower]
	if f == nil || !labels && f.label || labels && (f.one != "" || f.hidden) {
		return nil
	}
	return f
}

// deref strips pointers.
func deref(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// typeAt resolves a path from t by types alone: the type it ends at, or nil if there is no
// such path.
func (ls levels) typeAt(t reflect.Type, path []string) reflect.Type {
	var f *field
	for _, seg := range path {
		t = deref(t)
		switch t.Kind() {
		case reflect.Struct:
			if f = ls.of(t).find(seg, false); f == nil {
				return nil
			}
			t = f.typ
		case reflect.Map:
			t, f = t.Elem(), nil
		case reflect.Slice:
			if _, ok := position(seg); !ok {
				return nil
			}
			t, f = t.Elem(), nil
		case reflect.Interface:
			return t
		case reflect.String: // a name in a map may contain dots
			if f != nil {
				return nil
			}
			return t
		default:
			return nil
		}
	}
	return t
}
