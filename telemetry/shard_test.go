package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testnet"
)

func sample() Record {
	return Record{
		EntryPoint: "web", Router: "a@file", Service: "s@file",
		ServerURL: "http://127.0.0.1:8081", ServerAddr: "127.0.0.1:8081",
		Peer:   netip.MustParseAddrPort("127.0.0.1:40000"),
		Method: "GET", Host: "a.test", Target: "/x?q=1", Proto: "HTTP/1.1",
		Status: 200, OriginStatus: 200, OriginBytes: 5, ResponseBytes: 5,
		Start: 1700000000123456789, Duration: 7_654_321, OriginDuration: 7_000_000,
	}
}

func accessLog(change func(*config.AccessLog)) *config.Static {
	c := &config.AccessLog{}
	c.SetDefaults()
	if change != nil {
		change(c)
	}
	return &config.Static{AccessLog: c}
}

func prometheusOn(s *config.Static, change func(*config.Prometheus)) *config.Static {
	p := &config.Prometheus{}
	p.SetDefaults()
	if change != nil {
		change(p)
	}
	s.Metrics = &config.Metrics{Prometheus: p}
	return s
}

func newHub(t testing.TB, s *config.Static) *Hub {
	t.Helper()
	h, err := New(Options{Static: s, Stdout: discard{}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// TestRequestDoesNotAllocate holds the promise to the lanes, for every format.
func TestRequestDoesNotAllocate(t *testing.T) {
	for _, format := range []string{"common", "genericCLF", "json"} {
		h := newHub(t, prometheusOn(accessLog(func(c *config.AccessLog) { c.Format = format }), func(p *config.Prometheus) {
			p.HeaderLabels = map[string]string{"tenant": "X-Tenant"}
		}))
		s := h.Shard()
		r := sample()
		r.Reason = "dial_refused"
		r.RequestHeaders = append(r.RequestHeaders, Header{"x-tenant", "blue"})
		spare := batch{lines: make([]byte, 0, keepBuffer), marks: make([]mark, 0, 1<<14)}
		s.batch.marks = make([]mark, 0, 1<<14)
		s.Request(&r)
		n := testing.AllocsPerRun(1000, func() {
			s.Request(&r)
			if len(s.batch.lines) > 1<<16 {
				spare = s.take(spare)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations a request", format, n)
		}
	}
}

// TestNumbersAreUnique checks that blocks neither overlap nor leave out a number when
// requests come slowly.
func TestNumbersAreUnique(t *testing.T) {
	h := newHub(t, accessLog(nil))
	a, b := h.Shard(), h.Shard()
	seen := map[uint64]bool{}
	for i := range 5000 {
		start := int64(i) * 1e6
		for _, s := range []*Shard{a, b} {
			n := s.number(start)
			if n == 0 || seen[n] {
				t.Fatalf("number %d at %d is zero or seen", n, i)
			}
			seen[n] = true
		}
	}
	slow := newHub(t, accessLog(nil)).Shard()
	for i := range 10 {
		if n := slow.number(int64(i+1) * 1e9); n != uint64(i+1) {
			t.Fatalf("request %d has number %d", i+1, n)
		}
	}
}

// TestDropsRatherThanWaits checks that a log that nobody drains stays bounded.
func TestDropsRatherThanWaits(t *testing.T) {
	h := newHub(t, accessLog(nil))
	s := h.Shard()
	r := sample()
	for range dropAt/100 + 10_000 {
		s.Request(&r)
	}
	if len(s.batch.lines) > dropAt+1000 {
		t.Errorf("%d bytes wait", len(s.batch.lines))
	}
	if h.Counters().LinesDropped == 0 {
		t.Error("no line was counted as dropped")
	}
}

// TestLinesComeInTheOrderOfEnds takes random lines, which loops wrote down late and goroutines
// out of their order, in many steps, and compares with sorting.
func TestLinesComeInTheOrderOfEnds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		shards := make([]*Shard, 1+random.IntN(4))
		for i := range shards {
			shards[i] = &Shard{}
		}
		var all []int64
		var got []byte
		q := queue{}
		now := time.Unix(1_700_000_000, 0)
		for range random.IntN(30) {
			for range random.IntN(10) {
				at := now.Add(-time.Duration(random.Int64N(int64(settle)))).UnixNano()
				all = append(all, at)
				b := &shards[random.IntN(len(shards))].batch
				from := len(b.lines)
				b.lines = fmt.Appendf(b.lines, "%d\n", at)
				b.marks = append(b.marks, mark{from, len(b.lines), at})
			}
			now = now.Add(drainEvery)
			lines, _ := q.take(shards, now, false)
			got = append(got, lines...)
		}
		lines, more := q.take(shards, now, true)
		if got = append(got, lines...); more {
			t.Fatal("lines are left after all were taken")
		}
		slices.Sort(all)
		var want []byte
		for _, at := range all {
			want = fmt.Appendf(want, "%d\n", at)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("round %d: %q, want %q", round, got, want)
		}
	}
}

// TestLinesDoNotWaitForTheClock sets the clock back: lines of the old time must not wait for it.
func TestLinesDoNotWaitForTheClock(t *testing.T) {
	s, q, now := &Shard{}, queue{}, time.Unix(1_700_000_000, 0)
	s.batch = batch{lines: []byte("line\n"), marks: []mark{{0, 5, now.Add(time.Hour).UnixNano()}}}
	for range rounds {
		if lines, more := q.take([]*Shard{s}, now, false); len(lines) > 0 || !more {
			t.Fatalf("%q, more %v", lines, more)
		}
		now = now.Add(drainEvery)
	}
	if lines, more := q.take([]*Shard{s}, now, false); string(lines) != "line\n" || more {
		t.Fatalf("%q, more %v", lines, more)
	}
}

// TestLinesWaitForATurn holds back a loop between an answer and its line, for longer than lines
// wait by themselves: what a later request of another loop wrote comes behind it.
func TestLinesWaitForATurn(t *testing.T) {
	a, b, q, now := &Shard{}, &Shard{}, queue{}, time.Unix(1_700_000_000, 0)
	shards := []*Shard{a, b}
	line := func(s *Shard, text string, at time.Time) {
		from := len(s.batch.lines)
		s.batch.lines = append(s.batch.lines, text...)
		s.batch.marks = append(s.batch.marks, mark{from, len(s.batch.lines), at.UnixNano()})
	}
	first := now
	a.Turn(first.UnixNano())
	line(b, "zero\n", now.Add(-time.Millisecond))
	line(b, "second\n", now.Add(time.Millisecond))
	var got []byte
	for range 10 * rounds {
		now = now.Add(drainEvery)
		lines, more := q.take(shards, now, false)
		if got = append(got, lines...); !more {
			t.Fatal("nothing waits")
		}
	}
	if string(got) != "zero\n" {
		t.Fatalf("%q", got)
	}
	line(a, "first\n", first)
	a.Turn(0)
	lines, more := q.take(shards, now.Add(drainEvery), false)
	if got = append(got, lines...); string(got) != "zero\nfirst\nsecond\n" || more {
		t.Fatalf("%q, more %v", got, more)
	}
}

// TestNobodyWaitsForATurnForEver bounds what a loop that hangs costs.
func TestNobodyWaitsForATurnForEver(t *testing.T) {
	a, b, q, now := &Shard{}, &Shard{}, queue{}, time.Unix(1_700_000_000, 0)
	a.Turn(now.UnixNano())
	b.batch = batch{lines: []byte("line\n"), marks: []mark{{0, 5, now.Add(time.Millisecond).UnixNano()}}}
	for n := 0; ; n++ {
		now = now.Add(drainEvery)
		lines, _ := q.take([]*Shard{a, b}, now, false)
		if (len(lines) > 0) != (n == patience) {
			t.Fatalf("take %d: %q", n, lines)
		}
		if n == patience {
			return
		}
	}
}

// TestSequentialRequestsOfTwoLoops lets two shards take turns, as two loops do for one client.
func TestSequentialRequestsOfTwoLoops(t *testing.T) {
	var out syncBuffer
	h, err := New(Options{Static: accessLog(nil), Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.Run(ctx) })
	const turns = 3000
	answered := [2]chan int{make(chan int, 1), make(chan int, 1)}
	for i := range answered {
		s := h.Shard()
		wg.Go(func() {
			last := int64(1)
			for n := range answered[i] {
				r := sample()
				s.Turn(last)
				last = time.Now().UnixNano()
				s.Turn(last)
				r.Target, r.Start, r.Duration = fmt.Sprintf("/%d", n), last, 0
				if n+1 < turns {
					answered[1-i] <- n + 1 // the client has its answer before the line is written down
				}
				switch {
				case n%1000 == 500:
					time.Sleep(2 * settle) // the machine has other things to do
				case n%50 == 0:
					time.Sleep(time.Millisecond)
				}
				s.Request(&r)
				s.Turn(0)
			}
		})
	}
	answered[0] <- 0
	for deadline := time.Now().Add(20 * time.Second); out.count() < turns && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	close(answered[0])
	close(answered[1])
	cancel()
	wg.Wait()
	for n, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		if !strings.Contains(line, fmt.Sprintf(`"GET /%d `, n)) {
			t.Fatalf("line %d is %s", n, line)
		}
	}
	if n := out.count(); n != turns {
		t.Fatalf("%d lines, want %d", n, turns)
	}
}

// syncBuffer is a buffer for several goroutines, whose lines are counted.
type syncBuffer struct{ testnet.Output }

func (b *syncBuffer) count() int { return strings.Count(b.String(), "\n") }

func BenchmarkRequestCommon(b *testing.B) { benchmark(b, accessLog(nil)) }

func BenchmarkRequestJSON(b *testing.B) {
	benchmark(b, accessLog(func(c *config.AccessLog) { c.Format = "json" }))
}

func BenchmarkRequestCounters(b *testing.B) { benchmark(b, prometheusOn(&config.Static{}, nil)) }

// BenchmarkRequestCountersManyRoutes spreads requests over 10,000 routes, which do not
// fit into the cache.
func BenchmarkRequestCountersManyRoutes(b *testing.B) {
	h := newHub(b, prometheusOn(&config.Static{}, nil))
	s := h.Shard()
	records := make([]Record, 10_000)
	for i := range records {
		records[i] = sample()
		records[i].Router = string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + "@file"
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.Request(&records[i])
		if i++; i == len(records) {
			i = 0
		}
	}
}

func benchmark(b *testing.B, c *config.Static) {
	h := newHub(b, c)
	s := h.Shard()
	r := sample()
	spare := batch{lines: make([]byte, 0, keepBuffer), marks: make([]mark, 0, 1<<14)}
	s.batch.marks = make([]mark, 0, 1<<14)
	b.ReportAllocs()
	for b.Loop() {
		s.Request(&r)
		if len(s.batch.lines) > 1<<18 {
			spare = s.take(spare)
		}
	}
}

// BenchmarkTurn is what a loop's turn costs more for the access log's order.
func BenchmarkTurn(b *testing.B) {
	s := &Shard{}
	at := int64(1)
	for b.Loop() {
		at++
		s.Turn(at)
	}
}
