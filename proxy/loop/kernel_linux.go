package loop

import (
	"net/netip"
	"syscall"
	"unsafe"
)

// kernel is what the state machines ask of the system. None of its calls waits.
type kernel interface {
	read(fd int32, b []byte) (int, syscall.Errno)
	write(fd int32, b []byte) (int, syscall.Errno)
	// peek tells whether there is a byte to read: 1, 0 at the end, or EAGAIN.
	peek(fd int32) (int, syscall.Errno)
	accept(fd int32) (int32, netip.AddrPort, syscall.Errno)
	// dial begins a connection; pending means that it will be writable when there is one.
	dial(to target) (fd int32, pending bool, e syscall.Errno)
	// dialled returns how a pending connection went.
	dialled(fd int32) syscall.Errno
	watch(fd int32, gen uint32) syscall.Errno
	unwatch(fd int32)
	// shut ends the sending half.
	shut(fd int32)
	close(fd int32)
	// reset closes so that the other side sees an error.
	reset(fd int32)
}

// target is where to connect to: a unix path, or an address.
type target struct {
	path string
	addr netip.AddrPort
}

const (
	epollIn, epollOut, epollErr, epollHup = 0x1, 0x4, 0x8, 0x10
	epollRdHup                            = 0x2000
	epollExclusive                        = 1 << 28
	epollEdge                             = 1 << 31
	soReusePort                           = 15
)

// epoll is the kernel itself. Calls that cannot wait skip the scheduler (RawSyscall): its
// bookkeeping would cost more than they do.
type epoll struct{ fd int }

func (k *epoll) read(fd int32, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), e
}

func (k *epoll) write(fd int32, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

func (k *epoll) peek(fd int32) (int, syscall.Errno) {
	var b [1]byte
	n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

func (k *epoll) accept(fd int32) (int32, netip.AddrPort, syscall.Errno) {
	var sa syscall.RawSockaddrAny
	size := uint32(unsafe.Sizeof(sa))
	n, _, e := syscall.RawSyscall6(syscall.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)),
		syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1, netip.AddrPort{}, e
	}
	return int32(n), addrOf(&sa), 0
}

// addrOf reads a socket address; a unix one is invalid.
func addrOf(sa *syscall.RawSockaddrAny) netip.AddrPort {
	port := func(p *uint16) uint16 {
		b := (*[2]byte)(unsafe.Pointer(p))
		return uint16(b[0])<<8 | uint16(b[1])
	}
	switch sa.Addr.Family {
	case syscall.AF_INET:
		s := (*syscall.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), port(&s.Port))
	case syscall.AF_INET6:
		s := (*syscall.RawSockaddrInet6)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr).Unmap(), port(&s.Port))
	}
	return netip.AddrPort{}
}

// sockaddr is the raw form of to, and its length.
func sockaddr(to target, sa *syscall.RawSockaddrAny) (family int, size uintptr, e syscall.Errno) {
	putPort := func(p *uint16, v uint16) {
		b := (*[2]byte)(unsafe.Pointer(p))
		b[0], b[1] = byte(v>>8), byte(v)
	}
	switch a := to.addr.Addr().Unmap(); {
	case to.path != "":
		s := (*syscall.RawSockaddrUnix)(unsafe.Pointer(sa))
		if len(to.path) >= len(s.Path) {
			return 0, 0, syscall.ENAMETOOLONG
		}
		s.Family = syscall.AF_UNIX
		for i := range len(to.path) {
			s.Path[i] = int8(to.path[i])
		}
		if to.path[0] == '@' { // an abstract name
			s.Path[0] = 0
			return syscall.AF_UNIX, uintptr(2 + len(to.path)), 0
		}
		return syscall.AF_UNIX, uintptr(2 + len(to.path) + 1), 0
	case a.Is4():
		s := (*syscall.RawSockaddrInet4)(unsafe.Pointer(sa))
		s.Family, s.Addr = syscall.AF_INET, a.As4()
		putPort(&s.Port, to.addr.Port())
		return syscall.AF_INET, syscall.SizeofSockaddrInet4, 0
	case a.Is6():
		s := (*syscall.RawSockaddrInet6)(unsafe.Pointer(sa))
		s.Family, s.Addr = syscall.AF_INET6, a.As16()
		putPort(&s.Port, to.addr.Port())
		return syscall.AF_INET6, syscall.SizeofSockaddrInet6, 0
	}
	return 0, 0, syscall.EADDRNOTAVAIL
}

func (k *epoll) dial(to target) (int32, bool, syscall.Errno) {
	var sa syscall.RawSockaddrAny
	family, size, e := sockaddr(to, &sa)
	if e != 0 {
		return -1, false, e
	}
	n, _, e := syscall.RawSyscall(syscall.SYS_SOCKET, uintptr(family), syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if e != 0 {
		return -1, false, e
	}
	fd := int32(n)
	if family != syscall.AF_UNIX {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	_, _, e = syscall.RawSyscall(syscall.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), size)
	switch e {
	case 0:
		return fd, false, 0
	case syscall.EINPROGRESS, syscall.EINTR:
		return fd, true, 0
	}
	k.close(fd)
	return -1, false, e
}

func (k *epoll) dialled(fd int32) syscall.Errno {
	v, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil {
		return syscall.EIO
	}
	return syscall.Errno(v)
}

func (k *epoll) watch(fd int32, gen uint32) syscall.Errno {
	ev := syscall.EpollEvent{Events: epollIn | epollOut | epollRdHup | epollEdge, Fd: fd, Pad: int32(gen)}
	_, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_CTL, uintptr(k.fd), syscall.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	return e
}

func (k *epoll) unwatch(fd int32) {
	var ev syscall.EpollEvent
	_, _, _ = syscall.RawSyscall6(syscall.SYS_EPOLL_CTL, uintptr(k.fd), syscall.EPOLL_CTL_DEL, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
}

func (k *epoll) shut(fd int32) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_SHUTDOWN, uintptr(fd), syscall.SHUT_WR, 0)
}

func (k *epoll) close(fd int32) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0)
}

func (k *epoll) reset(fd int32) {
	_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	k.close(fd)
}

// wait fills evs: at once if block is off, else when something happens or ms have passed (-1: never).
func (k *epoll) wait(evs []syscall.EpollEvent, block bool, ms int) int {
	p, n := uintptr(unsafe.Pointer(unsafe.SliceData(evs))), uintptr(len(evs))
	var got uintptr
	var e syscall.Errno
	if !block {
		got, _, e = syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(k.fd), p, n, 0, 0, 0)
	} else {
		got, _, e = syscall.Syscall6(syscall.SYS_EPOLL_PWAIT, uintptr(k.fd), p, n, uintptr(ms), 0, 0)
	}
	if e != 0 {
		return 0
	}
	return int(got)
}
