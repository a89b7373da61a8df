package router

import (
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/router/rule"
)

// entryPoint matches the requests of one entry point.
type entryPoint struct {
	name       string
	table      *Table
	clear, tls *set
	others     []*entryPoint
	// options names the TLS options of hosts that have others than the default.
	options hostOptions
	pool    *rule.Pool
}

// set is an ordered list of routes behind an index. It is immutable.
type set struct {
	ix    *index[mounted]
	order []*slot[mounted]
}

// mounted is a route in its place. A broken one is no answer, but keeps its requests from
// routes behind it: what it was to guard must not be served by one that guards less.
type mounted struct {
	route  *exchange.Route
	broken bool
	// certs: its TLS options demand client certificates.
	certs bool
}

var emptySet = newSet(nil)

// setCache gives entry points with the same routers one set.
type setCache struct {
	drafts [][]*routerDraft
	sets   []*set
}

func (c *setCache) get(drafts []*routerDraft) *set {
	for i, d := range c.drafts {
		if slices.Equal(d, drafts) {
			return c.sets[i]
		}
	}
	s := newSet(drafts)
	c.drafts, c.sets = append(c.drafts, drafts), append(c.sets, s)
	return s
}

// rankGap is the distance of neighbours' ranks in a new set, so that routes can be put
// between them later.
const rankGap = 1 << 32

func newSet(drafts []*routerDraft) *set {
	order := make([]*slot[mounted], len(drafts))
	var slots slab[slot[mounted]]
	for i, d := range drafts {
		order[i] = slots.make()
		order[i].rank, order[i].rule, order[i].to = int64(i+1)*rankGap, d.rule, d.mount()
	}
	return &set{ix: newIndex(order), order: order}
}

func (d *routerDraft) mount() mounted {
	if d.route != nil {
		return mounted{route: d.route, certs: d.certs}
	}
	route := &exchange.Route{
		Router: d.name, Service: d.service, Rule: d.info.Rule, Priority: d.info.Priority, Broken: exchange.RouterBroken,
	}
	observe(route, d.info.Observability)
	return mounted{broken: !d.closed, route: route}
}

// Match implements exchange.Matcher.
//
// A broken router alone gives nil and RouterBroken: the reference, which leaves such
// routers out, answers 404. Where another router would take the request in its place,
// the broken one is returned, which answers 503. So is one whose own words could not be read.
func (ep *entryPoint) Match(ex *exchange.Exchange) (*exchange.Route, exchange.Reason) {
	var s rule.Subject
	s.HTTP(&ex.Req, ep.pool)
	route, why := ep.match(&s, ex.Req.TLS != nil, ex)
	s.Done()
	return route, why
}

func (ep *entryPoint) match(s *rule.Subject, tls bool, ex *exchange.Exchange) (*exchange.Route, exchange.Reason) {
	here, there := ep.clear, ep.tls
	if tls {
		here, there = ep.tls, ep.clear
		if ep.options != nil && ep.options.differ(s.Host, ex.Req.TLS.ServerName) {
			return nil, exchange.Misdirected
		}
	}
	if m := here.ix.find(s, nil); m != nil {
		if m.to.certs && tls && !ep.table.asked(ep.options, ex.Req.TLS.ServerName) {
			return nil, exchange.Misdirected
		}
		if !m.to.broken {
			return m.to.route, exchange.NoReason
		}
		next := m
		for next != nil && next.to.broken {
			next = here.ix.find(s, next)
		}
		if next != nil {
			return m.to.route, exchange.NoReason
		}
		return nil, exchange.RouterBroken
	}
	if there.serves(s) {
		return nil, exchange.WrongScheme
	}
	for _, o := range ep.others {
		if o.clear.serves(s) || o.tls.serves(s) {
			return nil, exchange.WrongEntryPoint
		}
	}
	return nil, exchange.NoRouter
}

// asked reports whether the handshake for sni demanded a client certificate. Options are chosen
// by the hosts of rules: a rule without hosts, or a part of one, may take requests of others.
func (t *Table) asked(o hostOptions, sni string) bool {
	name := o.of(strings.ToLower(sni))
	if name == "" {
		name = defaultOptions
	}
	return t.asking[name]
}

// serves reports whether a router of the user would take the request.
func (s *set) serves(sub *rule.Subject) bool {
	m := s.ix.find(sub, nil)
	for m != nil && (m.to.route.Internal || m.to.broken) {
		m = s.ix.find(sub, m)
	}
	return m != nil
}

// hostOptions are names of TLS options by host. A host "*.x" stands for one label.
type hostOptions map[string]string

// of returns the options of a host, "" for the default ones.
func (h hostOptions) of(host string) string {
	host = strings.TrimSuffix(host, ".")
	if o, ok := h[host]; ok {
		return o
	}
	if len(host) < 250 {
		if i := strings.IndexByte(host, '.'); i >= 0 {
			var buf [256]byte
			buf[0] = '*'
			n := copy(buf[1:], host[i:])
			return h[string(buf[:n+1])]
		}
	}
	return ""
}

// differ reports whether a request for host may not be served on a connection that was
// opened for sni: its TLS options are others, for example about client certificates.
func (h hostOptions) differ(host, sni string) bool {
	return host != sni && h.of(host) != h.of(strings.ToLower(sni))
}
