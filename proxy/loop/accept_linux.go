package loop

import (
	"slices"
	"syscall"
	"time"
)

// listener is a listening socket of a loop.
type listener struct {
	fd    int32
	entry *Entry
}

const (
	// acceptBatch bounds what one turn accepts from one socket.
	acceptBatch = 64
	// acceptPause is how long nothing is accepted when there are no descriptors left.
	acceptPause = 100 * time.Millisecond
)

// serve begins to accept.
func (l *loop) serve(ls *listener) {
	if l.draining {
		l.k.Close(ls.fd)
		return
	}
	l.listen = append(l.listen, ls)
	l.watchListener(ls)
}

func (l *loop) watchListener(ls *listener) {
	if l.poll != nil {
		l.poll.WatchListener(ls.fd, ls.entry.cfg.Listener != nil)
	}
}

// accept takes new connections.
func (l *loop) accept(ls *listener) {
	for range acceptBatch {
		fd, peer, e := l.k.Accept(ls.fd)
		switch e {
		case 0:
			if to := l.better(); to != nil {
				if to.post(func(to *loop) { to.admit(ls.entry, fd, peer) }) {
					continue
				}
			}
			l.admit(ls.entry, fd, peer)
		case syscall.EAGAIN:
			return
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
			l.log().Warn().Str("entryPointName", ls.entry.cfg.Name).Err(e).Msg("no more connections can be accepted for now")
			l.k.Unwatch(ls.fd)
			time.AfterFunc(acceptPause, func() {
				l.post(func(l *loop) {
					if slices.Contains(l.listen, ls) {
						l.watchListener(ls)
					}
				})
			})
			return
		}
	}
}

// better returns a loop that should have a new connection rather than l, or nil. The kernel
// spreads connections by chance, which few long ones do not even out. And while there is
// next to nothing to do, one loop does it: it finds its connections to servers open.
func (l *loop) better() *loop {
	own := l.load.Load()
	if first := l.g.loops[0]; l != first && own == 0 && first.load.Load() == 0 {
		return first
	}
	if own < 4 {
		return nil
	}
	best := l.g.lightest()
	if least := best.load.Load(); own <= least+least/4+8 {
		return nil
	}
	return best
}

// newConnGrace is how long a connection that was made just before the end may take to send
// its request, which may be on its way.
const newConnGrace = 500 * time.Millisecond

// drain stops listening and ends the connections that wait for a request.
func (l *loop) drain() {
	if l.draining {
		return
	}
	l.stopListening(nil)
	l.draining = true
	l.endIdle(nil)
	for _, p := range l.pools {
		for p != nil && len(p.idle) > 0 && l.open == 0 {
			l.drop(p.idle[len(p.idle)-1])
		}
	}
}
