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

func TestParseResponse(t *testing.T) {
	type want struct {
		status  int
		text    string
		framing exchange.Framing
		length  int64
		keep    bool
		upgrade string
		fields  string
	}
	tests := map[string]struct {
		method, in string
		want       want
	}{
		"sized":          {"GET", "HTTP/1.1 200 OK\nContent-Length: 2\n\n", want{200, "OK", exchange.Sized, 2, true, "", "Content-Length"}},
		"no reason":      {"GET", "HTTP/1.1 299\nContent-Length: 0\n\n", want{299, "", exchange.Sized, 0, true, "", "Content-Length"}},
		"equal lengths":  {"GET", "HTTP/1.1 200 OK\nContent-Length: 2\nX: y\nContent-Length: 2\n\n", want{200, "OK", exchange.Sized, 2, true, "", "Content-Length X"}},
		"chunked":        {"GET", "HTTP/1.1 200 X\nTransfer-Encoding: chunked\n\n", want{200, "X", exchange.Streamed, 0, true, "", ""}},
		"until close":    {"GET", "HTTP/1.1 200 X\n\n", want{200, "X", exchange.UntilClose, 0, false, "", ""}},
		"1.0":            {"GET", "HTTP/1.0 200 X\nContent-Length: 1\n\n", want{200, "X", exchange.Sized, 1, false, "", "Content-Length"}},
		"1.0 kept":       {"GET", "HTTP/1.0 200 X\nContent-Length: 1\nConnection: keep-alive\n\n", want{200, "X", exchange.Sized, 1, true, "", "Content-Length Connection"}},
		"closing":        {"GET", "HTTP/1.1 200 X\nContent-Length: 1\nConnection: a, close\n\n", want{200, "X", exchange.Sized, 1, false, "", "Content-Length Connection"}},
		"head":           {"HEAD", "HTTP/1.1 200 X\nContent-Length: 77\n\n", want{200, "X", exchange.NoBody, 77, true, "", "Content-Length"}},
		"head, chunked":  {"HEAD", "HTTP/1.1 200 X\nTransfer-Encoding: chunked\n\n", want{200, "X", exchange.NoBody, 0, true, "", ""}},
		"no content":     {"GET", "HTTP/1.1 204 X\n\n", want{204, "X", exchange.NoBody, 0, true, "", ""}},
		"not modified":   {"GET", "HTTP/1.1 304 X\nContent-Length: 9\n\n", want{304, "X", exchange.NoBody, 9, true, "", "Content-Length"}},
		"interim":        {"GET", "HTTP/1.1 103 Early Hints\nLink: <x>\n\n", want{103, "Early Hints", exchange.NoBody, 0, true, "", "Link"}},
		"switching":      {"GET", "HTTP/1.1 101 X\nUpgrade: websocket\nConnection: Upgrade\n\n", want{101, "X", exchange.NoBody, 0, true, "websocket", "Upgrade Connection"}},
		"odd but a code": {"GET", "HTTP/1.1 999 X\nContent-Length: 1\n\n", want{999, "X", exchange.Sized, 1, true, "", "Content-Length"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r exchange.Response
			in := []byte(crlf(tt.in))
			n, err := ParseResponse(append(in, "rest"...), &r, tt.method, nil)
			if err != nil || n != len(in) {
				t.Fatalf("ParseResponse = %d, %v; want %d", n, err, len(in))
			}
			var names []string
			for _, f := range r.Fields.All() {
				names = append(names, f.Name)
			}
			if got := (want{r.Status, r.StatusText, r.Framing, r.Length, r.KeepAlive, r.Upgrade, strings.Join(names, " ")}); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestParseResponseRefuses(t *testing.T) {
	tests := []struct {
		in   string
		want *Error
	}{
		{"SSH-2.0", ErrStatusLine},
		{"HTTP/1.1 20 X\n\n", ErrStatusLine},
		{"HTTP/1.1 2000 X\n\n", ErrStatusLine},
		{"HTTP/1.1 099 X\n\n", ErrStatus},
		{"HTTP/9.9 200 X\n\n", ErrResponseVersion},
		{"HTTP/1.1 200 a\x00b\n\n", ErrStatusLine},
		{"HTTP/1.1 200 X\nContent-Length: 1\nContent-Length: 2\n\n", ErrResponseLength},
		{"HTTP/1.1 200 X\nContent-Length: x\n\n", ErrResponseLength},
		{"HTTP/1.1 200 X\nContent-Length: 1\nTransfer-Encoding: chunked\n\n", ErrResponseFraming},
		{"HTTP/1.1 200 X\nTransfer-Encoding: gzip, chunked\n\n", ErrResponseCoding},
		{"HTTP/1.0 200 X\nTransfer-Encoding: chunked\n\n", ErrResponseCoding},
		{"HTTP/1.1 200 X\nX : y\n\n", ErrResponseField},
		{"HTTP/1.1 200 X\nX: y\n z\n\n", ErrResponseField},
		{"HTTP/1.1 200 X\nX: a\x01\n\n", ErrResponseField},
		{"HTTP/1.1 101 X\n\n", ErrSwitchingUnasked},
	}
	for _, tt := range tests {
		var r exchange.Response
		if n, err := ParseResponse([]byte(crlf(tt.in)), &r, "GET", nil); err != tt.want {
			t.Errorf("%q: %d, %v; want %v", tt.in, n, err, tt.want)
		}
		if tt.want.Status != 502 {
			t.Errorf("%v is answered %d", tt.want, tt.want.Status)
		}
	}
	if _, err := ParseResponse([]byte(crlf("HTTP/1.1 200 X\nA: b\n\n")), &exchange.Response{}, "GET", &Limits{MaxHead: 10}); err != ErrResponseLarge {
		t.Errorf("too large: %v", err)
	}
}

// FuzzResponse holds that every split gives the same result, and that net/http reads what
// we pass on as we read it.
func FuzzResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), false)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), true)
	f.Add([]byte("HTTP/1.0 404 \r\nConnection: keep-alive\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.1 304 X\r\nContent-Length: 2\r\nDate: x\r\n\r\n"), false)
	lim := &Limits{MaxHead: 300, MaxFields: 8}
	f.Fuzz(func(t *testing.T, b []byte, head bool) {
		if len(b) > 600 {
			return
		}
		method := "GET"
		if head {
			method = "HEAD"
		}
		var r, part exchange.Response
		n, err := ParseResponse(b, &r, method, lim)
		for i := range b {
			k, e := ParseResponse(b[:i], &part, method, lim)
			switch {
			case k == 0 && e == nil:
				if n > 0 && i >= n {
					t.Fatalf("first %d bytes need more, all of them need %d", i, n)
				}
			case k != n || e != err:
				t.Fatalf("first %d bytes: %d, %v; all: %d, %v", i, k, e, n, err)
			}
		}
		if err != nil || n == 0 || r.Status == 101 || r.Status < 200 {
			return
		}
		out := AppendResponse(nil, &r, ResponseOptions{Head: head, Close: !r.KeepAlive})
		std, e := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), &http.Request{Method: method})
		if e != nil {
			t.Fatalf("%q is passed on as %q, which net/http refuses: %v", b, out, e)
		}
		if std.StatusCode != r.Status {
			t.Fatalf("status %d, net/http %d", r.Status, std.StatusCode)
		}
		want := map[exchange.Framing]int64{exchange.Sized: r.Length, exchange.Streamed: -1, exchange.UntilClose: -1, exchange.NoBody: std.ContentLength}[r.Framing]
		if want != std.ContentLength {
			t.Fatalf("length %d, net/http %d in %q", want, std.ContentLength, out)
		}
		for name, theirs := range std.Header {
			var ours []string
			for _, f := range r.Fields.All() {
				if strings.EqualFold(f.Name, name) {
					ours = append(ours, f.Value)
				}
			}
			if name != "Content-Length" && name != "Connection" && !slices.Equal(ours, theirs) {
				t.Fatalf("field %s: %q, net/http %q", name, ours, theirs)
			}
		}
	})
}

func TestAppendResponse(t *testing.T) {
	resp := func(status int, framing exchange.Framing, length int64, fields ...string) *exchange.Response {
		r := &exchange.Response{Status: status, Framing: framing, Length: length}
		for i := 0; i < len(fields); i += 2 {
			r.Fields.Add(fields[i], fields[i+1])
		}
		return r
	}
	up := resp(101, exchange.NoBody, 0, "X", "y")
	up.Upgrade = "websocket"
	tests := map[string]struct {
		r    *exchange.Response
		o    ResponseOptions
		want string
	}{
		"sized":            {resp(200, exchange.Sized, 3, "content-length", "99", "X", "y"), ResponseOptions{}, "HTTP/1.1 200 OK\nX: y\nContent-Length: 3\n\n"},
		"date":             {resp(200, exchange.Sized, 3), ResponseOptions{Date: "now"}, "HTTP/1.1 200 OK\nDate: now\nContent-Length: 3\n\n"},
		"date kept":        {resp(200, exchange.Sized, 3, "date", "then"), ResponseOptions{Date: "now"}, "HTTP/1.1 200 OK\ndate: then\nContent-Length: 3\n\n"},
		"chunked":          {resp(200, exchange.Streamed, 0), ResponseOptions{Close: true}, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nConnection: close\n\n"},
		"chunked for 1.0":  {resp(200, exchange.Streamed, 0), ResponseOptions{HTTP10: true, Close: true}, "HTTP/1.0 200 OK\nConnection: close\n\n"},
		"1.0 kept":         {resp(200, exchange.Sized, 1), ResponseOptions{HTTP10: true}, "HTTP/1.0 200 OK\nContent-Length: 1\nConnection: keep-alive\n\n"},
		"no body":          {resp(200, exchange.NoBody, 0), ResponseOptions{}, "HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
		"head keeps":       {resp(200, exchange.NoBody, 5, "Content-Length", "5"), ResponseOptions{Head: true}, "HTTP/1.1 200 OK\nContent-Length: 5\n\n"},
		"head has none":    {resp(200, exchange.NoBody, 0), ResponseOptions{Head: true}, "HTTP/1.1 200 OK\n\n"},
		"own head":         {resp(404, exchange.Sized, 19), ResponseOptions{Head: true}, "HTTP/1.1 404 Not Found\nContent-Length: 19\n\n"},
		"204 has none":     {resp(204, exchange.NoBody, 0, "Content-Length", "5"), ResponseOptions{}, "HTTP/1.1 204 No Content\n\n"},
		"304 keeps":        {resp(304, exchange.NoBody, 5, "Content-Length", "5"), ResponseOptions{}, "HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n"},
		"interim":          {resp(103, exchange.NoBody, 0, "Link", "x"), ResponseOptions{Close: true, Date: "now"}, "HTTP/1.1 103 Early Hints\nLink: x\n\n"},
		"switching":        {up, ResponseOptions{}, "HTTP/1.1 101 Switching Protocols\nX: y\nConnection: Upgrade\nUpgrade: websocket\n\n"},
		"until close":      {resp(200, exchange.UntilClose, 0), ResponseOptions{Close: true}, "HTTP/1.1 200 OK\nConnection: close\n\n"},
		"stray TE dropped": {resp(200, exchange.Sized, 1, "transfer-ENCODING", "chunked"), ResponseOptions{}, "HTTP/1.1 200 OK\nContent-Length: 1\n\n"},
	}
	for name, tt := range tests {
		if got := string(AppendResponse(nil, tt.r, tt.o)); got != crlf(tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestResponseDoesNotAllocate(t *testing.T) {
	in := []byte(crlf("HTTP/1.1 200 OK\nServer: nginx\nDate: Mon, 02 Jan 2006 15:04:05 GMT\nContent-Type: text/html\nContent-Length: 1024\nConnection: keep-alive\n\n"))
	var ex exchange.Exchange
	out := make([]byte, 0, 4096)
	run := func() {
		if n, err := ParseResponse(in, &ex.Resp, "GET", nil); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		OutgoingResponse(&ex)
		out = AppendResponse(out[:0], &ex.Resp, ResponseOptions{})
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations an answer", n)
	}
}
