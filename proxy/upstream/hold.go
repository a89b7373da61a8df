package upstream

import (
	"context"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// hold is the waiting of one request for a server.
type hold struct {
	again bool // asked anew a server that broke off
	last  bool // no further waiting
	sure  bool // the servers were known to be gone
	// doubt is when it ends that servers which refuse may be about to be replaced.
	doubt time.Time
}

// brokenGrace is how long a request waits whose server broke off before it answered. It has
// died, and then the engine says so, or it breaks off each time, and then waiting is in vain.
const brokenGrace = 250 * time.Millisecond

// waited is how a wait went.
type waited uint8

const (
	over waited = iota // it makes no sense, or no longer
	held               // ask for a server again
	gone               // the client has gone meanwhile
)

// wait waits until there may be a server for call; last is the failure of the one asked
// before. Nothing is read from the client meanwhile, and nothing kept but what was read before.
func (h *hold) wait(ctx context.Context, call *Call, last *Error) waited {
	ex := call.Ex
	q := ex.Backend.Holder
	if q == nil || h.last {
		return over
	}
	changed, until, sure := q.Hold(ex)
	if changed == nil {
		return over
	}
	defer q.Let()
	h.sure = sure
	brokeOff := last != nil && last.Reason == exchange.UpstreamEOF
	if !sure && last != nil {
		if brokeOff && h.again {
			return over
		}
		if h.doubt.IsZero() {
			h.doubt = until
			if brokeOff {
				h.doubt = time.Now().Add(brokenGrace)
			}
		}
		until = h.doubt
	}
	if call.Watch != nil {
		defer call.Watch()()
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return gone
	case <-changed:
		if sure {
			ex.ForgetTried() // one of them may be back
		}
	case <-t.C:
		if last == nil || sure {
			return over
		}
		// One more attempt, at those that failed.
		h.last, h.again, h.doubt = !brokeOff, brokeOff, time.Time{}
		ex.ForgetTried()
	}
	ex.Now = time.Now().UnixNano()
	return held
}

// watchDial ends a dial to an endpoint that is leaving meanwhile: its address may be gone,
// and the kernel would try for seconds.
func watchDial(ctx context.Context, ep *exchange.Endpoint) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	var t *time.Timer
	t = time.AfterFunc(time.Hour, func() {
		if ep.Leaving() {
			cancel(errLeaving)
		} else if ctx.Err() == nil {
			t.Reset(dialPatience)
		}
	})
	t.Reset(dialPatience)
	return ctx, func() { t.Stop(); cancel(nil) }
}

// dialPatience is how long a connection may take before it is looked whether its server leaves.
const dialPatience = 50 * time.Millisecond
