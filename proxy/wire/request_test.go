package wire

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// crlf lets tests write heads with plain line ends.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestParseRequest(t *testing.T) {
	type want struct {
		method, proto, host, path, query, upgrade string
		hasQuery, keep, expect                    bool
		framing                                   exchange.Framing
		length                                    int64
		fields                                    []exchange.Field
	}
	tests := map[string]struct {
		in   string
		want want
	}{
		"plain": {"GET /a?b=c HTTP/1.1\nHost: a.test\nx-lOw: 1\n\n",
			want{method: "GET", proto: HTTP11, host: "a.test", path: "/a", query: "b=c", hasQuery: true, keep: true, fields: []exchange.Field{{Name: "x-lOw", Value: "1"}}}},
		"empty query": {"GET /a? HTTP/1.1\nHost:a\n\n",
			want{method: "GET", proto: HTTP11, host: "a", path: "/a", hasQuery: true, keep: true}},
		"1.0 without host": {"GET / HTTP/1.0\n\n", want{method: "GET", proto: HTTP10, path: "/"}},
		"1.0 kept": {"GET / HTTP/1.0\nConnection: x, Keep-Alive\n\n",
			want{method: "GET", proto: HTTP10, path: "/", keep: true, fields: []exchange.Field{{Name: "Connection", Value: "x, Keep-Alive"}}}},
		"close in a list": {"GET / HTTP/1.1\nHost: a\nConnection: x ,\tCLOSE\n\n",
			want{method: "GET", proto: HTTP11, host: "a", path: "/", fields: []exchange.Field{{Name: "Connection", Value: "x ,\tCLOSE"}}}},
		"sized": {"POST / HTTP/1.1\nHost: a\nContent-Length: 007\n\n",
			want{method: "POST", proto: HTTP11, host: "a", path: "/", keep: true, framing: exchange.Sized, length: 7, fields: []exchange.Field{{Name: "Content-Length", Value: "007"}}}},
		"chunked, waiting": {"PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: CHUNKED\nExpect: 100-Continue\n\n",
			want{method: "PUT", proto: HTTP11, host: "a", path: "/", keep: true, framing: exchange.Streamed, expect: true, fields: []exchange.Field{{Name: "Expect", Value: "100-Continue"}}}},
		"absolute": {"GET HTTP://B.test:81?q HTTP/1.1\nHost: a\n\n",
			want{method: "GET", proto: HTTP11, host: "B.test:81", path: "/", query: "q", hasQuery: true, keep: true}},
		"absolute without authority": {"GET http:///x HTTP/1.1\nHost: a\n\n",
			want{method: "GET", proto: HTTP11, host: "a", path: "/x", keep: true}},
		"asterisk": {"OPTIONS * HTTP/1.1\nHost: a\n\n", want{method: "OPTIONS", proto: HTTP11, host: "a", path: "*", keep: true}},
		"websocket": {"GET /c HTTP/1.1\nHost: a\nUpgrade: WebSocket\nConnection: keep-alive, upgrade\n\n",
			want{method: "GET", proto: HTTP11, host: "a", path: "/c", keep: true, upgrade: "WebSocket", fields: []exchange.Field{{Name: "Upgrade", Value: "WebSocket"}, {Name: "Connection", Value: "keep-alive, upgrade"}}}},
		"h2c is no upgrade": {"GET /c HTTP/1.1\nHost: a\nUpgrade: h2c\nConnection: upgrade\n\n",
			want{method: "GET", proto: HTTP11, host: "a", path: "/c", keep: true, fields: []exchange.Field{{Name: "Upgrade", Value: "h2c"}, {Name: "Connection", Value: "upgrade"}}}},
		"h2c behind another is no upgrade": {"GET /c HTTP/1.1\nHost: a\nUpgrade: websocket , H2C\t\nConnection: upgrade\n\n",
			want{method: "GET", proto: HTTP11, host: "a", path: "/c", keep: true, fields: []exchange.Field{{Name: "Upgrade", Value: "websocket , H2C"}, {Name: "Connection", Value: "upgrade"}}}},
		"blank lines before": {"\n\nGET / HTTP/1.1\nHost: a\n\n", want{method: "GET", proto: HTTP11, host: "a", path: "/", keep: true}},
		"odd values": {"GET /\\\xff HTTP/1.1\nHost: \nX-E:\nX-S:\t v  w \t\nX-B: \xff\n\n",
			want{method: "GET", proto: HTTP11, path: "/\\\xff", keep: true, fields: []exchange.Field{{Name: "X-E"}, {Name: "X-S", Value: "v  w"}, {Name: "X-B", Value: "\xff"}}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r exchange.Request
			in := []byte(crlf(tt.in))
			n, err := ParseRequest(append(in, "rest"...), &r, nil)
			if err != nil || n != len(in) {
				t.Fatalf("ParseRequest = %d, %v; want %d", n, err, len(in))
			}
			got := want{r.Method, r.Proto, r.Host, r.Path, r.Query, r.Upgrade, r.HasQuery, r.KeepAlive, r.Expect100, r.Framing, r.Length, r.Fields.All()}
			if len(got.fields) == 0 {
				got.fields = nil
			}
			if !slices.Equal(got.fields, tt.want.fields) {
				t.Errorf("fields %v, want %v", got.fields, tt.want.fields)
			}
			got.fields, tt.want.fields = nil, nil
			if got.method != tt.want.method || got.proto != tt.want.proto || got.host != tt.want.host || got.path != tt.want.path ||
				got.query != tt.want.query || got.upgrade != tt.want.upgrade || got.hasQuery != tt.want.hasQuery || got.keep != tt.want.keep ||
				got.expect != tt.want.expect || got.framing != tt.want.framing || got.length != tt.want.length {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestParseRequestRefuses(t *testing.T) {
	head := func(lines string) string { return "GET / HTTP/1.1\nHost: a\n" + lines + "\n" }
	tests := []struct {
		in   string
		want *Error
	}{
		{"\x16\x03\x01", ErrRequestLine},
		{"GET /\n", ErrRequestLine},
		{"GET  / HTTP/1.1\nHost: a\n\n", ErrTarget},
		{"GET / x HTTP/1.1\nHost: a\n\n", ErrTarget},
		{"GET /\tx HTTP/1.1\nHost: a\n\n", ErrTarget},
		{"GET x HTTP/1.1\nHost: a\n\n", ErrTarget},
		{"GET * HTTP/1.1\nHost: a\n\n", ErrTarget},
		{"GET http:x HTTP/1.1\nHost: a\n\n", ErrTarget},
		{"GET http://u@a/ HTTP/1.1\nHost: a\n\n", ErrTarget},
		{"GET /#x HTTP/1.1\nHost: a\n\n", ErrFragment},
		{"GET /%zz HTTP/1.1\nHost: a\n\n", ErrEscape},
		{"GET /x% HTTP/1.1\nHost: a\n\n", ErrEscape},
		{"GET /x%2 HTTP/1.1\nHost: a\n\n", ErrEscape},
		{"G(T / HTTP/1.1\nHost: a\n\n", ErrMethod},
		{"GET / HTTP/1.2\nHost: a\n\n", ErrVersion},
		{"GET / HTTP/2.0\nHost: a\n\n", ErrVersion},
		{"GET / HTTX/1.1\nHost: a\n\n", ErrRequestLine},
		{"GET / http/1.1\nHost: a\n\n", ErrRequestLine},
		{"CONNECT a:1 HTTP/1.1\nHost: a\n\n", ErrConnect},
		{"GET / HTTP/1.1\n\n", ErrNoHost},
		{"GET http://a/ HTTP/1.1\n\n", ErrNoHost},
		{head("Host: a\n"), ErrHosts},
		{head("hOsT : b\n"), ErrFieldName},
		{"GET / HTTP/1.1\nHost: a/x\n\n", ErrHost},
		{"GET / HTTP/1.1\nHost: u@a\n\n", ErrHost},
		{"GET / HTTP/1.1\nHost: b, a\n\n", ErrHost},
		{"GET / HTTP/1.1\nHost: a b\n\n", ErrHost},
		{"GET / HTTP/1.1\nHost: \xe9\n\n", ErrHost},
		{head("NoColon\n"), ErrFieldName},
		{head(": empty\n"), ErrFieldName},
		{head("X A: 1\n"), ErrFieldName},
		{head("X-(A): 1\n"), ErrFieldName},
		{head("X\x00A: 1\n"), ErrFieldName},
		{head("X-A: 1\n folded\n"), ErrFold},
		{head("\tX-A: 1\n"), ErrFold},
		{head("X-A: a\x00b\n"), ErrFieldValue},
		{head("X-A: a\rb\n"), ErrFieldValue},
		{head("X-A: \x7f\n"), ErrFieldValue},
		{head("Content-Length: 3\nContent-Length: 3\n"), ErrLengths},
		{head("Content-Length: 3, 3\n"), ErrLength},
		{head("Content-Length: +3\n"), ErrLength},
		{head("Content-Length: -3\n"), ErrLength},
		{head("Content-Length: 0x3\n"), ErrLength},
		{head("Content-Length: \n"), ErrLength},
		{head("Content-Length: 9999999999999999999\n"), ErrLength},
		{head("Content-Length: 3\nTransfer-Encoding: chunked\n"), ErrLengthAndCoding},
		{head("Transfer-Encoding: gzip\nContent-Length: 3\n"), ErrLengthAndCoding},
		{head("Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n"), ErrCodings},
		{head("Transfer-Encoding: gzip, chunked\n"), ErrCoding},
		{head("Transfer-Encoding: chunked;q=1\n"), ErrCoding},
		{head("Transfer-Encoding: \x0bchunked\n"), ErrFieldValue},
		{"POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n", ErrCodings},
		{head("Trailer: Host\n"), ErrTrailerName},
		{head("Trailer: x, content-LENGTH\n"), ErrTrailerName},
		{head("Expect: tea\n"), ErrExpect},
		{head("Connection: " + strings.Repeat("a,", 40) + "\nConnection: " + strings.Repeat("a,", 40) + "\n"), ErrOptions},
	}
	for _, tt := range tests {
		var r exchange.Request
		if n, err := ParseRequest([]byte(crlf(tt.in)), &r, nil); err != tt.want {
			t.Errorf("%q: %d, %v; want %v", tt.in, n, err, tt.want)
		}
	}
	for _, in := range []string{"GET / HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\n"} {
		if _, err := ParseRequest([]byte(in), &exchange.Request{}, nil); err != ErrLineEnd {
			t.Errorf("%q: %v, want %v", in, err, ErrLineEnd)
		}
	}
}

func TestRequestLimits(t *testing.T) {
	in := []byte(crlf("GET / HTTP/1.1\nHost: a\nA: 1\nB: 2\n\n"))
	var r exchange.Request
	if n, err := ParseRequest(in, &r, &Limits{MaxHead: len(in), MaxFields: 3}); n != len(in) || err != nil {
		t.Errorf("at the limits: %d, %v", n, err)
	}
	if _, err := ParseRequest(in, &r, &Limits{MaxHead: len(in) - 1}); err != ErrHeadTooLarge {
		t.Errorf("one byte less: %v", err)
	}
	if _, err := ParseRequest(in[:len(in)-1], &r, &Limits{MaxHead: len(in) - 1}); err != ErrHeadTooLarge {
		t.Errorf("at the limit without an end: %v", err)
	}
	if _, err := ParseRequest(in, &r, &Limits{MaxFields: 2}); err != ErrManyFields {
		t.Errorf("one field less: %v", err)
	}
	c := []byte(crlf("CONNECT a.test:1 HTTP/1.1\nHost: a.test\n\n"))
	if n, err := ParseRequest(c, &r, &Limits{AllowConnect: true}); n != len(c) || err != nil || r.Host != "a.test:1" {
		t.Errorf("CONNECT allowed: %d, %v, %q", n, err, r.Host)
	}
}

func TestIsPreface(t *testing.T) {
	for i := range len(Preface) {
		if yes, more := IsPreface([]byte(Preface[:i])); yes || !more {
			t.Errorf("%q: %v %v", Preface[:i], yes, more)
		}
	}
	if yes, more := IsPreface([]byte(Preface + "x")); !yes || more {
		t.Error("the preface is not seen")
	}
	if yes, more := IsPreface([]byte("PRI / ")); yes || more {
		t.Error("something else is seen as a preface")
	}
}

var requestCorpus = []string{
	"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"POST /a/%2F?x=%zz HTTP/1.1\r\nHost: a.test:81\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabc",
	"PUT http://b.test/x?y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nExpect: 100-continue\r\n\r\n",
	"GET / HTTP/1.1\nHost: a\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nTE: trailers\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
}

// FuzzRequestSplits holds that every split of the input gives the same result.
func FuzzRequestSplits(f *testing.F) {
	for _, s := range requestCorpus {
		f.Add([]byte(s))
	}
	lim := &Limits{MaxHead: 300, MaxFields: 8}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 600 {
			return
		}
		var whole, part exchange.Request
		n, err := ParseRequest(b, &whole, lim)
		for i := range b {
			k, e := ParseRequest(b[:i], &part, lim)
			switch {
			case k == 0 && e == nil:
				if n > 0 && i >= n {
					t.Fatalf("first %d bytes need more, all of them need %d", i, n)
				}
			case k != n || e != err:
				t.Fatalf("first %d bytes: %d, %v; all: %d, %v", i, k, e, n, err)
			case e == nil && (part.Path != whole.Path || part.Host != whole.Host || !slices.Equal(part.Fields.All(), whole.Fields.All())):
				t.Fatalf("first %d bytes read as %+v, all as %+v", i, part, whole)
			}
			if end := HeadEnd(b[:i], max(0, i-1)); end > 0 && n > 0 && i <= n && end != n {
				t.Fatalf("HeadEnd = %d, head is %d", end, n)
			}
		}
		if n > 0 && HeadEnd(b, 0) != n {
			t.Fatalf("HeadEnd = %d, head is %d", HeadEnd(b, 0), n)
		}
	})
}

// Why we may refuse what net/http accepts; package docs give the reasons.
var stricter = []error{
	ErrLineEnd, ErrFold, ErrLengths, ErrLengthAndCoding, ErrVersion, ErrTarget, ErrHost, ErrHosts, ErrNoHost, ErrFragment,
	ErrCodings, ErrCoding, ErrConnect, ErrExpect, ErrTrailerName, ErrEscape, ErrRequestLine, ErrFieldName, ErrFieldValue, ErrMethod, ErrOptions,
}

// FuzzRequestLikeNetHTTP holds that an accepted head means the same to net/http, as sent and as we forward it.
func FuzzRequestLikeNetHTTP(f *testing.F) {
	for _, s := range requestCorpus {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r exchange.Request
		n, err := ParseRequest(b, &r, nil)
		raw := bytes.TrimLeft(b, "\r\n")
		std, stdErr := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			if stdErr == nil && !slices.Contains(stricter, err) {
				t.Fatalf("refused for %v, which is not written down; net/http accepts %q", err, b)
			}
			return
		}
		if n == 0 {
			return
		}
		out := AppendRequest(nil, &r, RequestOptions{})
		again, e := http.ReadRequest(bufio.NewReader(bytes.NewReader(out)))
		if e != nil {
			// net/http's own limits on what a URL or a name may be; a head of ours must be readable otherwise.
			var back exchange.Request
			if k, e2 := ParseRequest(out, &back, nil); k != len(out) || e2 != nil {
				t.Fatalf("%q is forwarded as %q, which we refuse: %v", b, out, e2)
			}
			return
		}
		alike(t, &r, again, out)
		if stdErr == nil && r.Path != "*" {
			alike(t, &r, std, b)
		}
	})
}

func alike(t *testing.T, r *exchange.Request, std *http.Request, raw []byte) {
	t.Helper()
	if r.Method != std.Method {
		t.Fatalf("method %q, net/http %q in %q", r.Method, std.Method, raw)
	}
	if r.Host != std.Host && r.Host != "" {
		t.Fatalf("host %q, net/http %q in %q", r.Host, std.Host, raw)
	}
	if r.Query != std.URL.RawQuery {
		t.Fatalf("query %q, net/http %q in %q", r.Query, std.URL.RawQuery, raw)
	}
	length := int64(0)
	switch r.Framing {
	case exchange.Sized:
		length = r.Length
	case exchange.Streamed:
		length = -1
	}
	if length != std.ContentLength {
		t.Fatalf("length %d, net/http %d in %q", length, std.ContentLength, raw)
	}
	for name := range std.Header {
		var ours []string
		for _, f := range r.Fields.All() {
			if strings.EqualFold(f.Name, name) {
				ours = append(ours, f.Value)
			}
		}
		theirs := std.Header[name]
		for i := range theirs {
			theirs[i] = strings.Trim(theirs[i], " \t")
		}
		if name != "Content-Length" && name != "Pragma" && name != "Cache-Control" && !slices.Equal(ours, theirs) {
			t.Fatalf("field %s: %q, net/http %q in %q", name, ours, theirs, raw)
		}
	}
}

func TestRequestDoesNotAllocate(t *testing.T) {
	in := []byte(crlf("GET /api/things?id=1 HTTP/1.1\nHost: app.example.test\nUser-Agent: Mozilla/5.0\nAccept: */*\nAccept-Encoding: gzip\nConnection: keep-alive\nCookie: a=b\n\n"))
	var r exchange.Request
	out := make([]byte, 0, 4096)
	run := func() {
		if n, err := ParseRequest(in, &r, nil); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		out = AppendRequest(out[:0], &r, RequestOptions{})
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

func BenchmarkParseRequest(b *testing.B) {
	in := []byte(crlf("GET /api/things?id=1 HTTP/1.1\nHost: app.example.test\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0)\nAccept: text/html,application/xhtml+xml\nAccept-Language: en\nAccept-Encoding: gzip, deflate, br\nConnection: keep-alive\nCookie: session=0123456789abcdef\n\n"))
	var r exchange.Request
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if n, err := ParseRequest(in, &r, nil); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}
