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
)

// codedError is an error with the code and suggestion of its Problem.
type codedError struct {
	code, hint string
	err        error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func coded(code, hint, format string, args ...any) error {
	return &codedError{code, hint, fmt.Errorf(format, args...)}
}

// codeOf returns the code and suggestion of an error, or the fallback.
func codeOf(err error, fallback string) (code, hint string) {
	var e *codedError
	if errors.As(err, &e) {
		return e.code, e.hint
	}
	return fallback, ""
}

// services builds HTTP services as routers ask for them; what no router reaches is not
// built, as in the reference.
type services struct {
	c          *compiler
	built      map[string]*service
	transports map[string]transportResult
	slab       slab[service]
	// guarding are the services whose own middlewares are being built.
	guarding []string
}

type transportResult struct {
	t   *exchange.Transport
	err error
}

// service is a built service: what picks servers or handles requests, and the names of
// the middlewares that stand before it.
type service struct {
	child       balance.Child
	middlewares []string
	err         error
	// more is what it is made of.
	more []ref
}

func newServices(c *compiler, n int) *services {
	return &services{c: c, built: make(map[string]*service, n), transports: map[string]transportResult{}}
}

// get builds the service of that full name. stack holds the services it is part of.
func (s *services) get(name string, stack []string) (*service, error) {
	s.c.touched = append(s.c.touched, ref{ofService, name})
	if b := s.built[name]; b != nil {
		s.c.touched = append(s.c.touched, b.more...)
		return b, b.err
	}
	if slices.Contains(stack, name) {
		return &service{}, coded(config.CodeLoop, "", "the service %s contains itself: %s", name, strings.Join(append(stack, name), " > "))
	}
	info := s.c.serviceInfo(name)
	if info == nil {
		return &service{}, coded(config.CodeUnknownService, suggest(name, s.c.run.Services), "the service %q does not exist", name)
	}
	b, from := s.slab.make(), len(s.c.touched)
	b.child, b.err = s.build(name, info, stack)
	if len(s.c.touched) > from {
		b.more = slices.Clone(s.c.touched[from:])
	}
	for _, m := range info.Middlewares {
		b.middlewares = append(b.middlewares, qualify(m, name))
	}
	if b.err != nil {
		info.Errors = append(info.Errors, b.err.Error())
		info.Status = config.StatusDisabled
		code, hint := codeOf(b.err, config.CodeInvalidService)
		s.c.problem("service "+name, "", code, config.Error, b.err.Error(), hint)
	}
	balancer := any(b.child.Service)
	if balancer == nil { // one that has a handler among its children is a handler itself
		balancer = b.child.Handler
	}
	showCookie(info, balancer)
	if w, ok := balancer.(interface{ Warning() string }); ok && w.Warning() != "" {
		s.c.problem("service "+name, "", config.CodeInvalidValue, config.Warning, w.Warning(), "")
	}
	s.built[name] = b
	return b, b.err
}

// showCookie gives the service as the API shows it the name of its sticky cookie, which
// the balancer makes up where none is configured.
func showCookie(info *config.ServiceInfo, balancer any) {
	n, ok := balancer.(interface{ CookieName() string })
	if !ok || n.CookieName() == "" {
		return
	}
	svc := *info.Service
	rename := func(st *config.Sticky) *config.Sticky {
		c := *st.Cookie
		c.Name = n.CookieName()
		return &config.Sticky{Cookie: &c}
	}
	switch lb, w := svc.LoadBalancer, svc.Weighted; {
	case lb != nil && lb.Sticky != nil && lb.Sticky.Cookie != nil:
		cp := *lb
		cp.Sticky = rename(lb.Sticky)
		svc.LoadBalancer = &cp
	case w != nil && w.Sticky != nil && w.Sticky.Cookie != nil:
		cp := *w
		cp.Sticky = rename(w.Sticky)
		svc.Weighted = &cp
	default:
		return
	}
	info.Service = &svc
}

// errUnguarded is why a service is not used whose middlewares could not be read.
var errUnguarded = errors.New("what may guard the service could not be read")

func (s *services) build(name string, info *config.ServiceInfo, stack []string) (balance.Child, error) {
	if info.Broken != "" {
		return balance.Child{}, fmt.Errorf("%w: %s", errUnguarded, info.Broken)
	}
	if strings.HasSuffix(name, internalSuffix) {
		if h := s.c.in.Internal[name]; h != nil {
			return balance.Child{Name: name, Handler: h}, nil
		}
		if name == noop {
			return balance.Child{Name: name, Handler: http.HandlerFunc(teapot)}, nil
		}
	}
	cfg := info.Service
	if cfg.LoadBalancer != nil && cfg.Weighted == nil && cfg.HighestRandomWeight == nil && cfg.Mirroring == nil && cfg.Failover == nil {
		return s.loadBalancer(name, info) // nearly all are
	}
	switch kinds := serviceKinds(cfg); len(kinds) {
	case 0:
		return balance.Child{}, errors.New("the service has no kind; set loadBalancer")
	case 1:
	default:
		return balance.Child{}, fmt.Errorf("the service has two kinds, %s and %s", kinds[0], kinds[1])
	}
	d, f := s.c.table.draft, s.c.in.Parts.Forward
	stack = append(slices.Clone(stack), name)
	switch {
	case cfg.Weighted != nil:
		kids, err := s.children(name, weightedNames(cfg.Weighted.Services), stack)
		if err != nil {
			return balance.Child{}, err
		}
		return d.Weighted(name, cfg.Weighted, kids, f)
	case cfg.HighestRandomWeight != nil:
		kids, err := s.children(name, weightedNames(cfg.HighestRandomWeight.Services), stack)
		if err != nil {
			return balance.Child{}, err
		}
		return d.HighestRandomWeight(name, cfg.HighestRandomWeight, kids, f)
	case cfg.Mirroring != nil:
		names := []string{cfg.Mirroring.Service}
		for _, m := range cfg.Mirroring.Mirrors {
			names = append(names, m.Name)
		}
		kids, err := s.children(name, names, stack)
		if err != nil {
			return balance.Child{}, err
		}
		return d.Mirroring(name, cfg.Mirroring, kids[0], kids[1:], f)
	}
	kids, err := s.children(name, []string{cfg.Failover.Service, cfg.Failover.Fallback}, stack)
	if err != nil {
		return balance.Child{}, err
	}
	return d.Failover(name, cfg.Failover, kids[0], kids[1], f)
}

// teapot is the reference's answer of noop@internal, behind middlewares that let a request through.
func teapot(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }

func serviceKinds(s *config.Service) []string {
	kinds := make([]string, 0, 5)
	add := func(set bool, name string) {
		if set {
			kinds = append(kinds, name)
		}
	}
	add(s.LoadBalancer != nil, "loadBalancer")
	add(s.Weighted != nil, "weighted")
	add(s.HighestRandomWeight != nil, "highestRandomWeight")
	add(s.Mirroring != nil, "mirroring")
	add(s.Failover != nil, "failover")
	return kinds
}

func weightedNames(list []config.WeightedService) []string {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.Name
	}
	return names
}

// children builds the services that name is made of, each with its own middlewares before it.
func (s *services) children(name string, names, stack []string) ([]balance.Child, error) {
	kids := make([]balance.Child, len(names))
	for i, n := range names {
		if n == "" {
			return nil, errors.New("a service it is made of has no name")
		}
		b, err := s.get(qualify(n, name), stack)
		if err != nil {
			return nil, err
		}
		if kids[i], err = s.guarded(qualify(n, name), b); err != nil {
			return nil, err
		}
	}
	return kids, nil
}

// guarded puts a service's own middlewares before it.
func (s *services) guarded(name string, b *service) (balance.Child, error) {
	if slices.Contains(s.guarding, name) {
		return balance.Child{}, coded(config.CodeLoop, "", "a middleware of the service %s needs that service: %s", name,
			strings.Join(append(s.guarding, name), " > "))
	}
	s.guarding = append(s.guarding, name)
	items, err := s.c.chains.build("service "+name, b.middlewares)
	s.guarding = s.guarding[:len(s.guarding)-1]
	if err != nil {
		return balance.Child{}, err
	}
	if len(items) == 0 {
		return b.child, nil
	}
	if p := s.c.patch; p != nil {
		p.stopped = true // what these remember belongs to no one router
	}
	ops, tail, to := s.c.compose(items, b.child)
	if tail == nil {
		tail = s.c.in.Parts.Forward(to)
	}
	h := s.c.in.Parts.OpHandler(ops, tail)
	for _, inner := range []any{b.child.Service, b.child.Handler} {
		if st, ok := inner.(health); ok {
			h = healthy{h, st}
			break
		}
	}
	return balance.Child{Name: b.child.Name, Handler: h}, nil
}

// health is what composed services ask of their children.
type health interface {
	Up(now int64) bool
	Checked() bool
}

// healthy is a handler with the health of the service behind it.
type healthy struct {
	http.Handler
	health
}

// handler gives a service as a handler, for middlewares that fetch something from it.
func (s *services) handler(name string) (http.Handler, error) {
	b, err := s.get(name, nil)
	if err != nil {
		return nil, err
	}
	child, err := s.guarded(name, b)
	if err != nil {
		return nil, err
	}
	if child.Handler != nil {
		return child.Handler, nil
	}
	return s.c.in.Parts.Forward(child.Service), nil
}

func (s *services) loadBalancer(name string, info *config.ServiceInfo) (balance.Child, error) {
	lb := info.LoadBalancer
	if t := lb.ServersTransport; t != "" && t != qualify(t, name) {
		cp, svc := *lb, *info.Service
		cp.ServersTransport = qualify(t, name)
		svc.LoadBalancer = &cp
		info.Service, lb = &svc, &cp
	}
	tr, err := s.transport(lb.ServersTransport)
	if err != nil {
		return balance.Child{}, err
	}
	b, err := s.c.table.draft.Service(name, lb, tr)
	if err != nil {
		return balance.Child{}, err
	}
	return balance.Child{Name: name, Service: b}, nil
}

// defaultTransport is the transport of services that name none.
const defaultTransport = "default" + internalSuffix

// transport builds each transport once a table: its fingerprint may read files.
func (s *services) transport(name string) (*exchange.Transport, error) {
	if name == "" {
		name = defaultTransport
	}
	r, ok := s.transports[name]
	if !ok {
		r.t, r.err = s.newTransport(name)
		s.transports[name] = r
	}
	return r.t, r.err
}

func (s *services) newTransport(name string) (*exchange.Transport, error) {
	var known map[string]*config.ServersTransport
	if h := s.c.in.Config.HTTP; h != nil {
		known = h.ServersTransports
	}
	cfg := known[name]
	if cfg == nil && name == defaultTransport {
		if cfg = s.c.in.DefaultTransport; cfg == nil {
			cfg = &config.ServersTransport{}
		}
	}
	if cfg == nil {
		return nil, coded(config.CodeUnknownTransport, suggest(name, known), "the serversTransport %q does not exist", name)
	}
	t := s.c.table.draft.Transport(name, s.c.in.Parts.TransportKey(cfg), func() *exchange.Transport {
		return s.c.in.Parts.Transport(name, cfg)
	})
	if t.NoTLS != nil {
		s.c.table.memo.unsettled = true
		s.c.problem("serversTransport "+name, "", config.CodeInvalidValue, config.Error,
			"servers that speak TLS cannot be reached: "+t.NoTLS.Error(), "")
	}
	if t.Warning != "" {
		s.c.table.memo.unsettled = true
		s.c.problem("serversTransport "+name, "", config.CodeInvalidValue, config.Warning, t.Warning, "")
	}
	return t, nil
}
