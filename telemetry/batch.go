package telemetry

import "math"

// keepBuffer is the capacity a buffer may keep between drains, in bytes.
const keepBuffer = 1 << 20

// batch is the log lines of one shard that wait to be written.
type batch struct {
	lines []byte
	marks []mark
}

// mark is where a line ends, and when its request ended in ns since 1970.
type mark struct {
	end int
	at  int64
}

// reset empties b and keeps its memory, unless a burst made it large.
func (b *batch) reset() {
	if cap(b.lines) > keepBuffer {
		*b = batch{}
	}
	b.lines, b.marks = b.lines[:0], b.marks[:0]
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

// merge appends the lines of all batches to dst in the order of their requests' ends: a
// client that asks one thing after the other finds its lines in that order, whichever
// loops served it.
func merge(dst []byte, batches []batch) []byte {
	next := make([]int, len(batches)) // index of the next mark of each batch
	for {
		first, second := -1, int64(math.MaxInt64)
		at := int64(math.MaxInt64)
		for i := range batches {
			if next[i] == len(batches[i].marks) {
				continue
			}
			switch t := batches[i].marks[next[i]].at; {
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
			return dst
		}
		// A run of lines that come before the next batch's is copied at once.
		b, from := &batches[first], next[first]
		start := 0
		if from > 0 {
			start = b.marks[from-1].end
		}
		to := from + 1
		for to < len(b.marks) && b.marks[to].at <= second {
			to++
		}
		dst = append(dst, b.lines[start:b.marks[to-1].end]...)
		next[first] = to
	}
}
