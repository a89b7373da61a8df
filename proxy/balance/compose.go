package balance

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Child is a built service: Service where it only picks servers, so that both lanes can
// run it, else Handler. Exactly one is set.
type Child struct {
	Name    string
	Service exchange.Service
	Handler http.Handler
}

// health is what a composed service asks of its children.
type health interface {
	Up(now int64) bool
	Checked() bool
}

// state returns the child's health, or nil where it has none to tell.
func (c Child) state() health {
	if h, ok := c.Service.(health); ok {
		return h
	}
	h, _ := c.Handler.(health)
	return h
}

// Forward turns a service into a handler; the handler lane supplies it.
type Forward func(exchange.Service) http.Handler

func (c Child) handler(f Forward) http.Handler {
	if c.Handler != nil {
		return c.Handler
	}
	return f(c.Service)
}

// group is a service made of services: weighted or highestRandomWeight.
type group struct {
	name    string
	names   []string
	weights []int
	kids    []Child
	rot     *rotation
	sticky  *sticky
	hrw     bool
	checked bool
	doubts  exchange.Doubts
}

// Weighted builds a weighted service. Children are in the order of cfg.Services.
func (d *Draft) Weighted(name string, cfg *config.Weighted, kids []Child, f Forward) (Child, error) {
	g := &group{name: name, checked: cfg.HealthCheck != nil}
	if cfg.Sticky != nil && cfg.Sticky.Cookie != nil {
		g.sticky = newSticky(name, cfg.Sticky.Cookie)
		g.doubts.Add("%s", g.sticky.warning)
	}
	return d.group(g, cfg.Services, kids, f)
}

// HighestRandomWeight builds a service that sends a client address always to the same child.
func (d *Draft) HighestRandomWeight(name string, cfg *config.HighestRandomWeight, kids []Child, f Forward) (Child, error) {
	return d.group(&group{name: name, hrw: true, checked: cfg.HealthCheck != nil}, cfg.Services, kids, f)
}

func (d *Draft) group(g *group, cfg []config.WeightedService, kids []Child, f Forward) (Child, error) {
	handler := false
	for i, s := range cfg {
		w := 1
		if s.Weight != nil {
			w = *s.Weight
		}
		if w < 0 { // no better than zero in the reference
			g.doubts.Add("service %s: weight %d is negative, so that it takes no requests", s.Name, w)
			w = 0
		}
		if g.checked {
			if h := kids[i].state(); h == nil || !h.Checked() {
				return Child{}, fmt.Errorf("service %s has no health check; a healthCheck on %s needs one on each of its services", s.Name, g.name)
			}
		}
		g.names = append(g.names, s.Name)
		g.weights = append(g.weights, w)
		if g.sticky != nil {
			g.sticky.add(s.Name, w > 0) // as written, as the reference hashes it
		}
		handler = handler || kids[i].Handler != nil
	}
	g.kids = kids
	d.book.mu.Lock()
	g.rot = d.book.positions[g.name]
	d.book.mu.Unlock()
	if g.rot == nil || len(g.rot.current) > len(kids) {
		g.rot = &rotation{}
	}
	d.positions[g.name] = g.rot
	if !handler {
		return Child{Name: g.name, Service: g}, nil
	}
	hs := make([]http.Handler, len(kids))
	for i, k := range kids {
		hs[i] = k.handler(f)
	}
	return Child{Name: g.name, Handler: &groupHandler{group: g, handlers: hs, none: f(nobody{})}}, nil
}

// nobody is a service without a server that is up: whoever forwards to it gives the same
// answer as for any other such service.
type nobody struct{}

// Pick implements exchange.Service.
func (nobody) Pick(*exchange.Exchange) (*exchange.Endpoint, exchange.Reason) {
	return nil, exchange.NoServerUp
}

// Up reports whether any child is up; children without health checks count as up.
func (g *group) Up(now int64) bool {
	for i := range g.kids {
		if g.weights[i] > 0 && g.up(i, now) {
			return true
		}
	}
	return false
}

// Checked reports whether the group passes its children's health on.
func (g *group) Checked() bool { return g.checked }

func (g *group) up(i int, now int64) bool {
	if !g.checked {
		return true
	}
	h := g.kids[i].state()
	return h == nil || h.Up(now)
}

// choose returns the child and whether the client holds a good cookie for it.
func (g *group) choose(ex *exchange.Exchange) (int, bool) {
	if g.sticky != nil {
		if i, old := g.sticky.find(&ex.Req.Fields); i >= 0 && g.up(i, ex.Now) {
			return i, !old
		}
	}
	if g.hrw {
		best, score := -1, math.Inf(-1)
		h := hashAddr(ex.Req.Peer.Addr())
		for i := range g.kids {
			if g.weights[i] > 0 && g.up(i, ex.Now) {
				if s := rendezvous(h, g.names[i], g.weights[i]); s > score {
					best, score = i, s
				}
			}
		}
		return best, false
	}
	return g.rot.children(g.weights, func(i int) bool { return g.up(i, ex.Now) }), false
}

// Pick implements exchange.Service.
func (g *group) Pick(ex *exchange.Exchange) (*exchange.Endpoint, exchange.Reason) {
	i, stuck := g.choose(ex)
	if i < 0 {
		if len(g.kids) == 0 {
			return nil, exchange.NoServer
		}
		return nil, exchange.NoServerUp
	}
	ep, why := g.kids[i].Service.Pick(ex)
	if ep != nil && g.sticky != nil && !stuck {
		ex.OnResponse(g, uint64(i))
	}
	return ep, why
}

// Response sets the sticky cookie of the chosen child.
func (g *group) Response(ex *exchange.Exchange, arg uint64) {
	ex.Resp.Fields.Add("Set-Cookie", g.sticky.cookies[arg])
}

// groupHandler is a group with a child that needs the handler lane.
type groupHandler struct {
	*group
	handlers []http.Handler
	none     http.Handler
}

// ServeHTTP passes the request to the chosen child.
func (g *groupHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i, stuck := g.choose(exchangeOf(r))
	if i < 0 {
		g.none.ServeHTTP(w, r)
		return
	}
	if g.sticky != nil && !stuck {
		w.Header().Add("Set-Cookie", g.sticky.cookies[i])
	}
	g.handlers[i].ServeHTTP(w, r)
}

// exchangeOf is the request's exchange. A request that a middleware made by itself, for an
// error page, has none; it gets one that is good for a choice.
func exchangeOf(r *http.Request) *exchange.Exchange {
	if ex := exchange.FromContext(r.Context()); ex != nil {
		return ex
	}
	ex := &exchange.Exchange{Now: time.Now().UnixNano()}
	ex.Req.Peer, _ = netip.ParseAddrPort(r.RemoteAddr)
	for _, v := range r.Header["Cookie"] {
		ex.Req.Fields.Add("Cookie", v)
	}
	return ex
}

// failover uses the fallback while the main service is down.
type failover struct {
	main, fallback Child
	checked        bool
}

// Failover builds a failover service. Where cfg.Errors is set the result is a handler
// that repeats the request on the fallback for those answers.
func (d *Draft) Failover(name string, cfg *config.Failover, main, fallback Child, f Forward) (Child, error) {
	fo := &failover{main: main, fallback: fallback, checked: cfg.HealthCheck != nil}
	if cfg.Errors != nil {
		h, err := newErrorFailover(cfg.Errors, fo, main.handler(f), fallback.handler(f))
		if err != nil {
			return Child{}, err
		}
		return Child{Name: name, Handler: h}, nil
	}
	if main.Service != nil && fallback.Service != nil {
		return Child{Name: name, Service: fo}, nil
	}
	return Child{Name: name, Handler: &failoverHandler{failover: fo, mainH: main.handler(f), fallbackH: fallback.handler(f)}}, nil
}

// Up reports whether either service is up.
func (f *failover) Up(now int64) bool { return childUp(f.main, now) || childUp(f.fallback, now) }

// Checked reports whether the service passes its children's health on.
func (f *failover) Checked() bool { return f.checked }

func childUp(c Child, now int64) bool {
	h := c.state()
	return h == nil || h.Up(now)
}

// Pick implements exchange.Service. A main service whose servers all failed in this very
// exchange counts as down too, so failover works without a health check.
func (f *failover) Pick(ex *exchange.Exchange) (*exchange.Endpoint, exchange.Reason) {
	ex.Backend.FailedOver = false
	if childUp(f.main, ex.Now) {
		if ep, why := f.main.Service.Pick(ex); ep != nil {
			return ep, why
		}
	}
	ep, why := f.fallback.Service.Pick(ex)
	ex.Backend.FailedOver = ep == nil && f.lost(ex.Now)
	return ep, why
}

// lost reports that the fallback is known to be down; its health is asked for with healthCheck only.
func (f *failover) lost(now int64) bool { return f.checked && !childUp(f.fallback, now) }

type failoverHandler struct {
	*failover
	mainH, fallbackH http.Handler
}

// ServeHTTP passes the request to the main service, or to the fallback while it is down.
func (f *failoverHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now().UnixNano()
	switch {
	case childUp(f.main, now):
		f.mainH.ServeHTTP(w, r)
	case f.lost(now):
		refuse(w, r, exchange.NoServerUp)
	default:
		f.fallbackH.ServeHTTP(w, r)
	}
}

// Detach returns a context for work that goes on after the request, with a time limit.
func detach(r *http.Request, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), limit)
}
