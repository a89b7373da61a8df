package decode

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// walker is the one walk from nodes to structs. What it cannot place becomes a
// Problem; everything else is set.
type walker struct {
	levels   levels
	labels   bool   // keys come from labels
	static   bool   // lists of words have no positions, as in the reference
	join     string // between the parts of a name that contains dots
	source   string // of nodes that name no place
	path     []string
	problems []config.Problem
	// misplaced holds, for Problems of dynamic objects, the path that was meant.
	misplaced []misplaced
	// record, if set, learns of every value that was placed.
	record func(path string, n *node)
}

func newWalker(source string) *walker {
	return &walker{levels: levels{}, source: source, join: "."}
}

type defaulter interface{ SetDefaults() }

func setDefaults(p reflect.Value) {
	if d, ok := p.Interface().(defaulter); ok {
		d.SetDefaults()
	}
}

// problem notes one. It takes the place and the key from n.
func (w *walker) problem(n *node, code, text, suggestion string) {
	w.problemAt(w.path, n, code, text, suggestion)
}

// problemAt notes one about what stands, or was meant to stand, at path.
func (w *walker) problemAt(path []string, n *node, code, text, suggestion string) {
	p := config.Problem{Source: n.place(), Object: w.object(), Field: n.path(), Code: code, Text: text,
		Suggestion: suggestion, Severity: config.Error}
	if p.Source == "" {
		p.Source = w.source
	}
	w.misplace(path)
	w.problems = append(w.problems, p)
}

// object names the dynamic object the walk is in: "router web", "tcp service db".
func (w *walker) object() string {
	if len(w.path) < 3 {
		return ""
	}
	word, ok := strings.CutSuffix(w.path[1], "s")
	if !ok {
		return ""
	}
	switch w.path[0] {
	case "http":
		if word == "serversTransport" || word == "router" || word == "service" || word == "middleware" {
			return word + " " + w.path[2]
		}
	case "tcp", "udp", "tls":
		return w.path[0] + " " + word + " " + w.path[2]
	}
	return ""
}

func (w *walker) invalid(n *node, err error) bool {
	text, hint, _ := strings.Cut(err.Error(), "\x00")
	w.problem(n, config.CodeInvalidValue, text, hint)
	return false
}

// hinted is an error with a suggestion, taken apart again by invalid.
func hinted(hint, format string, args ...any) error {
	return errors.New(fmt.Sprintf(format, args...) + "\x00" + hint)
}

func (w *walker) done(n *node) bool {
	if w.record != nil {
		w.record(strings.Join(w.path, "."), n)
	}
	return true
}

func (w *walker) in(name string, f func() bool) bool {
	w.path = append(w.path, name)
	ok := f()
	w.path = w.path[:len(w.path)-1]
	return ok
}

// fill sets v from n and reports whether anything was set. f is the field v stands
// in, nil within maps and lists.
func (w *walker) fill(v reflect.Value, n *node, f *field) bool {
	if n.kind == null {
		return w.nothing(n, f)
	}
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		return w.pointer(v, n, f)
	}
	if n.given && n.kind == object && isLeaf(v) { // "rule" and "rule.x": the first is right
		for _, k := range n.kids {
			k.leaves(func(leaf *node) {
				w.problem(leaf, config.CodeUnknownKey, n.key+" is a single value and has no keys", "")
			})
		}
		n = &node{key: n.key, full: n.path(), where: n.place(), value: n.value}
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if n.kind != scalar {
			return w.wrongShape(n, "a single value")
		}
		if err := u.UnmarshalText([]byte(n.value)); err != nil {
			return w.invalid(n, err)
		}
		return w.done(n)
	}
	switch t.Kind() {
	case reflect.Struct:
		return w.group(v, n)
	case reflect.Map:
		return w.names(v, n)
	case reflect.Slice:
		return w.slice(v, n, f)
	case reflect.Interface:
		v.Set(reflect.ValueOf(n.plain()))
		return w.done(n)
	}
	if n.kind != scalar {
		return w.wrongShape(n, "a single value")
	}
	if err := setScalar(v, n.value); err != nil {
		return w.invalid(n, err)
	}
	return w.done(n)
}

// nothing handles a key without value in a file: it sets nothing, as in the reference.
func (w *walker) nothing(n *node, f *field) bool {
	if f != nil && f.empty {
		w.problem(n, config.CodeInvalidValue, "has no value and switches nothing on", "write "+n.key+": {}")
		w.problems[len(w.problems)-1].Severity = config.Warning
	}
	return false
}

func isLeaf(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Struct, reflect.Map, reflect.Interface:
		return false
	case reflect.Slice:
		return v.Type().Elem().Kind() != reflect.Struct
	}
	return true
}

func (w *walker) wrongShape(n *node, want string) bool {
	got := "a single value"
	switch n.kind {
	case object:
		got = "a group of keys"
	case list:
		got = "a list"
	}
	return w.invalid(n, fmt.Errorf("must be %s, is %s", want, got))
}

func (w *walker) pointer(v reflect.Value, n *node, f *field) bool {
	elem := v.Type().Elem()
	if elem.Kind() != reflect.Struct || reflect.PointerTo(elem).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		p := reflect.New(elem)
		if !w.fill(p.Elem(), n, nil) {
			return false
		}
		v.Set(p)
		return true
	}
	if len(n.kids) > 0 && (f == nil || !f.empty) {
		w.idle(n)
	} else if n.kind == scalar || n.given {
		on, ok := w.isOn(n, elem, f)
		switch {
		case !ok && len(n.kids) == 0:
			return false
		case ok && !on:
			v.Set(reflect.Zero(v.Type()))
			return w.done(n)
		}
	}
	p := v
	if v.IsNil() {
		p = reflect.New(elem)
		setDefaults(p)
	}
	if len(n.kids) == 0 {
		if n.kind == object && f != nil && !f.empty && w.isUnion() {
			return w.invalid(n, errors.New("is empty: a middleware needs its settings"))
		}
		v.Set(p)
		return w.done(n)
	}
	if !w.group(p.Elem(), n) {
		return false
	}
	v.Set(p)
	return true
}

// idle is for the value of a group that has keys, which the reference does not look at:
// "--metrics --metrics.prometheus", "--entryPoints.web=true --entryPoints.web.address=:80".
func (w *walker) idle(n *node) {
	if !n.given || n.value == "" || strings.EqualFold(n.value, "true") {
		return
	}
	w.problem(n, config.CodeInvalidValue, fmt.Sprintf("the value %q is not used: %s is a group of keys", clip(n.value), n.key), "")
	w.problems[len(w.problems)-1].Severity = config.Warning
}

// isUnion reports whether the walk is right below a middleware, where an empty object
// would be a protection that protects nothing.
func (w *walker) isUnion() bool {
	return len(w.path) == 4 && w.path[1] == "middlewares"
}

// isOn reads the value given to a group of keys: true, false, or nothing at all.
func (w *walker) isOn(n *node, t reflect.Type, f *field) (on, ok bool) {
	if f == nil { // a name in a map: by label the reference makes an empty object of it
		w.problem(n, config.CodeInvalidValue, fmt.Sprintf("the value %q is not used: %s is a group of keys", clip(n.value), n.key),
			"add one of "+w.some(t))
		if w.labels {
			w.problems[len(w.problems)-1].Severity = config.Warning
		}
		return w.labels || w.static, w.labels || w.static
	}
	if !f.empty {
		w.problem(n, config.CodeInvalidValue, "is a group of keys and takes no value", "add one of "+w.some(t))
		return false, false
	}
	if n.value == "" {
		return true, true
	}
	b, err := strconv.ParseBool(strings.ToLower(n.value))
	if err != nil {
		w.problem(n, config.CodeInvalidValue, fmt.Sprintf("%q is neither true nor false", clip(n.value)), "")
		return false, false
	}
	return b, true
}

// some lists the first keys of a level.
func (w *walker) some(t reflect.Type) string {
	names := w.levels.of(t).names(w.labels)
	if len(names) > 8 {
		names = append(names[:8:8], "...")
	}
	return strings.Join(names, ", ")
}

func (w *walker) group(v reflect.Value, n *node) bool {
	if n.kind != object {
		return w.wrongShape(n, "a group of keys ("+w.some(v.Type())+")")
	}
	l := w.levels.of(v.Type())
	any := len(n.kids) == 0
	for _, k := range n.kids {
		f := l.find(k.key, w.labels)
		if f == nil {
			w.unknown(l, k)
			continue
		}
		if w.labels && f.ours && !w.keepOurs(k, f) {
			continue
		}
		if w.in(f.name, func() bool { return w.fill(v.FieldByIndex(f.index), k, f) }) {
			any = true
		}
	}
	return any
}

// keepOurs drops from k what was written under "traefik." though only "sluice." may
// say it. It reports whether something is left.
func (w *walker) keepOurs(k *node, f *field) bool {
	var keep func(n *node) bool
	keep = func(n *node) bool {
		kids := n.kids[:0]
		for _, c := range n.kids {
			if keep(c) {
				kids = append(kids, c)
			}
		}
		n.kids = kids
		if n.given && !n.ours {
			w.problemAt(append(slices.Clip(w.path), f.name), n, config.CodeUnknownKey, "the reference has no label for "+f.name,
				"write sluice."+strings.TrimPrefix(n.full, "traefik."))
			n.given = false
		}
		return n.given || len(n.kids) > 0
	}
	return keep(k)
}

func (w *walker) unknown(l *level, n *node) {
	names := l.names(w.labels)
	near := Nearest(n.key, names)
	if w.static {
		if gone, ok := explain(append(w.path, n.key)); ok {
			if n.kind == scalar && strings.EqualFold(n.value, "false") {
				gone.hint = "leave it out"
			}
			w.problem(n, gone.code, gone.text, gone.hint)
			return
		}
	}
	if !w.labels {
		n = &node{key: n.key, full: n.path(), where: n.place()}
	}
	// One Problem per label, so that each of several labels is named.
	n.leaves(func(leaf *node) {
		hint, meant := "", n.key
		switch deep := w.deeper(l, n.key); {
		case strings.EqualFold(n.key, "sslProtocols"): // of other programs, in many examples of options
			hint = "write minVersion and maxVersion, such as VersionTLS12"
		case near != "":
			meant = near
			hint = "did you mean " + respell(leaf, n, near) + "?"
		case w.outer(n):
			hint = "move it out of " + w.path[0] + ", to the top of the file"
		case deep != "":
			meant = deep
			hint = "did you mean " + respell(leaf, n, deep) + "?"
		case len(names) > 0 && len(names) <= 16:
			hint = "known keys: " + strings.Join(names, ", ")
		}
		path := append(slices.Clip(w.path), strings.Split(meant, ".")...)
		w.problemAt(append(path, leaf.below(n)...), leaf, config.CodeUnknownKey, fmt.Sprintf("unknown key %q", n.key), hint)
	})
}

// outer reports whether the key stands one group too deep: "tls" below "http".
func (w *walker) outer(n *node) bool {
	if w.labels || w.static || len(w.path) != 1 {
		return false
	}
	return slices.ContainsFunc(DynamicKeys(), func(k string) bool { return strings.EqualFold(k, n.key) })
}

// respell writes the full key of leaf with n's own part replaced.
func respell(leaf, n *node, name string) string {
	full := leaf.path()
	if i := strings.LastIndex(strings.ToLower(full), "."+strings.ToLower(n.key)); i >= 0 {
		rest := full[i+1+len(n.key):]
		if rest == "" || rest[0] == '.' || rest[0] == '[' {
			return full[:i+1] + name + rest
		}
	}
	return name
}

// deeper looks for the key one group further in: certResolver is tls.certResolver.
func (w *walker) deeper(l *level, key string) string {
	for _, f := range l.fields {
		t := deref(f.typ)
		if t.Kind() != reflect.Struct || w.labels && (f.ours || f.hidden) {
			continue
		}
		if g := w.levels.of(t).find(key, w.labels); g != nil {
			return f.name + "." + g.name
		}
	}
	return ""
}

func (w *walker) names(v reflect.Value, n *node) bool {
	if n.kind != object {
		return w.wrongShape(n, "a group of names")
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	elem := v.Type().Elem()
	any := len(n.kids) == 0
	set := func(key string, k *node) {
		e := reflect.New(elem).Elem()
		if old := v.MapIndex(reflect.ValueOf(key)); old.IsValid() {
			e.Set(old)
		}
		ok := w.in(key, func() bool {
			if elem.Kind() == reflect.Pointer && k.kind == object && len(k.kids) == 0 && e.IsNil() {
				e.Set(reflect.New(elem.Elem()))
				setDefaults(e)
				return w.done(k)
			}
			return w.fill(e, k, nil)
		})
		if ok {
			v.SetMapIndex(reflect.ValueOf(key), e)
			any = true
		}
	}
	for _, k := range n.kids {
		if elem.Kind() == reflect.String || elem.Kind() == reflect.Int {
			k.flat(k.key, w.join, set)
			continue
		}
		set(k.key, k)
	}
	if v.Len() == 0 && !any {
		v.Set(reflect.Zero(v.Type()))
	}
	return any
}

func (w *walker) slice(v reflect.Value, n *node, f *field) bool {
	t := v.Type()
	if n.kind == scalar {
		if t.Elem().Kind() == reflect.Struct {
			return w.wrongShape(n, "a list of groups ("+w.some(t.Elem())+")")
		}
		return w.words(v, n)
	}
	elems, ok := n.elements()
	if n.kind == object {
		switch {
		case w.labels && f != nil && f.one != "":
			elems = []*node{n}
		case !ok:
			return w.wrongShape(n, "a list")
		case w.static && t.Elem().Kind() != reflect.Struct:
			w.problem(n, config.CodeInvalidValue, "a list of words is not set by position, here or in the reference; it is ignored",
				"write the words with commas between them")
			w.problems[len(w.problems)-1].Severity = config.Warning
			return false
		}
	}
	out := reflect.MakeSlice(t, 0, len(elems))
	for i, e := range elems {
		item := reflect.New(t.Elem())
		if t.Elem().Kind() == reflect.Struct {
			setDefaults(item)
		}
		if w.in("["+strconv.Itoa(i)+"]", func() bool { return w.fill(item.Elem(), e, nil) }) {
			out = reflect.Append(out, item.Elem())
		}
	}
	if len(elems) > 0 && out.Len() == 0 {
		return false
	}
	v.Set(out)
	if len(elems) == 0 {
		w.done(n)
	}
	return true
}
