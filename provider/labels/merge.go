package labels

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// Merger joins shares into one configuration. It remembers what it made of several
// shares, so that an unchanged result is the same pointer again. The zero value is
// ready; it is not safe for concurrent use.
type Merger struct{ old, now pools }

// pools are the services made of several shares.
type pools struct {
	http map[string]*config.Service
	tcp  map[string]*config.TCPService
	udp  map[string]*config.UDPService
}

// claim is what one share says about a name.
type claim[T any] struct {
	share *Share
	obj   *T
}

// claims are the claims for each name: the first, and all of them where there are more.
type claims[T any] struct {
	first map[string]claim[T]
	more  map[string][]claim[T]
}

func newClaims[T any](n int) *claims[T] {
	return &claims[T]{first: make(map[string]claim[T], n), more: map[string][]claim[T]{}}
}

func (c *claims[T]) add(s *Share, objs map[string]*T) {
	for name, o := range objs {
		if o == nil {
			continue
		}
		f, ok := c.first[name]
		if !ok {
			c.first[name] = claim[T]{s, o}
			continue
		}
		if c.more[name] == nil {
			c.more[name] = []claim[T]{f}
		}
		c.more[name] = append(c.more[name], claim[T]{s, o})
	}
}

// objects gives one object a name: the only one, or what settle makes of several. A
// name on which workloads disagree is left out.
func (c *claims[T]) objects(kind string, problems *[]config.Problem, equal func(a, b *T) bool, pool func(winner *T, name string, all []claim[T]) *T) map[string]*T {
	if len(c.first) == 0 {
		return nil
	}
	out := make(map[string]*T, len(c.first))
	for name, f := range c.first {
		if c.more[name] == nil {
			out[name] = f.obj
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.more)) {
		winner, p := settle(kind+" "+name, c.more[name], equal)
		if p != nil {
			*problems = append(*problems, *p)
		}
		if winner == nil {
			continue
		}
		if pool != nil {
			winner = pool(winner, name, c.more[name])
		}
		out[name] = winner
	}
	return out
}

// Merge joins the shares, which must be sorted by their keys.
func (m *Merger) Merge(shares []*Share) (*config.Dynamic, []config.Problem) {
	m.old, m.now = m.now, pools{http: map[string]*config.Service{}, tcp: map[string]*config.TCPService{}, udp: map[string]*config.UDPService{}}
	var problems []config.Problem
	n := len(shares)
	routers, services, middlewares := newClaims[config.Router](n), newClaims[config.Service](n), newClaims[config.Middleware](0)
	transports := newClaims[config.ServersTransport](0)
	tcpRouters, tcpServices, tcpMiddlewares := newClaims[config.TCPRouter](0), newClaims[config.TCPService](0), newClaims[config.TCPMiddleware](0)
	tcpTransports := newClaims[config.TCPServersTransport](0)
	udpRouters, udpServices := newClaims[config.UDPRouter](0), newClaims[config.UDPService](0)
	options, stores := newClaims[config.TLSOptions](0), newClaims[config.TLSStore](0)
	var certificates []config.StoreCertificate
	for _, s := range shares {
		problems = append(problems, s.Problems...)
		if s.Config == nil {
			continue
		}
		if h := s.Config.HTTP; h != nil {
			routers.add(s, h.Routers)
			services.add(s, h.Services)
			middlewares.add(s, h.Middlewares)
			transports.add(s, h.ServersTransports)
		}
		if t := s.Config.TCP; t != nil {
			tcpRouters.add(s, t.Routers)
			tcpServices.add(s, t.Services)
			tcpMiddlewares.add(s, t.Middlewares)
			tcpTransports.add(s, t.ServersTransports)
		}
		if u := s.Config.UDP; u != nil {
			udpRouters.add(s, u.Routers)
			udpServices.add(s, u.Services)
		}
		if t := s.Config.TLS; t != nil {
			options.add(s, t.Options)
			stores.add(s, t.Stores)
			certificates = append(certificates, t.Certificates...)
		}
	}
	out := &config.Dynamic{
		HTTP: &config.HTTP{
			Routers:           routers.objects("router", &problems, deepEqual, nil),
			Services:          services.objects("service", &problems, equalServices, m.poolHTTP),
			Middlewares:       middlewares.objects("middleware", &problems, deepEqual, nil),
			ServersTransports: transports.objects("serversTransport", &problems, deepEqual, nil),
		},
		TCP: &config.TCP{
			Routers:           tcpRouters.objects("tcp router", &problems, deepEqual, nil),
			Services:          tcpServices.objects("tcp service", &problems, equalTCPServices, m.poolTCP),
			Middlewares:       tcpMiddlewares.objects("tcp middleware", &problems, deepEqual, nil),
			ServersTransports: tcpTransports.objects("tcp serversTransport", &problems, deepEqual, nil),
		},
		UDP: &config.UDP{
			Routers:  udpRouters.objects("udp router", &problems, deepEqual, nil),
			Services: udpServices.objects("udp service", &problems, equalUDPServices, m.poolUDP),
		},
	}
	tls := &config.TLS{Certificates: certificates,
		Options: options.objects("tls options", &problems, deepEqual, nil),
		Stores:  stores.objects("tls store", &problems, deepEqual, nil)}
	if len(certificates) > 0 || len(tls.Options) > 0 || len(tls.Stores) > 0 {
		out.TLS = tls
	}
	return out, problems
}

func deepEqual[T any](a, b *T) bool { return reflect.DeepEqual(a, b) }

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
	names := make([]string, 0, len(cs))
	for _, c := range cs {
		names = append(names, c.share.Source)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return &config.Problem{Source: names[0], Object: object, Code: config.CodeConflict, Severity: config.Error,
		Text:       "is defined differently by " + strings.Join(names, ", ") + "; none of the definitions is used",
		Suggestion: "give it the same labels everywhere, or another name"}
}

// equalServices compares all but the servers, which are pooled.
func equalServices(a, b *config.Service) bool {
	if a.LoadBalancer == nil || b.LoadBalancer == nil {
		return reflect.DeepEqual(a, b)
	}
	x, y, lx, ly := *a, *b, *a.LoadBalancer, *b.LoadBalancer
	lx.Servers, ly.Servers = nil, nil
	x.LoadBalancer, y.LoadBalancer = &lx, &ly
	return reflect.DeepEqual(x, y)
}

func equalTCPServices(a, b *config.TCPService) bool {
	if a.LoadBalancer == nil || b.LoadBalancer == nil {
		return reflect.DeepEqual(a, b)
	}
	x, y, lx, ly := *a, *b, *a.LoadBalancer, *b.LoadBalancer
	lx.Servers, ly.Servers = nil, nil
	x.LoadBalancer, y.LoadBalancer = &lx, &ly
	return reflect.DeepEqual(x, y)
}

func equalUDPServices(a, b *config.UDPService) bool {
	return (a.LoadBalancer != nil && b.LoadBalancer != nil) || reflect.DeepEqual(a, b)
}

// poolHTTP gives the winner the servers of all claims. Fenced servers are listed only
// where nothing better is there: then they tell why the service is down.
func (m *Merger) poolHTTP(winner *config.Service, name string, all []claim[config.Service]) *config.Service {
	if winner.LoadBalancer == nil {
		return winner
	}
	var live, fenced []config.Server
	for _, c := range all {
		if c.obj.LoadBalancer == nil {
			continue
		}
		for _, s := range c.obj.LoadBalancer.Servers {
			if list := cond(s.Fenced, &fenced, &live); !slices.ContainsFunc(*list, func(o config.Server) bool { return o.URL == s.URL }) {
				*list = append(*list, s)
			}
		}
	}
	if len(live) == 0 {
		live = fenced
	}
	svc, lb := *winner, *winner.LoadBalancer
	lb.Servers = live
	svc.LoadBalancer = &lb
	return remember(m.old.http, m.now.http, name, &svc)
}

func cond[T any](c bool, a, b T) T {
	if c {
		return a
	}
	return b
}

func (m *Merger) poolTCP(winner *config.TCPService, name string, all []claim[config.TCPService]) *config.TCPService {
	if winner.LoadBalancer == nil {
		return winner
	}
	svc, lb := *winner, *winner.LoadBalancer
	lb.Servers = nil
	for _, c := range all {
		if c.obj.LoadBalancer != nil {
			lb.Servers = append(lb.Servers, c.obj.LoadBalancer.Servers...)
		}
	}
	lb.Servers = unique(lb.Servers, func(s config.TCPServer) string { return s.Address })
	svc.LoadBalancer = &lb
	return remember(m.old.tcp, m.now.tcp, name, &svc)
}

func (m *Merger) poolUDP(winner *config.UDPService, name string, all []claim[config.UDPService]) *config.UDPService {
	if winner.LoadBalancer == nil {
		return winner
	}
	lb := config.UDPLoadBalancer{}
	for _, c := range all {
		if c.obj.LoadBalancer != nil {
			lb.Servers = append(lb.Servers, c.obj.LoadBalancer.Servers...)
		}
	}
	lb.Servers = unique(lb.Servers, func(s config.UDPServer) string { return s.Address })
	return remember(m.old.udp, m.now.udp, name, &config.UDPService{LoadBalancer: &lb})
}

// unique keeps the first of those with an equal key.
func unique[T any](in []T, key func(T) string) []T {
	seen := make(map[string]bool, len(in))
	return slices.DeleteFunc(in, func(v T) bool {
		k := key(v)
		was := seen[k]
		seen[k] = true
		return was
	})
}

// remember returns the object of the last time if it says the same.
func remember[T any](old, now map[string]*T, name string, obj *T) *T {
	if was := old[name]; was != nil && reflect.DeepEqual(was, obj) {
		obj = was
	}
	now[name] = obj
	return obj
}

// Sort orders shares as Merge wants them.
func Sort(shares []*Share) {
	slices.SortFunc(shares, func(a, b *Share) int { return cmp.Compare(a.Key, b.Key) })
}
