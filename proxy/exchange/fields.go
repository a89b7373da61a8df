// Package exchange is the narrow waist of the data plane: one request and its
// answer, as both lanes, the middlewares and the balancers see it. It does no I/O.
package exchange

// Field is one field of a head, its name as sent.
type Field struct{ Name, Value string }

// Fields is an ordered list of fields. Names are compared without regard to case.
// The zero value is empty and ready to use; it is not safe for concurrent use.
//
// On the loop lane names and values alias the exchange's own memory: they are valid
// until the exchange ends. What keeps one longer clones it (strings.Clone).
type Fields struct{ list []Field }

// Len is the number of fields.
func (f *Fields) Len() int { return len(f.list) }

// At returns the field at i, which may be changed in place.
func (f *Fields) At(i int) *Field { return &f.list[i] }

// All returns the fields in order; the slice is valid until the next change.
func (f *Fields) All() []Field { return f.list }

// Reset empties the list and keeps its memory.
func (f *Fields) Reset() { f.list = f.list[:0] }

// Truncate keeps the first n fields.
func (f *Fields) Truncate(n int) {
	clear(f.list[n:])
	f.list = f.list[:n]
}

// Get returns the first value of name, or "".
func (f *Fields) Get(name string) string {
	for i := range f.list {
		if EqualFold(f.list[i].Name, name) {
			return f.list[i].Value
		}
	}
	return ""
}

// Has reports whether name is there.
func (f *Fields) Has(name string) bool { return f.Index(name, 0) >= 0 }

// Index returns the first position of name from i on, or -1.
func (f *Fields) Index(name string, i int) int {
	for ; i < len(f.list); i++ {
		if EqualFold(f.list[i].Name, name) {
			return i
		}
	}
	return -1
}

// Add appends a field.
func (f *Fields) Add(name, value string) { f.list = append(f.list, Field{name, value}) }

// Set gives name exactly one value, at the place of its first field if it is there.
func (f *Fields) Set(name, value string) {
	i := f.Index(name, 0)
	if i < 0 {
		f.Add(name, value)
		return
	}
	f.list[i].Value = value
	f.delFrom(name, i+1)
}

// Del removes every field of that name.
func (f *Fields) Del(name string) { f.delFrom(name, 0) }

func (f *Fields) delFrom(name string, from int) {
	i := f.Index(name, from)
	if i < 0 {
		return
	}
	n := i
	for ; i < len(f.list); i++ {
		if !EqualFold(f.list[i].Name, name) {
			f.list[n] = f.list[i]
			n++
		}
	}
	clear(f.list[n:])
	f.list = f.list[:n]
}

// DelFunc removes the fields for which del is true.
func (f *Fields) DelFunc(del func(*Field) bool) {
	n := 0
	for i := range f.list {
		if !del(&f.list[i]) {
			f.list[n] = f.list[i]
			n++
		}
	}
	clear(f.list[n:])
	f.list = f.list[:n]
}

// CopyFrom makes f a copy of o; the strings are shared.
func (f *Fields) CopyFrom(o *Fields) { f.list = append(f.list[:0], o.list...) }

// HasToken reports whether the comma-separated values of name contain token, as in "Connection: a, b".
func (f *Fields) HasToken(name, token string) bool {
	for i := f.Index(name, 0); i >= 0; i = f.Index(name, i+1) {
		v := f.list[i].Value
		for len(v) > 0 {
			j := 0
			for j < len(v) && v[j] != ',' {
				j++
			}
			if EqualFold(trim(v[:j]), token) {
				return true
			}
			if j == len(v) {
				break
			}
			v = v[j+1:]
		}
	}
	return false
}

func trim(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// EqualFold reports whether a and b are equal but for ASCII case.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z' {
			return false
		}
	}
	return true
}
