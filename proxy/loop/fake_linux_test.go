package loop

import (
	"math/rand/v2"
	"net/netip"
	"syscall"

	"github.com/sluice-edge/sluice/proxy/loop/epoll"
)

// fake is a kernel without sockets: bytes move when the test lets them, in pieces and with
// readiness as Linux does it. A read takes what has arrived and is short only if that was
// all; a write that takes less than all is followed by an event when there is room again.
type fake struct {
	rng   *rand.Rand
	socks map[int32]*sock
	next  int32
	// events wait to be given to the loop.
	events []syscall.EpollEvent
	// connect decides about dials; nil error makes a server.
	connect func(to epoll.Target) (s *sock, pending bool, e syscall.Errno)
	closed  int
}

// sock is the edge's end of a connection; far is who is at the other end.
type sock struct {
	k     *fake
	fd    int32
	gen   uint32
	watch bool

	flight []byte // sent by the far end, not arrived
	rx     []byte // arrived
	fin    bool   // the far end has ended its half behind flight
	finIn  bool   // that has arrived
	broken bool   // reset

	tx      []byte // sent by the edge, not taken by the far end
	room    int
	full    bool // the edge met a full buffer
	shutOut bool // the edge has ended its half
	gone    bool // the edge has closed
	wasCut  bool // the edge's end was a reset for the far end

	pending syscall.Errno // result of a pending dial; -1 none
	dialing bool
}

func newFake(seed uint64) *fake {
	return &fake{rng: rand.New(rand.NewPCG(seed, 7)), socks: map[int32]*sock{}, next: 10}
}

func (k *fake) socket() *sock {
	k.next++
	s := &sock{k: k, fd: k.next, room: 2000 + k.rng.IntN(100_000)}
	if k.rng.IntN(4) == 0 {
		s.room = 100 + k.rng.IntN(900)
	}
	k.socks[s.fd] = s
	return s
}

func (k *fake) raise(s *sock, ev uint32) {
	if s.watch && !s.gone {
		k.events = append(k.events, syscall.EpollEvent{Events: ev, Fd: s.fd, Pad: int32(s.gen)})
	}
}

func (k *fake) Read(fd int32, b []byte) (int, syscall.Errno) {
	s := k.socks[fd]
	switch {
	case len(s.rx) > 0:
		n := copy(b, s.rx)
		s.rx = s.rx[n:]
		return n, 0
	case s.broken:
		return -1, syscall.ECONNRESET
	case s.finIn:
		return 0, 0
	}
	return -1, syscall.EAGAIN
}

func (k *fake) Peek(fd int32) (int, syscall.Errno) {
	s := k.socks[fd]
	switch {
	case len(s.rx) > 0:
		return 1, 0
	case s.broken:
		return -1, syscall.ECONNRESET
	case s.finIn:
		return 0, 0
	}
	return -1, syscall.EAGAIN
}

func (k *fake) Write(fd int32, b []byte) (int, syscall.Errno) {
	s := k.socks[fd]
	switch {
	case s.broken || s.shutOut:
		return -1, syscall.EPIPE
	case s.dialing:
		return -1, syscall.EAGAIN
	case len(s.tx) >= s.room:
		s.full = true
		return -1, syscall.EAGAIN
	}
	n := min(len(b), s.room-len(s.tx))
	s.tx = append(s.tx, b[:n]...)
	if n < len(b) {
		s.full = true
	}
	return n, 0
}

func (k *fake) Accept(int32) (int32, netip.AddrPort, syscall.Errno) {
	return -1, netip.AddrPort{}, syscall.EAGAIN
}

func (k *fake) Dial(to epoll.Target) (int32, bool, syscall.Errno) {
	s, pending, e := k.connect(to)
	if e != 0 {
		return -1, false, e
	}
	return s.fd, pending, 0
}

func (k *fake) Dialled(fd int32) syscall.Errno {
	s := k.socks[fd]
	s.dialing = false
	return s.pending
}

func (k *fake) Watch(fd int32, gen uint32) syscall.Errno {
	s := k.socks[fd]
	s.watch, s.gen = true, gen
	if k.rng.IntN(2) == 0 && !s.dialing { // epoll tells at once what is ready when a descriptor is added
		ev := uint32(epoll.Out)
		if len(s.rx) > 0 {
			ev |= epoll.In
		}
		k.raise(s, ev)
	}
	return 0
}

func (k *fake) Unwatch(fd int32) { k.socks[fd].watch = false }

func (k *fake) Shut(fd int32) { k.socks[fd].shutOut = true }

func (k *fake) Close(fd int32) {
	s := k.socks[fd]
	if s.gone {
		panic("closed twice")
	}
	// Closing with bytes unread resets, and the far end may lose what it has not taken.
	if len(s.rx) > 0 && !s.broken {
		s.wasCut = true
		if k.rng.IntN(2) == 0 {
			s.tx = nil
		}
	}
	s.gone, s.shutOut = true, true
	delete(k.socks, fd)
	k.closed++
}

func (k *fake) Reset(fd int32) {
	s := k.socks[fd]
	s.wasCut = true
	k.Close(fd)
}

// The far end.

// arrive lets some of what the far end has sent come to the edge.
func (s *sock) arrive() {
	if s.gone || s.dialing {
		return
	}
	k := s.k
	n := len(s.flight)
	if n > 0 && k.rng.IntN(3) > 0 {
		n = 1 + k.rng.IntN(n)
	}
	s.rx = append(s.rx, s.flight[:n]...)
	s.flight = s.flight[n:]
	ev := uint32(epoll.In)
	if len(s.flight) == 0 && s.fin && !s.finIn {
		s.finIn = true
		ev |= epoll.RdHup
	} else if n == 0 {
		return
	}
	if k.rng.IntN(3) == 0 {
		ev |= epoll.Out // epoll tells all that is ready, not only what has changed
	}
	k.raise(s, ev)
}

// take gives the far end up to n of the bytes the edge has sent.
func (s *sock) take(n int) []byte {
	n = min(n, len(s.tx))
	b := append([]byte(nil), s.tx[:n]...)
	s.tx = s.tx[n:]
	if s.full && len(s.tx) < s.room/2+1 {
		s.full = false
		s.k.raise(s, epoll.Out)
	}
	return b
}

// ended reports that the far end will read no more bytes.
func (s *sock) ended() bool { return (s.shutOut || s.gone || s.broken) && len(s.tx) == 0 }

// smash resets the connection.
func (s *sock) smash() {
	if s.gone || s.broken {
		return
	}
	s.broken, s.flight, s.rx, s.tx = true, nil, nil, nil
	s.k.raise(s, epoll.In|epoll.Out|epoll.Err|epoll.Hup|epoll.RdHup)
}

// finishDial lets a pending dial end.
func (s *sock) finishDial() {
	if !s.dialing || s.gone {
		return
	}
	ev := uint32(epoll.Out)
	if s.pending != 0 {
		ev |= epoll.Err | epoll.Hup | epoll.In
	} else {
		s.dialing = false
	}
	s.k.raise(s, ev)
}

// batch returns some of the waiting events, shuffled, sometimes merged as epoll does.
func (k *fake) batch() []syscall.EpollEvent {
	merged := k.events[:0:0]
	for _, ev := range k.events {
		found := false
		for i := range merged {
			if merged[i].Fd == ev.Fd && merged[i].Pad == ev.Pad {
				merged[i].Events |= ev.Events
				found = true
			}
		}
		if !found {
			merged = append(merged, ev)
		}
	}
	k.rng.Shuffle(len(merged), func(i, j int) { merged[i], merged[j] = merged[j], merged[i] })
	n := len(merged)
	if n > 1 {
		n = 1 + k.rng.IntN(n)
	}
	k.events = append([]syscall.EpollEvent(nil), merged[n:]...)
	return merged[:n]
}
