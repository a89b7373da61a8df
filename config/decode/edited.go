package decode

import (
	"maps"
	"slices"
	"strings"
)

// edited is the layout of text where it differs from l in the inside of one object, or nil:
// then lay must look at all of it. It is what lay would find.
func (l *layout) edited(text string) *layout {
	if text != "" && text[len(text)-1] != '\n' {
		text += "\n"
	}
	same := prefix(l.text, text)
	tail := suffix(l.text[same:], text[same:])
	i, exact := slices.BinarySearchFunc(l.spans, same, func(s span, at int) int { return s.begin - at })
	if !exact {
		i--
	}
	if i < 0 || len(l.text)-tail > l.spans[i].end || len(text) == len(l.text) && same == len(text) {
		return nil
	}
	grown := len(text) - len(l.text)
	o := l.spans[i]
	o.end += grown
	section := l.sections[o.section]
	if o.end <= o.begin || !alone(section.head, text[o.begin:o.end], l.text[o.begin:], o) {
		return nil
	}
	next := &layout{sections: maps.Clone(l.sections), order: l.order, rest: l.rest, text: text, spans: slices.Clone(l.spans), only: &o}
	next.sections[o.section] = &blocks{head: section.head, text: maps.Clone(section.text)}
	next.sections[o.section].text[o.name] = text[o.begin:o.end]
	next.spans[i] = o
	for j := i + 1; j < len(next.spans); j++ {
		next.spans[j].begin += grown
		next.spans[j].end += grown
	}
	return next
}

// alone reports whether block is the whole of the object o and nothing else, as deep as was.
func alone(head, block, was string, o span) bool {
	if indent(block) != indent(was) {
		return false
	}
	l := lay(head + block)
	return l != nil && len(l.spans) == 1 && l.rest == head && l.spans[0].name == o.name && l.spans[0].section == o.section &&
		l.text[l.spans[0].begin:] == block
}

func indent(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }

// chunk is how many bytes are compared at once.
const chunk = 4096

// prefix is how long a and b are the same.
func prefix(a, b string) int {
	i, n := 0, min(len(a), len(b))
	for i+chunk <= n && a[i:i+chunk] == b[i:i+chunk] {
		i += chunk
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// suffix is how long the ends of a and b are the same.
func suffix(a, b string) int {
	i, n := 0, min(len(a), len(b))
	for i+chunk <= n && a[len(a)-i-chunk:len(a)-i] == b[len(b)-i-chunk:len(b)-i] {
		i += chunk
	}
	for i < n && a[len(a)-1-i] == b[len(b)-1-i] {
		i++
	}
	return i
}
