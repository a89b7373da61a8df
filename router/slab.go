package router

// slabSize is how many values a slab makes at once, at most: it begins with few, so that a
// table that is patched does not keep many for the sake of one.
const slabSize = 128

// slab makes values many at a time: a table has tens of thousands of small ones that live
// and die together, and the collector counts each.
type slab[T any] struct {
	free []T
	size int
}

func (s *slab[T]) make() *T {
	if len(s.free) == 0 {
		s.size = min(max(1, 2*s.size), slabSize)
		s.free = make([]T, s.size)
	}
	p := &s.free[0]
	s.free = s.free[1:]
	return p
}
