package telemetry

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/sluice-edge/sluice/config"
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

// TestMergeKeepsTheOrderOfEnds compares with sorting, over many random batches.
func TestMergeKeepsTheOrderOfEnds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var all []int64
		batches := make([]batch, random.IntN(5))
		for i := range batches {
			at := int64(0)
			for range random.IntN(20) {
				at += random.Int64N(4)
				all = append(all, at)
				batches[i].lines = fmt.Appendf(batches[i].lines, "%d\n", at)
				batches[i].marks = append(batches[i].marks, mark{len(batches[i].lines), at})
			}
		}
		slices.Sort(all)
		var want []byte
		for _, at := range all {
			want = fmt.Appendf(want, "%d\n", at)
		}
		if got := merge(nil, batches); !bytes.Equal(got, want) {
			t.Fatalf("round %d: %q, want %q", round, got, want)
		}
	}
}

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
