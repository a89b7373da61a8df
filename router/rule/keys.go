package rule

import "strings"

// Scope says how a Key narrows one part of a request.
type Scope uint8

// The scopes.
const (
	Any Scope = iota
	// Exact: the host, but for final dots, or the path is the Key's text.
	Exact
	// OneLabel: the host is one label, a dot and the text.
	OneLabel
	// Labels: the host ends in a dot and the text.
	Labels
	// Prefix: the path begins with the text.
	Prefix
)

// Key is a condition cheap to look up. A rule that matches fulfils at least one of its Keys.
type Key struct {
	HostScope Scope
	Host      string // without final dots
	PathScope Scope
	Path      string
}

// maxKeys bounds the keys of a rule; one with more alternatives is looked at for every request.
const maxKeys = 4096

func (n *node) uniqueKeys() []Key {
	ks := n.keys()
	if len(ks) == 1 {
		return ks
	}
	seen := make(map[Key]bool, len(ks))
	uniq := ks[:0:0]
	for _, k := range ks {
		if !seen[k] {
			seen[k] = true
			uniq = append(uniq, k)
		}
	}
	return uniq
}

func (n *node) keys() []Key {
	switch {
	case n.kind == some:
		var out []Key
		for i := range n.kids {
			if out = append(out, n.kids[i].keys()...); len(out) > maxKeys {
				return []Key{{}}
			}
		}
		return out
	case n.kind == all:
		out := []Key{{}}
		for i := range n.kids {
			out = meet(out, n.kids[i].keys())
		}
		return out
	case n.not:
		return []Key{{}}
	}
	host := strings.TrimRight(n.text, ".")
	switch n.kind {
	case hostIs, hostSame, hostLabel, hostLabels:
		if host == "" {
			return []Key{{}}
		}
	}
	switch n.kind {
	case hostIs, hostSame:
		return []Key{{HostScope: Exact, Host: host}}
	case hostLabel:
		return []Key{{HostScope: OneLabel, Host: host}}
	case hostLabels:
		return []Key{{HostScope: Labels, Host: host}}
	case pathIs:
		return []Key{{PathScope: Exact, Path: n.text}}
	case pathPrefix:
		return []Key{{PathScope: Prefix, Path: n.text}}
	case pathRegexp:
		if n.text != "" {
			return []Key{{PathScope: Prefix, Path: n.text}}
		}
	}
	return []Key{{}}
}

// meet returns keys for where both lists have one fulfilled. Where that would be too
// many, one list alone will do: it is implied.
func meet(a, b []Key) []Key {
	if len(a)*len(b) > maxKeys {
		if len(a) < len(b) {
			return a
		}
		return b
	}
	out := make([]Key, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			out = append(out, x.and(y))
		}
	}
	return out
}

// and keeps the narrower condition of both for host and path.
func (k Key) and(o Key) Key {
	if narrower(o.HostScope, o.Host, k.HostScope, k.Host) {
		k.HostScope, k.Host = o.HostScope, o.Host
	}
	if narrower(o.PathScope, o.Path, k.PathScope, k.Path) {
		k.PathScope, k.Path = o.PathScope, o.Path
	}
	return k
}

func narrower(s Scope, text string, than Scope, thanText string) bool {
	if s == than {
		return len(text) > len(thanText)
	}
	return s != Any && (than == Any || s < than)
}
