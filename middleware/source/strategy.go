package source

import (
	"net/netip"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Strategy finds the address that counts as the client's.
type Strategy struct {
	depth    int
	excluded *Ranges
	bits6    int // 0: whole addresses
}

// NewStrategy builds a Strategy; nil takes the peer's address. field names the option in errors.
// A depth goes before excludedIPs, which go without ipv6Subnet, as with the reference.
func NewStrategy(field string, cfg *config.IPStrategy, warn option.Warn) (*Strategy, error) {
	s := &Strategy{}
	if cfg == nil {
		return s, nil
	}
	if cfg.Depth < 0 {
		warn.Say(field+".depth", "count from 1, the rightmost address of X-Forwarded-For", "%d is negative: it counts as none", cfg.Depth)
	}
	s.depth = max(cfg.Depth, 0)
	if len(cfg.ExcludedIPs) > 0 && s.depth == 0 {
		r, err := ParseRanges(field+".excludedIPs", cfg.ExcludedIPs)
		if err != nil {
			return nil, err
		}
		s.excluded = r
		return s, nil
	}
	if cfg.IPv6Subnet != nil {
		if *cfg.IPv6Subnet <= 0 || *cfg.IPv6Subnet > 128 {
			return nil, option.Errorf(field+".ipv6Subnet", "write for example 64", "%d is not a number of bits", *cfg.IPv6Subnet)
		}
		s.bits6 = *cfg.IPv6Subnet
	}
	return s, nil
}

// Addr returns the client's address, or the zero Addr where X-Forwarded-For does not hold
// what the strategy looks for.
func (s *Strategy) Addr(ex *exchange.Exchange) netip.Addr {
	var a netip.Addr
	switch {
	case s.depth > 0:
		a = forwarded(&ex.Req.Fields, func(n int, _ netip.Addr) bool { return n == s.depth })
	case s.excluded != nil:
		a = forwarded(&ex.Req.Fields, func(_ int, a netip.Addr) bool { return !s.excluded.Contains(a) })
	default:
		a = ex.Req.Peer.Addr()
	}
	a = plain(a)
	if s.bits6 > 0 && a.Is6() {
		if p, err := a.Prefix(s.bits6); err == nil {
			a = p.Addr()
		}
	}
	return a
}

// forwarded walks the addresses of X-Forwarded-For from the right, counted from 1, and
// returns the first that take accepts. Several fields count as one list (RFC 9110 §5.3).
func forwarded(fields *exchange.Fields, take func(n int, a netip.Addr) bool) netip.Addr {
	n := 0
	for i := fields.Len() - 1; i >= 0; i-- {
		f := fields.At(i)
		if !exchange.EqualFold(f.Name, "X-Forwarded-For") {
			continue
		}
		for v := f.Value; ; {
			at := strings.LastIndexByte(v, ',')
			item := strings.TrimSpace(v[at+1:])
			n++
			a := parseAddr(item)
			// An unreadable entry is nobody's address; it may be the one that counts.
			if item != "" && take(n, a) {
				return a
			}
			if at < 0 {
				break
			}
			v = v[:at]
		}
	}
	return netip.Addr{}
}

// parseAddr reads an address, also with a port behind it as some proxies write it.
func parseAddr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a
	}
	if s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
		a, _ := netip.ParseAddr(s)
		return a
	}
	ap, _ := netip.ParseAddrPort(s)
	return ap.Addr()
}
