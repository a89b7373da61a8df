package decode

import (
	"maps"
	"path/filepath"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// Versions decodes one version of a file after the other. Of a YAML file in the usual
// layout it decodes the objects alone whose text changed: parsing a file of ten thousand
// routes takes a good part of a second, and one of them changes. Whatever is unusual (anchors,
// tags, tabs, several documents) or wrong is decoded as a whole, by File. The zero value is
// ready to use; it is not safe for concurrent use.
type Versions struct {
	text *layout
	dyn  *config.Dynamic
}

// File is File for the next version. Objects whose text did not change are the same pointers
// as before; the caller may replace them in into's maps by others that are equal.
func (v *Versions) File(name string, data []byte, into *config.Dynamic) ([]config.Problem, error) {
	var l *layout
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yml", ".yaml":
		text := string(data)
		if v.text != nil {
			l = v.text.edited(text)
		}
		if l == nil {
			l = lay(text)
		}
	}
	if l != nil && v.text != nil && v.text.rest == l.rest {
		if d := v.patch(name, l); d != nil {
			v.text, v.dyn = l, d
			*into = *d
			return nil, nil
		}
	}
	v.text, v.dyn = nil, nil
	problems, err := File(name, data, into)
	if err == nil && len(problems) == 0 && l != nil {
		d := *into
		v.text, v.dyn = l, &d
	}
	return problems, err
}

// patch is the configuration of l, or nil if it must be decoded as a whole.
func (v *Versions) patch(name string, l *layout) *config.Dynamic {
	var fresh config.Dynamic
	if text := l.changed(v.text); text != "" {
		if problems, err := File(name, []byte(text), &fresh); err != nil || len(problems) > 0 {
			return nil // as a whole it has the right lines
		}
	}
	p := patcher{was: v.text, is: l, ok: true}
	out := &config.Dynamic{TLS: v.dyn.TLS}
	if old := v.dyn.HTTP; old != nil || fresh.HTTP != nil {
		f := fresh.HTTP
		if old == nil {
			old = &config.HTTP{}
		}
		if f == nil {
			f = &config.HTTP{}
		}
		out.HTTP = &config.HTTP{
			Routers:           patch(&p, "http.routers", old.Routers, f.Routers),
			Services:          patch(&p, "http.services", old.Services, f.Services),
			Middlewares:       patch(&p, "http.middlewares", old.Middlewares, f.Middlewares),
			ServersTransports: patch(&p, "http.serverstransports", old.ServersTransports, f.ServersTransports),
		}
	}
	if old := v.dyn.TCP; old != nil || fresh.TCP != nil {
		f := fresh.TCP
		if old == nil {
			old = &config.TCP{}
		}
		if f == nil {
			f = &config.TCP{}
		}
		out.TCP = &config.TCP{
			Routers:           patch(&p, "tcp.routers", old.Routers, f.Routers),
			Services:          patch(&p, "tcp.services", old.Services, f.Services),
			Middlewares:       patch(&p, "tcp.middlewares", old.Middlewares, f.Middlewares),
			ServersTransports: patch(&p, "tcp.serverstransports", old.ServersTransports, f.ServersTransports),
		}
	}
	if old := v.dyn.UDP; old != nil || fresh.UDP != nil {
		f := fresh.UDP
		if old == nil {
			old = &config.UDP{}
		}
		if f == nil {
			f = &config.UDP{}
		}
		out.UDP = &config.UDP{
			Routers:  patch(&p, "udp.routers", old.Routers, f.Routers),
			Services: patch(&p, "udp.services", old.Services, f.Services),
		}
	}
	if !p.ok {
		return nil
	}
	return out
}

type patcher struct {
	was, is *layout
	ok      bool
}

// patch takes an object from old where its text is the same, else from fresh. A section that
// is not cut into blocks is old's.
func patch[T any](p *patcher, section string, old, fresh map[string]*T) map[string]*T {
	blocks, was := p.is.sections[section], p.was.sections[section]
	if blocks == nil || was == nil {
		p.ok = p.ok && blocks == nil && was == nil
		return old
	}
	if was == blocks || maps.Equal(was.text, blocks.text) {
		return old
	}
	if only := p.is.only; only != nil {
		out := maps.Clone(old)
		if out[only.name] = fresh[only.name]; out[only.name] == nil {
			p.ok = false
		}
		return out
	}
	out := make(map[string]*T, len(blocks.text))
	for name, text := range blocks.text {
		o := fresh[name]
		if was.text[name] == text {
			o = old[name]
		}
		if o == nil {
			p.ok = false
			return nil
		}
		out[name] = o
	}
	return out
}

// layout is a YAML file cut into the texts of its objects.
type layout struct {
	// sections are by "http.routers" and so on.
	sections map[string]*blocks
	order    []string
	// rest is every line that is in no block.
	rest string
	// text is the file, with a line break at its end, and spans are the places of the objects in it.
	text  string
	spans []span
	// only is the one object that differs from the version before, where that is known.
	only *span
}

type span struct {
	section, name string
	begin, end    int
}

// blocks are the objects of one section by name: whole lines with their indentation.
type blocks struct {
	head string // the lines that lead to the section
	text map[string]string
}

// changed is a file of the objects whose texts are not those of was.
func (l *layout) changed(was *layout) string {
	if o := l.only; o != nil {
		return l.sections[o.section].head + l.text[o.begin:o.end]
	}
	var b strings.Builder
	top := ""
	for _, section := range l.order {
		s, old := l.sections[section], was.sections[section]
		begun := false
		for name, text := range s.text {
			if old != nil && old.text[name] == text {
				continue
			}
			if !begun {
				first, second, _ := strings.Cut(s.head, "\n")
				if first != top {
					top = first
					b.WriteString(first + "\n")
				}
				b.WriteString(second)
				begun = true
			}
			b.WriteString(text)
		}
	}
	return b.String()
}

// cutSections are the parts of a file that are cut into objects, in lower case.
var cutSections = [...]string{
	"http.routers", "http.services", "http.middlewares", "http.serverstransports",
	"tcp.routers", "tcp.services", "tcp.middlewares", "tcp.serverstransports", "udp.routers", "udp.services",
}

func isCut(section string) bool {
	for _, s := range cutSections {
		if s == section {
			return true
		}
	}
	return false
}

// cutter is the state of lay.
type cutter struct {
	text string
	out  *layout
	rest strings.Builder

	top, topLine string // "http" within that part; empty in a part that is not cut
	inner        int    // indentation of the sections, -1 before the first
	cur          *blocks
	depth        int // indentation of the objects, -1 before the first
	whole        bool
	seen         map[string]bool
	name         string // of the object, with the offset of its first line
	begin        int
}

// lay cuts a file, or returns nil if its layout is not one that is cut.
func lay(text string) *layout {
	if strings.IndexByte(text, '\t') >= 0 || strings.IndexByte(text, '\r') >= 0 || strings.HasPrefix(text, "\ufeff") || marks(text) {
		return nil
	}
	if text != "" && text[len(text)-1] != '\n' {
		text += "\n"
	}
	c := &cutter{text: text, out: &layout{text: text, sections: map[string]*blocks{}}, seen: map[string]bool{}}
	for at := 0; at < len(text); {
		end := at + strings.IndexByte(text[at:], '\n') + 1
		if !c.line(at, end) {
			return nil
		}
		at = end
	}
	if !c.flush(len(text)) {
		return nil
	}
	c.out.rest = c.rest.String()
	return c.out
}

// marks reports whether something in text may be an anchor, an alias or a tag.
func marks(text string) bool {
	for _, mark := range []byte("&*!") {
		for i := 0; ; i++ {
			j := strings.IndexByte(text[i:], mark) // a search for one byte is many times faster
			if j < 0 {
				break
			}
			i += j
			k := i - 1
			for k >= 0 && text[k] == ' ' {
				k--
			}
			if k < 0 || strings.IndexByte("\n:-[{,?", text[k]) >= 0 {
				return true
			}
		}
	}
	return false
}

// flush ends the object that is being read.
func (c *cutter) flush(end int) bool {
	if c.name == "" {
		return true
	}
	if _, twice := c.cur.text[c.name]; twice {
		return false
	}
	c.cur.text[c.name] = c.text[c.begin:end]
	c.out.spans = append(c.out.spans, span{c.out.order[len(c.out.order)-1], c.name, c.begin, end})
	c.name = ""
	return true
}

func (c *cutter) line(at, end int) bool {
	line := c.text[at : end-1]
	trimmed := strings.TrimLeft(line, " ")
	if trimmed == "" || trimmed[0] == '#' {
		if c.name == "" {
			c.rest.WriteString(c.text[at:end])
		}
		return true
	}
	indent := len(line) - len(trimmed)
	switch {
	case indent == 0:
		return c.flush(at) && c.first(line, at, end)
	case c.top == "":
	case c.inner < 0 || indent == c.inner:
		c.inner = indent
		return c.flush(at) && c.second(line, trimmed, at, end)
	case indent < c.inner:
		return false
	case c.whole:
	case c.depth < 0 || indent == c.depth:
		c.depth = indent
		key, _, ok := keyOf(trimmed)
		if !ok || !c.flush(at) {
			return false
		}
		c.name, c.begin = key, at
		return true
	default:
		return indent > c.depth && c.name != ""
	}
	c.rest.WriteString(c.text[at:end])
	return true
}

// first takes a line at the left edge.
func (c *cutter) first(line string, at, end int) bool {
	c.rest.WriteString(c.text[at:end])
	if line == "---" && len(c.seen) == 0 {
		return true
	}
	key, bare, ok := keyOf(line)
	key = strings.ToLower(key)
	if !ok || c.seen[key] {
		return false
	}
	c.seen[key] = true
	c.top, c.cur = "", nil
	if bare && (key == "http" || key == "tcp" || key == "udp") {
		c.top, c.topLine, c.inner = key, line, -1
	}
	return true
}

// second takes the head of a section.
func (c *cutter) second(line, trimmed string, at, end int) bool {
	c.rest.WriteString(c.text[at:end])
	key, bare, ok := keyOf(trimmed)
	section := c.top + "." + strings.ToLower(key)
	if !ok || c.seen[section] {
		return false
	}
	c.seen[section] = true
	c.whole, c.depth = !bare || !isCut(section), -1
	if !c.whole {
		c.cur = &blocks{head: c.topLine + "\n" + line + "\n", text: map[string]string{}}
		c.out.sections[section] = c.cur
		c.out.order = append(c.out.order, section)
	}
	return true
}

// keyOf reads "key:" at the beginning of a line. bare tells that no value follows there.
func keyOf(s string) (key string, bare, ok bool) {
	i := 0
	for i < len(s) && (s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z' || s[i] >= '0' && s[i] <= '9' || strings.IndexByte("_.@/-", s[i]) >= 0) {
		i++
	}
	if i == 0 || i == len(s) || s[i] != ':' || s[0] == '-' && i == 1 {
		return "", false, false
	}
	rest := s[i+1:]
	if rest != "" && rest[0] != ' ' {
		return "", false, false
	}
	rest = strings.TrimLeft(rest, " ")
	return s[:i], rest == "" || rest[0] == '#', true
}
