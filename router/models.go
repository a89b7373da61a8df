package router

import (
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// noop is the service behind routers whose middlewares always answer.
const noop = "noop" + internalSuffix

// prepare fills the Runtime with every object, and applies to routers what entry points
// and the static configuration say about them.
func (c *compiler) prepare() {
	h := c.in.Config.HTTP
	if h == nil {
		h = &config.HTTP{}
	}
	c.run.Services = make(map[string]*config.ServiceInfo, len(h.Services)+len(c.in.Internal)+1)
	var infos slab[config.ServiceInfo]
	for name, s := range h.Services {
		info := infos.make()
		info.Service, info.Status = s, config.StatusEnabled
		c.run.Services[name] = info
	}
	for name := range c.in.Internal {
		c.internalService(name)
	}
	c.internalService(noop)
	c.run.Middlewares = make(map[string]*config.MiddlewareInfo, len(h.Middlewares))
	for name, m := range h.Middlewares {
		c.run.Middlewares[name] = &config.MiddlewareInfo{Middleware: m, Status: config.StatusEnabled}
	}
	c.findModels()
	c.run.Routers = make(map[string]*config.RouterInfo, len(h.Routers))
	for name, r := range h.Routers {
		c.attach(name, r)
	}
	for _, name := range slices.Sorted(maps.Keys(c.in.EntryPoints)) {
		c.redirection(name, c.in.EntryPoints[name])
	}
	c.sortRouters()
}

func (c *compiler) sortRouters() {
	slices.SortFunc(c.sorted, func(a, b *routerDraft) int { return strings.Compare(a.name, b.name) })
}

func (c *compiler) internalService(name string) {
	if c.run.Services[name] == nil {
		c.run.Services[name] = &config.ServiceInfo{Service: &config.Service{}, Status: config.StatusEnabled}
	}
}

// attach adds a router, once for all entry points without settings of their own and once
// for each of the others. Names and order are the reference's: where a router has several
// entry points, one with settings makes the router ENTRYPOINT-NAME.
func (c *compiler) attach(name string, r *config.Router) {
	if len(r.ParentRefs) > 0 {
		c.addRouter(name, name, r, nil, nil)
		return
	}
	eps := r.EntryPoints
	if len(eps) == 0 {
		eps = c.in.DefaultEntryPoints
	}
	if len(c.models) == 0 {
		c.addRouter(name, name, r, eps, nil)
		return
	}
	var plain []string
	for _, ep := range eps {
		m := c.models[ep]
		if m == nil {
			plain = append(plain, ep)
			continue
		}
		as := name
		if len(eps) > 1 {
			as = ep + "-" + name
		}
		c.addRouter(as, name, r, []string{ep}, m)
	}
	if len(plain) > 0 || len(eps) == 0 {
		c.addRouter(name, name, r, plain, nil)
	}
}

// findModels finds the entry points with settings that their routers inherit.
func (c *compiler) findModels() {
	off := func(b *bool) bool { return b != nil && !*b }
	for name, ep := range c.in.EntryPoints {
		o := ep.Observability
		if len(ep.HTTP.Middlewares) > 0 || ep.HTTP.TLS != nil || c.in.DefaultRuleSyntax != "" ||
			o != nil && (off(o.AccessLogs) || off(o.Metrics) || off(o.Tracing) || o.TraceVerbosity != "" && o.TraceVerbosity != "minimal") {
			c.models[name] = ep
		}
	}
}

// addRouter adds a copy of a router on these entry points, with the settings of model
// unless that is nil.
func (c *compiler) addRouter(name, source string, cfg *config.Router, eps []string, model *config.EntryPoint) {
	r := c.slabs.routers.make()
	*r = *cfg
	r.EntryPoints = eps
	var o *config.EntryPointObservability
	if model != nil {
		r.Middlewares = slices.Concat(model.HTTP.Middlewares, r.Middlewares)
		if t := model.HTTP.TLS; r.TLS == nil && t != nil {
			r.TLS = &config.RouterTLS{Options: t.Options, CertResolver: t.CertResolver, Domains: t.Domains}
		}
		o = model.Observability
	}
	if r.RuleSyntax == "" {
		r.RuleSyntax = c.in.DefaultRuleSyntax
	}
	if r.Observability == nil && o == nil {
		r.Observability = c.allOn
	} else {
		r.Observability = observability(r.Observability, o)
	}
	if len(r.Middlewares) > 0 {
		r.Middlewares = slices.Clone(r.Middlewares)
		for i, m := range r.Middlewares {
			r.Middlewares[i] = qualify(m, name)
		}
	}
	d := c.slabs.drafts.make()
	d.name, d.source, d.service, d.info = name, source, qualify(r.Service, name), c.slabs.infos.make()
	d.info.Router, d.info.Status = r, config.StatusEnabled
	if c.patch.has(name) || c.patch != nil && len(r.ParentRefs) > 0 {
		c.patch.stopped = true
		return
	}
	if old := c.http[name]; old != nil {
		c.problem("router "+name, "", config.CodeConflict, config.Error,
			"two routers come by this name, one of them by its entry point's settings", "rename one")
		if old.source <= source { // whichever came first out of the map
			return
		}
		*old = *d
		d = old
	} else {
		c.http[name], c.sorted = d, append(c.sorted, d)
	}
	c.run.Routers[name] = d.info
}

// observability fills what a router leaves open from its entry point, then with all on.
func observability(r *config.RouterObservability, ep *config.EntryPointObservability) *config.RouterObservability {
	on := true
	if ep == nil {
		ep = &config.EntryPointObservability{}
	}
	var out config.RouterObservability
	if r != nil {
		out = *r
	}
	first := func(list ...*bool) *bool {
		i := slices.IndexFunc(list, func(b *bool) bool { return b != nil })
		return list[i]
	}
	out.AccessLogs = first(out.AccessLogs, ep.AccessLogs, &on)
	out.Metrics = first(out.Metrics, ep.Metrics, &on)
	out.Tracing = first(out.Tracing, ep.Tracing, &on)
	if out.TraceVerbosity == "" {
		out.TraceVerbosity = ep.TraceVerbosity
	}
	if out.TraceVerbosity == "" {
		out.TraceVerbosity = "minimal"
	}
	return &out
}

// redirection adds the hidden router of an entry point that redirects everything. Its
// name, rule and middleware are the reference's, whose API shows them.
func (c *compiler) redirection(name string, ep *config.EntryPoint) {
	if ep.HTTP.Redirections == nil || ep.HTTP.Redirections.EntryPoint == nil {
		return
	}
	to := ep.HTTP.Redirections.EntryPoint
	object := "entry point " + name
	if to.To == "" {
		c.problem(object, "http.redirections.entryPoint.to", config.CodeInvalidValue, config.Error,
			"the redirection has no target", "name an entry point or a port such as :443")
		return
	}
	port, isPort := strings.CutPrefix(to.To, ":")
	if !isPort {
		target := c.in.EntryPoints[to.To]
		if target == nil {
			c.problem(object, "http.redirections.entryPoint.to", config.CodeUnknownEntryPoint, config.Error,
				"there is no entry point "+strconv.Quote(to.To), suggest(to.To, c.in.EntryPoints))
			return
		}
		addr, _, _ := strings.Cut(target.Address, "/")
		_, port, _ = net.SplitHostPort(addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > math.MaxUint16 {
		c.problem(object, "http.redirections.entryPoint.to", config.CodeInvalidValue, config.Error,
			strconv.Quote(to.To)+" leads to no port", "name an entry point or a port such as :443")
		return
	}
	scheme := to.Scheme
	if scheme == "" {
		scheme = "https"
	}
	as := normalize(name + "-to-" + to.To)
	mw := "redirect-" + as + internalSuffix
	c.run.Middlewares[mw] = &config.MiddlewareInfo{
		Middleware: &config.Middleware{RedirectScheme: &config.RedirectScheme{Scheme: scheme, Port: port, Permanent: to.Permanent}},
		Status:     config.StatusEnabled,
	}
	c.attach(as+internalSuffix, &config.Router{
		EntryPoints: []string{name}, Middlewares: []string{mw}, Service: noop,
		Rule: "HostRegexp(`^.+$`)", RuleSyntax: "default", Priority: to.Priority,
	})
}
