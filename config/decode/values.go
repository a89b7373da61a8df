package decode

import (
	"encoding"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// Values calls f for every value that is set in a struct of the schema, in the order of
// its fields, names sorted. Keys are the canonical spelling, as in Sources.Values. A
// group that is on and holds nothing has the value "true".
func Values(v reflect.Value, f func(key, value string, secret bool)) {
	(&lister{levels: levels{}, f: f}).group("", v)
}

type lister struct {
	levels levels
	f      func(key, value string, secret bool)
	any    bool
}

func (l *lister) put(key, value string, secret bool) {
	l.any = true
	l.f(key, value, secret)
}

func (l *lister) group(path string, v reflect.Value) {
	for _, f := range l.levels.of(v.Type()).fields {
		if !f.label {
			l.value(join(path, f.name), v.FieldByIndex(f.index), f.secret, f.empty)
		}
	}
}

func (l *lister) value(key string, v reflect.Value, secret, on bool) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		if v.Type().Elem().Kind() == reflect.Struct {
			before := l.any
			l.any = false
			l.group(key, v.Elem())
			if !l.any && on {
				l.put(key, "true", secret)
			}
			l.any = l.any || before
			return
		}
		v = v.Elem()
		l.put(key, text(v), secret)
		return
	}
	if _, ok := v.Interface().(encoding.TextMarshaler); !ok {
		switch v.Kind() {
		case reflect.Struct:
			l.group(key, v)
			return
		case reflect.Map:
			l.names(key, v, secret)
			return
		case reflect.Slice:
			l.list(key, v, secret)
			return
		}
	}
	if !v.IsZero() {
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
		l.value(join(key, n), e, secret, true)
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
		l.value(key+".["+strconv.Itoa(i)+"]", v.Index(i), secret, true)
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
