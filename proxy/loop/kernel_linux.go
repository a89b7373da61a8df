package loop

import (
	"net/netip"
	"syscall"

	"github.com/sluice-edge/sluice/proxy/loop/epoll"
)

// kernel is what the state machines ask of the system (epoll.Poll). None of its calls waits.
type kernel interface {
	Read(fd int32, b []byte) (int, syscall.Errno)
	Write(fd int32, b []byte) (int, syscall.Errno)
	// Peek tells whether there is a byte to read: 1, 0 at the end, or EAGAIN.
	Peek(fd int32) (int, syscall.Errno)
	Accept(fd int32) (int32, netip.AddrPort, syscall.Errno)
	// Dial begins a connection; pending means that it will be writable when there is one.
	Dial(to epoll.Target) (fd int32, pending bool, e syscall.Errno)
	// Dialled returns how a pending connection went.
	Dialled(fd int32) syscall.Errno
	Watch(fd int32, gen uint32) syscall.Errno
	Unwatch(fd int32)
	// Shut ends the sending half.
	Shut(fd int32)
	Close(fd int32)
	// Reset closes so that the other side sees an error.
	Reset(fd int32)
}
