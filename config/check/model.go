package check

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/router/rule"
)

// owned is an object with where it was written.
type owned[T any] struct {
	name     string // with @provider
	provider string
	cfg      T
	key      string // path of the object: "http.routers.web"
	at       func(key string) string
}

// model is all configuration together.
type model struct {
	static   *config.Static
	staticAt func(key string) string
	// inContainer tells that the static configuration's paths are those of a container.
	inContainer bool
	// others tells that labels may name what another stack defines: what was given has no router.
	others bool
	// automatic are the compose services with a service made for them whose name ends in the
	// project's, which the file does not tell.
	automatic map[string]bool
	// guessed are middlewares with settings that are not known: variables that are not set.
	guessed map[string]bool
	// providers are those something was given of; nothing is said about others.
	providers    map[string]bool
	routers      map[string]*owned[*config.Router]
	tcpRouters   map[string]*owned[*config.TCPRouter]
	services     map[string]*owned[*config.Service]
	tcpServices  map[string]bool
	udpServices  map[string]bool
	middlewares  map[string]*owned[*config.Middleware]
	tcpMiddle    map[string]bool
	transports   map[string]bool
	tlsOptions   map[string]bool
	rules        map[string]*rule.Rule
	routersOrder []string
}

func newModel() model {
	return model{
		providers: map[string]bool{}, routers: map[string]*owned[*config.Router]{}, tcpRouters: map[string]*owned[*config.TCPRouter]{},
		services: map[string]*owned[*config.Service]{}, tcpServices: map[string]bool{}, udpServices: map[string]bool{},
		middlewares: map[string]*owned[*config.Middleware]{}, tcpMiddle: map[string]bool{}, transports: map[string]bool{},
		tlsOptions: map[string]bool{}, rules: map[string]*rule.Rule{}, automatic: map[string]bool{},
		guessed: map[string]bool{},
	}
}

func (m *model) addFile(c *Checker, d *config.Dynamic, at func(string) string) {
	m.add(c, "file", d, at)
}

// add takes a provider's configuration in. The same name twice is a conflict, but for
// services and middlewares that replicas of one compose service repeat.
func (m *model) add(c *Checker, provider string, d *config.Dynamic, at func(string) string) {
	m.providers[provider] = true
	clash := func(kind, name, key string) {
		c.add(at(key), config.Problem{Object: kind + " " + name, Field: key, Code: config.CodeConflict, Severity: config.Error,
			Text: "is defined a second time", Suggestion: "choose another name"})
	}
	if h := d.HTTP; h != nil {
		for _, n := range sortedKeys(h.Routers) {
			full, key := n+"@"+provider, "http.routers."+n
			if old := m.routers[full]; old != nil {
				if provider != "file" && reflect.DeepEqual(old.cfg, h.Routers[n]) {
					continue // a replica
				}
				clash("router", n, key)
				continue
			}
			m.routers[full] = &owned[*config.Router]{full, provider, h.Routers[n], key, at}
			m.routersOrder = append(m.routersOrder, full)
		}
		for _, n := range sortedKeys(h.Services) {
			full, key := n+"@"+provider, "http.services."+n
			if old := m.services[full]; old != nil && provider == "file" {
				clash("service", n, key)
				continue
			}
			m.services[full] = &owned[*config.Service]{full, provider, h.Services[n], key, at}
		}
		for _, n := range sortedKeys(h.Middlewares) {
			full, key := n+"@"+provider, "http.middlewares."+n
			if old := m.middlewares[full]; old != nil && provider == "file" {
				clash("middleware", n, key)
				continue
			}
			m.middlewares[full] = &owned[*config.Middleware]{full, provider, h.Middlewares[n], key, at}
		}
		note(m.transports, h.ServersTransports, provider)
	}
	m.addStreams(d, provider, at)
	if t := d.TLS; t != nil {
		note(m.tlsOptions, t.Options, provider)
		m.options(c, t.Options, provider, at)
	}
}

// options judges TLS options.
func (m *model) options(c *Checker, options map[string]*config.TLSOptions, provider string, at func(string) string) {
	if c.world.TLSOptions == nil {
		return
	}
	for _, n := range sortedKeys(options) {
		for _, p := range c.world.TLSOptions(options[n]) {
			key := "tls.options." + n
			if p.Field != "" {
				key += "." + p.Field
			}
			m.report(c, at, key, "tls options "+n+"@"+provider, p.Code, p.Text, p.Suggestion, p.Severity)
		}
	}
}

func (m *model) addStreams(d *config.Dynamic, provider string, at func(string) string) {
	if t := d.TCP; t != nil {
		for n, r := range t.Routers {
			m.tcpRouters[n+"@"+provider] = &owned[*config.TCPRouter]{n + "@" + provider, provider, r, "tcp.routers." + n, at}
		}
		note(m.tcpServices, t.Services, provider)
		note(m.tcpMiddle, t.Middlewares, provider)
	}
	if u := d.UDP; u != nil {
		note(m.udpServices, u.Services, provider)
	}
}

func note[V any](set map[string]bool, from map[string]V, provider string) {
	for n := range from {
		set[n+"@"+provider] = true
	}
}

// internal names what the program itself offers.
var internal = map[string]bool{"api@internal": true, "dashboard@internal": true, "ping@internal": true, "prometheus@internal": true,
	"rest@internal": true, "noop@internal": true, "acme-http@internal": true,
	"dashboard_redirect@internal": true, "dashboard_stripprefix@internal": true, "default@internal": true}

// off reports whether the static configuration is known and does not switch the API on that a
// router publishes.
func (m *model) off(service string) bool {
	return m.static != nil && m.static.API == nil && (service == "api@internal" || service == "dashboard@internal")
}

// missing says what is wrong with a reference, or nothing if it is fine or cannot be
// known. It gives the spelling that would be right, if there is one.
func missing[V any](m *model, known map[string]V, name, provider string) (text, hint string, bad bool) {
	base, at, qualified := strings.Cut(name, "@")
	if !qualified {
		at = provider
	}
	if at == "internal" {
		return fmt.Sprintf("there is no %q", name), "", !internal[name]
	}
	if _, ok := known[base+"@"+at]; ok || !m.providers[at] {
		return "", "", false
	}
	for service := range m.automatic {
		if strings.HasPrefix(base, service+"-") {
			return "", "", false
		}
	}
	var names []string
	for full := range known {
		n, p, _ := strings.Cut(full, "@")
		if n == base && p != at {
			return fmt.Sprintf("there is no %q of the provider %s", base, at), "write " + full, true
		}
		if p == at {
			names = append(names, n)
		}
	}
	if near := decode.Nearest(base, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return fmt.Sprintf("there is no %q", base+"@"+at), hint, true
}

// named reports a reference to something that is not there. Where another stack may define it, and
// nothing of a like name is here, that is a warning.
func named[V any](m *model, c *Checker, known map[string]V, name, provider string, at func(string) string, key, object, code string) {
	text, hint, bad := missing(m, known, name, provider)
	if !bad {
		return
	}
	severity := config.Error
	if _, of, _ := strings.Cut(name, "@"); m.others && hint == "" && provider != "file" && of != "file" && of != "internal" {
		severity, text, hint = config.Warning, text+" here", "check it together with the stack that defines it"
	}
	m.report(c, at, key, object, code, text, hint, severity)
}

func (m *model) check(c *Checker) {
	for _, name := range m.routersOrder {
		m.router(c, m.routers[name])
	}
	for _, name := range sortedKeys(m.tcpRouters) {
		m.tcpRouter(c, m.tcpRouters[name])
	}
	for _, name := range sortedKeys(m.middlewares) {
		m.middleware(c, m.middlewares[name])
	}
	for _, name := range sortedKeys(m.services) {
		m.service(c, m.services[name])
	}
	m.overlaps(c)
	m.entryPointMiddlewares(c)
}

func (m *model) report(c *Checker, at func(string) string, key, object, code, text, hint string, s config.Severity) {
	c.add(at(key), config.Problem{Object: object, Field: key, Code: code, Text: text, Suggestion: hint, Severity: s})
}

func (m *model) router(c *Checker, r *owned[*config.Router]) {
	object := "router " + r.name
	for _, mw := range r.cfg.Middlewares {
		named(m, c, m.middlewares, mw, r.provider, r.at, r.key+".middlewares", object, config.CodeUnknownMiddleware)
	}
	switch {
	case r.cfg.Service == "" && m.isParent(r):
	case r.cfg.Service == "" && r.provider == "file":
		m.report(c, r.at, r.key, object, config.CodeUnknownService, "the router names no service", "add service", config.Error)
	case r.cfg.Service != "":
		named(m, c, m.services, r.cfg.Service, r.provider, r.at, r.key+".service", object, config.CodeUnknownService)
		if m.off(r.cfg.Service) {
			m.report(c, r.at, r.key+".service", object, config.CodeUnknownService, r.cfg.Service+" is not switched on",
				"add "+config.SwitchOf(r.cfg.Service), config.Error)
		}
	}
	for _, p := range r.cfg.ParentRefs {
		named(m, c, m.routers, p, r.provider, r.at, r.key+".parentRefs", object, config.CodeInvalidValue)
	}
	m.entryPoints(c, r.cfg.EntryPoints, r.at, r.key, object)
	if t := r.cfg.TLS; t != nil {
		m.tls(c, t.CertResolver, t.Options, r.provider, r.at, r.key, object)
	}
	m.rule(c, r, object)
}

// isParent reports whether another router is below this one, so that it needs no service.
func (m *model) isParent(r *owned[*config.Router]) bool {
	for _, o := range m.routers {
		for _, p := range o.cfg.ParentRefs {
			if p == r.name || p+"@"+o.provider == r.name {
				return true
			}
		}
	}
	return false
}

func (m *model) rule(c *Checker, r *owned[*config.Router], object string) {
	text := r.cfg.Rule
	if text == "" {
		if r.provider == "file" {
			m.report(c, r.at, r.key, object, config.CodeInvalidRule, "the router has no rule", "for example rule: Host(`example.com`)", config.Error)
		}
		return
	}
	syntax := r.cfg.RuleSyntax
	if syntax == "" && m.static != nil && m.static.Core != nil {
		syntax = m.static.Core.DefaultRuleSyntax
	}
	syn, ok := rule.ParseSyntax(syntax)
	if !ok && syntax != "" {
		m.report(c, r.at, r.key+".ruleSyntax", object, config.CodeInvalidValue, fmt.Sprintf("unknown rule syntax %q", syntax), "write v3 or v2", config.Error)
	}
	compiled, err := rule.Compile(text, syn)
	if err != nil {
		m.badRule(c, err, r.at, r.key, object)
		return
	}
	for _, n := range compiled.Notes() {
		m.report(c, r.at, r.key+".rule", object, config.CodeInvalidRule, n.Text, n.Suggestion, config.Warning)
	}
	m.rules[r.name] = compiled
}

func (m *model) badRule(c *Checker, err error, at func(string) string, key, object string) {
	hint := ""
	if e := (*rule.Error)(nil); errors.As(err, &e) {
		hint = e.Suggestion
		err = fmt.Errorf("column %d: %s", e.Col, e.Text)
	}
	m.report(c, at, key+".rule", object, config.CodeInvalidRule, err.Error(), hint, config.Error)
}

func (m *model) tcpRouter(c *Checker, r *owned[*config.TCPRouter]) {
	object := "tcp router " + r.name
	m.entryPoints(c, r.cfg.EntryPoints, r.at, r.key, object)
	for _, mw := range r.cfg.Middlewares {
		named(m, c, m.tcpMiddle, mw, r.provider, r.at, r.key+".middlewares", object, config.CodeUnknownMiddleware)
	}
	if r.cfg.Service != "" {
		named(m, c, m.tcpServices, r.cfg.Service, r.provider, r.at, r.key+".service", object, config.CodeUnknownService)
	}
	if t := r.cfg.TLS; t != nil {
		m.tls(c, t.CertResolver, t.Options, r.provider, r.at, r.key, object)
	}
	if r.cfg.Rule != "" {
		syn, _ := rule.ParseSyntax(r.cfg.RuleSyntax)
		if _, err := rule.CompileTCP(r.cfg.Rule, syn); err != nil {
			m.badRule(c, err, r.at, r.key, object)
		}
	}
}

func (m *model) entryPoints(c *Checker, names []string, at func(string) string, key, object string) {
	if m.static == nil {
		return
	}
	known := sortedKeys(m.static.EntryPoints)
	for _, n := range names {
		if m.static.EntryPoints[n] != nil {
			continue
		}
		hint := "declared: " + strings.Join(known, ", ")
		if near := decode.Nearest(n, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		m.report(c, at, key+".entryPoints", object, config.CodeUnknownEntryPoint, fmt.Sprintf("there is no entry point %q", n), hint, config.Error)
	}
}

func (m *model) tls(c *Checker, resolver, options, provider string, at func(string) string, key, object string) {
	if resolver != "" && m.static != nil && m.static.CertificatesResolvers[resolver] == nil {
		known := sortedKeys(m.static.CertificatesResolvers)
		hint := "declare it: --certificatesResolvers." + resolver + ".acme.email"
		if near := decode.Nearest(resolver, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		m.report(c, at, key+".tls.certResolver", object, config.CodeUnknownResolver, fmt.Sprintf("there is no certificate resolver %q", resolver), hint, config.Error)
	}
	if options != "" && options != "default" {
		named(m, c, m.tlsOptions, options, provider, at, key+".tls.options", object, config.CodeUnknownTLSOptions)
	}
}

func (m *model) middleware(c *Checker, w *owned[*config.Middleware]) {
	object := "middleware " + w.name
	if w.cfg == nil {
		return
	}
	if ch := w.cfg.Chain; ch != nil {
		for _, n := range ch.Middlewares {
			named(m, c, m.middlewares, n, w.provider, w.at, w.key+".chain.middlewares", object, config.CodeUnknownMiddleware)
			if n == strings.Split(w.name, "@")[0] || n == w.name {
				m.report(c, w.at, w.key+".chain.middlewares", object, config.CodeLoop, "the chain contains itself", "", config.Error)
			}
		}
	}
	if e := w.cfg.Errors; e != nil && e.Service != "" {
		named(m, c, m.services, e.Service, w.provider, w.at, w.key+".errors.service", object, config.CodeUnknownService)
	}
	for _, n := range sortedKeys(w.cfg.Plugin) {
		m.report(c, w.at, w.key+".plugin."+n, object, config.CodeUnsupported, "plugins are not supported; routers that use this one are closed",
			config.PluginRemedy(n), config.Error)
	}
	kinds := setKinds(w.cfg)
	if c.world.Middleware != nil && len(kinds) == 1 && w.cfg.Chain == nil && w.cfg.Plugin == nil && !m.guessed[w.name] {
		for _, p := range c.world.Middleware(w.cfg) {
			key := w.key + "." + kinds[0]
			if p.Field != "" && p.Field != kinds[0] {
				key += "." + p.Field
			}
			m.report(c, w.at, key, object, p.Code, p.Text, p.Suggestion, p.Severity)
		}
	}
	if len(kinds) != 1 && !(len(kinds) == 0 && m.guessed[w.name]) {
		text := "has no kind: nothing would be done"
		if len(kinds) > 1 {
			text = "has several kinds: " + strings.Join(kinds, ", ")
		}
		m.report(c, w.at, w.key, object, config.CodeInvalidMiddleware, text, "give each kind a name of its own", config.Error)
	}
}

func (m *model) service(c *Checker, s *owned[*config.Service]) {
	object := "service " + s.name
	if s.cfg == nil {
		return
	}
	ref := func(key, name string) {
		named(m, c, m.services, name, s.provider, s.at, s.key+key, object, config.CodeUnknownService)
	}
	if w := s.cfg.Weighted; w != nil {
		for i, child := range w.Services {
			ref(fmt.Sprintf(".weighted.services.[%d].name", i), child.Name)
		}
	}
	if f := s.cfg.Failover; f != nil {
		ref(".failover.service", f.Service)
		ref(".failover.fallback", f.Fallback)
	}
	if mi := s.cfg.Mirroring; mi != nil {
		ref(".mirroring.service", mi.Service)
		for i, child := range mi.Mirrors {
			ref(fmt.Sprintf(".mirroring.mirrors.[%d].name", i), child.Name)
		}
	}
	if lb := s.cfg.LoadBalancer; lb != nil {
		if lb.ServersTransport != "" {
			named(m, c, m.transports, lb.ServersTransport, s.provider, s.at, s.key+".loadBalancer.serversTransport", object, config.CodeUnknownTransport)
		}
		if s.provider == "file" {
			m.servers(c, s, lb, object)
		}
	}
}

func (m *model) servers(c *Checker, s *owned[*config.Service], lb *config.LoadBalancer, object string) {
	if len(lb.Servers) == 0 {
		m.report(c, s.at, s.key+".loadBalancer", object, config.CodeInvalidService, "has no servers", "", config.Warning)
	}
	for i, srv := range lb.Servers {
		key := fmt.Sprintf("%s.loadBalancer.servers.[%d].url", s.key, i)
		scheme, rest, ok := strings.Cut(srv.URL, "://")
		switch {
		case !ok || rest == "" || strings.HasPrefix(rest, "/"):
			m.report(c, s.at, key, object, config.CodeInvalidService, fmt.Sprintf("%q is no address of a server", srv.URL), "write http://host:port", config.Error)
		case scheme != "http" && scheme != "https" && scheme != "h2c":
			m.report(c, s.at, key, object, config.CodeInvalidService, fmt.Sprintf("unknown scheme %q", scheme), "write http, https or h2c", config.Error)
		}
	}
}

func (m *model) entryPointMiddlewares(c *Checker) {
	if m.static == nil {
		return
	}
	for _, name := range sortedKeys(m.static.EntryPoints) {
		key := "entryPoints." + name + ".http.middlewares"
		for _, mw := range m.static.EntryPoints[name].HTTP.Middlewares {
			if !strings.Contains(mw, "@") {
				m.report(c, m.staticAt, key, "entry point "+name, config.CodeUnknownMiddleware, fmt.Sprintf("%q needs its provider", mw), "write "+mw+"@file", config.Error)
				continue
			}
			if text, hint, bad := missing(m, m.middlewares, mw, ""); bad {
				m.report(c, m.staticAt, key, "entry point "+name, config.CodeUnknownMiddleware, text, hint, config.Error)
			}
		}
	}
}
