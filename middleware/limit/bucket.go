package limit

import (
	"math"
	"sync"
	"time"

	"github.com/sluice-edge/sluice/middleware/source"
)

// Bounds of the buckets of one limiter. A full bucket is the same as none and is dropped;
// beyond the bound any is, which lets that group begin again.
const (
	bucketShards    = 32
	bucketsLow      = 256  // per shard: below this nothing is swept
	bucketsPerShard = 8192 // per shard at most
)

// rate is a token bucket as the generic cell rate algorithm keeps it: a group is one
// moment, the time at which its bucket will be full again.
type rate struct {
	interval int64 // ns for one token
	burst    int64 // ns for a whole bucket
	maxDelay int64 // ns a request may be held back instead of being refused
}

// newRate returns the rate of average requests per period.
func newRate(average int64, period time.Duration, burst int64) rate {
	burst = max(burst, 1)
	interval := max(int64(period)/average, 1)
	burst = min(burst, math.MaxInt64/4/interval)
	r := rate{interval: interval, burst: burst * interval}
	// The reference's rule: half of the time between two requests, with the rate rounded down
	// to whole requests a second, and half a second below one.
	if average < math.MaxInt64/int64(time.Second) {
		r.maxDelay = int64(time.Second) / (2 * max(average*int64(time.Second)/int64(period), 1))
	}
	return r
}

// next returns the moment after one more request, and how long that request is too early.
func (r rate) next(full, now int64) (after, early int64) {
	after = max(full, now) + r.interval
	return after, max(after-r.burst-now, 0)
}

// buckets hold the moments of all groups. It is safe for concurrent use.
type buckets struct {
	rate
	shards [bucketShards]struct {
		mu    sync.Mutex
		m     map[source.Key]int64
		sweep int // size at which to sweep next
	}
}

func newBuckets(r rate) *buckets {
	b := &buckets{rate: r}
	for i := range b.shards {
		b.shards[i].m = map[source.Key]int64{}
		b.shards[i].sweep = bucketsLow
	}
	return b
}

// take takes a token of a group. It returns how long the request must wait for it; where
// that is longer than maxWait no token is taken.
func (b *buckets) take(k source.Key, now, maxWait int64) (wait int64, ok bool) {
	s := &b.shards[k[0]%bucketShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	full, known := s.m[k]
	after, early := b.next(full, now)
	if early > maxWait {
		return early, false
	}
	if !known && len(s.m) >= s.sweep {
		sweep(s.m, now)
		s.sweep = max(bucketsLow, min(2*len(s.m), bucketsPerShard))
	}
	s.m[k] = after
	return early, true
}

// sweep drops full buckets; where that is not enough, an eighth of the rest, so that the
// next sweep is far enough away.
func sweep(m map[source.Key]int64, now int64) {
	for k, full := range m {
		if full <= now {
			delete(m, k)
		}
	}
	if len(m) < bucketsPerShard {
		return
	}
	for k := range m {
		if len(m) <= bucketsPerShard*7/8 {
			return
		}
		delete(m, k)
	}
}

func (b *buckets) len() int {
	n := 0
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		n += len(s.m)
		s.mu.Unlock()
	}
	return n
}
