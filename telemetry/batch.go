package telemetry

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// keepBuffer is the capacity a buffer may keep between drains, in bytes.
const keepBuffer = 1 << 20

// batch is the log lines of one shard that wait to be written.
type batch struct {
	lines []byte
	marks []mark
}

// mark is where a line begins and ends, and when its request ended in ns since 1970.
type mark struct {
	from, to int
	at       int64
}

// reset empties b and keeps its memory, unless a burst made it large.
func (b *batch) reset() {
	if cap(b.lines) > keepBuffer {
		*b = batch{}
	}
	b.lines, b.marks = b.lines[:0], b.marks[:0]
}

// add appends the lines of o.
func (b *batch) add(o *batch) {
	shift := len(b.lines)
	b.lines = append(b.lines, o.lines...)
	for _, m := range o.marks {
		b.marks = append(b.marks, mark{m.from + shift, m.to + shift, m.at})
	}
}

// sort puts the marks in the order of time. Only goroutines that share a shard can have
// come out of it, so that it is mostly one look at each.
func (b *batch) sort() {
	order := func(x, y mark) int { return cmp.Compare(x.at, y.at) }
	if !slices.IsSortedFunc(b.marks, order) {
		slices.SortStableFunc(b.marks, order)
	}
}

// rest keeps the lines from the n-th mark on, and puts them in the order of their marks.
func (b *batch) rest(n int) {
	left := b.marks[n:]
	if len(left) == 0 {
		b.reset()
		return
	}
	lines := b.lines[:0]
	for i, m := range left {
		if i > 0 && m.from < left[i-1].from {
			lines = make([]byte, 0, len(b.lines)) // they cannot be moved in place
			break
		}
	}
	marks := b.marks[:0]
	for _, m := range left {
		from := len(lines)
		lines = append(lines, b.lines[m.from:m.to]...)
		marks = append(marks, mark{from, len(lines), m.at})
	}
	b.lines, b.marks = lines, marks
}

// take gives the lines that wait and leaves the empty spare in their place.
func (s *Shard) take(spare batch) batch {
	spare.reset()
	s.mu.Lock()
	full := s.batch
	s.batch = spare
	s.mu.Unlock()
	return full
}

// queue brings the shards' lines into the order of their requests' ends: a client that asks
// one thing after the other finds its lines in that order, whichever loops served it. A loop
// writes down a request a moment after the client has its answer, and the shards are looked
// at one after the other; so lines wait here until no earlier one can come. For a loop that
// is known, since it says when its turn began (Shard.Turn), however long the machine keeps its
// thread from running; for goroutines it is a matter of time.
type queue struct {
	pending, spare []batch
	// newest are the latest ends of requests at each of the last takes, the oldest first.
	newest [patience]int64
	merged []byte
}

// settle is how long a line waits for earlier ones: longer than a busy machine keeps a
// goroutine from running. rounds is how many takes that are at least, and patience how many a
// line waits at most, whatever loops say.
const (
	settle   = 240 * time.Millisecond
	rounds   = int(settle / drainEvery)
	patience = int(5 * time.Second / drainEvery)
)

// Turn tells that what is recorded from now on ended at the given moment or later, in ns since
// 1970; zero that nothing is on its way: a loop calls it before it waits. What was recorded
// later than that by others waits in the log for it. A turn's moment must be told before the
// clock is read for it; that of the turn before will do until then.
func (s *Shard) Turn(at int64) { s.turn.Store(at) }

// turned is the moment before which every loop has recorded all, as far as it goes back behind until.
func turned(shards []*Shard, until int64) int64 {
	for _, s := range shards {
		if at := s.turn.Load(); at != 0 {
			until = min(until, at-1)
		}
	}
	return until
}

// take empties the shards and returns the lines that are due at now, which was read before:
// those older than settle that no loop may still precede, and those that have waited for as
// many takes, since the clock may have been set back; all of them where all is set. The bytes
// are valid until the next take. more is set where lines are left.
func (q *queue) take(shards []*Shard, now time.Time, all bool) (lines []byte, more bool) {
	until := max(now.Add(-settle).UnixNano(), q.newest[patience-rounds])
	until = max(turned(shards, until), q.newest[0]) // before the shards are emptied
	if all {
		until = math.MaxInt64
	}
	newest := int64(math.MinInt64)
	for i, s := range shards {
		if i == len(q.pending) {
			q.pending, q.spare = append(q.pending, batch{}), append(q.spare, batch{})
		}
		fresh := s.take(q.spare[i])
		p := &q.pending[i]
		if len(p.marks) == 0 {
			q.spare[i], *p = *p, fresh
		} else {
			p.add(&fresh)
			q.spare[i] = fresh
		}
		p.sort()
		if n := len(p.marks); n > 0 {
			newest = max(newest, p.marks[n-1].at)
		}
	}
	copy(q.newest[:], q.newest[1:])
	q.newest[patience-1] = newest
	if cap(q.merged) > keepBuffer {
		q.merged = nil
	}
	var used []int
	q.merged, used = merge(q.merged[:0], q.pending, until)
	for i := range q.pending {
		q.pending[i].rest(used[i])
		more = more || len(q.pending[i].marks) > 0
	}
	return q.merged, more
}

// merge appends the lines of requests that ended at until or before to dst, in the order of
// their ends, and returns how many it took of each batch.
func merge(dst []byte, batches []batch, until int64) ([]byte, []int) {
	next := make([]int, len(batches)) // index of the next mark of each batch
	for {
		first, second := -1, until
		at := until
		for i := range batches {
			if next[i] == len(batches[i].marks) {
				continue
			}
			switch t := batches[i].marks[next[i]].at; {
			case t > until:
			case first < 0 || t < at:
				if first >= 0 {
					second = min(second, at)
				}
				first, at = i, t
			default:
				second = min(second, t)
			}
		}
		if first < 0 {
			return dst, next
		}
		// A run of lines that come before the next batch's is copied at once.
		b, n := &batches[first], next[first]
		from, to := b.marks[n].from, b.marks[n].to
		for n++; n < len(b.marks) && b.marks[n].at <= second && b.marks[n].from == to; n++ {
			to = b.marks[n].to
		}
		dst = append(dst, b.lines[from:to]...)
		next[first] = n
	}
}
