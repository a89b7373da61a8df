// Package source tells where a request comes from: whose address counts, which group it
// belongs to, and whether an address lies in a list of ranges. It does not allocate.
package source

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/middleware/option"
)

// Ranges is an immutable set of addresses.
type Ranges struct{ spans []span }

// span is an inclusive range of addresses of one family; spans are sorted and apart.
type span struct{ from, to netip.Addr }

// ParseRanges reads addresses and CIDR ranges; field names the option in errors.
func ParseRanges(field string, list []string) (*Ranges, error) {
	r := &Ranges{}
	for _, text := range list {
		p, err := parsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, option.Errorf(field, "write an address such as 10.0.0.7 or a range such as 10.0.0.0/8",
				"%q is neither an address nor a range", text)
		}
		r.spans = append(r.spans, span{p.Addr(), last(p)})
	}
	slices.SortFunc(r.spans, func(a, b span) int { return a.from.Compare(b.from) })
	merged := r.spans[:0]
	for _, s := range r.spans {
		if n := len(merged); n > 0 && merged[n-1].to.BitLen() == s.from.BitLen() && s.from.Compare(merged[n-1].to) <= 0 {
			if merged[n-1].to.Less(s.to) {
				merged[n-1].to = s.to
			}
			continue
		}
		merged = append(merged, s)
	}
	r.spans = merged
	return r, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// last returns the last address of a masked prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Contains reports whether a is in the set. The zero Addr is in none.
func (r *Ranges) Contains(a netip.Addr) bool {
	a = plain(a)
	lo, hi := 0, len(r.spans)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if r.spans[mid].from.Compare(a) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	// Addresses order by family first, so a span of the other family ends before a.
	return lo > 0 && a.IsValid() && r.spans[lo-1].to.BitLen() == a.BitLen() && a.Compare(r.spans[lo-1].to) <= 0
}

// plain takes the zone and the IPv4-in-IPv6 form off an address.
func plain(a netip.Addr) netip.Addr {
	if a.Zone() != "" {
		a = a.WithZone("")
	}
	return a.Unmap()
}
