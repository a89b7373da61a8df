package trace

import (
	"net/http"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Service gives each request to a server that to picks a span, and the fields that carry the
// trace on.
func (t *Tracer) Service(to exchange.Service) exchange.Service { return &service{to: to} }

type service struct{ to exchange.Service }

// Pick implements exchange.Service.
func (s *service) Pick(ex *exchange.Exchange) (*exchange.Endpoint, exchange.Reason) {
	ep, why := s.to.Pick(ex)
	if a, ok := ex.Trace.(*active); ok && ep != nil {
		a.ask(ex, ep)
	}
	return ep, why
}

// ask begins a request to a server.
func (a *active) ask(ex *exchange.Exchange, ep *exchange.Endpoint) {
	a.attempt++
	if a.detailed && !a.service {
		a.service = true
		name := ex.Backend.Service
		if name == "" && ex.Route != nil {
			name = ex.Route.Service
		}
		a.start("Service", kindInternal, now()).attr("traefik.service.name", name)
	}
	outer := a.current
	p := parent{trace: a.trace, sampled: a.sampled, state: a.from.state}
	if a.sampled {
		s := a.start("ReverseProxy", kindClient, now())
		a.asking = len(a.spans) - 1
		a.describeCall(s, ex, ep)
		p.span, a.current = s.id, outer
		ex.OnResponse(a, uint64(a.attempt))
		if ex.Backend.Owner != nil {
			a.owner, ex.Backend.Owner = ex.Backend.Owner, a
		}
	} else {
		p.span = newSpanID()
	}
	for _, w := range a.t.ways {
		w.inject(ex, &p)
	}
}

// answered ends the request to a server.
func (a *active) answered(ex *exchange.Exchange, status int) {
	s := &a.spans[a.asking]
	a.asking = -1
	s.end = now()
	s.status(status, 400)
	if ex != nil {
		a.captureResponse(s, ex)
	}
}

// Release implements exchange.Releaser: it ends a request to a server that was not answered.
func (a *active) Release(ex *exchange.Exchange, ep *exchange.Endpoint, o exchange.Outcome) {
	if a.asking >= 0 {
		switch {
		case o == exchange.Aborted && ex.Reason == exchange.NoReason:
			a.spans[a.asking].dropped = true // it was never sent: the other lane asks again
			a.asking = -1
		case o == exchange.OK:
			a.answered(ex, ex.Resp.Status)
		default:
			a.answered(nil, statusOf(o, ex.Reason))
		}
	}
	owner := a.owner
	a.owner = nil
	owner.Release(ex, ep, o)
}

// statusOf is the status that a failure becomes.
func statusOf(o exchange.Outcome, r exchange.Reason) int {
	switch {
	case o == exchange.Aborted:
		return exchange.StatusClientGone
	case r == exchange.DialTimeout, r == exchange.UpstreamSlow:
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// Call implements exchange.Trace.
func (a *active) Call(name, method, url string) ([]exchange.Field, func(int)) {
	outer := a.current
	p := parent{trace: a.trace, sampled: a.sampled, state: a.from.state}
	end := func(int) {}
	if a.sampled {
		s := a.start(name, kindClient, now())
		s.attr("http.request.method", method)
		s.attr("url.full", a.t.safeURL(url))
		i := len(a.spans) - 1
		p.span, a.current = s.id, outer
		end = func(status int) {
			a.spans[i].end = now()
			a.spans[i].status(status, 400)
		}
	} else {
		p.span = newSpanID()
	}
	var carrier exchange.Exchange
	for _, w := range a.t.ways {
		w.inject(&carrier, &p)
	}
	return carrier.Req.Fields.All(), end
}
