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
