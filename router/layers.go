package router

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/balance"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/router/rule"
)

// Routers may stand below others (parentRefs): behind the middlewares of a parent, its
// children are tried with the request as those left it. Only the outermost has entry points
// and TLS, only the innermost have services.

// family finds the children of every router, by the configured name of the parent.
func (c *compiler) family() {
	for _, d := range c.sorted {
		if len(d.info.ParentRefs) == 0 {
			continue
		}
		c.table.memo.layered = true
		if c.children == nil {
			c.children = map[string][]*routerDraft{}
		}
		for _, p := range d.info.ParentRefs {
			if p = qualify(p, d.name); c.parent(p) == "" {
				c.children[p] = append(c.children[p], d)
			}
		}
	}
}

// parent says why a router cannot be one, or "". A router with a service stays what it is:
// another that names it as a parent does it no harm.
func (c *compiler) parent(name string) string {
	switch cfg := c.in.Config.HTTP.Routers[name]; {
	case cfg == nil:
		return "does not exist"
	case cfg.Service != "":
		return "has a service, so that nothing can be below it"
	}
	return ""
}

// belongs checks what a router says as a child. It reports whether the router can be.
func (c *compiler) belongs(d *routerDraft) bool {
	if len(d.info.ParentRefs) == 0 {
		return true
	}
	if d.info.TLS != nil {
		c.fail(d, "tls", config.CodeConflict, errors.New("a router with parentRefs has the TLS of its parent"), "remove tls")
		return false
	}
	if own := c.in.Config.HTTP.Routers[d.source]; own != nil && len(own.EntryPoints) > 0 {
		c.fail(d, "entryPoints", config.CodeConflict, errors.New("a router with parentRefs has the entry points of its parent"), "remove entryPoints")
		return false
	}
	found := false
	for _, p := range d.info.ParentRefs {
		p = qualify(p, d.name)
		if why := c.parent(p); why != "" {
			hint := ""
			if c.in.Config.HTTP.Routers[p] == nil {
				hint = suggest(p, c.in.Config.HTTP.Routers)
			}
			c.warn(d, "parentRefs", config.CodeInvalidValue, fmt.Sprintf("the router %q %s", p, why), hint)
			continue
		}
		found = true
	}
	if !found {
		c.fail(d, "parentRefs", config.CodeInvalidValue, errors.New("the router has no parent"), "")
	}
	return found
}

// fork builds what follows the middlewares of a parent.
func (c *compiler) fork(d *routerDraft) (*service, error) {
	if slices.Contains(c.ancestors, d.source) {
		return &service{}, coded(config.CodeLoop, "", "the router %s is below itself: %s", d.name, strings.Join(append(c.ancestors, d.source), " > "))
	}
	c.ancestors = append(c.ancestors, d.source)
	defer func() { c.ancestors = c.ancestors[:len(c.ancestors)-1] }()
	f := &fork{run: map[*exchange.Route]http.Handler{}, ep: &entryPoint{name: d.name, table: c.table, tls: emptySet, pool: &rule.Pool{}}}
	var kids []*routerDraft
	for _, k := range c.children[d.source] {
		if slices.Contains(c.ancestors, k.source) {
			return &service{}, coded(config.CodeLoop, "", "the router %s is below itself: %s", k.name, strings.Join(append(c.ancestors, k.source), " > "))
		}
		c.router(k)
		if k.rule == nil || k.route == nil && !k.broken {
			continue
		}
		kids = append(kids, k)
		if r := k.route; r != nil {
			h := r.Tail
			if h == nil {
				h = c.in.Parts.Forward(r.To)
			}
			if len(r.Ops) > 0 {
				h = c.in.Parts.OpHandler(r.Ops, h)
			}
			f.run[r] = h
		}
	}
	slices.SortFunc(kids, func(a, b *routerDraft) int { return c.compare(a.info.Priority, b.info.Priority, a.name, b.name) })
	f.ep.clear = newSet(kids)
	return &service{child: balance.Child{Name: d.name, Handler: c.in.Parts.OpHandler([]exchange.Op{f}, f)}}, nil
}

// fork chooses among the children of a router. It is an op, which answers where there is
// none, and the handler behind it.
type fork struct {
	ep  *entryPoint
	run map[*exchange.Route]http.Handler
}

func (f *fork) match(ex *exchange.Exchange) (*exchange.Route, exchange.Reason) {
	var s rule.Subject
	s.HTTP(&ex.Req, f.ep.pool)
	defer s.Done()
	return f.ep.match(&s, false, ex)
}

// Request implements exchange.Op.
func (f *fork) Request(ex *exchange.Exchange) exchange.Verdict {
	route, why := f.match(ex)
	switch {
	case route == nil:
		return ex.NotFound(why)
	case route.Broken != exchange.NoReason:
		return ex.Reply(http.StatusServiceUnavailable, route.Broken, "")
	}
	return exchange.Next
}

// ServeHTTP implements http.Handler.
func (f *fork) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ex := exchange.FromContext(r.Context())
	if ex == nil {
		http.NotFound(w, r)
		return
	}
	route, _ := f.match(ex)
	if h := f.run[route]; h != nil {
		h.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}
