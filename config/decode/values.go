package decode

import (
	"encoding"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// Values calls f for every value of a struct of the schema that is set, or that is not
// set though its default is, in the order of its fields, names sorted. Keys are the canonical
// spelling, as in Sources.Values. A switch that is on and holds nothing has the value "true".
func Values(v reflect.Value, f func(key, value string, secret bool)) {
	l := &lister{levels: levels{}, f: f}
	l.group("", v, defaulted(v.Type()))
}

type lister struct {
	levels levels
	labels bool // fields that labels alone know are listed too
	f      func(key, value string, secret bool)
	any    bool
}

// defaulted is a new struct with its defaults.
func defaulted(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	setDefaults(p)
	return p.Elem()
}

func (l *lister) put(key, value string, secret bool) {
	l.any = true
	l.f(key, value, secret)
}

func (l *lister) group(path string, v, def reflect.Value) {
	for _, f := range l.levels.of(v.Type()).fields {
		if !f.label || l.labels {
			l.value(join(path, f.name), v.FieldByIndex(f.index), def.FieldByIndex(f.index), f.secret, f.empty)
		}
	}
}

func (l *lister) value(key string, v, def reflect.Value, secret, on bool) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		t := v.Type().Elem()
		if t.Kind() != reflect.Struct {
			l.put(key, text(v.Elem()), secret)
			return
		}
		before := l.any
		l.any = false
		if def.Kind() == reflect.Pointer && !def.IsNil() {
			l.group(key, v.Elem(), def.Elem())
		} else {
			l.group(key, v.Elem(), defaulted(t))
		}
		if !l.any && on {
			l.put(key, "true", secret)
		}
		l.any = l.any || before
		return
	}
	if _, ok := v.Interface().(encoding.TextMarshaler); !ok {
		switch v.Kind() {
		case reflect.Struct:
			l.group(key, v, def)
			return
		case reflect.Map:
			l.names(key, v, secret)
			return
		case reflect.Slice:
			l.list(key, v, secret)
			return
		}
	}
	if !v.IsZero() || !def.IsZero() {
		l.put(key, text(v), secret)
	}
}

func (l *lister) names(key string, v reflect.Value, secret bool) {
	names := make([]string, 0, v.Len())
	for _, k := range v.MapKeys() {
		names = append(names, k.String())
	}
	sort.Strings(names)
	for _, n := range names {
		e := v.MapIndex(reflect.ValueOf(n))
		if e.Kind() == reflect.Map || e.Kind() == reflect.Interface { // of a foreign schema
			l.put(join(key, n), text(e), secret)
			continue
		}
		l.value(join(key, n), e, reflect.Zero(e.Type()), secret, false)
	}
}

func (l *lister) list(key string, v reflect.Value, secret bool) {
	if v.Len() == 0 {
		return
	}
	if v.Type().Elem().Kind() != reflect.Struct {
		l.put(key, text(v), secret)
		return
	}
	for i := range v.Len() {
		l.value(key+".["+strconv.Itoa(i)+"]", v.Index(i), defaulted(v.Type().Elem()), secret, false)
	}
}

func text(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		words := make([]string, v.Len())
		for i := range words {
			words[i] = text(v.Index(i))
		}
		return strings.Join(words, ",")
	}
	return fmt.Sprint(v.Interface())
}
