package entrypoint

import (
	"fmt"
	"net"
	"strings"
)

// Address is where an entry point listens.
type Address struct {
	// Network is tcp or udp.
	Network string
	// Host may be empty: all addresses, of both IP versions.
	Host, Port string
}

// String is what net.Listen takes.
func (a Address) String() string { return net.JoinHostPort(a.Host, a.Port) }

// ParseAddress reads "[host]:port[/tcp|/udp]". The network is read whatever its case, as
// in the reference.
func ParseAddress(s string) (Address, error) {
	a := Address{Network: "tcp"}
	hp, network, found := strings.Cut(s, "/")
	if found {
		a.Network = strings.ToLower(network)
		if a.Network != "tcp" && a.Network != "udp" {
			return Address{}, fmt.Errorf("address %q: %q is not tcp or udp", s, network)
		}
	}
	var err error
	if a.Host, a.Port, err = net.SplitHostPort(hp); err != nil {
		return Address{}, fmt.Errorf("address %q: %w", s, err)
	}
	if a.Port == "" {
		return Address{}, fmt.Errorf("address %q has no port", s)
	}
	return a, nil
}
