package wire

import (
	"bytes"
	"io"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

func TestChunks(t *testing.T) {
	tests := map[string]struct {
		in   string
		data string
		err  error
	}{
		"two":                 {"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", nil},
		"zeros and case":      {"0000000005\r\nhello\r\na\r\n0123456789\r\nB\r\n0123456789a\r\n00\r\n\r\n", "hello01234567890123456789a", nil},
		"extensions":          {"3;a=b ; c\r\nabc\r\n0;x=y\r\n\r\n", "abc", nil},
		"blank after size":    {"3 \r\nabc\r\n0\r\n\r\n", "", ErrChunkSize},
		"blank before size":   {" 3\r\nabc\r\n0\r\n\r\n", "", ErrChunkSize},
		"plus":                {"+3\r\nabc\r\n0\r\n\r\n", "", ErrChunkSize},
		"minus":               {"-3\r\nabc\r\n0\r\n\r\n", "", ErrChunkSize},
		"0x":                  {"0x3\r\nabc\r\n0\r\n\r\n", "", ErrChunkSize},
		"bare LF":             {"3\nabc\n0\n\n", "", ErrChunkSize},
		"bare LF after data":  {"3\r\nabc\n0\r\n\r\n", "abc", ErrChunkEnd},
		"too much data":       {"3\r\nabcX\r\n0\r\n\r\n", "abc", ErrChunkEnd},
		"no end of data":      {"3\r\nabc0\r\n\r\n", "abc", ErrChunkEnd},
		"too large":           {"fffffffffffffffff\r\nabc\r\n0\r\n\r\n", "", ErrChunkSize},
		"empty size":          {"\r\nabc\r\n0\r\n\r\n", "", ErrChunkSize},
		"quoted extension":    {"3;a=\"\r\n\r\n\"\r\nabc\r\n0\r\n\r\n", "", ErrChunkExt},
		"LF in extension":     {"3;x\nabc\r\n0\r\n\r\n", "", ErrChunkExt},
		"two CR":              {"3\r\r\nabc\r\n0\r\n\r\n", "", ErrChunkSize},
		"last with bare LF":   {"3\r\nabc\r\n0\n\r\n", "abc", ErrChunkSize},
		"underscore":          {"3_0\r\nabc\r\n0\r\n\r\n", "", ErrChunkSize},
		"long extension":      {"3;" + strings.Repeat("e", 300) + "\r\nabc\r\n0\r\n\r\n", "", ErrChunkExt},
		"costly framing":      {strings.Repeat("1;"+strings.Repeat("e", 250)+"\r\nx\r\n", 100) + "0\r\n\r\n", strings.Repeat("x", 68), ErrChunkCost},
		"one byte each is ok": {strings.Repeat("1\r\nx\r\n", 5000) + "0\r\n\r\n", strings.Repeat("x", 5000), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{len(tt.in), 1, 7} {
				data, n, done, err := decodeAll([]byte(tt.in), step)
				if err != tt.err || string(data) != tt.data {
					t.Fatalf("by %d: %q, %v; want %q, %v", step, data, err, tt.data, tt.err)
				}
				if err == nil && (!done || n != len(tt.in)) {
					t.Fatalf("by %d: ended %v at %d of %d", step, done, n, len(tt.in))
				}
			}
		})
	}
}

func decodeAll(b []byte, step int) (data []byte, n int, done bool, err error) {
	var c Chunks
	for n < len(b) && !done && err == nil && !c.AtTrailers() {
		piece := b[n:min(len(b), n+step)]
		for len(piece) > 0 && !done && err == nil && !c.AtTrailers() {
			var d []byte
			var k int
			d, k, done, err = c.Decode(piece)
			data = append(data, d...)
			piece = piece[k:]
			n += k
		}
	}
	return data, n, done, err
}

func TestPaddedChunks(t *testing.T) {
	c := Chunks{AllowPad: true}
	in := []byte("3  \r\nabc\r\n0\t;x\r\n\r\n")
	if n, done, err := c.Scan(in); n != len(in) || !done || err != nil {
		t.Errorf("padded sizes of a server: %d, %v, %v", n, done, err)
	}
	c = Chunks{AllowPad: true}
	if _, _, err := c.Scan([]byte("3 4\r\n")); err != ErrChunkSize {
		t.Errorf("digits after a blank: %v", err)
	}
}

func TestTrailers(t *testing.T) {
	in := []byte("3\r\nabc\r\n0\r\nX-Sum: 9\r\nContent-Length: 5\r\nX-Forwarded-For: 9.9.9.9\r\nX-Other: 1\r\n\r\nGET /")
	var c Chunks
	n, done, err := c.Scan(in)
	if done || err != nil || !c.AtTrailers() || string(in[n:n+5]) != "X-Sum" {
		t.Fatalf("Scan = %d, %v, %v", n, done, err)
	}
	if k, done, err := c.Scan(in[n:]); k != 0 || done || err != nil {
		t.Fatalf("Scan at the trailers = %d, %v, %v", k, done, err)
	}
	section := in[n:]
	var out exchange.Fields
	for i := range len(section) - len("GET /") {
		if k, err := ParseTrailers(section[:i], &out); k != 0 || err != nil || out.Len() != 0 {
			t.Fatalf("first %d bytes: %d, %v, %v", i, k, err, out.All())
		}
	}
	k, err := ParseTrailers(section, &out)
	if err != nil || string(section[k:]) != "GET /" || out.Len() != 3 {
		t.Fatalf("ParseTrailers = %d, %v, %v", k, err, out.All())
	}
	var head exchange.Fields
	head.Add("trailer", "X-Forwarded-For, x-sum")
	if got := string(AppendTrailers(nil, &out, &head)); got != "X-Sum: 9\r\n\r\n" {
		t.Errorf("announced: %q", got)
	}
	if got := string(AppendTrailers(nil, &out, nil)); got != "X-Sum: 9\r\nX-Forwarded-For: 9.9.9.9\r\nX-Other: 1\r\n\r\n" {
		t.Errorf("all: %q", got)
	}
	for in, want := range map[string]error{" X: y\r\n\r\n": ErrFold, "X: y\n\n": ErrLineEnd, "X y\r\n\r\n": ErrFieldName, "X: " + strings.Repeat("y", MaxTrailers): ErrTrailerLarge} {
		if _, err := ParseTrailers([]byte(in), &out); err != want {
			t.Errorf("%.10q: %v, want %v", in, err, want)
		}
	}
}

// FuzzChunks holds that splits do not matter, that Scan and Decode agree, that accepted
// bodies read alike with net/http's reader, and that what we encode we read.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"), uint8(2))
	f.Add([]byte("a;b=c\r\n0123456789\r\n0\r\nX: y\r\n\r\n"), uint8(1))
	f.Add([]byte("3 \r\nabc\r\n0\r\n\r\n"), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		data, n, done, err := decodeAll(b, len(b)+1)
		data2, n2, done2, err2 := decodeAll(b, int(step)+1)
		if n != n2 || done != done2 || err != err2 || !bytes.Equal(data, data2) {
			t.Fatalf("whole: %q %d %v %v; by %d: %q %d %v %v", data, n, done, err, step+1, data2, n2, done2, err2)
		}
		var c Chunks
		k, sdone, serr := c.Scan(b)
		if k != n || sdone != done || serr != err {
			t.Fatalf("Scan = %d %v %v, Decode = %d %v %v", k, sdone, serr, n, done, err)
		}
		if done {
			std, e := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(b[:n])))
			if e != nil || !bytes.Equal(std, data) {
				t.Fatalf("net/http reads %q, %v; we %q", std, e, data)
			}
		}
		if len(b) > 0 {
			enc := append(append(AppendChunk(nil, len(b)), b...), "\r\n"+LastChunk...)
			if back, _, done, err := decodeAll(enc, 5); !done || err != nil || !bytes.Equal(back, b) {
				t.Fatalf("%q encoded as %q reads back as %q", b, enc, back)
			}
		}
	})
}
