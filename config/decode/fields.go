package decode

import "reflect"

// Field is one key of a struct of the schema, for what describes the schema.
type Field struct {
	// Name is the key; Owner and Go are the Go type and field it comes from.
	Name, Owner, Go string
	Type            reflect.Type
	Index           []int
	// Switch: its bare name switches it on. Secret: never shown. Label: known to labels
	// only. Ours: by label below "sluice." only. NoLabel: never by label.
	Switch, Secret, Label, Ours, NoLabel bool
	// Single is how labels spell the one element of the list; empty otherwise.
	Single string
}

// Fields lists the keys of a struct, those of inlined structs in their place.
func Fields(t reflect.Type) []Field {
	l := levels{}.of(t)
	out := make([]Field, 0, len(l.fields))
	for _, f := range l.fields {
		owner := t
		for _, i := range f.index[:len(f.index)-1] {
			owner = owner.Field(i).Type
		}
		out = append(out, Field{
			Name: f.name, Owner: owner.Name(), Go: owner.Field(f.index[len(f.index)-1]).Name, Type: f.typ, Index: f.index,
			Switch: f.empty, Secret: f.secret, Label: f.label, Ours: f.ours, NoLabel: f.hidden, Single: f.one,
		})
	}
	return out
}
