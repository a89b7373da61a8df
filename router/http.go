package router

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/router/rule"
)

// maxUserPriority is the highest priority users may give; those above are the program's own.
const maxUserPriority = math.MaxInt - 1000

// routers compiles every HTTP router: first all rules, then what stands behind them.
func (c *compiler) routers() {
	var international []*routerDraft
	for _, d := range c.sorted {
		c.compileRule(d)
		if d.rule != nil && slices.ContainsFunc(d.rule.Hosts(), rule.Host.International) {
			international = append(international, d)
		}
	}
	if len(international) > 0 {
		c.table.memo.international = true
		c.checkInternational(international)
	}
	c.family()
	for _, d := range c.sorted {
		c.router(d)
	}
}

func (c *compiler) compileRule(d *routerDraft) {
	r := d.info.Router
	if r.Priority == 0 {
		r.Priority = rule.Priority(r.Rule)
	}
	syn, known := rule.ParseSyntax(r.RuleSyntax)
	if !known {
		c.problem("router "+d.name, "ruleSyntax", config.CodeInvalidValue, config.Warning,
			fmt.Sprintf("there is no rule syntax %q; v3 is used", r.RuleSyntax), "leave ruleSyntax out")
	}
	compiled, err := c.rule(r.Rule, ruleKind{syntax: syn})
	if err != nil {
		hint := ""
		var re *rule.Error
		if errors.As(err, &re) {
			hint = re.Suggestion
			err = fmt.Errorf("rule %s: column %d: %s", r.Rule, re.Col, re.Text)
		}
		c.fail(d, "rule", config.CodeInvalidRule, err, hint)
		return
	}
	d.rule = compiled
	for _, n := range compiled.Notes() {
		c.problem("router "+d.name, "rule", config.CodeInvalidRule, config.Warning,
			fmt.Sprintf("rule %s: column %d: %s", r.Rule, n.Col, n.Text), n.Suggestion)
	}
}

// checkInternational refuses a host in Unicode that another router claims in ASCII. The
// reference takes such rules never; here they work unless somebody, for the reference's
// sake, wrote the ASCII form beside.
func (c *compiler) checkInternational(drafts []*routerDraft) {
	ascii := map[string]string{} // host name -> the first router whose rule has it so
	for _, d := range c.sorted {
		if d.rule == nil {
			continue
		}
		for _, h := range d.rule.Hosts() {
			if !h.International() && ascii[h.Name] == "" {
				ascii[h.Name] = d.name
			}
		}
	}
	for _, d := range drafts {
		for _, h := range d.rule.Hosts() {
			if other := ascii[h.Name]; h.International() && other != "" && other != d.name {
				c.fail(d, "rule", config.CodeDuplicateHost,
					fmt.Errorf("the host %s is %s, which router %s serves", h.Written, h.Name, other), "remove one of the two routers")
			}
		}
	}
}

// fail disables a router and says why.
func (c *compiler) fail(d *routerDraft, field, code string, err error, suggestion string) {
	if !slices.Contains(d.info.Errors, err.Error()) {
		d.info.Errors = append(d.info.Errors, err.Error())
	}
	d.info.Status = config.StatusDisabled
	c.problem("router "+d.name, field, code, config.Error, err.Error(), suggestion)
}

// warn marks a router that works, but not as written.
func (c *compiler) warn(d *routerDraft, field, code, text, suggestion string) {
	if !slices.Contains(d.info.Errors, text) {
		d.info.Errors = append(d.info.Errors, text)
	}
	if d.info.Status == config.StatusEnabled {
		d.info.Status = config.StatusWarning
	}
	c.problem("router "+d.name, field, code, config.Warning, text, suggestion)
}

// router checks a router and builds its route.
func (c *compiler) router(d *routerDraft) {
	if d.visited {
		return
	}
	d.visited = true
	r := d.info.Router
	if len(r.ParentRefs) == 0 {
		c.listen(d)
	}
	if r.Priority > maxUserPriority && !strings.HasSuffix(d.name, internalSuffix) {
		c.fail(d, "priority", config.CodeInvalidValue,
			fmt.Errorf("the priority %d is above %d, the highest that may be given", r.Priority, maxUserPriority), "")
		return
	}
	if r.Broken != "" {
		d.broken, d.closed = true, true
		c.fail(d, "", config.CodeInvalidValue, errors.New(r.Broken), "until it is corrected the router answers 503, rather than unprotected")
		return
	}
	if !c.belongs(d) {
		return
	}
	if r.TLS != nil && !c.checkOptions(d) {
		d.broken = true
		return
	}
	svc, err := c.behind(d)
	if err != nil {
		code, hint := codeOf(err, config.CodeInvalidService)
		c.fail(d, "service", code, err, hint)
		if svc == nil {
			return
		}
		d.broken = errors.Is(err, errUnguarded)
		d.closed = d.broken
		var inner *chainError
		if errors.As(err, &inner) { // before a service that this one is made of
			c.unguarded(d, inner)
		}
	}
	names := r.Middlewares
	if len(svc.middlewares) > 0 {
		names = slices.Concat(names, svc.middlewares)
	}
	items, merr := c.chains.build(d.name, names)
	d.more = c.beyond(d)
	if merr != nil {
		if err == nil || merr.guard {
			c.unguarded(d, merr)
		}
		c.fail(d, "middlewares", merr.code, merr, merr.hint)
	}
	if d.info.Status == config.StatusDisabled {
		return
	}
	d.route = c.newRoute(d)
	d.route.Ops, d.route.Tail, d.route.To = c.compose(items, svc.child)
	if trace := c.in.Parts.Trace; trace != nil && d.route.To != nil {
		d.route.To = trace(d.route.To)
	}
}

// unguarded keeps the requests of a router whose middleware cannot be built from others.
func (c *compiler) unguarded(d *routerDraft, e *chainError) {
	d.closed = d.closed || e.unread || e.guard && !c.likeReference(d.name)
	d.broken = d.broken || d.closed || e.protects
}

// likeReference reports whether a router whose guard cannot be built leaves its requests
// with the reference's 404 where no other router would take them. Files written for the
// reference may count on that; who writes labels is told by a 503 that the router is there.
func (c *compiler) likeReference(name string) bool {
	return c.in.Compat404 || slices.Contains([]string{"file", "http", "rest"}, providerOf(name))
}

// behind gives what a router's middlewares stand before: its service, or its children. It
// is nil where there is nothing.
func (c *compiler) behind(d *routerDraft) (*service, error) {
	if len(c.children[d.source]) > 0 {
		return c.fork(d)
	}
	if d.info.Service == "" {
		return nil, coded(config.CodeUnknownService, "set service", "the router names no service")
	}
	d.reached = true
	c.touched = c.touched[:0]
	return c.services.get(d.service, nil)
}

func (c *compiler) newRoute(d *routerDraft) *exchange.Route {
	r, route := d.info.Router, c.slabs.routes.make()
	route.Router, route.Service, route.Rule, route.Priority = d.name, d.service, r.Rule, r.Priority
	route.Internal = strings.HasSuffix(d.service, internalSuffix)
	observe(route, r.Observability)
	return route
}

// observe notes what is not told of a route's requests.
func observe(route *exchange.Route, o *config.RouterObservability) {
	route.NoAccessLog, route.NoMetrics, route.NoTracing = !*o.AccessLogs, !*o.Metrics, !*o.Tracing
	route.DetailedTrace = o.TraceVerbosity == "detailed"
}

// listen finds the entry points of a router. Most routers have the default ones or just
// one, so those answers are shared.
func (c *compiler) listen(d *routerDraft) {
	eps, key := d.info.EntryPoints, ""
	switch {
	case len(eps) == 1:
		key = eps[0]
	case len(eps) > 0 && len(eps) == len(c.in.DefaultEntryPoints) && &eps[0] == &c.in.DefaultEntryPoints[0]:
		key = "\x00default"
	}
	if u, ok := c.using[key]; ok && key != "" {
		d.info.Using = u
		return
	}
	var using []string
	for _, ep := range eps {
		if e := c.in.EntryPoints[ep]; e == nil || isUDP(e) {
			text := fmt.Sprintf("entryPoint %q doesn't exist", ep)
			if e != nil {
				text = fmt.Sprintf("entryPoint %q is for UDP", ep)
			}
			c.warn(d, "entryPoints", config.CodeUnknownEntryPoint, text, suggest(ep, c.in.EntryPoints))
			continue
		}
		if !slices.Contains(using, ep) {
			using = append(using, ep)
		}
	}
	slices.Sort(using)
	if len(using) == 0 {
		c.fail(d, "entryPoints", config.CodeUnknownEntryPoint, errors.New("no valid entryPoint for this router"), "")
	}
	d.info.Using = using
	if key != "" && d.info.Status == config.StatusEnabled {
		c.using[key] = using
	}
}

func isUDP(e *config.EntryPoint) bool { return strings.HasSuffix(strings.ToLower(e.Address), "/udp") }

// relate notes which routers use which services and middlewares.
func (c *compiler) relate() {
	for _, d := range c.sorted {
		name, r := d.name, d.info.Router
		if s := c.run.Services[d.service]; s != nil {
			s.UsedBy = append(s.UsedBy, name)
		}
		for _, m := range r.Middlewares {
			if info := c.run.Middlewares[m]; info != nil {
				info.UsedBy = appendOnce(info.UsedBy, name)
			}
		}
	}
}

// appendOnce adds a name to a list that grows in the order of names.
func appendOnce(list []string, name string) []string {
	if n := len(list); n > 0 && list[n-1] == name {
		return list
	}
	return append(list, name)
}

// entryPoints puts the routes behind the indexes of their entry points.
func (c *compiler) entryPoints() {
	mounted := make([]*routerDraft, 0, len(c.sorted))
	for _, d := range c.sorted {
		if d.rule != nil && len(d.info.Using) > 0 && (d.route != nil || d.broken) {
			mounted = append(mounted, d)
		} else if len(d.info.ParentRefs) == 0 || d.route == nil {
			c.table.dead = append(c.table.dead, deadRouter{d.name, d.rule, d.info})
		}
	}
	slices.SortFunc(mounted, func(a, b *routerDraft) int { return c.compare(a.info.Priority, b.info.Priority, a.name, b.name) })
	c.duplicates(mounted)
	type place struct {
		entryPoint string
		tls        bool
	}
	lists := map[place][]*routerDraft{}
	for _, d := range mounted {
		for _, ep := range d.info.Using {
			p := place{ep, d.info.TLS != nil}
			lists[p] = append(lists[p], d)
		}
	}
	pool := &rule.Pool{}
	var sets setCache
	for name, e := range c.in.EntryPoints {
		if isUDP(e) {
			continue
		}
		c.table.entryPoints[name] = &entryPoint{
			name: name, table: c.table, pool: pool,
			clear:   sets.get(lists[place{name, false}]),
			tls:     sets.get(lists[place{name, true}]),
			options: c.optionsAt(name),
		}
	}
	c.others()
}

// others tells every entry point of the rest.
func (c *compiler) others() {
	for _, name := range slices.Sorted(maps.Keys(c.table.entryPoints)) {
		for _, other := range slices.Sorted(maps.Keys(c.table.entryPoints)) {
			if name != other {
				ep := c.table.entryPoints[name]
				ep.others = append(ep.others, c.table.entryPoints[other])
			}
		}
	}
}

// before orders routes as they are tried: by priority, then by their provider's place in
// the precedence, then by name, so that the order never depends on chance.
func (c *compiler) before(a, b *exchange.Route) int {
	return c.compare(a.Priority, b.Priority, a.Router, b.Router)
}

func (c *compiler) compare(p, q int, a, b string) int {
	if p != q {
		return cmp.Compare(q, p)
	}
	return cmp.Or(c.rank(a)-c.rank(b), strings.Compare(a, b))
}

// builtInPrecedence is the reference's order of the providers that there are, where none is configured.
var builtInPrecedence = []string{"swarm", "docker", "file", "http", "rest"}

func (c *compiler) rank(name string) int {
	list := c.in.Precedence
	if len(list) == 0 {
		list = builtInPrecedence
	}
	provider := providerOf(name)
	if i := slices.IndexFunc(list, func(p string) bool { return strings.EqualFold(p, provider) }); i >= 0 {
		return i
	}
	return len(list)
}

// duplicates says which routers can never be reached because another has the same rule.
func (c *compiler) duplicates(sorted []*routerDraft) {
	var same [2]map[string][]*routerDraft // clear, TLS
	for i := range same {
		same[i] = make(map[string][]*routerDraft, len(sorted))
	}
	lists := make([]*routerDraft, len(sorted)) // one place for all the lists of one
	for i, d := range sorted {
		m := same[0]
		if d.info.TLS != nil {
			m = same[1]
		}
		key := d.rule.Normal()
		for _, o := range m[key] {
			if both := common(d.info.Using, o.info.Using); len(both) > 0 {
				c.table.memo.twins[o.name] = true
				c.problem("router "+d.name, "rule", config.CodeDuplicateHost, config.Warning,
					fmt.Sprintf("the router %s has the same rule on %s and comes first", o.name, strings.Join(both, ", ")),
					"change the rule, or remove one of the two")
				break
			}
		}
		if list := m[key]; list != nil {
			m[key] = append(list, d)
		} else {
			lists[i] = d
			m[key] = lists[i : i+1 : i+1]
		}
	}
}

// common returns what is in both lists.
func common(a, b []string) []string {
	var out []string
	for _, s := range a {
		if slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}
