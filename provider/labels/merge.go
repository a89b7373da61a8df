package labels

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// Merger joins shares into one configuration. A change costs in proportion to the
// change: only the names that a changed share speaks of are looked at again, and what
// did not change keeps its pointer. It is not safe for concurrent use.
type Merger struct {
	routers        *names[config.Router]
	services       *names[config.Service]
	middlewares    *names[config.Middleware]
	transports     *names[config.ServersTransport]
	tcpRouters     *names[config.TCPRouter]
	tcpServices    *names[config.TCPService]
	tcpMiddlewares *names[config.TCPMiddleware]
	tcpTransports  *names[config.TCPServersTransport]
	udpRouters     *names[config.UDPRouter]
	udpServices    *names[config.UDPService]
	tlsOptions     *names[config.TLSOptions]
	tlsStores      *names[config.TLSStore]
	// certified and troubled are the shares with certificates and with Problems, by key.
	certified, troubled map[string]*Share
	scopes              *scopes
}

// NewMerger returns a Merger of nothing.
func NewMerger() *Merger {
	return &Merger{
		routers:        newNames[config.Router]("router", nil, nil),
		services:       newNames("service", equalServices, poolHTTP),
		middlewares:    newNames[config.Middleware]("middleware", nil, nil),
		transports:     newNames[config.ServersTransport]("serversTransport", nil, nil),
		tcpRouters:     newNames[config.TCPRouter]("tcp router", nil, nil),
		tcpServices:    newNames("tcp service", equalTCPServices, poolTCP),
		tcpMiddlewares: newNames[config.TCPMiddleware]("tcp middleware", nil, nil),
		tcpTransports:  newNames[config.TCPServersTransport]("tcp serversTransport", nil, nil),
		udpRouters:     newNames[config.UDPRouter]("udp router", nil, nil),
		udpServices:    newNames("udp service", equalUDPServices, poolUDP),
		tlsOptions:     newNames[config.TLSOptions]("tls options", nil, nil),
		tlsStores:      newNames[config.TLSStore]("tls store", nil, nil),
		certified:      map[string]*Share{},
		troubled:       map[string]*Share{},
		scopes:         newScopes(),
	}
}

// Replace puts one share in the place of another; nil stands for none.
func (m *Merger) Replace(was, is *Share) {
	if was == is {
		return
	}
	if was != nil {
		m.scopes.note(was, false)
		if put := m.scopes.put[was.Key]; put != nil {
			delete(m.scopes.put, was.Key)
			was = put
		}
	}
	put := is
	if is != nil {
		m.scopes.note(is, true)
		if is.project() != "" {
			if m.scopes.moved[is.project()] {
				put = m.scopes.scoped(is, is.project())
			}
			m.scopes.put[is.Key] = put
		}
	}
	m.replace(was, put)
}

// replace is Replace behind the scoping of names.
func (m *Merger) replace(was, is *Share) {
	if was == is {
		return
	}
	if was != nil {
		m.each(was, false)
		delete(m.certified, was.Key)
		delete(m.troubled, was.Key)
	}
	if is == nil {
		return
	}
	m.each(is, true)
	if len(is.Problems) > 0 {
		m.troubled[is.Key] = is
	}
	if is.Config != nil && is.Config.TLS != nil && len(is.Config.TLS.Certificates) > 0 {
		m.certified[is.Key] = is
	}
}

// each adds or removes what a share claims.
func (m *Merger) each(s *Share, add bool) {
	if s.Config == nil {
		return
	}
	if h := s.Config.HTTP; h != nil {
		m.routers.claim(s, h.Routers, add)
		m.services.claim(s, h.Services, add)
		m.middlewares.claim(s, h.Middlewares, add)
		m.transports.claim(s, h.ServersTransports, add)
	}
	if t := s.Config.TCP; t != nil {
		m.tcpRouters.claim(s, t.Routers, add)
		m.tcpServices.claim(s, t.Services, add)
		m.tcpMiddlewares.claim(s, t.Middlewares, add)
		m.tcpTransports.claim(s, t.ServersTransports, add)
	}
	if u := s.Config.UDP; u != nil {
		m.udpRouters.claim(s, u.Routers, add)
		m.udpServices.claim(s, u.Services, add)
	}
	if t := s.Config.TLS; t != nil {
		m.tlsOptions.claim(s, t.Options, add)
		m.tlsStores.claim(s, t.Stores, add)
	}
}

// Result is the joined configuration, immutable, and the Problems of all shares and of
// their meeting.
func (m *Merger) Result() (*config.Dynamic, []config.Problem) {
	m.settleScopes()
	out := &config.Dynamic{
		HTTP: &config.HTTP{Routers: m.routers.result(), Services: m.services.result(),
			Middlewares: m.middlewares.result(), ServersTransports: m.transports.result()},
		TCP: &config.TCP{Routers: m.tcpRouters.result(), Services: m.tcpServices.result(),
			Middlewares: m.tcpMiddlewares.result(), ServersTransports: m.tcpTransports.result()},
		UDP: &config.UDP{Routers: m.udpRouters.result(), Services: m.udpServices.result()},
	}
	tls := &config.TLS{Options: m.tlsOptions.result(), Stores: m.tlsStores.result()}
	for _, key := range slices.Sorted(maps.Keys(m.certified)) {
		tls.Certificates = append(tls.Certificates, m.certified[key].Config.TLS.Certificates...)
	}
	if len(tls.Certificates) > 0 || len(tls.Options) > 0 || len(tls.Stores) > 0 {
		out.TLS = tls
	}
	var problems []config.Problem
	for _, key := range slices.Sorted(maps.Keys(m.troubled)) {
		problems = append(problems, m.troubled[key].Problems...)
	}
	for _, ps := range []map[string]config.Problem{m.routers.problems, m.services.problems, m.middlewares.problems,
		m.transports.problems, m.tcpRouters.problems, m.tcpServices.problems, m.tcpMiddlewares.problems,
		m.tcpTransports.problems, m.udpRouters.problems, m.udpServices.problems, m.tlsOptions.problems, m.tlsStores.problems} {
		for _, name := range slices.Sorted(maps.Keys(ps)) {
			problems = append(problems, ps[name])
		}
	}
	return out, problems
}

// claim is what one share says about a name.
type claim[T any] struct {
	share *Share
	obj   *T
}

// names are the objects of one kind.
type names[T any] struct {
	kind  string
	equal func(a, b *T) bool
	// pool makes the object of several claims, from the one that counts; nil takes that one.
	pool     func(winner *T, all []claim[T]) *T
	claims   map[string][]claim[T] // in the order of the shares' keys
	dirty    map[string]bool
	out      map[string]*T // handed out, so never changed in place
	problems map[string]config.Problem
}

func newNames[T any](kind string, equal func(a, b *T) bool, pool func(*T, []claim[T]) *T) *names[T] {
	if equal == nil {
		equal = func(a, b *T) bool { return reflect.DeepEqual(a, b) }
	}
	return &names[T]{kind: kind, equal: equal, pool: pool, claims: map[string][]claim[T]{},
		dirty: map[string]bool{}, problems: map[string]config.Problem{}}
}

// claim adds or removes the claims of a share.
func (n *names[T]) claim(s *Share, objs map[string]*T, add bool) {
	for name, obj := range objs {
		if obj == nil {
			continue
		}
		n.dirty[name] = true
		cs := n.claims[name]
		i, found := slices.BinarySearchFunc(cs, s.Key, func(c claim[T], key string) int { return cmp.Compare(c.share.Key, key) })
		switch {
		case add && found:
			cs[i] = claim[T]{s, obj}
		case add:
			n.claims[name] = slices.Insert(cs, i, claim[T]{s, obj})
		case found && len(cs) == 1:
			delete(n.claims, name)
		case found:
			n.claims[name] = slices.Delete(cs, i, i+1)
		}
	}
}

// result settles the names that changed.
func (n *names[T]) result() map[string]*T {
	if len(n.dirty) == 0 {
		return n.out
	}
	out := maps.Clone(n.out)
	if out == nil {
		out = make(map[string]*T, len(n.claims))
	}
	for name := range n.dirty {
		obj, problem := n.settle(name)
		if problem != nil {
			n.problems[name] = *problem
		} else {
			delete(n.problems, name)
		}
		switch was := out[name]; {
		case obj == nil:
			delete(out, name)
		case was == nil || !reflect.DeepEqual(was, obj):
			out[name] = obj
		}
	}
	clear(n.dirty)
	n.out = out
	return out
}

func (n *names[T]) settle(name string) (*T, *config.Problem) {
	all := n.claims[name]
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return all[0].obj, nil
	}
	winner, problem := settle(n.kind+" "+name, all, n.equal)
	if winner != nil && n.pool != nil {
		winner = n.pool(winner, all)
	}
	return winner, problem
}

// settle finds the object that counts among several claims, or nil and the conflict.
// Only the best rank is heard: what stands still never disturbs what serves. Among
// replicas of one compose service that disagree, the newest is right.
func settle[T any](object string, all []claim[T], equal func(a, b *T) bool) (*T, *config.Problem) {
	best := all[0].share.Rank
	for _, c := range all {
		best = min(best, c.share.Rank)
	}
	newest := map[string]*Share{}
	for _, c := range all {
		if r := c.share.Replica; c.share.Rank == best && r != "" {
			if n := newest[r]; n == nil || c.share.Created.After(n.Created) {
				newest[r] = c.share
			}
		}
	}
	var heard, older []claim[T]
	for _, c := range all {
		if n := newest[c.share.Replica]; c.share.Rank == best && (c.share.Replica == "" || n == c.share || !c.share.Created.Before(n.Created)) {
			heard = append(heard, c)
		} else if c.share.Rank == best {
			older = append(older, c)
		}
	}
	winner := heard[0]
	for _, c := range heard[1:] {
		if !equal(winner.obj, c.obj) {
			return nil, conflict(object, heard)
		}
	}
	for _, c := range older {
		if !equal(winner.obj, c.obj) {
			return winner.obj, &config.Problem{Source: c.share.Source, Object: object,
				Code: config.CodeConflict, Severity: config.Warning,
				Text: "is older than " + newest[c.share.Replica].Source + " and defines it differently; the newer counts"}
		}
	}
	return winner.obj, nil
}

// conflict names every workload that has a part in it.
func conflict[T any](object string, cs []claim[T]) *config.Problem {
	sources := make([]string, 0, len(cs))
	for _, c := range cs {
		sources = append(sources, c.share.Source)
	}
	slices.Sort(sources)
	sources = slices.Compact(sources)
	return &config.Problem{Source: sources[0], Object: object, Code: config.CodeConflict, Severity: config.Error,
		Text:       "is defined differently by " + strings.Join(sources, ", ") + "; none of the definitions is used",
		Suggestion: "give it the same labels everywhere, or another name"}
}
