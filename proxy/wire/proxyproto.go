package wire

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
)

// ProxyHeader is what a PROXY header says of a connection.
type ProxyHeader struct {
	// Src is the client, Dst what it connected to. Both are invalid where Local.
	Src, Dst netip.AddrPort
	// Local is set where the header tells no addresses: a health check of the sender, or an
	// unknown family. The connection's own addresses hold.
	Local   bool
	Version uint8
}

// Errors of ParseProxy.
var (
	// ErrNoProxy means that the bytes do not begin a PROXY header at all.
	ErrNoProxy = errors.New("no PROXY header")
	// ErrProxy means that a PROXY header is malformed.
	ErrProxy = errors.New("malformed PROXY header")
)

const (
	proxyV1   = "PROXY "
	proxyV2   = "\r\n\r\n\x00\r\nQUIT\n"
	maxProxy1 = 107 // the specification's bound, with CRLF
	// maxProxy2 bounds the variable part of version 2; address and usual TLVs need some hundred bytes.
	maxProxy2 = 4096
)

// ParseProxy reads the PROXY header, version 1 or 2, at the beginning of b. n == 0 with a
// nil error means that more bytes are needed. TLVs are skipped.
func ParseProxy(b []byte) (h ProxyHeader, n int, err error) {
	switch {
	case begins(b, proxyV1):
		if len(b) < len(proxyV1) {
			return h, 0, nil
		}
		return parseProxy1(b)
	case begins(b, proxyV2):
		if len(b) < 16 {
			return h, 0, nil
		}
		return parseProxy2(b)
	}
	return h, 0, ErrNoProxy
}

// begins reports whether b and s are equal as far as both go.
func begins(b []byte, s string) bool {
	k := min(len(b), len(s))
	return str(b[:k]) == s[:k]
}

func parseProxy1(b []byte) (h ProxyHeader, n int, err error) {
	cut := len(b) >= maxProxy1
	l, n, e := line(b[:min(len(b), maxProxy1)])
	switch {
	case e != nil || n == 0 && cut:
		return h, 0, ErrProxy
	case n == 0:
		return h, 0, nil
	}
	h.Version = 1
	var part [6]string
	k := 0
	for rest := str(l); ; k++ {
		i := 0
		for i < len(rest) && rest[i] != ' ' {
			i++
		}
		if k < len(part) {
			part[k] = rest[:i]
		}
		if i == len(rest) {
			k++
			break
		}
		rest = rest[i+1:]
	}
	if part[1] == "UNKNOWN" {
		h.Local = true
		return h, n, nil
	}
	if k != 6 || part[1] != "TCP4" && part[1] != "TCP6" {
		return h, 0, ErrProxy
	}
	var ok1, ok2 bool
	h.Src, ok1 = proxyAddr(part[2], part[4], part[1] == "TCP4")
	h.Dst, ok2 = proxyAddr(part[3], part[5], part[1] == "TCP4")
	if !ok1 || !ok2 {
		return h, 0, ErrProxy
	}
	return h, n, nil
}

func proxyAddr(addr, port string, v4 bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" || a.Is4() != v4 || len(port) > 5 {
		return netip.AddrPort{}, false
	}
	p, ok := length(port)
	if !ok || p > 65535 || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, uint16(p)), true
}

func parseProxy2(b []byte) (h ProxyHeader, n int, err error) {
	size := int(binary.BigEndian.Uint16(b[14:]))
	if b[12]>>4 != 2 || b[12]&15 > 1 || size > maxProxy2 {
		return h, 0, ErrProxy
	}
	family := b[13]
	need := 0
	switch family {
	case 0x11, 0x12:
		need = 12
	case 0x21, 0x22:
		need = 36
	}
	h.Version = 2
	h.Local = b[12]&15 == 0 || need == 0
	if !h.Local && size < need {
		return h, 0, ErrProxy
	}
	n = 16 + size
	if len(b) < n {
		return h, 0, nil
	}
	if h.Local {
		return h, n, nil
	}
	p := b[16:n]
	if need == 12 {
		h.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[0:4])), binary.BigEndian.Uint16(p[8:]))
		h.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[4:8])), binary.BigEndian.Uint16(p[10:]))
	} else {
		h.Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(p[0:16])), binary.BigEndian.Uint16(p[32:]))
		h.Dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(p[16:32])), binary.BigEndian.Uint16(p[34:]))
	}
	return h, n, nil
}

// AppendProxy appends a header of the given version, 1 or 2. Addresses of different or no
// families make one that tells none (UNKNOWN, LOCAL).
func AppendProxy(dst []byte, version int, src, to netip.AddrPort) []byte {
	s, d := src.Addr().Unmap().WithZone(""), to.Addr().Unmap().WithZone("")
	known := s.IsValid() && d.IsValid()
	if known && s.Is4() != d.Is4() {
		// A mixed pair is told in IPv6.
		s, d = netip.AddrFrom16(s.As16()), netip.AddrFrom16(d.As16())
	}
	if version == 1 {
		return appendProxy1(dst, s, d, src.Port(), to.Port(), known)
	}
	dst = append(dst, proxyV2...)
	switch {
	case !known:
		return append(dst, 0x20, 0, 0, 0)
	case s.Is4():
		dst = append(dst, 0x21, 0x11, 0, 12)
		a, b := s.As4(), d.As4()
		dst = append(append(dst, a[:]...), b[:]...)
	default:
		dst = append(dst, 0x21, 0x21, 0, 36)
		a, b := s.As16(), d.As16()
		dst = append(append(dst, a[:]...), b[:]...)
	}
	dst = binary.BigEndian.AppendUint16(dst, src.Port())
	return binary.BigEndian.AppendUint16(dst, to.Port())
}

func appendProxy1(dst []byte, s, d netip.Addr, sp, dp uint16, known bool) []byte {
	switch {
	case !known:
		return append(dst, "PROXY UNKNOWN\r\n"...)
	case s.Is4():
		dst = append(dst, "PROXY TCP4 "...)
	default:
		dst = append(dst, "PROXY TCP6 "...)
	}
	dst = append(s.AppendTo(dst), ' ')
	dst = append(d.AppendTo(dst), ' ')
	dst = append(strconv.AppendUint(dst, uint64(sp), 10), ' ')
	dst = strconv.AppendUint(dst, uint64(dp), 10)
	return append(dst, '\r', '\n')
}
