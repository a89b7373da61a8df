package limit

import (
	"math/bits"
	"time"
)

// The window of a breaker's counts: ten seconds, in buckets of one; that of its latencies
// a minute, in buckets of ten seconds, as with the reference.
const (
	countBuckets   = 10
	countBucket    = time.Second
	latencyBuckets = 6
	latencyBucket  = 10 * time.Second
)

// ring tells which of n buckets is current and clears those that time has passed by.
type ring struct {
	width int64
	last  int64 // number of the current bucket since 1970
}

// advance calls clear for each bucket that begins between the last call and now.
func (r *ring) advance(now int64, n int, clear func(i int)) int {
	cur := now / r.width
	if r.last < cur-int64(n) {
		r.last = cur - int64(n)
	}
	for r.last < cur {
		r.last++
		clear(int(r.last % int64(n)))
	}
	return int(r.last % int64(n))
}

// Statuses from 100 to 999 are counted.
const statuses = 900

// window holds what a breaker's expression can ask for. It is not safe for concurrent use.
type window struct {
	counts    ring
	total     [countBuckets]uint32
	network   [countBuckets]uint32
	codes     [countBuckets][statuses]uint32
	latencies ring
	hist      [latencyBuckets][histSize]uint32
}

func newWindow(now int64) *window {
	w := &window{}
	w.counts.width, w.latencies.width = int64(countBucket), int64(latencyBucket)
	w.counts.last, w.latencies.last = now/w.counts.width, now/w.latencies.width
	return w
}

// reset forgets everything.
func (w *window) reset() {
	w.total, w.network = [countBuckets]uint32{}, [countBuckets]uint32{}
	for i := range w.codes {
		w.codes[i] = [statuses]uint32{}
	}
	for i := range w.hist {
		w.hist[i] = [histSize]uint32{}
	}
}

func (w *window) move(now int64) (count, latency int) {
	count = w.counts.advance(now, countBuckets, func(i int) {
		w.total[i], w.network[i], w.codes[i] = 0, 0, [statuses]uint32{}
	})
	latency = w.latencies.advance(now, latencyBuckets, func(i int) { w.hist[i] = [histSize]uint32{} })
	return count, latency
}

// add counts an answer.
func (w *window) add(now int64, status int, latency time.Duration) {
	c, l := w.move(now)
	w.total[c]++
	if status == 502 || status == 504 {
		w.network[c]++
	}
	if status >= 100 && status < 100+statuses {
		w.codes[c][status-100]++
	}
	w.hist[l][histIndex(uint64(max(latency.Microseconds(), 0)))]++
}

// requests is the number of requests in the window.
func (w *window) requests() (n uint64) {
	for _, k := range w.total {
		n += uint64(k)
	}
	return n
}

// networkErrors is the share of 502 and 504 among all answers.
func (w *window) networkErrors() float64 {
	var total, network uint64
	for i := range w.total {
		total, network = total+uint64(w.total[i]), network+uint64(w.network[i])
	}
	if total == 0 {
		return 0
	}
	return float64(network) / float64(total)
}

// codeRatio is the number of statuses in [a, b) by that in [c, d).
func (w *window) codeRatio(a, b, c, d int) float64 {
	low := w.codeCount(c, d)
	if low == 0 {
		return 0
	}
	return float64(w.codeCount(a, b)) / float64(low)
}

func (w *window) codeCount(from, to int) (n uint64) {
	from, to = max(from-100, 0), min(to-100, statuses)
	for i := range w.codes {
		for s := from; s < to; s++ {
			n += uint64(w.codes[i][s])
		}
	}
	return n
}

// quantileMS is the latency that q percent of the requests did not exceed, in ms.
func (w *window) quantileMS(q float64) float64 {
	var total uint64
	for i := range w.hist {
		for _, n := range w.hist[i] {
			total += uint64(n)
		}
	}
	if total == 0 {
		return 0
	}
	want := max(uint64(q/100*float64(total)+0.5), 1)
	var seen uint64
	for v := range histSize {
		for i := range w.hist {
			seen += uint64(w.hist[i][v])
		}
		if seen >= want {
			return float64(histValue(v) / 1000)
		}
	}
	return 0
}

// The histogram counts microseconds with 6 significant bits: an error of 1.6 %.
const (
	histBits = 6
	histHalf = 1 << (histBits - 1)
	histTop  = 32 // values of up to 2^32 us, which is over an hour
	histSize = 2*histHalf + (histTop-histBits)*histHalf
)

func histIndex(us uint64) int {
	if us >= 1<<histTop {
		return histSize - 1
	}
	if us < 2*histHalf {
		return int(us)
	}
	shift := bits.Len64(us) - histBits
	return shift*histHalf + int(us>>shift)
}

// histValue is the largest value that histIndex maps to i.
func histValue(i int) uint64 {
	if i < 2*histHalf {
		return uint64(i)
	}
	shift := i/histHalf - 1
	return (uint64(i-shift*histHalf)+1)<<shift - 1
}
