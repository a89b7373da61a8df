package router

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/router/rule"
)

// takeOver fills the compiler with what stays of the table before, and with the routers
// that are compiled anew.
func (c *compiler) takeOver() {
	p, h := c.patch, cmp.Or(c.in.Config.HTTP, &config.HTTP{})
	was, m := p.was.Runtime, &p.was.memo
	c.run.Routers, c.run.Services, c.run.Middlewares = was.Routers, was.Services, was.Middlewares
	c.services.built = maps.Clone(m.services)
	if len(p.dirty) > 0 {
		c.run.Middlewares = maps.Clone(was.Middlewares)
	}
	c.run.Services = maps.Clone(was.Services)
	c.table.memo.volatile = maps.Clone(m.volatile)
	c.table.memo.twins, c.table.memo.contested = m.twins, m.contested
	c.table.rules, c.table.hostOptions, c.table.dead = p.was.rules, p.was.hostOptions, p.was.dead
	c.table.asking = p.was.asking
	for r := range p.dirty {
		if r.kind == ofMiddleware {
			c.renewMiddleware(r.name, h.Middlewares[r.name])
		} else {
			c.renewService(r.name, h.Services[r.name])
		}
	}
	c.findModels()
	c.run.Routers = maps.Clone(was.Routers)
	for _, d := range p.gone {
		delete(c.run.Routers, d.name)
	}
	for name := range p.sources {
		if r := h.Routers[name]; r != nil {
			c.attach(name, r)
		}
	}
	c.sortRouters()
	for _, d := range c.sorted {
		p.routers[d.name] = true
	}
}

// renewService puts a changed service in the place of the old one, unbuilt.
func (c *compiler) renewService(name string, s *config.Service) {
	delete(c.services.built, name)
	c.table.draft.Drop(name)
	old := c.run.Services[name]
	if s == nil {
		delete(c.run.Services, name)
		return
	}
	info := &config.ServiceInfo{Service: s, Status: config.StatusEnabled}
	if old != nil {
		info.UsedBy = old.UsedBy
	}
	c.run.Services[name] = info
	c.patch.own[info] = true
}

func (c *compiler) renewMiddleware(name string, m *config.Middleware) {
	old := c.run.Middlewares[name]
	if m == nil {
		delete(c.run.Middlewares, name)
		return
	}
	info := &config.MiddlewareInfo{Middleware: m, Status: config.StatusEnabled}
	if old != nil {
		info.UsedBy = old.UsedBy
	}
	c.run.Middlewares[name] = info
}

// serviceInfo returns a service's info, which may be changed.
func (c *compiler) serviceInfo(name string) *config.ServiceInfo {
	info := c.run.Services[name]
	if c.patch == nil || info == nil || c.patch.own[info] {
		return info
	}
	cp := *info
	c.patch.own[&cp] = true
	c.run.Services[name] = &cp
	return &cp
}

// settled reports whether transports, which depend on files, are what they were.
func (c *compiler) settled() bool {
	for name, r := range c.patch.was.memo.transports {
		if t, err := c.services.transport(name); err != nil || t != r.t {
			return false
		}
	}
	return true
}

// merge returns all routers, by name: those that stay, and the fresh ones.
func (p *patcher) merge(fresh []*routerDraft) []*routerDraft {
	out := make([]*routerDraft, 0, len(p.was.memo.drafts)+len(fresh))
	for _, d := range p.was.memo.drafts {
		for len(fresh) > 0 && fresh[0].name < d.name {
			out, fresh = append(out, fresh[0]), fresh[1:]
		}
		if !p.sources[d.source] {
			out = append(out, d)
		}
	}
	return append(out, fresh...)
}

// unreached gives up services that only gone routers had need of: what no router reaches
// is not built.
func (c *compiler) unreached(fresh []*routerDraft) {
	lost := map[string]bool{}
	for _, d := range c.patch.gone {
		d.reaches(func(name string) { lost[name] = c.services.built[name] != nil })
	}
	for _, d := range fresh {
		d.reaches(func(name string) { delete(lost, name) })
	}
	maps.DeleteFunc(lost, func(_ string, built bool) bool { return !built })
	if len(lost) == 0 {
		return
	}
	for _, d := range c.sorted {
		d.reaches(func(name string) { delete(lost, name) })
	}
	h := cmp.Or(c.in.Config.HTTP, &config.HTTP{})
	for name := range lost {
		s := h.Services[name]
		if s == nil {
			s = &config.Service{} // one of the program's own
		}
		c.renewService(name, s)
	}
}

// reaches calls f with every service that was built for d.
func (d *routerDraft) reaches(f func(name string)) {
	if !d.reached {
		return
	}
	f(d.service)
	for _, r := range d.more {
		if r.kind == ofService {
			f(r.name)
		}
	}
}

// relateAgain corrects which routers use which services and middlewares.
func (c *compiler) relateAgain(fresh []*routerDraft) {
	own := map[string]bool{} // middlewares
	visit := func(d *routerDraft, change func(list []string, name string) []string) {
		if c.run.Services[d.service] != nil {
			info := c.serviceInfo(d.service)
			info.UsedBy = change(info.UsedBy, d.name)
		}
		for _, m := range d.info.Middlewares {
			info := c.run.Middlewares[m]
			if info == nil {
				continue
			}
			if !own[m] {
				if len(own) == 0 && len(c.patch.dirty) == 0 {
					c.run.Middlewares = maps.Clone(c.run.Middlewares)
				}
				cp := *info
				info, own[m] = &cp, true
				c.run.Middlewares[m] = info
			}
			info.UsedBy = change(info.UsedBy, d.name)
		}
	}
	for _, d := range c.patch.gone {
		visit(d, func(list []string, name string) []string {
			if i, ok := slices.BinarySearch(list, name); ok {
				list = slices.Delete(slices.Clone(list), i, i+1)
			}
			if len(list) == 0 {
				return nil
			}
			return list
		})
	}
	for _, d := range fresh {
		visit(d, func(list []string, name string) []string {
			if i, ok := slices.BinarySearch(list, name); !ok {
				list = slices.Insert(slices.Clone(list), i, name)
			}
			return list
		})
	}
}

// certificatesAgain collects the certificates of all routers, where there are any.
func (c *compiler) certificatesAgain() {
	was, t := c.patch.was, c.table
	if len(was.certs)+len(t.certs)+len(was.onDemand)+len(t.onDemand) == 0 {
		return
	}
	t.certs, t.onDemand = nil, nil
	c.seen = map[string]bool{}
	c.patch.muted = true
	c.certificates()
	c.patch.muted = false
}

// mountAgain puts the fresh routes in the places of the gone ones. It reports whether none
// has the rule of another.
func (c *compiler) mountAgain(fresh []*routerDraft) bool {
	gone := make(map[*exchange.Route]bool, len(c.patch.gone))
	for _, d := range c.patch.gone {
		gone[d.route] = true
	}
	fresh = slices.Clone(fresh)
	slices.SortFunc(fresh, func(a, b *routerDraft) int { return c.before(a.route, b.route) })
	type part struct {
		set    *set
		drafts string
	}
	done := map[part]*set{}
	pool := &rule.Pool{}
	for name, ep := range c.patch.was.entryPoints {
		next := &entryPoint{name: name, table: c.table, pool: pool, options: c.optionsAt(name)}
		for i, s := range []*set{ep.clear, ep.tls} {
			var added []*routerDraft
			key := ""
			for _, d := range fresh {
				if (d.info.TLS != nil) == (i == 1) && slices.Contains(d.info.Using, name) {
					added, key = append(added, d), key+"\x00"+d.name
				}
			}
			at := part{s, key}
			if done[at] == nil {
				if done[at] = s.edit(gone, added, c.before); done[at] == nil {
					return false
				}
			}
			if i == 0 {
				next.clear = done[at]
			} else {
				next.tls = done[at]
			}
		}
		c.table.entryPoints[name] = next
	}
	c.others()
	return true
}
