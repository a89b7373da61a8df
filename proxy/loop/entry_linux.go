package loop

import (
	"context"
	"slices"
	"time"
)

// CloseListener ends the accepting of new connections; what waits in the queue is taken.
func (e *Entry) CloseListener() {
	for _, l := range e.g.loops {
		l.post(func(l *loop) { l.stopListening(e) })
	}
}

// Shutdown ends one entry point while the others go on: it closes the listeners, lets
// requests under way finish, and cuts what is left when ctx ends.
func (e *Entry) Shutdown(ctx context.Context) error {
	e.ending.Store(true)
	for _, l := range e.g.loops {
		l.post(func(l *loop) {
			l.stopListening(e)
			l.endIdle(e)
		})
	}
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for e.open.Load() > 0 {
		select {
		case <-t.C:
		case <-e.g.done:
			return nil
		case <-ctx.Done():
			for _, l := range e.g.loops {
				l.post(func(l *loop) { l.killAll(e) })
			}
			return ctx.Err()
		}
	}
	return nil
}

// stopListening closes the sockets of an entry point, or of all for nil.
func (l *loop) stopListening(e *Entry) {
	l.listen = slices.DeleteFunc(l.listen, func(ls *listener) bool {
		if e != nil && ls.entry != e {
			return false
		}
		// What is in the queue already would be reset.
		for {
			fd, peer, errno := l.k.accept(ls.fd)
			if errno != 0 {
				break
			}
			l.admit(ls.entry, fd, peer)
		}
		l.k.close(ls.fd)
		return true
	})
}

// endIdle ends the connections that wait for a request, of one entry point or of all.
func (l *loop) endIdle(e *Entry) {
	for _, c := range l.conns {
		if c == nil || c.dead || c.cl == nil || c.state > cHead || len(c.in) > 0 || e != nil && c.cl.entry != e {
			continue
		}
		if c.cl.requests > 0 {
			l.finish(c.cl)
		} else {
			l.wheel.set(&c.timer, l.now+int64(newConnGrace))
		}
	}
}

func (l *loop) killAll(e *Entry) {
	for _, c := range l.conns {
		if c != nil && !c.dead && c.cl != nil && c.cl.entry == e {
			l.kill(c.cl)
		}
	}
}

// leaving reports whether a client's connection is to end after the request in hand.
func (l *loop) leaving(cl *client) bool { return l.draining || cl.entry.ending.Load() }
