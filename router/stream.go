package router

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/router/rule"
)

// StreamService is where the connections of a TCP route go: the servers of a load
// balancer, or a weighted choice of other services. Exactly one is set.
type StreamService struct {
	Name         string
	LoadBalancer *config.TCPLoadBalancer
	// Transport of the load balancer by its configuration; nil means the default.
	Transport *config.TCPServersTransport
	Weighted  []WeightedStream
}

// WeightedStream is a member of a weighted service.
type WeightedStream struct {
	Weight  int
	Service *StreamService
}

// TCPMiddleware is a middleware of a TCP route.
type TCPMiddleware struct {
	Name   string
	Config *config.TCPMiddleware
}

// TCPRoute is a compiled TCP router. It is immutable.
type TCPRoute struct {
	Router      string
	Rule        string
	Priority    int
	Service     *StreamService
	Middlewares []TCPMiddleware
	// TLS is set where the router takes TLS connections: passed through, or ended with
	// the TLS options of that name.
	TLS, Passthrough bool
	Options          string
	// Broken is set where the connection must be closed: what was to guard it, or its TLS
	// options, cannot be built.
	Broken bool
	// CatchAll is set for the rule HostSNI(`*`) alone.
	CatchAll bool

	// yields is set on a Broken route that counts only where another would take its place.
	yields bool
}

// TCPTable chooses among the TCP routes of an entry point. It is immutable.
type TCPTable struct {
	clear, tls tcpSet
	// hosts are the names of the entry point's HTTPS routers: they go before a TCP
	// router for any name.
	hosts map[string]bool
	pool  *rule.Pool
}

type tcpSet struct {
	ix     *index
	routes []*TCPRoute
}

var noTCP = &TCPTable{pool: &rule.Pool{}, clear: newTCPSet(nil, nil), tls: newTCPSet(nil, nil)}

func newTCPSet(rules []*rule.Rule, routes []*TCPRoute) tcpSet {
	return tcpSet{newIndex(rules), routes}
}

// TCP returns the TCP routes of an entry point; it is never nil.
func (t *Table) TCP(entryPoint string) *TCPTable {
	if e := t.tcp[entryPoint]; e != nil {
		return e
	}
	return noTCP
}

// HasClear and HasTLS report whether there are routes for connections of that kind, so that
// an entry point without any need not wait for a first byte.
func (t *TCPTable) HasClear() bool { return len(t.clear.routes) > 0 }

// HasTLS is like HasClear.
func (t *TCPTable) HasTLS() bool { return len(t.tls.routes) > 0 }

// Clear returns the route of a connection that does not begin with a ClientHello, or nil
// for HTTP.
func (t *TCPTable) Clear(peer netip.Addr) *TCPRoute {
	if len(t.clear.routes) == 0 {
		return nil
	}
	return t.clear.find("", nil, peer, t.pool)
}

// TLS returns the route of a connection that begins with a ClientHello of that server
// name and those protocols, or nil for HTTPS. A route for any name yields to the HTTPS
// routers that name the host.
func (t *TCPTable) TLS(sni string, alpn []string, peer netip.Addr) *TCPRoute {
	if len(t.tls.routes) == 0 {
		return nil
	}
	r := t.tls.find(sni, alpn, peer, t.pool)
	if r != nil && r.CatchAll && t.https(strings.ToLower(strings.TrimSuffix(sni, "."))) {
		return nil
	}
	return r
}

func (t *TCPTable) https(host string) bool {
	if t.hosts[host] {
		return true
	}
	i := strings.IndexByte(host, '.')
	return i >= 0 && t.hosts["*"+host[i:]]
}

// find returns the first route that matches.
func (s *tcpSet) find(sni string, alpn []string, peer netip.Addr, pool *rule.Pool) *TCPRoute {
	var sub rule.Subject
	sub.TCP(sni, alpn, peer, pool)
	defer sub.Done()
	i := s.ix.find(&sub, -1)
	if i < 0 {
		return nil
	}
	first := s.routes[i]
	if !first.yields {
		return first
	}
	for i >= 0 && s.routes[i].yields {
		i = s.ix.find(&sub, i)
	}
	if i < 0 {
		return nil
	}
	return first
}

// UDPRoute is a compiled UDP router: every session of its entry point goes to the service.
type UDPRoute struct {
	Router  string
	Service *UDPStreamService
}

// UDPStreamService is where the sessions of a UDP route go.
type UDPStreamService struct {
	Name     string
	Servers  []config.UDPServer
	Weighted []WeightedUDP
}

// WeightedUDP is a member of a weighted service.
type WeightedUDP struct {
	Weight  int
	Service *UDPStreamService
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
	route *TCPRoute
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
		if a.route.Priority != b.route.Priority {
			if a.route.Priority > b.route.Priority {
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
		var routes [2][]*TCPRoute
		for _, d := range drafts {
			if !slices.Contains(d.info.Using, name) {
				continue
			}
			i := 0
			if d.route.TLS {
				i = 1
			}
			rules[i], routes[i] = append(rules[i], d.rule), append(routes[i], d.route)
		}
		if len(rules[0])+len(rules[1]) > 0 {
			c.table.tcp[name] = &TCPTable{clear: newTCPSet(rules[0], routes[0]), tls: newTCPSet(rules[1], routes[1]), hosts: c.httpsHosts(name), pool: pool}
		}
	}
}

// httpsHosts are the hosts of the TLS routers of an entry point.
func (c *compiler) httpsHosts(entryPoint string) map[string]bool {
	hosts := map[string]bool{}
	for _, d := range c.sorted {
		if d.rule == nil || d.info.TLS == nil || !slices.Contains(d.info.Using, entryPoint) {
			continue
		}
		for _, h := range d.rule.Hosts() {
			hosts[h.Name] = true
		}
	}
	return hosts
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
func (c *compiler) tcpRoute(d *tcpDraft, transports map[string]*config.TCPServersTransport) *TCPRoute {
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
	route := &TCPRoute{
		Router: d.name, Rule: r.Rule, Priority: r.Priority,
		TLS: r.TLS != nil, Passthrough: r.TLS != nil && r.TLS.Passthrough, CatchAll: rule.IsCatchAll(r.Rule),
	}
	if r.TLS == nil && len(compiled.Hosts()) > 0 {
		c.failTCP(d, "rule", "", coded(config.CodeInvalidRule, "add tls, or match any name with HostSNI(`*`)",
			"rule %s: a server name is known of TLS connections only, and the router has no tls", r.Rule))
		return nil
	}
	if route.TLS && !route.Passthrough {
		if route.Options, err = c.usableOptions(r.TLS.Options, d.name); err != nil {
			c.failTCP(d, "tls.options", config.CodeUnknownTLSOptions, err)
			route.Broken = true
			return route
		}
	}
	if route.Service, err = c.streamService(qualify(r.Service, d.name), transports, nil); err != nil {
		c.failTCP(d, "service", config.CodeInvalidService, err)
		return nil
	}
	if err := c.tcpMiddlewares(d, route); err != nil {
		c.failTCP(d, "middlewares", config.CodeInvalidMiddleware, err)
		route.Broken, route.yields = true, true
	}
	return route
}

func (c *compiler) tcpMiddlewares(d *tcpDraft, route *TCPRoute) error {
	for _, name := range d.info.Middlewares {
		info := c.run.TCPMiddlewares[name]
		if info == nil {
			return coded(config.CodeUnknownMiddleware, suggest(name, c.run.TCPMiddlewares), "middleware %q does not exist", name)
		}
		if err := checkTCPMiddleware(info.TCPMiddleware); err != nil {
			if !slices.Contains(info.Errors, err.Error()) {
				info.Errors = append(info.Errors, err.Error())
			}
			info.Status = config.StatusDisabled
			c.problem("tcp middleware "+name, "", config.CodeInvalidMiddleware, config.Error, err.Error(), "")
			return fmt.Errorf("middleware %s: %w", name, err)
		}
		route.Middlewares = append(route.Middlewares, TCPMiddleware{name, info.TCPMiddleware})
	}
	return nil
}

func checkTCPMiddleware(m *config.TCPMiddleware) error {
	n := 0
	if m.InFlightConn != nil {
		n++
	}
	for _, l := range []*config.TCPIPAllowList{m.IPAllowList, m.IPWhiteList} {
		if l == nil {
			continue
		}
		n++
		if len(l.SourceRange) == 0 {
			return errors.New("sourceRange is empty: nobody could connect")
		}
		for _, s := range l.SourceRange {
			if _, err := netip.ParsePrefix(s); err == nil {
				continue
			}
			if _, err := netip.ParseAddr(s); err != nil {
				return fmt.Errorf("sourceRange: %q is neither an address nor a range such as 10.0.0.0/8", s)
			}
		}
	}
	if n != 1 {
		return fmt.Errorf("a middleware has one kind, this one has %d", n)
	}
	return nil
}

// streamService resolves a TCP service and what it is made of.
func (c *compiler) streamService(name string, transports map[string]*config.TCPServersTransport, stack []string) (*StreamService, error) {
	if slices.Contains(stack, name) {
		return nil, coded(config.CodeLoop, "", "the service %s contains itself: %s", name, strings.Join(append(stack, name), " > "))
	}
	info := c.run.TCPServices[name]
	if info == nil {
		return nil, coded(config.CodeUnknownService, suggest(name, c.run.TCPServices), "the service %q does not exist", name)
	}
	spoil := func(err error) (*StreamService, error) {
		if !slices.Contains(info.Errors, err.Error()) {
			info.Errors = append(info.Errors, err.Error())
		}
		info.Status = config.StatusDisabled
		code, hint := codeOf(err, config.CodeInvalidService)
		c.problem("tcp service "+name, "", code, config.Error, err.Error(), hint)
		return nil, err
	}
	s := &StreamService{Name: name}
	switch lb, w := info.LoadBalancer, info.Weighted; {
	case lb != nil && w != nil:
		return spoil(errors.New("the service has two kinds, loadBalancer and weighted"))
	case lb != nil:
		if t := lb.ServersTransport; t != "" {
			cp, svc := *lb, *info.TCPService
			cp.ServersTransport = qualify(t, name)
			svc.LoadBalancer = &cp
			info.TCPService, lb = &svc, &cp
			if s.Transport = transports[cp.ServersTransport]; s.Transport == nil {
				return spoil(coded(config.CodeUnknownTransport, suggest(cp.ServersTransport, transports), "the serversTransport %q does not exist", cp.ServersTransport))
			}
		} else {
			s.Transport = transports[defaultTransport]
		}
		s.LoadBalancer = lb
	case w != nil:
		for _, m := range w.Services {
			kid, err := c.streamService(qualify(m.Name, name), transports, append(slices.Clone(stack), name))
			if err != nil {
				return nil, err
			}
			weight := 1
			if m.Weight != nil {
				weight = *m.Weight
			}
			s.Weighted = append(s.Weighted, WeightedStream{weight, kid})
		}
	default:
		return spoil(errors.New("the service has no kind; set loadBalancer"))
	}
	return s, nil
}
