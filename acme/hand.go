package acme

import (
	"iter"
	"slices"
	"strings"
)

// hand is the certificates of a resolver, found by their joined names and by each name. The
// zero value is not usable; it is not safe for concurrent use.
type hand struct {
	all    map[string]*held
	byName map[string][]*held
}

func newHand() hand { return hand{all: map[string]*held{}, byName: map[string][]*held{}} }

func (d *hand) get(k string) *held { return d.all[k] }

// put takes a certificate in, in place of one with the same names in the same order.
func (d *hand) put(h *held) {
	k := id(h.names)
	d.drop(k)
	d.all[k] = h
	for _, n := range h.names {
		d.byName[n] = append(d.byName[n], h)
	}
}

func (d *hand) drop(k string) {
	h := d.all[k]
	if h == nil {
		return
	}
	delete(d.all, k)
	for _, n := range h.names {
		if rest := slices.DeleteFunc(d.byName[n], func(o *held) bool { return o == h }); len(rest) > 0 {
			d.byName[n] = rest
		} else {
			delete(d.byName, n)
		}
	}
}

// covering yields the certificates that are good for all names.
func (d *hand) covering(names []string) iter.Seq[*held] {
	return func(yield func(*held) bool) {
		if len(names) == 0 {
			return
		}
		for _, n := range []string{names[0], wildcardOf(names[0])} {
			for _, h := range d.byName[n] {
				if covers(h.names, names) && !yield(h) {
					return
				}
			}
		}
	}
}

// holds reports whether a certificate is good for all names, be it ended.
func (d *hand) holds(names []string) bool {
	for range d.covering(names) {
		return true
	}
	return false
}

// wildcardOf is the wildcard that stands for a name, or "" where none does.
func wildcardOf(name string) string {
	_, rest, ok := strings.Cut(name, ".")
	if !ok || strings.HasPrefix(name, "*.") {
		return ""
	}
	return "*." + rest
}

// wishes are the sets of names that are wanted, found by the certificate that would do.
type wishes struct {
	sets   [][]string
	first  map[string][]int // by a set's first name and by the wildcard that stands for it
	byName map[string][]int // by each name
}

func newWishes(sets [][]string) *wishes {
	w := &wishes{sets: sets, first: map[string][]int{}, byName: map[string][]int{}}
	for i, s := range sets {
		for j, n := range s {
			w.byName[n] = append(w.byName[n], i)
			if j > 0 {
				continue
			}
			w.first[n] = append(w.first[n], i)
			if n = wildcardOf(n); n != "" {
				w.first[n] = append(w.first[n], i)
			}
		}
	}
	return w
}

// use reports whether a certificate for these names is good for any set.
func (w *wishes) use(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		return slices.ContainsFunc(w.first[n], func(i int) bool { return covers(names, w.sets[i]) })
	})
}

// covering yields the other sets whose certificate would be good for set i. Of two sets with
// the same names the later one is covered by the earlier.
func (w *wishes) covering(i int) iter.Seq[[]string] {
	s := w.sets[i]
	return func(yield func([]string) bool) {
		for _, n := range []string{s[0], wildcardOf(s[0])} {
			for _, j := range w.byName[n] {
				t := w.sets[j]
				if i != j && covers(t, s) && (!covers(s, t) || i > j) && !yield(t) {
					return
				}
			}
		}
	}
}

// covers reports whether a certificate for have is good for all of need.
func covers(have, need []string) bool {
	for _, n := range need {
		if slices.Contains(have, n) {
			continue
		}
		if w := wildcardOf(n); w == "" || !slices.Contains(have, w) {
			return false
		}
	}
	return true
}
