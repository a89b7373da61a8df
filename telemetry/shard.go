package telemetry

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	// cacheSize is the number of slots of a shard's direct-mapped cache; a power of two.
	cacheSize = 512
	// wakeAt is how much waits in a buffer before its writer is hurried; dropAt is how much
	// may wait: beyond it lines are dropped and counted, as a loop must never wait for a disk.
	wakeAt = 128 << 10
	dropAt = 8 << 20
	// maxLabelled bounds the series of one shard that exist for the sake of header labels.
	maxLabelled = 10_000
)

// Shard takes the finished requests of one loop: log bytes into its buffer, and counters.
// It has one writer; its mutex is there for the rare drain and scrape, so that counters
// are plain integers. Request allocates only where a series is new.
type Shard struct {
	hub *Hub

	mu      sync.Mutex
	batch   batch
	copies  []byte // lines of JSON that wait to be sent
	memo    memo
	cache   [cacheSize]*cell
	cells   map[series]*cell
	list    []*cell
	labels  int
	scratch []byte
	// reasons is short and walked: most requests have none.
	reasons []reasonCount
	traffic traffic
	// next and left are the numbers of requests in hand; block is how many were taken last.
	next, left, block uint64
	blockSecond       int64
	dropped           uint64
	turn              atomic.Int64 // see Turn

	_ [64]byte // keeps two loops' shards off one cache line
}

type reasonCount struct {
	reason string
	n      uint64
}

// traffic counts bytes with heads.
type traffic struct{ in, out uint64 }

// series is what requests are told apart by. Totals per entry point, router and service
// are summed from it on scrape.
type series struct {
	entryPoint, router, service, balancer string
	// labels are the values of the header labels, joined by "\x1f".
	labels string
	kind   kind
	tls    uint32
}

// kind packs what else tells requests apart, so that one comparison does: status, origin's
// status, method, protocol, and whether the service was reached.
type kind uint64

func kindOf(r *Record) kind {
	k := kind(uint16(r.Status)) | kind(uint16(r.OriginStatus))<<16 |
		kind(methodIndex(r.Method))<<32 | kind(r.Protocol)<<40
	if r.reached() {
		k |= reachedBit
	}
	if r.Protocol >= GRPCWeb {
		k |= kind(r.GRPCStatus) << 49
	}
	return k
}

const reachedBit kind = 1 << 48

func (k kind) code() int16        { return int16(k) }
func (k kind) originCode() int16  { return int16(k >> 16) }
func (k kind) method() uint8      { return uint8(k >> 32) }
func (k kind) protocol() Protocol { return Protocol(k >> 40) }
func (k kind) reached() bool      { return k&reachedBit != 0 }

// label is the label "code" of a request with an HTTP status: for calls of gRPC theirs.
func (k kind) label(status int16) int16 {
	if k.protocol() >= GRPCWeb {
		return int16(k >> 49)
	}
	return status
}

// tlsOf packs version and cipher suite.
func tlsOf(r *Record) uint32 { return uint32(r.TLSVersion)<<16 | uint32(r.TLSCipher) }

// cell holds the counters of one series. hist are the bucket counts of the whole request,
// then those of the service's share.
type cell struct {
	series
	n, in, out, retries uint64
	sum, originSum      int64
	hist                []uint64
}

func newShard(h *Hub) *Shard {
	return &Shard{hub: h, cells: make(map[series]*cell), memo: memo{clock: clock{location: h.location}, ends: clock{location: h.location}}}
}

// Request implements Sink for one writer.
func (s *Shard) Request(r *Record) {
	h := s.hub
	s.mu.Lock()
	if r.Reason != "" {
		s.countReason(r.Reason)
	}
	if r.Method == "" {
		s.mu.Unlock()
		return
	}
	s.traffic.in += uint64(r.RequestHead + r.RequestBytes)
	s.traffic.out += uint64(r.ResponseHead + r.ResponseBytes)
	if h.counts(r) {
		s.count(r)
	}
	wake := false
	if h.logs(r) {
		wake = s.log(r)
	}
	s.mu.Unlock()
	if wake {
		h.wake()
	}
}

func (s *Shard) countReason(reason string) {
	for i := range s.reasons {
		if s.reasons[i].reason == reason {
			s.reasons[i].n++
			return
		}
	}
	s.reasons = append(s.reasons, reasonCount{strings.Clone(reason), 1})
}

// log notes r in the access log and reports whether the writer must be told.
func (s *Shard) log(r *Record) bool {
	number := s.number(r.Start)
	set := s.hub.settings.Load()
	if !set.filter.keeps(r) {
		return false
	}
	wake := false
	if set.sent != nil {
		wake = len(s.copies) == 0
		if len(s.copies) < dropAt {
			s.copies = set.sent.append(s.copies, r, number, &s.memo)
		}
	}
	return set.format != nil && s.write(set.format, r, number) || wake
}

// write appends the line of r and reports whether the writer must be told.
func (s *Shard) write(f *format, r *Record, number uint64) bool {
	b := &s.batch
	before := len(b.lines)
	if before >= dropAt {
		s.dropped++
		return false
	}
	b.lines = f.append(b.lines, r, number, &s.memo)
	ended := r.Ended
	if ended == 0 {
		ended = r.Start + r.Duration
	}
	b.marks = append(b.marks, mark{before, len(b.lines), ended})
	return before == 0 || before < wakeAt && len(b.lines) >= wakeAt
}

// number gives the request its number. Numbers come from a counter that all shards
// share, in blocks that grow while requests come fast: a counter touched by every
// request would travel from core to core.
func (s *Shard) number(start int64) uint64 {
	if s.left == 0 {
		second := start / int64(time.Second)
		if second == s.blockSecond {
			s.block = min(2*s.block, 256)
		} else {
			s.block = 1
		}
		s.block, s.blockSecond = max(1, s.block), second
		s.next = s.hub.requests.Add(s.block) - s.block + 1
		s.left = s.block
	}
	n := s.next
	s.next++
	s.left--
	return n
}

func (s *Shard) count(r *Record) {
	h := s.hub
	k, tls, labels := kindOf(r), tlsOf(r), ""
	if len(h.headerLabels) > 0 || h.semantic {
		labels, s.scratch = h.labelValues(r, s.scratch)
	}
	router, service, balancer := r.Router, r.Service, r.Balancer
	if !h.named {
		// Nobody asks for series by name: with thousands of routers they would only be
		// memory that no cache holds.
		router, service, balancer = "", "", ""
	}
	slot := &s.cache[slotOf(router, balancer, r.EntryPoint, k, tls, labels)]
	c := *slot
	// Names that are equal are mostly the same string, for which comparing is one step.
	if c == nil || c.kind != k || c.tls != tls || c.router != router || c.service != service ||
		c.entryPoint != r.EntryPoint || c.balancer != balancer || c.labels != labels {
		c = s.cell(series{r.EntryPoint, router, service, balancer, labels, k, tls})
		*slot = c
	}
	c.n++
	c.in += uint64(r.RequestBytes)
	c.out += uint64(r.ResponseBytes)
	c.retries += uint64(r.Retries)
	c.sum += r.Duration
	c.hist[h.bucket(r.Duration)]++
	if k.reached() {
		c.originSum += r.OriginDuration
		c.hist[len(h.bounds)+1+h.bucket(r.OriginDuration)]++
	}
}

// slotOf mixes the addresses of the names, which are the same for all requests of a
// route, with what differs among its requests. A clash costs a map look-up, no more.
func slotOf(router, balancer, entryPoint string, k kind, tls uint32, labels string) uint32 {
	x := addressOf(router) ^ addressOf(balancer)<<3 ^ addressOf(entryPoint)<<7 ^ addressOf(labels)<<11
	x ^= uint64(k)*0xff51afd7ed558ccd ^ uint64(tls)<<13
	x *= 0x9e3779b97f4a7c15
	return uint32(x>>40) & (cacheSize - 1)
}

func addressOf(s string) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.StringData(s)))) }

// cell finds or makes the counters of a series. The key of a new one is cloned: a
// Record's strings live only as long as the call.
func (s *Shard) cell(key series) *cell {
	if c := s.cells[key]; c != nil {
		return c
	}
	if key.labels != "" && s.labels >= maxLabelled {
		key.labels = ""
		return s.cell(key)
	}
	key.entryPoint, key.router = strings.Clone(key.entryPoint), strings.Clone(key.router)
	key.service, key.balancer = strings.Clone(key.service), strings.Clone(key.balancer)
	key.labels = strings.Clone(key.labels)
	c := &cell{series: key, hist: make([]uint64, 2*(len(s.hub.bounds)+1))}
	s.cells[key] = c
	s.list = append(s.list, c)
	if key.labels != "" {
		s.labels++
	}
	return c
}

// each calls do with a copy of every cell. It holds the shard for a few hundred cells
// at a time, so that a scrape does not hold up its loop. Cells are not removed meanwhile:
// the hub's scrape lock is held.
func (s *Shard) each(do func(*cell)) {
	const step = 256
	copies := make([]cell, 0, step)
	hist := make([]uint64, 0, step*2*(len(s.hub.bounds)+1))
	for from := 0; ; from += step {
		copies, hist = copies[:0], hist[:0]
		s.mu.Lock()
		to := min(from+step, len(s.list))
		for i := from; i < to; i++ {
			c := *s.list[i]
			at := len(hist)
			hist = append(hist, c.hist...)
			c.hist = hist[at:len(hist):len(hist)]
			copies = append(copies, c)
		}
		s.mu.Unlock()
		for i := range copies {
			do(&copies[i])
		}
		if len(copies) < step {
			return
		}
	}
}

// fold gives up the series of routers and services that are gone: their requests still
// count for what is left of them.
func (s *Shard) fold(live *names) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.list[:0]
	var gone []*cell
	for _, c := range s.list {
		if live.has(c) {
			kept = append(kept, c)
			continue
		}
		gone = append(gone, c)
		delete(s.cells, c.series)
		if c.labels != "" {
			s.labels--
		}
	}
	if len(gone) == 0 {
		return
	}
	clear(s.list[len(kept):])
	s.list = kept
	s.cache = [cacheSize]*cell{}
	for _, c := range gone {
		s.cell(live.rest(c)).add(c)
	}
}

func (c *cell) add(o *cell) {
	c.n += o.n
	c.in += o.in
	c.out += o.out
	c.retries += o.retries
	c.sum += o.sum
	c.originSum += o.originSum
	for i := range c.hist {
		c.hist[i] += o.hist[i]
	}
}
