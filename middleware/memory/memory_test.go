package memory

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type thing struct{ closed atomic.Bool }

func (t *thing) Close() error { t.closed.Store(true); return nil }

func TestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		fresh := func() *thing { return &thing{} }
		s.Begin()
		a, b := Get(s, "a", fresh), Get(s, "b", fresh)
		s.Commit()
		s.Begin() // given up: a build that failed half way
		Get(s, "c", fresh)
		s.Begin()
		if Get(s, "a", fresh) != a {
			t.Error("a is not remembered")
		}
		s.Commit()
		if s.Len() != 1 {
			t.Errorf("%d objects, want a alone", s.Len())
		}
		time.Sleep(grace / 2)
		synctest.Wait()
		if b.closed.Load() {
			t.Error("b was closed while the old table may still use it")
		}
		time.Sleep(grace)
		synctest.Wait()
		if !b.closed.Load() || a.closed.Load() {
			t.Errorf("closed: a %v, b %v", a.closed.Load(), b.closed.Load())
		}
		if err := s.Close(); err != nil || !a.closed.Load() || s.Len() != 0 {
			t.Error("Close leaves something behind")
		}
	})
}

func TestPartOfATable(t *testing.T) {
	s := New()
	fresh := func() *thing { return &thing{} }
	s.Begin()
	both := Get(s.For("a"), "both", fresh)
	Get(s.For("b"), "both", fresh)
	Get(s.For("a"), "only a", fresh)
	Get(s.For("b"), "only b", fresh)
	s.Commit()
	s.Begin() // a is built anew and asks for nothing any more
	s.CommitPart(map[string]bool{"a": true})
	if s.Len() != 2 || Get(s.For("b"), "both", fresh) != both {
		t.Errorf("%d objects, want both and b's", s.Len())
	}
	s.Begin()
	Get(s.For("c"), "both", fresh)
	s.CommitPart(map[string]bool{"b": true, "c": true})
	if s.Len() != 1 {
		t.Errorf("%d objects, want what c took over", s.Len())
	}
	s.Begin()
	s.Commit()
	if s.Len() != 0 {
		t.Errorf("%d objects after a whole table without any", s.Len())
	}
}

func TestEach(t *testing.T) {
	s := New()
	fresh := func() *thing { return &thing{} }
	s.Begin()
	a, b := Each(s, "m", fresh), Each(s, "m", fresh)
	s.Commit()
	s.Begin()
	a2, b2 := Each(s, "m", fresh), Each(s, "m", fresh)
	s.Commit()
	if a == b || a != a2 || b != b2 {
		t.Error("each use must have an object of its own, and find it again")
	}
	if Get[*thing](nil, "x", fresh) == nil || Each[*thing](nil, "x", fresh) == nil {
		t.Error("without a State")
	}
	if Get(s, "typed", func() int { return 1 }) != 1 || Get(s, "typed", func() string { return "s" }) != "s" {
		t.Error("a key of another type must not be handed out")
	}
}

func TestKey(t *testing.T) {
	first, again := Key(1, "a"), Key(1, "a")
	if Key(1, "a", "b") == Key(1, "a b") || first == Key(2, "a") || first != again {
		t.Error("keys collide or change")
	}
}
