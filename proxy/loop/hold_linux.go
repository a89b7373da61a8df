package loop

import (
	"slices"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// holds reports whether a request for which no server was found may wait for one. Requests
// wait in the handler lane, each in a goroutine of its own: a loop waits for nobody.
func holds(ex *exchange.Exchange) bool {
	h := ex.Backend.Holder
	return h != nil && h.MayHold(ex)
}

// held hands a request over to wait whose servers have failed after it was readied for
// them. part is what there is of its body.
func (l *loop) held(cl *client, part []byte) bool {
	ex := cl.ex
	if !holds(ex) {
		return false
	}
	ex.Outgoing, ex.Failed = true, cl.lastFail
	if cl.st != nil {
		body := slices.Concat(rawBody(cl, part), cl.in)
		l.take(cl, len(cl.in))
		l.recycle(cl.in)
		cl.in = nil
		l.handOver(cl, CauseRoute, body)
		return true
	}
	l.handOver(cl, CauseRoute, slices.Concat(part, cl.behind, cl.in))
	return true
}

// leaveDials goes on without servers that are leaving while they are connected to: their
// addresses may be gone, and the kernel would try for seconds.
func (l *loop) leaveDials() {
	for _, c := range l.conns {
		if c == nil || c.dead || c.sv == nil || c.state != sDial || !c.sv.pool.ep.Leaving() {
			continue
		}
		c.sv.alts = nil
		l.dialFailed(c.sv, exchange.DialFailed)
	}
}
