package testnet

import (
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Load sends GET requests at a steady rate until stopped and remembers every
// answer that was not 200.
type Load struct {
	client *Client
	host   string
	path   string
	posts  int // every so many requests a POST; 0 for none
	sent   atomic.Int64

	stop chan struct{}
	wg   sync.WaitGroup

	mu    sync.Mutex
	took  []time.Duration
	fails map[string]int
	first time.Time // of the first failure
	start time.Time
}

// StartLoad sends rate requests a second to addr from workers connections.
func StartLoad(addr, host, path string, rate, workers int) *Load {
	return StartMixed(addr, host, path, rate, workers, 0)
}

// StartMixed is StartLoad with a POST and a body in place of every posts-th request.
func StartMixed(addr, host, path string, rate, workers, posts int) *Load {
	l := &Load{client: NewClient(addr), host: host, path: path, posts: posts, stop: make(chan struct{}), fails: map[string]int{}, start: time.Now()}
	l.client.http.Timeout = loadPatience
	gap := time.Second * time.Duration(workers) / time.Duration(rate)
	for w := range workers {
		l.wg.Go(func() {
			next := time.Now().Add(gap * time.Duration(w) / time.Duration(workers))
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(time.Until(next)):
				}
				l.one(next)
				next = next.Add(gap)
			}
		})
	}
	return l
}

// one sends a request; its time counts from when it was due.
func (l *Load) one(due time.Time) {
	method := http.MethodGet
	if n := l.sent.Add(1); l.posts > 0 && n%int64(l.posts) == 0 {
		method = http.MethodPost
	}
	a, err := l.client.do(loadPatience, method, l.host, l.path, func(r *http.Request) {
		r.Header.Set("X-Sluice-Reason", "please") // told to trusted peers
		if method == http.MethodPost {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(loadBody)), int64(len(loadBody))
		}
	})
	took := time.Since(due)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, took)
	switch {
	case err != nil:
		l.fails[method+" "+shorten(err.Error())]++
	case a.Status != 200:
		l.fails[fmt.Sprintf("%s: status %d %q %s", method, a.Status, shorten(a.Body), a.Header.Get("X-Sluice-Reason"))]++
	default:
		return
	}
	if l.first.IsZero() {
		l.first = time.Now()
	}
}

const (
	// loadPatience is how long a request of a load may take: as long as people wait.
	loadPatience = 15 * time.Second
	loadBody     = "what must not be lost"
)

func shorten(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.LastIndex(s, ": "); i >= 0 && len(s) > 80 {
		s = s[i+2:]
	}
	return s
}

// Result is what a load has seen.
type Result struct {
	Sent, Failed  int
	P50, P99, Max time.Duration
	Fails         map[string]int
	// FirstFailure counts from the start; zero if none failed.
	FirstFailure time.Duration
}

// Stop ends the load, waits for its last answers and sums up.
func (l *Load) Stop() Result {
	close(l.stop)
	l.wg.Wait()
	l.client.Close()
	sort.Slice(l.took, func(i, j int) bool { return l.took[i] < l.took[j] })
	r := Result{Sent: len(l.took), Fails: l.fails}
	for _, n := range l.fails {
		r.Failed += n
	}
	if n := len(l.took); n > 0 {
		r.P50, r.P99, r.Max = l.took[n/2], l.took[n*99/100], l.took[n-1]
	}
	if !l.first.IsZero() {
		r.FirstFailure = l.first.Sub(l.start)
	}
	return r
}

// String prints the figures in one line.
func (r Result) String() string {
	s := fmt.Sprintf("%d requests, %d failed, p50 %v, p99 %v, max %v", r.Sent, r.Failed,
		r.P50.Round(10*time.Microsecond), r.P99.Round(10*time.Microsecond), r.Max.Round(10*time.Microsecond))
	for f, n := range r.Fails {
		s += fmt.Sprintf("; %d x %s", n, f)
	}
	return s
}
