package decode

import (
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// misplaced is a Problem and the path of what stands, or was meant to stand, there.
type misplaced struct {
	problem int // index in walker.problems
	path    []string
}

func (w *walker) misplace(path []string) {
	if len(path) > 0 && !w.static {
		w.misplaced = append(w.misplaced, misplaced{len(w.problems), slices.Clone(path)})
	}
}

// parts takes a dotted key apart that split refuses.
func parts(key string) []string {
	return strings.FieldsFunc(key, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// failClosed marks the objects whose protection may be among what could not be read.
// Such a mistake must not cost the label alone: the object would be served unguarded.
func (w *walker) failClosed(d *config.Dynamic) {
	for _, m := range w.misplaced {
		p := w.problems[m.problem]
		if p.Severity == config.Warning && p.Code != config.CodeUnknownKey || len(m.path) < 4 {
			continue
		}
		c := closer{w: w, name: m.path[2], rest: m.path[3:], why: p.Field + ": " + p.Text, create: p.Severity != config.Warning}
		kinds := append(c.keys(reflect.TypeFor[config.HTTP]()), "serversTransports")
		switch pick(m.path[0], "http", "tcp", "udp") + " " + pick(m.path[1], kinds...) {
		case "http routers":
			c.httpRouter(d)
		case "http middlewares":
			c.httpMiddleware(d)
		case "http services":
			c.httpService(d)
		case "tcp routers":
			c.tcpRouter(d)
		case "tcp middlewares":
			if d.TCP != nil {
				mark(d.TCP.Middlewares, c.name, func(m *config.TCPMiddleware) *string { return &m.Broken }, c.why)
			}
		}
	}
}

// closer closes the object that one Problem is about.
type closer struct {
	w      *walker
	name   string
	rest   []string // below the name
	why    string
	create bool // what came to nothing is made, to answer 503 rather than 404
}

// pick is the candidate that word is, whatever its case, or was likely meant to be.
func pick(word string, candidates ...string) string {
	for _, c := range candidates {
		if strings.EqualFold(word, c) {
			return c
		}
	}
	return Nearest(word, candidates)
}

func (c *closer) keys(t reflect.Type) []string { return c.w.levels.of(t).names(c.w.labels) }

// guardsRouter reports whether the key decides who may reach a router: its middlewares, its
// entry points, whether it takes clear requests, and the TLS options, which may ask for
// client certificates.
func (c *closer) guardsRouter(router, tls reflect.Type) bool {
	switch pick(c.rest[0], c.keys(router)...) {
	case "middlewares", "entryPoints":
		return true
	case "tls":
		if len(c.rest) == 1 {
			return true
		}
		switch pick(c.rest[1], c.keys(tls)...) {
		case "certResolver", "domains":
			return false
		}
		return true
	case "":
		// A middleware written right into the router.
		return pick(c.rest[0], append(c.keys(reflect.TypeFor[config.Middleware]()), "auth")...) != ""
	}
	return false
}

func (c *closer) httpRouter(d *config.Dynamic) {
	if !c.guardsRouter(reflect.TypeFor[config.Router](), reflect.TypeFor[config.RouterTLS]()) {
		return
	}
	if c.create {
		if d.HTTP == nil {
			d.HTTP = &config.HTTP{}
		}
		ensure(&d.HTTP.Routers, c.name)
	}
	if d.HTTP != nil {
		mark(d.HTTP.Routers, c.name, func(r *config.Router) *string { return &r.Broken }, c.why)
	}
}

func (c *closer) tcpRouter(d *config.Dynamic) {
	if d.TCP != nil && c.guardsRouter(reflect.TypeFor[config.TCPRouter](), reflect.TypeFor[config.TCPRouterTLS]()) {
		mark(d.TCP.Routers, c.name, func(r *config.TCPRouter) *string { return &r.Broken }, c.why)
	}
}

// httpMiddleware closes the kinds that keep somebody out, and what has an unknown kind
// beside a known one.
func (c *closer) httpMiddleware(d *config.Dynamic) {
	if d.HTTP == nil {
		d.HTTP = &config.HTTP{}
	}
	kind := pick(c.rest[0], c.keys(reflect.TypeFor[config.Middleware]())...)
	guards := kind == "chain" || slices.Contains(config.GuardKinds(), kind)
	if guards && c.create {
		ensure(&d.HTTP.Middlewares, c.name)
	}
	if guards || kind == "plugin" || kind == "" {
		mark(d.HTTP.Middlewares, c.name, func(m *config.Middleware) *string { return &m.Broken }, c.why)
	}
}

func (c *closer) httpService(d *config.Dynamic) {
	if d.HTTP != nil && pick(c.rest[0], c.keys(reflect.TypeFor[config.Service]())...) == "middlewares" {
		mark(d.HTTP.Services, c.name, func(s *config.Service) *string { return &s.Broken }, c.why)
	}
}

// find is the key of m that is name, whatever its case.
func find[T any](m map[string]*T, name string) (string, bool) {
	if m[name] != nil {
		return name, true
	}
	best, ok := "", false
	for k, v := range m {
		if v != nil && strings.EqualFold(k, name) && (!ok || k < best) {
			best, ok = k, true
		}
	}
	return best, ok
}

func ensure[T any](m *map[string]*T, name string) {
	if _, ok := find(*m, name); ok {
		return
	}
	if *m == nil {
		*m = map[string]*T{}
	}
	(*m)[name] = new(T)
}

// mark says what is wrong with an object; the first word counts.
func mark[T any](m map[string]*T, name string, broken func(*T) *string, why string) {
	if k, ok := find(m, name); ok {
		if b := broken(m[k]); *b == "" {
			*b = why
		}
	}
}
