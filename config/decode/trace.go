package decode

import (
	"reflect"

	"github.com/sluice-edge/sluice/config"
)

// Places maps a key in canonical spelling ("http.routers.web.rule", list positions as
// ".[0]") to where its value was written: "file NAME:LINE:COLUMN", or the label.
type Places map[string]string

// TraceFile is File and tells also where each value stands.
func TraceFile(name string, data []byte, into any) (Places, []config.Problem, error) {
	root, err := parse(name, data)
	if err != nil {
		return nil, nil, err
	}
	w := newWalker("file " + name)
	_, w.static = into.(*config.Static)
	places := w.trace(func(n *node) string { return n.place() })
	w.tree(root, into)
	w.soften(name, root, into)
	return places, w.told(), nil
}

// TraceLabels is Labels and tells also which label gave each value.
func TraceLabels(labels map[string]string, source string) (*config.Dynamic, Extra, Places, []config.Problem) {
	w := newWalker(source)
	places := w.trace(func(n *node) string { return n.path() })
	dyn, extra := w.decodeLabels(labels)
	return dyn, extra, places, w.problems
}

func (w *walker) trace(place func(*node) string) Places {
	places := Places{}
	w.record = func(path string, n *node) { places[path] = place(n) }
	return places
}

// Tops names the keys at the top of a file, to tell what kind of file it is. It gives
// nil for what cannot be read.
func Tops(name string, data []byte) []string {
	root, err := parse(name, data)
	if err != nil || root == nil || root.kind != object {
		return nil
	}
	var out []string
	for _, k := range root.kids {
		out = append(out, k.key)
	}
	return out
}

// StaticKeys and DynamicKeys name the keys at the top of both kinds of files.
func StaticKeys() []string { return levels{}.of(reflect.TypeFor[config.Static]()).names(false) }

// DynamicKeys is explained at StaticKeys.
func DynamicKeys() []string { return levels{}.of(reflect.TypeFor[config.Dynamic]()).names(false) }
