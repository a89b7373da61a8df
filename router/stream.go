package router

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/stream"
	"github.com/sluice-edge/sluice/router/rule"
)

// TCPTable chooses among the TCP routes of an entry point. It is immutable.
type TCPTable struct {
	clear, tls tcpSet
	// https are the names of the entry point's HTTPS routers, and what else they take.
	https httpsNames
	pool  *rule.Pool
}

// httpsNames are the server names that HTTPS routers of an entry point ask for.
type httpsNames struct {
	names map[string]bool
	// any is set where there is an HTTPS router, anyName where one names no host.
	any, anyName bool
}

func (h *httpsNames) has(host string) bool {
	if h.names[host] {
		return true
	}
	i := strings.IndexByte(host, '.')
	return i >= 0 && h.names["*"+host[i:]]
}

type tcpSet struct {
	ix   *index[*tcpRoute]
	size int
}

// tcpRoute is a compiled TCP router.
type tcpRoute struct {
	*stream.Route
	priority int
	tls      bool
	// catchAll is set for the rule HostSNI(`*`) alone.
	catchAll bool
	// yields is set on a broken route that counts only where another would take its place.
	yields bool
}

func newTCPSet(rules []*rule.Rule, routes []*tcpRoute) tcpSet {
	slots := make([]*slot[*tcpRoute], len(rules))
	for i, r := range rules {
		slots[i] = &slot[*tcpRoute]{rank: int64(i), rule: r, to: routes[i]}
	}
	return tcpSet{newIndex(slots), len(slots)}
}

// TCP returns the TCP routes of an entry point, or nil if it has none.
func (t *Table) TCP(entryPoint string) *TCPTable { return t.tcp[entryPoint] }

// Peek reports whether any route of the entry point, HTTP's included, takes TLS
// connections, so that the first bytes of a connection must be seen.
func (t *TCPTable) Peek() bool { return t.https.any || t.tls.size > 0 }

// Route returns the route of a connection by its client, TLS, server name and protocols,
// or nil for HTTP. The order is the reference's: HTTPS routers that name the host, TCP
// routers, HTTPS routers that name none, the TCP router for any name.
func (t *TCPTable) Route(c *stream.Conn) *stream.Route {
	set := &t.clear
	if c.TLS {
		set = &t.tls
	}
	web := c.TLS && !c.Postgres // HTTP may take it
	if set.size == 0 || web && t.https.has(strings.ToLower(strings.TrimSuffix(c.SNI, "."))) {
		return nil
	}
	r := set.find(c, t.pool)
	if r == nil || web && r.catchAll && t.https.anyName {
		return nil
	}
	return r.Route
}

// find returns the first route that matches.
func (s *tcpSet) find(c *stream.Conn, pool *rule.Pool) *tcpRoute {
	var sub rule.Subject
	sub.TCP(c.SNI, c.ALPN, c.Peer.Addr(), pool)
	defer sub.Done()
	first := s.ix.find(&sub, nil)
	if first == nil {
		return nil
	}
	next := first
	for next != nil && next.to.yields {
		next = s.ix.find(&sub, next)
	}
	if next == nil {
		return nil
	}
	return first.to
}

// UDPRoute is a compiled UDP router: every session of its entry point goes to the service.
type UDPRoute struct {
	Router  string
	Service stream.Service
}

// UDP returns the UDP route of an entry point, or nil.
func (t *Table) UDP(entryPoint string) *UDPRoute { return t.udp[entryPoint] }

// streams compiles the TCP and UDP parts.
func (c *compiler) streams() {
	c.tcp()
	c.udp()
}

type tcpDraft struct {
	name  string
	info  *config.TCPRouterInfo
	rule  *rule.Rule
	route *tcpRoute
}

func (c *compiler) tcp() {
	t := c.in.Config.TCP
	if t == nil {
		t = &config.TCP{}
	}
	c.run.TCPServices = make(map[string]*config.TCPServiceInfo, len(t.Services))
	for name, s := range t.Services {
		c.run.TCPServices[name] = &config.TCPServiceInfo{TCPService: s, Status: config.StatusEnabled}
	}
	c.run.TCPMiddlewares = make(map[string]*config.TCPMiddlewareInfo, len(t.Middlewares))
	for name, m := range t.Middlewares {
		c.run.TCPMiddlewares[name] = &config.TCPMiddlewareInfo{TCPMiddleware: m, Status: config.StatusEnabled}
	}
	c.run.TCPRouters = make(map[string]*config.TCPRouterInfo, len(t.Routers))
	var drafts []*tcpDraft
	for _, name := range slices.Sorted(maps.Keys(t.Routers)) {
		d := c.tcpRouter(name, t.Routers[name], t.ServersTransports)
		if d.route != nil {
			drafts = append(drafts, d)
		}
	}
	slices.SortStableFunc(drafts, func(a, b *tcpDraft) int {
		if a.route.priority != b.route.priority {
			if a.route.priority > b.route.priority {
				return -1
			}
			return 1
		}
		return c.rank(a.name) - c.rank(b.name)
	})
	c.mountTCP(drafts)
}

// mountTCP puts the routes, in order, behind the indexes of their entry points.
func (c *compiler) mountTCP(drafts []*tcpDraft) {
	pool := &rule.Pool{}
	for name, e := range c.in.EntryPoints {
		if isUDP(e) {
			continue
		}
		var rules [2][]*rule.Rule
		var routes [2][]*tcpRoute
		for _, d := range drafts {
			if !slices.Contains(d.info.Using, name) {
				continue
			}
			i := 0
			if d.route.tls {
				i = 1
			}
			rules[i], routes[i] = append(rules[i], d.rule), append(routes[i], d.route)
		}
		if len(rules[0])+len(rules[1]) > 0 {
			c.table.tcp[name] = &TCPTable{
				clear: newTCPSet(rules[0], routes[0]), tls: newTCPSet(rules[1], routes[1]), https: c.httpsNames(name), pool: pool,
			}
		}
	}
}

// httpsNames finds the server names of the TLS routers of an entry point.
func (c *compiler) httpsNames(entryPoint string) httpsNames {
	h := httpsNames{names: map[string]bool{}}
	for _, d := range c.sorted {
		if d.rule == nil || d.info.TLS == nil || !slices.Contains(d.info.Using, entryPoint) {
			continue
		}
		h.any = true
		h.anyName = h.anyName || len(d.rule.Hosts()) == 0
		for _, n := range d.rule.Hosts() {
			h.names[n.Name] = true
		}
	}
	return h
}

func (c *compiler) tcpRouter(name string, cfg *config.TCPRouter, transports map[string]*config.TCPServersTransport) *tcpDraft {
	cp := *cfg
	d := &tcpDraft{name: name, info: &config.TCPRouterInfo{TCPRouter: &cp, Status: config.StatusEnabled}}
	c.run.TCPRouters[name] = d.info
	if len(cp.EntryPoints) == 0 {
		cp.EntryPoints = c.in.DefaultEntryPoints
	}
	if cp.RuleSyntax == "" {
		cp.RuleSyntax = c.in.DefaultRuleSyntax
	}
	if cp.Priority == 0 {
		cp.Priority = rule.PriorityTCP(cp.Rule)
	}
	cp.Middlewares = slices.Clone(cp.Middlewares)
	for i, m := range cp.Middlewares {
		cp.Middlewares[i] = qualify(m, name)
	}
	c.listenTCP(d)
	if s := c.run.TCPServices[qualify(cp.Service, name)]; s != nil {
		s.UsedBy = append(s.UsedBy, name)
	}
	for _, m := range cp.Middlewares {
		if info := c.run.TCPMiddlewares[m]; info != nil {
			info.UsedBy = appendOnce(info.UsedBy, name)
		}
	}
	route := c.tcpRoute(d, transports)
	if route != nil && len(d.info.Using) > 0 {
		d.route = route
		if cp.TLS != nil && !cp.TLS.Passthrough && d.info.Status != config.StatusDisabled {
			c.wantCertificate("tcp router "+name, "tcp router "+name, cp.TLS.CertResolver, cp.TLS.Domains, d.rule)
		}
	}
	return d
}

func (c *compiler) failTCP(d *tcpDraft, field, code string, err error) {
	if code == "" {
		code = config.CodeInvalidService
	}
	code, hint := codeOf(err, code)
	if !slices.Contains(d.info.Errors, err.Error()) {
		d.info.Errors = append(d.info.Errors, err.Error())
	}
	d.info.Status = config.StatusDisabled
	c.problem("tcp router "+d.name, field, code, config.Error, err.Error(), hint)
}

func (c *compiler) listenTCP(d *tcpDraft) {
	for _, ep := range d.info.EntryPoints {
		if e := c.in.EntryPoints[ep]; e == nil || isUDP(e) {
			text := fmt.Sprintf("entryPoint %q doesn't exist", ep)
			d.info.Errors = append(d.info.Errors, text)
			d.info.Status = config.StatusWarning
			c.problem("tcp router "+d.name, "entryPoints", config.CodeUnknownEntryPoint, config.Warning, text, suggest(ep, c.in.EntryPoints))
			continue
		}
		if !slices.Contains(d.info.Using, ep) {
			d.info.Using = append(d.info.Using, ep)
		}
	}
	slices.Sort(d.info.Using)
	if len(d.info.Using) == 0 {
		c.failTCP(d, "entryPoints", config.CodeUnknownEntryPoint, errors.New("no valid entryPoint for this router"))
	}
}

// tcpRoute builds the route of a TCP router, or nil.
func (c *compiler) tcpRoute(d *tcpDraft, transports map[string]*config.TCPServersTransport) *tcpRoute {
	r := d.info.TCPRouter
	if r.Service == "" {
		c.failTCP(d, "service", config.CodeUnknownService, errors.New("the router names no service"))
		return nil
	}
	if r.Priority > maxUserPriority {
		c.failTCP(d, "priority", config.CodeInvalidValue, fmt.Errorf("the priority %d is above %d, the highest that may be given", r.Priority, maxUserPriority))
		return nil
	}
	syn, _ := rule.ParseSyntax(r.RuleSyntax)
	compiled, err := c.rule(r.Rule, ruleKind{syntax: syn, tcp: true})
	if err != nil {
		var re *rule.Error
		hint := ""
		if errors.As(err, &re) {
			hint = re.Suggestion
			err = fmt.Errorf("rule %s: column %d: %s", r.Rule, re.Col, re.Text)
		}
		c.failTCP(d, "rule", "", coded(config.CodeInvalidRule, hint, "%w", err))
		return nil
	}
	d.rule = compiled
	route := &tcpRoute{
		Route:    &stream.Route{Router: d.name, Service: qualify(r.Service, d.name), Log: c.in.Log},
		priority: r.Priority, tls: r.TLS != nil, catchAll: rule.IsCatchAll(r.Rule),
	}
	if r.TLS == nil && len(compiled.Hosts()) > 0 {
		c.failTCP(d, "rule", "", coded(config.CodeInvalidRule, "add tls, or match any name with HostSNI(`*`)",
			"rule %s: a server name is known of TLS connections only, and the router has no tls", r.Rule))
		return nil
	}
	if r.TLS != nil && !r.TLS.Passthrough {
		options, err := c.usableOptions(r.TLS.Options, d.name)
		if err != nil {
			c.failTCP(d, "tls.options", config.CodeUnknownTLSOptions, err)
			route.Broken = true
			return route
		}
		if c.in.Parts.Terminate != nil {
			route.Terminate = c.in.Parts.Terminate(options)
		}
	}
	if route.To, err = c.streamService(route.Service, transports, nil); err != nil {
		c.failTCP(d, "service", config.CodeInvalidService, err)
		return nil
	}
	if r.Broken != "" {
		c.failTCP(d, "", config.CodeInvalidValue, errors.New(r.Broken))
		route.Broken, route.yields = true, true
		return route
	}
	if err := c.tcpGuards(d, route.Route); err != nil {
		c.failTCP(d, "middlewares", config.CodeInvalidMiddleware, err)
		route.Broken, route.yields = true, true
	}
	return route
}

func (c *compiler) tcpGuards(d *tcpDraft, route *stream.Route) error {
	for _, name := range d.info.Middlewares {
		info := c.run.TCPMiddlewares[name]
		if info == nil {
			return coded(config.CodeUnknownMiddleware, suggest(name, c.run.TCPMiddlewares), "middleware %q does not exist", name)
		}
		g, err := c.guard(name, info.TCPMiddleware)
		if err != nil {
			if !slices.Contains(info.Errors, err.Error()) {
				info.Errors = append(info.Errors, err.Error())
			}
			info.Status = config.StatusDisabled
			c.problem("tcp middleware "+name, "", config.CodeInvalidMiddleware, config.Error, err.Error(), "")
			return fmt.Errorf("middleware %s: %w", name, err)
		}
		route.Guards = append(route.Guards, g)
	}
	return nil
}

func (c *compiler) guard(name string, m *config.TCPMiddleware) (stream.Guard, error) {
	if m.Broken != "" {
		return nil, errors.New(m.Broken)
	}
	n := 0
	for _, set := range []bool{m.InFlightConn != nil, m.IPAllowList != nil, m.IPWhiteList != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		return nil, fmt.Errorf("a middleware has one kind, this one has %d", n)
	}
	return c.table.streams.Guard(name, m)
}

// streamService builds a TCP service and what it is made of.
func (c *compiler) streamService(name string, transports map[string]*config.TCPServersTransport, stack []string) (stream.Service, error) {
	if slices.Contains(stack, name) {
		return nil, coded(config.CodeLoop, "", "the service %s contains itself: %s", name, strings.Join(append(stack, name), " > "))
	}
	info := c.run.TCPServices[name]
	if info == nil {
		return nil, coded(config.CodeUnknownService, suggest(name, c.run.TCPServices), "the service %q does not exist", name)
	}
	lb, w := info.LoadBalancer, info.Weighted
	if lb == nil && w != nil {
		var shares []stream.Share
		for _, m := range w.Services {
			kid, err := c.streamService(qualify(m.Name, name), transports, append(slices.Clone(stack), name))
			if err != nil {
				return nil, err
			}
			shares = append(shares, stream.Share{Weight: weightOf(m), Service: kid})
		}
		return stream.NewWeighted(shares), nil
	}
	s, err := c.streamBalancer(name, info, transports)
	if err != nil {
		if !slices.Contains(info.Errors, err.Error()) {
			info.Errors = append(info.Errors, err.Error())
		}
		info.Status = config.StatusDisabled
		code, hint := codeOf(err, config.CodeInvalidService)
		c.problem("tcp service "+name, "", code, config.Error, err.Error(), hint)
		return nil, err
	}
	return s, nil
}

func weightOf(m config.WeightedService) int {
	if m.Weight != nil {
		return *m.Weight
	}
	return 1
}

func (c *compiler) streamBalancer(name string, info *config.TCPServiceInfo, transports map[string]*config.TCPServersTransport) (stream.Service, error) {
	lb := info.LoadBalancer
	switch {
	case lb == nil:
		return nil, errors.New("the service has no kind; set loadBalancer")
	case info.Weighted != nil:
		return nil, errors.New("the service has two kinds, loadBalancer and weighted")
	}
	tr := cmp.Or(transports[defaultTransport], c.in.DefaultTCPTransport)
	if lb.ServersTransport != "" {
		cp, svc := *lb, *info.TCPService
		cp.ServersTransport = qualify(lb.ServersTransport, name)
		svc.LoadBalancer = &cp
		info.TCPService, lb = &svc, &cp
		if cp.ServersTransport != defaultTransport {
			tr = transports[cp.ServersTransport]
		}
		if tr == nil && cp.ServersTransport != defaultTransport {
			return nil, coded(config.CodeUnknownTransport, suggest(cp.ServersTransport, transports), "the serversTransport %q does not exist", cp.ServersTransport)
		}
	}
	b, err := c.table.streams.TCP(name, lb, tr)
	if err != nil {
		return nil, err
	}
	if w := b.Warning(); w != "" {
		c.problem("tcp service "+name, "", config.CodeInvalidValue, config.Warning, w, "")
	}
	return b, nil
}
