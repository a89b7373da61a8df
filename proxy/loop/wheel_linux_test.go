package loop

import (
	"math/rand/v2"
	"testing"
)

func TestWheel(t *testing.T) {
	var w wheel
	now := int64(1e18)
	w.start(now)
	rng := rand.New(rand.NewPCG(1, 2))
	timers := make([]timer, 300)
	want := make(map[*timer]int64)
	fired := func(tm *timer) {
		due, ok := want[tm]
		if !ok || due > now || now-due > 3*tick {
			t.Fatalf("fired at %d, due %d (known %v)", now, due, ok)
		}
		delete(want, tm)
		if rng.IntN(4) == 0 { // set anew from within, as connections do
			want[tm] = now + 1 + rng.Int64N(200*tick)
			w.set(tm, want[tm])
		}
		if other := &timers[rng.IntN(len(timers))]; rng.IntN(4) == 0 && other != tm {
			delete(want, other)
			w.unlink(other)
		}
	}
	for range 20000 {
		tm := &timers[rng.IntN(len(timers))]
		switch rng.IntN(4) {
		case 0:
			w.set(tm, 0)
			delete(want, tm)
		case 1:
			w.unlink(tm)
			delete(want, tm)
		default:
			want[tm] = now + rng.Int64N(3*slots*tick)
			w.set(tm, want[tm])
		}
		if ms := w.wait(now); ms >= 0 && rng.IntN(3) == 0 {
			now += int64(ms) * 1e6
		} else {
			now += rng.Int64N(2 * tick)
		}
		w.advance(now, fired)
		for tm, due := range want {
			if now-due > 3*tick {
				t.Fatalf("not fired at %d, due %d", now, due)
			}
			if tm.deadline != due {
				t.Fatalf("deadline %d, want %d", tm.deadline, due)
			}
		}
	}
	for i := range timers {
		w.unlink(&timers[i])
	}
	if w.n != 0 || w.wait(now) != -1 {
		t.Errorf("%d timers in an empty wheel", w.n)
	}
}
