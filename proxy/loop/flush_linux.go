package loop

import (
	"github.com/sluice-edge/sluice/proxy/wire/h2"
)

// room makes room for n more bytes of frames.
func (l *loop) room(cl *client, n int) {
	fr := cl.fr
	if fr.out == nil {
		fr.out = l.buffer(n)
		return
	}
	fr.out = l.grow(fr.out, n)
}

// touch makes the frames of a connection leave soon: those of all its streams together, in
// one write.
func (l *loop) touch(cl *client) {
	if !cl.fr.dirty {
		cl.fr.dirty = true
		l.dirty = append(l.dirty, cl)
	}
}

// maxHeld is how many turns frames wait at most while events go on coming: answers of several
// streams then share a record and a write. Before the loop waits they are sent in any case.
const maxHeld = 3

// settleFrames sends all frames that wait.
func (l *loop) settleFrames() {
	l.waited = 0
	for !l.flushDirty() {
	}
}

// flushDirty sends the frames that were gathered. It reports false like events.
func (l *loop) flushDirty() (done bool) {
	defer l.rescue()
	for len(l.dirty) > 0 {
		n := len(l.dirty) - 1
		cl := l.dirty[n]
		l.dirty[n] = nil
		l.dirty = l.dirty[:n]
		l.current = &cl.conn
		if cl.dead || cl.fr == nil {
			continue
		}
		cl.fr.dirty = false
		l.flushFrames(cl)
		l.endFrames(cl)
	}
	return true
}

// flushFrames sends the frames that were gathered.
func (l *loop) flushFrames(cl *client) {
	fr := cl.fr
	b := fr.out
	fr.out = nil
	if cl.dead {
		return
	}
	if len(b) > 0 && !l.send(&cl.conn, b) {
		l.recycle(b)
		l.kill(cl)
		return
	}
	l.recycle(b)
	if len(cl.out) == 0 {
		fr.acks = 0
	}
}

// endFrames ends a connection that has said GOAWAY and has no streams any more.
func (l *loop) endFrames(cl *client) {
	if !cl.dead && cl.state == cFrames && cl.fr.away && len(cl.fr.streams) == 0 && len(cl.out) == 0 && len(cl.fr.out) == 0 && !cl.fr.busy {
		l.finishFrames(cl)
	}
}

// finishFrames closes a connection so that the client gets all that was sent.
func (l *loop) finishFrames(cl *client) {
	if cl.dead || cl.state != cFrames {
		return
	}
	l.finish(cl)
}

// framesDrained is called when the client has taken all that waited.
func (l *loop) framesDrained(cl *client) {
	cl.fr.acks = 0
	l.windowsOpened(cl)
	if !cl.dead {
		l.touch(cl) // it may be over
		l.proceed(cl)
	}
}

// goAway tells the client to open no more streams; the connection ends with those it has.
func (l *loop) goAway(cl *client, c h2.Code) {
	fr := cl.fr
	if fr.away || cl.dead || cl.state != cFrames {
		return
	}
	fr.away = true
	l.room(cl, 64)
	fr.out = h2.AppendGoAway(fr.out, fr.last, c)
	l.touch(cl)
}

// framesTimer sets the deadline of a connection: for the rest of a field block, or for the
// next stream where there is none. Streams have their own.
func (l *loop) framesTimer(cl *client) {
	fr, cfg := cl.fr, &cl.entry.cfg
	if len(fr.streams) > 0 {
		fr.idleBy = 0
	} else if fr.idleBy == 0 {
		d := cfg.IdleTimeout
		if d <= 0 || cl.requests == 0 && cfg.ReadTimeout > 0 {
			d = cfg.ReadTimeout
		}
		if d > 0 {
			fr.idleBy = l.now + int64(d)
		}
	}
	switch {
	case !fr.rd.Partial() && len(cl.in) == 0:
		cl.headBy = 0
	case cl.headBy == 0 && cfg.ReadTimeout > 0:
		cl.headBy = l.now + int64(cfg.ReadTimeout)
	}
	l.wheel.set(&cl.timer, sooner(fr.idleBy, cl.headBy))
}

// framesExpired ends a connection that is idle, or whose field block does not come.
func (l *loop) framesExpired(cl *client) {
	if cl.headBy > 0 && l.now >= cl.headBy || cl.fr.away {
		l.kill(cl)
		return
	}
	l.goAway(cl, h2.NoError)
	l.wheel.set(&cl.timer, l.now+int64(lingerTime)) // it may not take even that
}

// leaveFrames ends a connection of HTTP/2 in good order, because the entry point ends.
func (l *loop) leaveFrames(cl *client) {
	if cl.requests == 0 && len(cl.fr.streams) == 0 && len(cl.fr.begun) == 0 {
		l.wheel.set(&cl.timer, l.now+int64(newConnGrace))
		return
	}
	l.goAway(cl, h2.NoError)
}
