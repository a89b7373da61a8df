package trace

import (
	"net/http"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Op gives a middleware a span in detailed traces. kind is the name of the span, name that
// of the middleware.
func (t *Tracer) Op(kind, name string, op exchange.Op) exchange.Op {
	return &tracedOp{kind: kind, name: name, op: op}
}

type tracedOp struct {
	kind, name string
	op         exchange.Op
}

// Request implements exchange.Op. The span ends with the request, as what comes behind the
// middleware is inside of it.
func (o *tracedOp) Request(ex *exchange.Exchange) exchange.Verdict {
	a, ok := ex.Trace.(*active)
	if !ok || !a.detailed {
		return o.op.Request(ex)
	}
	outer, i := a.current, len(a.spans)
	a.start(o.kind, kindInternal, now()).attr("traefik.middleware.name", o.name)
	v := o.op.Request(ex)
	if v == exchange.Block { // it will be called again
		a.spans[i].dropped = true
		a.current = outer
	}
	return v
}

// Stage is Op for a stage.
func (t *Tracer) Stage(kind, name string, stage exchange.Stage) exchange.Stage {
	return func(next http.Handler) http.Handler {
		inner := stage(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var a *active
			if ex := exchange.FromContext(r.Context()); ex != nil {
				a, _ = ex.Trace.(*active)
			}
			if a == nil || !a.detailed {
				inner.ServeHTTP(w, r)
				return
			}
			outer, i := a.current, len(a.spans)
			a.start(kind, kindInternal, now()).attr("traefik.middleware.name", name)
			defer func() {
				a.current = outer
				a.spans[i].end = now()
			}()
			inner.ServeHTTP(w, r)
		})
	}
}
