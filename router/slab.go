package router

// slabSize is how many values a slab makes at once.
const slabSize = 128

// slab makes values many at a time: a table has tens of thousands of small ones that live
// and die together, and the collector counts each.
type slab[T any] struct{ free []T }

func (s *slab[T]) make() *T {
	if len(s.free) == 0 {
		s.free = make([]T, slabSize)
	}
	p := &s.free[0]
	s.free = s.free[1:]
	return p
}
