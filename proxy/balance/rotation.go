package balance

import (
	"sync"
	"sync/atomic"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// rotation is the round-robin position of a service; it outlives tables.
type rotation struct {
	next atomic.Uint64 // for equal weights

	mu      sync.Mutex
	current map[any]int // smooth weighted round robin: by endpoint or child name
}

// weighted is smooth weighted round robin over the usable endpoints: each gains its
// weight, the richest is taken and pays the sum.
func (r *rotation) weighted(lb *LoadBalancer, ex *exchange.Exchange) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil {
		r.current = map[any]int{}
	}
	best, sum, top := -1, 0, 0
	for i, ep := range lb.eps {
		if lb.weights[i] == 0 || !lb.usable(ex, i) {
			continue
		}
		c := r.current[ep] + lb.weights[i]
		r.current[ep] = c
		sum += lb.weights[i]
		if best < 0 || c > top {
			best, top = i, c
		}
	}
	if best >= 0 {
		r.current[lb.eps[best]] -= sum
	}
	if len(r.current) > 2*len(lb.eps)+8 {
		r.forget(lb.eps)
	}
	return best
}

// forget drops the positions of endpoints that are no longer there.
func (r *rotation) forget(eps []*exchange.Endpoint) {
	keep := make(map[any]int, len(eps))
	for _, ep := range eps {
		keep[ep] = r.current[ep]
	}
	r.current = keep
}

// children is the same over child services; up tells which take part.
func (r *rotation) children(weights []int, up func(i int) bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil {
		r.current = map[any]int{}
	}
	best, sum, top := -1, 0, 0
	for i, w := range weights {
		if w == 0 || !up(i) {
			continue
		}
		c := r.current[i] + w
		r.current[i] = c
		sum += w
		if best < 0 || c > top {
			best, top = i, c
		}
	}
	if best >= 0 {
		r.current[best] -= sum
	}
	return best
}
