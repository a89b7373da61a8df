package stream

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// tellLocal makes the kernel tell to which of the machine's addresses a datagram was sent,
// where the port is open on all of them. False means that it is not told.
func tellLocal(c *net.UDPConn) bool {
	a, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok || !a.IP.IsUnspecified() {
		return false
	}
	rc, err := c.SyscallConn()
	if err != nil {
		return false
	}
	told := false
	_ = rc.Control(func(fd uintptr) { // a socket of IPv6 tells addresses of IPv4 in its way, too
		told = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVPKTINFO, 1) == nil ||
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_PKTINFO, 1) == nil
	})
	return told
}

// replyFrom makes what the kernel told of a datagram into what it is to be told for the
// answers: the same address. The interface is left to its routes, but for addresses that
// have a meaning on one link only.
func replyFrom(told []byte) []byte {
	out := slices.Clone(told)
	messages, err := syscall.ParseSocketControlMessage(out)
	if err != nil || len(messages) != 1 {
		return nil
	}
	m := messages[0]
	switch {
	case m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_PKTINFO && len(m.Data) >= syscall.SizeofInet4Pktinfo:
		binary.NativeEndian.PutUint32(m.Data, 0)
	case m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == syscall.IPV6_PKTINFO && len(m.Data) >= syscall.SizeofInet6Pktinfo:
		a := netip.AddrFrom16([16]byte(m.Data))
		if a.IsMulticast() {
			return nil
		}
		if !a.IsLinkLocalUnicast() {
			binary.NativeEndian.PutUint32(m.Data[16:], 0)
		}
	default:
		return nil
	}
	return out
}
