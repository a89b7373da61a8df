package loop

// The timer wheel is coarse: a deadline fires up to tick late. A node sits in the slot of
// the time it is to be looked at, which may be long before its deadline: most deadlines
// move later with every event, which then costs one store and no list work.
const (
	tick  = int64(50e6) // ns
	slots = 1024        // one round is 51 s
)

type timer struct {
	next, prev *timer
	c          *conn
	// deadline is when it fires, in ns since 1970; 0 means never.
	deadline int64
	// at is the tick of its slot; 0 while it is in no list.
	at int64
}

type wheel struct {
	slot [slots]timer // heads of circular lists
	now  int64        // the last tick that was done
	n    int
	// soonest is a tick before which nothing is due; past ones say nothing.
	soonest int64
}

func (w *wheel) start(now int64) {
	w.now = now / tick
	for i := range w.slot {
		h := &w.slot[i]
		h.next, h.prev = h, h
	}
}

// set gives t a deadline; 0 takes it away.
func (w *wheel) set(t *timer, deadline int64) {
	t.deadline = deadline
	if deadline == 0 {
		return // it stays in its slot, and leaves the wheel when that comes
	}
	due := min(max(deadline/tick+1, w.now+1), w.now+slots-1)
	if t.at != 0 {
		if t.at <= due {
			return
		}
		w.unlink(t)
	}
	w.link(t, due)
}

func (w *wheel) link(t *timer, due int64) {
	t.at = due
	w.soonest = min(w.soonest, due)
	h := &w.slot[due%slots]
	t.next, t.prev = h, h.prev
	h.prev.next, h.prev = t, t
	w.n++
}

func (w *wheel) unlink(t *timer) {
	if t.at == 0 {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.next, t.prev, t.at = nil, nil, 0
	w.n--
}

// advance calls fire for what is due at now. fire may set and unlink any timer.
func (w *wheel) advance(now int64, fire func(*timer)) {
	for w.now < now/tick {
		w.now++
		if w.n == 0 {
			w.now = now / tick
			return
		}
		// set never puts anything into the slot of now: it ends.
		for h := &w.slot[w.now%slots]; h.next != h; {
			t := h.next
			w.unlink(t)
			switch {
			case t.deadline == 0:
			case t.deadline <= now:
				t.deadline = 0
				fire(t)
			default:
				w.set(t, t.deadline)
			}
		}
	}
}

// wait returns for how many ms there is nothing to do at most; -1 for ever.
func (w *wheel) wait(now int64) int {
	if w.n == 0 {
		return -1
	}
	if w.soonest <= w.now {
		w.soonest = w.now + slots
		for i := int64(1); i < slots; i++ {
			if h := &w.slot[(w.now+i)%slots]; h.next != h {
				w.soonest = w.now + i
				break
			}
		}
	}
	return int(max(0, (w.soonest*tick-now)/1e6)) + 1
}
