package wire

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

func TestPaths(t *testing.T) {
	tests := []struct{ in, normal, clean string }{
		{"/", "/", "/"}, {"*", "*", "*"}, {"//", "//", "/"}, {"/a//b", "/a//b", "/a/b"}, {"/a/./b", "/a/./b", "/a/b"},
		{"/a/../b", "/a/../b", "/b"}, {"/../b", "/../b", "/b"}, {"/a/..", "/a/..", "/"}, {"/a/.", "/a/.", "/a"},
		{"/a/b/../../../c", "/a/b/../../../c", "/c"}, {"/%2e%2e/b", "/../b", "/b"}, {"/a/%2E/b", "/a/./b", "/a/b"},
		{"/a/..%2Fb", "/a/..%2Fb", "/a/..%2Fb"}, {"/a/..%2fb", "/a/..%2Fb", "/a/..%2Fb"}, {"/..;/b", "/..;/b", "/..;/b"},
		{"/a/.../b", "/a/.../b", "/a/.../b"}, {"/.hidden", "/.hidden", "/.hidden"}, {"/a//", "/a//", "/a/"}, {"/./", "/./", "/"},
		{"/a/b/..//c", "/a/b/..//c", "/a/c"}, {"/a/..%00/b", "/a/..%00/b", "/a/..%00/b"}, {"/\\..\\b", "/%5C..%5Cb", "/%5C..%5Cb"},
		{"/%78%7E%7ey", "/x~~y", "/x~~y"}, {"/x%c3%a9", "/x%C3%A9", "/x%C3%A9"}, {"/x\xc3\xa9", "/x%C3%A9", "/x%C3%A9"},
		{"/x+y%2By", "/x+y%2By", "/x+y%2By"}, {"/a/b/..", "/a/b/..", "/a"}, {"/a/b/../", "/a/b/../", "/a/"}, {"/..", "/..", "/"},
		{"/%252e", "/%252e", "/%252e"},
	}
	for _, tt := range tests {
		var ex exchange.Exchange
		n := NormalizePath(tt.in, &ex)
		if n != tt.normal {
			t.Errorf("NormalizePath(%q) = %q, want %q", tt.in, n, tt.normal)
		}
		if c := SanitizePath(n, &ex); c != tt.clean {
			t.Errorf("SanitizePath(%q) = %q, want %q", n, c, tt.clean)
		}
	}
}

func TestHasEncoded(t *testing.T) {
	all := Encoded(0xff)
	for esc, bit := range map[string]Encoded{"%2F": EncodedSlash, "%2f": EncodedSlash, "%5C": EncodedBackSlash, "%00": EncodedNull, "%3b": EncodedSemicolon, "%25": EncodedPercent, "%3F": EncodedQuestion, "%23": EncodedHash} {
		if p := "/x" + esc + "y"; !HasEncoded(p, bit) || HasEncoded(p, all&^bit) || HasEncoded(p, 0) {
			t.Errorf("%s is not seen as %b alone", p, bit)
		}
	}
	if HasEncoded("/x%20%252f", all&^EncodedPercent) {
		t.Error("an escape is decoded twice")
	}
}

// FuzzPath holds that normal forms are stable, mean the same, and that cleaning agrees with package path.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/a/%2e%2E/b", "/..//x/./", "/\\\xff%2f", "/a/../%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		var r exchange.Request
		if n, err := ParseRequest([]byte("GET /"+p+" HTTP/1.1\r\nHost: a\r\n\r\n"), &r, nil); n == 0 || err != nil {
			return
		}
		var ex exchange.Exchange
		n := NormalizePath(r.Path, &ex)
		if again := NormalizePath(n, &ex); again != n {
			t.Fatalf("%q is normalised to %q, then to %q", r.Path, n, again)
		}
		a, err1 := url.PathUnescape(r.Path)
		b, err2 := url.PathUnescape(n)
		if err1 != nil || err2 != nil || a != b {
			t.Fatalf("%q means %q (%v), its normal form %q means %q (%v)", r.Path, a, err1, n, b, err2)
		}
		c := SanitizePath(n, &ex)
		want := path.Clean(n)
		if strings.HasSuffix(n, "/") && want != "/" {
			want += "/"
		}
		if c != want {
			t.Fatalf("SanitizePath(%q) = %q, want %q", n, c, want)
		}
	})
}
