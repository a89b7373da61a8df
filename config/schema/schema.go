// Package schema describes the configuration: every key with its type, default and
// text, and the JSON Schemas. It is derived from the structs of package config and
// their comments, which the documentation generator keeps in descriptions.txt.
package schema

import (
	_ "embed"
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

//go:embed descriptions.txt
var descriptions string

// Key is one key of the configuration.
type Key struct {
	// Path is the whole key; "<name>" stands for a name, "[n]" for a position.
	Path string
	// Type is text, boolean, integer, number, duration, list, names, group or any.
	Type string
	// Default as a user would write it; empty if there is none.
	Default string
	// Text describes the key; empty if its name says it.
	Text string
	// Switch: the bare name switches the group on. Secret: never shown.
	Switch, Secret bool
}

// Describe gives the text of a Go type ("Router") or field ("Router.Rule").
func Describe(name string) string { return texts()[name] }

func texts() map[string]string {
	m := make(map[string]string, 512)
	for line := range strings.Lines(descriptions) {
		if name, text, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t"); ok {
			m[name] = text
		}
	}
	return m
}

// Static lists the keys of the static configuration in the order of the structs.
func Static() []Key {
	w := walk{text: texts()}
	w.group("", reflect.ValueOf(config.NewStatic()).Elem(), 0)
	return w.keys
}

// Dynamic lists the keys of dynamic configuration files.
func Dynamic() []Key {
	w := walk{text: texts()}
	w.group("", reflect.ValueOf(&config.Dynamic{}).Elem(), 0)
	return w.keys
}

// Labels lists the labels that can be set on containers: those of the reference with
// the root "traefik", the rest with the root "sluice".
func Labels() []Key {
	w := walk{text: texts(), labels: true}
	w.keys = append(w.keys,
		Key{Path: "traefik.enable", Type: "boolean", Text: "Whether the container is exposed; without it the provider's exposedByDefault decides."},
		Key{Path: "traefik.docker.network", Type: "text", Text: "The network the container is reached on."},
		Key{Path: "traefik.docker.lbswarm", Type: "boolean", Default: "false", Text: "Use the Swarm service's virtual address instead of its tasks."},
		Key{Path: "traefik.docker.allownonrunning", Type: "boolean", Default: "false", Text: "Keep the routers of a container that is not running; they answer 503."},
		Key{Path: "traefik.swarm.network", Type: "text", Text: "The network the service's tasks are reached on."},
		Key{Path: "traefik.swarm.lbswarm", Type: "boolean", Default: "false", Text: "Use the Swarm service's virtual address instead of its tasks."},
		Key{Path: "sluice.hold", Type: "duration", Default: "10s", Text: "How long requests wait for a replacement of the container, or for it to wake; 0s answers 503 at once."},
		Key{Path: "sluice.ready", Type: "text", Default: "tcp", Text: "The probe that a container which has started must pass before its first request: tcp, http:/path or none."},
		Key{Path: "sluice.slowstart", Type: "duration", Text: "How long the container gets less than its share after it has become ready, growing from a twentieth."},
		Key{Path: "sluice.idle", Type: "duration", Text: "Puts the container to sleep after so long without a request, and a request wakes it. See docs/sleep.md."},
		Key{Path: "sluice.idle.mode", Type: "text", Default: "stop", Text: "How it sleeps: stop or pause. Swarm services are scaled to zero."},
		Key{Path: "sluice.idle.group", Type: "text", Text: "What sleeps and wakes together; by default the compose service, else the container alone."},
		Key{Path: "sluice.idle.dependson", Type: "list", Text: "Containers or compose services that are woken before it, and sleep after it unless something else needs them."},
		Key{Path: "sluice.idle.page", Type: "duration", Default: "1s", Text: "How long a browser waits while it wakes before it gets a page that loads again by itself."})
	w.group("traefik", reflect.ValueOf(&config.Dynamic{}).Elem(), 0)
	keys := w.keys[:0]
	for _, k := range w.keys {
		// Of "tls", the reference reads the default store only.
		rest, ok := strings.CutPrefix(k.Path, "traefik.tls.")
		if ok && strings.HasPrefix(rest, "stores.<name>") {
			k.Path = strings.Replace(k.Path, "<name>", "default", 1)
		}
		if k.Type != "group" || k.Switch {
			keys = append(keys, k)
		}
	}
	return keys
}

type walk struct {
	text   map[string]string
	labels bool
	keys   []Key
}

// maxDepth guards against a struct that holds itself.
const maxDepth = 16

var textual = reflect.TypeFor[encoding.TextUnmarshaler]()

func scalarType(t reflect.Type) string {
	if reflect.PointerTo(t).Implements(textual) {
		return "duration"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64, reflect.Int32:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Interface:
		return "any"
	}
	return ""
}

func (w *walk) group(path string, v reflect.Value, depth int) {
	if depth > maxDepth {
		return
	}
	for _, f := range decode.Fields(v.Type()) {
		if w.labels && f.NoLabel || !w.labels && f.Label {
			continue
		}
		name := f.Name
		if w.labels {
			name = strings.ToLower(name)
			if f.Single != "" {
				name = f.Single
			}
		}
		full := name
		if path != "" {
			full = path + "." + name
		}
		if w.labels && f.Ours {
			full = "sluice" + strings.TrimPrefix(full, "traefik")
		}
		k := Key{Path: full, Text: w.text[f.Owner+"."+f.Go], Switch: f.Switch, Secret: f.Secret}
		w.value(k, v.FieldByIndex(f.Index), f, depth)
	}
}

func (w *walk) value(k Key, v reflect.Value, f decode.Field, depth int) {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		elem := t.Elem()
		switch {
		case scalarType(elem) != "" || elem.Kind() == reflect.Slice:
			if v.IsNil() {
				k.Type = typeName(elem)
				w.add(k)
				return
			}
			w.value(k, v.Elem(), f, depth)
			return
		case v.IsNil():
			p := reflect.New(elem)
			if d, ok := p.Interface().(interface{ SetDefaults() }); ok {
				d.SetDefaults()
			}
			v = p.Elem()
		default:
			v = v.Elem()
		}
		t = elem
	}
	if s := scalarType(t); s != "" {
		k.Type, k.Default = s, plain(v)
		w.add(k)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		k.Type = "group"
		if k.Text == "" {
			k.Text = w.text[t.Name()]
		}
		w.add(k)
		w.group(k.Path, v, depth+1)
	case reflect.Map:
		w.elements(k, t.Elem(), "."+"<name>", "names", depth)
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Struct {
			k.Type, k.Default = "list", plain(v)
			w.add(k)
			return
		}
		if w.labels && f.Single != "" {
			w.group(k.Path, reflect.New(t.Elem()).Elem(), depth+1)
			return
		}
		w.elements(k, t.Elem(), "[n]", "list", depth)
	}
}

// elements describes what stands below each name or position.
func (w *walk) elements(k Key, elem reflect.Type, step, kind string, depth int) {
	base := elem
	if base.Kind() == reflect.Pointer {
		base = base.Elem()
	}
	if base.Kind() != reflect.Struct {
		k.Path += step
		k.Type = typeName(base)
		w.add(k)
		return
	}
	if k.Text == "" {
		k.Text = w.text[base.Name()]
	}
	k.Type = kind
	if !w.labels {
		w.add(k)
	}
	p := reflect.New(base)
	if d, ok := p.Interface().(interface{ SetDefaults() }); ok {
		d.SetDefaults()
	}
	w.group(k.Path+step, p.Elem(), depth+1)
}

func typeName(t reflect.Type) string {
	if s := scalarType(t); s != "" {
		return s
	}
	if t.Kind() == reflect.Slice {
		return "list"
	}
	return "any"
}

func (w *walk) add(k Key) { w.keys = append(w.keys, k) }

// plain writes a default as a user would.
func plain(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		words := make([]string, v.Len())
		for i := range words {
			words[i] = plain(v.Index(i))
		}
		return strings.Join(words, ", ")
	}
	if d, ok := v.Interface().(config.Duration); ok {
		if d == 0 {
			return "0s"
		}
		return d.String()
	}
	if v.Kind() == reflect.Interface {
		return ""
	}
	return fmt.Sprint(v.Interface())
}
