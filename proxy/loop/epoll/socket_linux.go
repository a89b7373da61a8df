package epoll

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// Duplicates returns n descriptors of one listener.
func Duplicates(ln *net.TCPListener, n int) (fds []int32, err error) {
	rc, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	var dup error
	err = rc.Control(func(p uintptr) {
		for range n {
			fd, _, e := syscall.Syscall(syscall.SYS_FCNTL, p, syscall.F_DUPFD_CLOEXEC, 0)
			if e != 0 {
				dup = os.NewSyscallError("fcntl", e)
				return
			}
			fds = append(fds, int32(fd))
		}
		_ = syscall.SetsockoptInt(int(p), syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	})
	if err = errors.Join(err, dup); err != nil {
		closeAll(fds)
	}
	return fds, err
}

func closeAll(fds []int32) {
	for _, fd := range fds {
		_ = syscall.Close(int(fd))
	}
}

// Listen opens n sockets at the same address, among which the kernel spreads connections.
func Listen(addr string, reuse bool, n int) (fds []int32, at net.Addr, err error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	if !reuse && a.Port != 0 {
		// SO_REUSEPORT would let another program of ours share the port without a word.
		fd, err := bound(a, false)
		if err != nil {
			return nil, nil, err
		}
		_ = syscall.Close(int(fd))
	}
	for range n {
		fd, err := bound(a, true)
		if err == nil {
			fds = append(fds, fd)
			if err = syscall.Listen(int(fd), backlog); err != nil {
				err = os.NewSyscallError("listen", err)
			} else if a.Port == 0 {
				a.Port, err = portOf(fd)
			}
		}
		if err != nil {
			closeAll(fds)
			return nil, nil, err
		}
	}
	return fds, a, nil
}

const (
	backlog     = 4096
	soReusePort = 15
)

// bound returns a socket bound to a. Its options are inherited by the connections it accepts.
func bound(a *net.TCPAddr, reuse bool) (int32, error) {
	family := syscall.AF_INET6
	var sa syscall.Sockaddr
	switch ip4 := a.IP.To4(); {
	case ip4 != nil:
		family, sa = syscall.AF_INET, &syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip4)}
	case len(a.IP) == net.IPv6len:
		s := &syscall.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP)}
		if a.Zone != "" {
			if i, err := net.InterfaceByName(a.Zone); err == nil {
				s.ZoneId = uint32(i.Index)
			}
		}
		sa = s
	default: // every address, of both families where there are two
		sa = &syscall.SockaddrInet6{Port: a.Port}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err == syscall.EAFNOSUPPORT && len(a.IP) == 0 {
		family, sa = syscall.AF_INET, &syscall.SockaddrInet4{Port: a.Port}
		fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	set := func(level, opt, v int) {
		if err == nil {
			err = syscall.SetsockoptInt(fd, level, opt, v)
		}
	}
	set(syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if reuse {
		set(syscall.SOL_SOCKET, soReusePort, 1)
	}
	set(syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	set(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1)
	set(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 15)
	set(syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15)
	if family == syscall.AF_INET6 {
		only := 0
		if len(a.IP) != 0 && !a.IP.IsUnspecified() {
			only = 1
		}
		set(syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, only)
	}
	if err == nil {
		err = syscall.Bind(fd, sa)
	}
	if err != nil {
		_ = syscall.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return int32(fd), nil
}

func portOf(fd int32) (int, error) {
	sa, err := syscall.Getsockname(int(fd))
	switch s := sa.(type) {
	case *syscall.SockaddrInet4:
		return s.Port, err
	case *syscall.SockaddrInet6:
		return s.Port, err
	}
	return 0, err
}

// Conn makes a net.Conn of a descriptor and closes that.
func Conn(fd int32) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "")
	if f == nil {
		return nil, os.ErrInvalid
	}
	nc, err := net.FileConn(f)
	return nc, errors.Join(err, f.Close())
}

// Descriptor returns a duplicate of c's descriptor.
func Descriptor(c net.Conn) (int32, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return -1, errors.ErrUnsupported
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := int32(-1)
	var dup error
	err = rc.Control(func(p uintptr) {
		n, _, e := syscall.Syscall(syscall.SYS_FCNTL, p, syscall.F_DUPFD_CLOEXEC, 0)
		if e != 0 {
			dup = e
			return
		}
		fd = int32(n)
	})
	return fd, errors.Join(err, dup)
}
