package epoll

import (
	"net/netip"
	"os"
	"syscall"
	"unsafe"
)

// Target is where to connect to: a unix path, or an address.
type Target struct {
	Path string
	Addr netip.AddrPort
}

// The events of epoll.
const (
	In, Out, Err, Hup = 0x1, 0x4, 0x8, 0x10
	RdHup             = 0x2000
	exclusive         = 1 << 28
	edge              = 1 << 31
)

// Poll is an epoll instance with an eventfd in it, by which other threads wake it. Its
// methods take descriptors of non-blocking sockets. Calls that cannot wait skip the
// scheduler (RawSyscall): its bookkeeping would cost more than they do.
type Poll struct {
	fd   int
	wake int32
}

// New returns an instance.
func New() (*Poll, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	n, _, e := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if e != 0 {
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("eventfd2", e)
	}
	p := &Poll{fd: fd, wake: int32(n)}
	ev := syscall.EpollEvent{Events: In, Fd: p.wake}
	if err := syscall.EpollCtl(fd, syscall.EPOLL_CTL_ADD, int(n), &ev); err != nil {
		p.End()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return p, nil
}

// End closes the instance.
func (p *Poll) End() {
	_ = syscall.Close(p.fd)
	_ = syscall.Close(int(p.wake))
}

// Wake ends a Wait, now or the next. It may be called by any goroutine, but not after End.
func (p *Poll) Wake() {
	one := [8]byte{1}
	_, _ = syscall.Write(int(p.wake), one[:])
}

// Woken reports whether fd, which an event named, is that of Wake, and takes note of it.
func (p *Poll) Woken(fd int32) bool {
	if fd != p.wake {
		return false
	}
	var b [8]byte
	_, _ = syscall.Read(int(fd), b[:])
	return true
}

// WatchListener makes the instance tell of connections to accept, with 0 beside the
// descriptor. A listener that several instances watch wakes one of them, not all.
func (p *Poll) WatchListener(fd int32, shared bool) {
	events := uint32(In)
	if shared {
		events |= exclusive
	}
	ev := syscall.EpollEvent{Events: events, Fd: fd}
	_ = syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, int(fd), &ev)
}

// Read reads into b. recvfrom(2) is shorter in the kernel than read(2), by a tenth of a microsecond.
func (p *Poll) Read(fd int32, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		0, 0, 0)
	return int(n), e
}

// Write sends b, without a signal for a broken connection.
func (p *Poll) Write(fd int32, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

// Peek tells whether there is a byte to read: 1, 0 at the end, or EAGAIN.
func (p *Poll) Peek(fd int32) (int, syscall.Errno) {
	var b [1]byte
	n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

// Accept takes a connection off a listening socket.
func (p *Poll) Accept(fd int32) (int32, netip.AddrPort, syscall.Errno) {
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
func sockaddr(to Target, sa *syscall.RawSockaddrAny) (family int, size uintptr, e syscall.Errno) {
	putPort := func(p *uint16, v uint16) {
		b := (*[2]byte)(unsafe.Pointer(p))
		b[0], b[1] = byte(v>>8), byte(v)
	}
	switch a := to.Addr.Addr().Unmap(); {
	case to.Path != "":
		s := (*syscall.RawSockaddrUnix)(unsafe.Pointer(sa))
		if len(to.Path) >= len(s.Path) {
			return 0, 0, syscall.ENAMETOOLONG
		}
		s.Family = syscall.AF_UNIX
		for i := range len(to.Path) {
			s.Path[i] = int8(to.Path[i])
		}
		if to.Path[0] == '@' { // an abstract name
			s.Path[0] = 0
			return syscall.AF_UNIX, uintptr(2 + len(to.Path)), 0
		}
		return syscall.AF_UNIX, uintptr(2 + len(to.Path) + 1), 0
	case a.Is4():
		s := (*syscall.RawSockaddrInet4)(unsafe.Pointer(sa))
		s.Family, s.Addr = syscall.AF_INET, a.As4()
		putPort(&s.Port, to.Addr.Port())
		return syscall.AF_INET, syscall.SizeofSockaddrInet4, 0
	case a.Is6():
		s := (*syscall.RawSockaddrInet6)(unsafe.Pointer(sa))
		s.Family, s.Addr = syscall.AF_INET6, a.As16()
		putPort(&s.Port, to.Addr.Port())
		return syscall.AF_INET6, syscall.SizeofSockaddrInet6, 0
	}
	return 0, 0, syscall.EADDRNOTAVAIL
}

// Dial begins a connection; pending means that it will be writable when there is one.
func (p *Poll) Dial(to Target) (int32, bool, syscall.Errno) {
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
	p.Close(fd)
	return -1, false, e
}

// Dialled returns how a pending connection went.
func (p *Poll) Dialled(fd int32) syscall.Errno {
	v, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil {
		return syscall.EIO
	}
	return syscall.Errno(v)
}

// Watch makes the instance tell of every change of fd, with gen beside it (edge-triggered).
func (p *Poll) Watch(fd int32, gen uint32) syscall.Errno {
	ev := syscall.EpollEvent{Events: In | Out | RdHup | edge, Fd: fd, Pad: int32(gen)}
	_, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_CTL, uintptr(p.fd), syscall.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	return e
}

// Unwatch ends that.
func (p *Poll) Unwatch(fd int32) {
	var ev syscall.EpollEvent
	_, _, _ = syscall.RawSyscall6(syscall.SYS_EPOLL_CTL, uintptr(p.fd), syscall.EPOLL_CTL_DEL, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
}

// Shut ends the sending half.
func (p *Poll) Shut(fd int32) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_SHUTDOWN, uintptr(fd), syscall.SHUT_WR, 0)
}

// Close closes a descriptor.
func (p *Poll) Close(fd int32) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0)
}

// Reset closes a connection so that the other side sees an error.
func (p *Poll) Reset(fd int32) {
	_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	p.Close(fd)
}

// Wait fills evs: at once if block is off, else when something happens or ms have passed (-1: never).
func (p *Poll) Wait(evs []syscall.EpollEvent, block bool, ms int) int {
	at, n := uintptr(unsafe.Pointer(unsafe.SliceData(evs))), uintptr(len(evs))
	var got uintptr
	var e syscall.Errno
	if !block {
		got, _, e = syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd), at, n, 0, 0, 0)
	} else {
		got, _, e = syscall.Syscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd), at, n, uintptr(ms), 0, 0)
	}
	if e != 0 {
		return 0
	}
	return int(got)
}
