package docker

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestPeersVerdict(t *testing.T) {
	self := Self{ID: "x", Gateways: []netip.Addr{netip.MustParseAddr("172.20.0.1")}, Ingress: netip.MustParsePrefix("10.0.0.0/24")}
	for name, c := range map[string]struct {
		gateway, ingress, other int
		want                    string
	}{
		"too few":      {gateway: peersEnough - 1},
		"gateway":      {gateway: 95, other: 5, want: "gateway"},
		"not all":      {gateway: 94, other: 6},
		"ingress":      {ingress: 60, want: "ingress"},
		"nobody":       {},
		"true clients": {other: 500},
	} {
		p, port := peers{seen: map[netip.AddrPort]bool{}}, uint16(1)
		for addr, n := range map[string]int{"172.20.0.1": c.gateway, "10.0.0.2": c.ingress, "198.51.100.7": c.other} {
			for range n {
				port++
				at := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
				p.add([]netip.AddrPort{at, at, netip.MustParseAddrPort("127.0.0.1:9")}, self)
			}
		}
		if text, fix := p.verdict(); (text == "") != (c.want == "") || !strings.Contains(text, c.want) || (text == "") != (fix == "") {
			t.Errorf("%s: %q %q", name, text, fix)
		}
	}
}

// The kernel's own table shows a connection of this test to the one that accepted it only.
func TestInbound(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Logf("%s: %v", at, err)
			continue
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var found []netip.AddrPort
		for _, name := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Skip(err)
			}
			found = append(found, inbound(string(data))...)
		}
		if text := fmt.Sprint(found); !strings.Contains(text, c.LocalAddr().String()) || strings.Contains(text, l.Addr().String()) {
			t.Errorf("%s -> %s: %s", c.LocalAddr(), l.Addr(), text)
		}
	}
}

// What is read of an address, written again, is the same.
func FuzzKernelAddr(f *testing.F) {
	for _, s := range []string{"0100007F:0050", "00000000000000000000000001000000:01BB", "0000000000000000FFFF00000100007F:0050", ":", "01:02"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := kernelAddr(s)
		if !ok {
			return
		}
		raw := a.Addr().AsSlice()
		for i := 0; i < len(raw); i += 4 {
			raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
		}
		if again, ok := kernelAddr(fmt.Sprintf("%X:%04X", raw, a.Port())); !ok || again != a {
			t.Errorf("%q: %v, again %v", s, a, again)
		}
	})
}
