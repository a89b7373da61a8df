package wire

import (
	"net/netip"
	"strings"
	"testing"
)

const v2 = "\r\n\r\n\x00\r\nQUIT\n"

func TestParseProxy(t *testing.T) {
	v4 := ProxyHeader{Src: netip.MustParseAddrPort("192.0.2.9:4000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	v4b := v4
	v4.Version, v4b.Version = 1, 2
	tests := map[string]struct {
		in   string
		want ProxyHeader
		err  error
	}{
		"v1":            {"PROXY TCP4 192.0.2.9 192.0.2.1 4000 80\r\n", v4, nil},
		"v1 six":        {"PROXY TCP6 2001:db8::1 2001:db8::2 4000 80\r\n", ProxyHeader{Version: 1, Src: netip.MustParseAddrPort("[2001:db8::1]:4000"), Dst: netip.MustParseAddrPort("[2001:db8::2]:80")}, nil},
		"v1 unknown":    {"PROXY UNKNOWN\r\n", ProxyHeader{Version: 1, Local: true}, nil},
		"v1 unknown, +": {"PROXY UNKNOWN a b c d\r\n", ProxyHeader{Version: 1, Local: true}, nil},
		"v1 bad addr":   {"PROXY TCP4 bad 192.0.2.1 4000 80\r\n", ProxyHeader{}, ErrProxy},
		"v1 wrong kind": {"PROXY TCP4 ::1 ::1 4000 80\r\n", ProxyHeader{}, ErrProxy},
		"v1 short":      {"PROXY TCP4 192.0.2.9 192.0.2.1 4000\r\n", ProxyHeader{}, ErrProxy},
		"v1 long":       {"PROXY TCP4 192.0.2.9 192.0.2.1 4000 80 1\r\n", ProxyHeader{}, ErrProxy},
		"v1 port":       {"PROXY TCP4 192.0.2.9 192.0.2.1 4000 70000\r\n", ProxyHeader{}, ErrProxy},
		"v1 bare LF":    {"PROXY TCP4 192.0.2.9 192.0.2.1 4000 80\n", ProxyHeader{}, ErrProxy},
		"v1 endless":    {"PROXY TCP4 " + strings.Repeat("1", 120), ProxyHeader{}, ErrProxy},
		"v2":            {v2 + "\x21\x11\x00\x0c\xc0\x00\x02\x09\xc0\x00\x02\x01\x0f\xa0\x00\x50", v4b, nil},
		"v2 TLV":        {v2 + "\x21\x11\x00\x11\xc0\x00\x02\x09\xc0\x00\x02\x01\x0f\xa0\x00\x50\x04\x00\x02ab", v4b, nil},
		"v2 local":      {v2 + "\x20\x00\x00\x00", ProxyHeader{Version: 2, Local: true}, nil},
		"v2 unix":       {v2 + "\x21\x31\x00\x01x", ProxyHeader{Version: 2, Local: true}, nil},
		"v2 short":      {v2 + "\x21\x11\x00\x04\xc0\x00\x02\x09", ProxyHeader{}, ErrProxy},
		"v2 version":    {v2 + "\x31\x11\x00\x0c", ProxyHeader{}, ErrProxy},
		"v2 command":    {v2 + "\x22\x11\x00\x0c", ProxyHeader{}, ErrProxy},
		"v2 huge":       {v2 + "\x21\x11\xff\xff", ProxyHeader{}, ErrProxy},
		"none":          {"GET / HTTP/1.1\r\n", ProxyHeader{}, ErrNoProxy},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h, n, err := ParseProxy([]byte(tt.in + "rest"))
			if err != tt.err || err == nil && (h != tt.want || n != len(tt.in)) {
				t.Errorf("%+v, %d, %v; want %+v, %v", h, n, err, tt.want, tt.err)
			}
			if tt.err != nil {
				return
			}
			for i := range tt.in {
				if _, n, err := ParseProxy([]byte(tt.in[:i])); n != 0 || err != nil {
					t.Errorf("first %d bytes: %d, %v", i, n, err)
				}
			}
		})
	}
}

func TestAppendProxy(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.9:4000"), netip.MustParseAddrPort("192.0.2.1:80")
	c, d := netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[::ffff:192.0.2.1]:80")
	for _, version := range []int{1, 2} {
		for _, p := range [][2]netip.AddrPort{{a, b}, {c, c}, {a, d}, {c, b}, {a, {}}} {
			out := AppendProxy(nil, version, p[0], p[1])
			h, n, err := ParseProxy(out)
			if n != len(out) || err != nil {
				t.Fatalf("%q: %d, %v", out, n, err)
			}
			switch {
			case !p[1].IsValid():
				if !h.Local {
					t.Errorf("%q is not local", out)
				}
			case h.Src.Addr().Unmap() != p[0].Addr().Unmap() || h.Src.Port() != p[0].Port() || h.Dst.Addr().Unmap() != p[1].Addr().Unmap() || h.Dst.Port() != p[1].Port():
				t.Errorf("v%d %v reads back as %+v", version, p, h)
			}
		}
	}
}

// FuzzProxy holds that splits do not matter and that what is read can be written and read again.
func FuzzProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.9 192.0.2.1 4000 80\r\n"))
	f.Add([]byte(v2 + "\x21\x11\x00\x0c\xc0\x00\x02\x09\xc0\x00\x02\x01\x0f\xa0\x00\x50"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 5000 {
			return
		}
		h, n, err := ParseProxy(b)
		for i := 0; i < len(b); i++ {
			_, k, e := ParseProxy(b[:i])
			if k == 0 && e == nil && (n == 0 || i < n) {
				continue
			}
			if k != n || e != err {
				t.Fatalf("first %d bytes: %d, %v; all: %d, %v", i, k, e, n, err)
			}
		}
		if n == 0 {
			return
		}
		again, _, err := ParseProxy(AppendProxy(nil, int(h.Version), h.Src, h.Dst))
		if err != nil || again.Local != h.Local || again.Src.Port() != h.Src.Port() || again.Src.Addr().Unmap() != h.Src.Addr().Unmap() || again.Dst.Addr().Unmap() != h.Dst.Addr().Unmap() {
			t.Fatalf("%+v reads back as %+v, %v", h, again, err)
		}
	})
}
