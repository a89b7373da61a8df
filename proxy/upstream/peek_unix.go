//go:build unix

package upstream

import "syscall"

// peeker looks at a socket without reading from it and without waiting.
type peeker struct {
	raw  syscall.RawConn
	n    int
	err  error
	one  [1]byte
	look func(fd uintptr)
}

func newPeeker(c any) *peeker {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	p := &peeker{raw: raw}
	p.look = func(fd uintptr) {
		for {
			p.n, _, p.err = syscall.Recvfrom(int(fd), p.one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			if p.err != syscall.EINTR {
				return
			}
		}
	}
	return p
}

// state tells what the socket holds: bytes, its end (or an error), or nothing.
func (p *peeker) state() sockState {
	if p == nil {
		return sockQuiet
	}
	if p.raw.Control(p.look) != nil { // Control and not Read: an old read deadline must not matter
		return sockEnded
	}
	switch {
	case p.err == syscall.EAGAIN:
		return sockQuiet
	case p.err == nil && p.n > 0:
		return sockBytes
	default:
		return sockEnded
	}
}
