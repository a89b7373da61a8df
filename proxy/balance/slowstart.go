package balance

import (
	"math/rand/v2"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// leastShare is the part of its share that a server gets the moment it enters rotation. Zero
// would leave it cold: it warms up by requests.
const leastShare = 0.05

// ease passes some of the requests for a server that entered rotation a moment ago to one that
// has been there for longer. Where none has, all are as cold as each other.
func (lb *LoadBalancer) ease(ex *exchange.Exchange, i int) int {
	age := lb.age(ex, i)
	if age >= lb.slow || rand.Float64() < max(leastShare, float64(age)/float64(lb.slow)) {
		return i
	}
	n := len(lb.eps)
	at := rand.IntN(n) // not the turn: every second one would be that of a pair again
	for k := range n {
		if j := (at + k) % n; j != i && lb.weights[j] > 0 && lb.usable(ex, j) && lb.age(ex, j) >= lb.slow {
			return j
		}
	}
	return i
}

// age is how long a server has been in rotation.
func (lb *LoadBalancer) age(ex *exchange.Exchange, i int) time.Duration {
	return time.Duration(ex.Now - lb.eps[i].Since.Load())
}
