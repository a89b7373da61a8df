package wire

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

// clientHello returns what crypto/tls sends first.
func clientHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go tls.Client(a, cfg).Handshake()
	head := make([]byte, 5)
	if _, err := io.ReadFull(b, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(b, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// fragmented spreads the record's message over records of n bytes.
func fragmented(rec []byte, n int) (out []byte) {
	for msg := rec[5:]; len(msg) > 0; {
		k := min(n, len(msg))
		out = append(out, 22, 3, 1, byte(k>>8), byte(k))
		out = append(out, msg[:k]...)
		msg = msg[k:]
	}
	return out
}

func TestPeekHello(t *testing.T) {
	full := clientHello(t, &tls.Config{ServerName: "a.example.test", NextProtos: []string{"h2", "http/1.1"}, InsecureSkipVerify: true})
	bare := clientHello(t, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	tests := map[string]struct {
		in    []byte
		sni   string
		alpns []string
	}{
		"one record": {full, "a.example.test", []string{"h2", "http/1.1"}}, "tiny records": {fragmented(full, 7), "a.example.test", []string{"h2", "http/1.1"}},
		"no name": {bare, "", nil},
	}
	for name, tt := range tests {
		h, more, err := PeekHello(append(slices.Clone(tt.in), "rest"...))
		if more || err != nil || h.SNI != tt.sni || !slices.Equal(h.ALPN, tt.alpns) {
			t.Errorf("%s: %+v, %v, %v", name, h, more, err)
		}
		for i := range tt.in {
			if _, more, err := PeekHello(tt.in[:i]); !more || err != nil {
				t.Errorf("%s: first %d bytes: more %v, %v", name, i, more, err)
			}
		}
	}
	for in, want := range map[string]error{
		"GET / HTTP/1.1\r\n":                            ErrNotTLS,
		"\x16\x02\x00\x00\x05":                          ErrNotTLS,
		"\x16\x03\x01\x00\x00":                          ErrHello,
		"\x16\x03\x01\x00\x05\x02abcd":                  ErrHello,
		"\x16\x03\x01\x00\x04\x01\xff\xff\xff":          ErrHello,
		"\x16\x03\x01\x00\x05\x01\x00\x00\x01x":         ErrHello,
		"\x16\x03\x01\x00\x05\x01\x00\x40\x00x\x17\x03": ErrHello,
		"\x16\x03\x01\x00\x2a\x01\x00\x00\x26" + strings.Repeat("\x00", 34) + "\xffxxx": ErrHello,
	} {
		if _, more, err := PeekHello([]byte(in)); more || err != want {
			t.Errorf("%q: %v, %v; want %v", in, more, err, want)
		}
	}
}

// FuzzHello holds that splits do not matter, nor how the message is spread over records.
func FuzzHello(f *testing.F) {
	f.Add(clientHello(f, &tls.Config{ServerName: "a.test", NextProtos: []string{"h2"}, InsecureSkipVerify: true}), uint8(50))
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01x"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		if len(b) > 3000 {
			return
		}
		h, more, err := PeekHello(b)
		for i := range b {
			g, m, e := PeekHello(b[:i])
			if !m && (e != err || g.SNI != h.SNI || !slices.Equal(g.ALPN, h.ALPN)) {
				t.Fatalf("first %d bytes: %+v, %v; all: %+v, %v", i, g, e, h, err)
			}
		}
		if more || err != nil || len(b) < 5 || len(b) != 5+int(binary.BigEndian.Uint16(b[3:])) {
			return
		}
		g, m, e := PeekHello(fragmented(b, int(size)+1))
		if m || e != nil || g.SNI != h.SNI || !slices.Equal(g.ALPN, h.ALPN) {
			t.Fatalf("in records of %d: %+v, %v, %v; in one: %+v", size+1, g, m, e, h)
		}
	})
}
