package loop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

func TestTimeouts(t *testing.T) {
	ep := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			select {
			case <-r.Context().Done():
			case <-time.After(900 * time.Millisecond):
			}
		}
		_, _ = io.ReadAll(r.Body)
		fmt.Fprint(w, "ok")
	})
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, func(_ *Options, c *EntryPoint) {
		c.ReadTimeout, c.IdleTimeout, c.WriteTimeout = 300*time.Millisecond, 200*time.Millisecond, 0
	})
	tests := []struct {
		name, in, want string
		min            time.Duration
	}{
		{"request line", "GET / HTT", "HTTP/1.1 400 ", 250 * time.Millisecond},
		{"head", "GET / HTTP/1.1\r\nHost: a\r\n", "", 250 * time.Millisecond},
		{"nothing", "", "", 250 * time.Millisecond},
		{"body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 504 ", 250 * time.Millisecond},
		{"idle", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 ", 150 * time.Millisecond},
	}
	for _, tt := range tests {
		begun := time.Now()
		got := raw(t, ed.addr, tt.in)
		if took := time.Since(begun); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" || took < tt.min || took > tt.min+2*time.Second || strings.Contains(got, "<") {
			t.Errorf("%s: %q after %v", tt.name, got, took)
		}
	}
	// A body that comes slowly but does come is fine.
	c, err := net.Dial("tcp", ed.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nConnection: close\r\n\r\n")
	for range 6 {
		time.Sleep(100 * time.Millisecond)
		fmt.Fprint(c, "x")
	}
	if b, _ := io.ReadAll(c); !strings.HasPrefix(string(b), "HTTP/1.1 200 ") {
		t.Errorf("slow body: %q", b)
	}
}

func TestTotalReadTimeout(t *testing.T) {
	ed := start(t, &fixed{eps: []*exchange.Endpoint{backend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) })}}, func(_ *Options, c *EntryPoint) {
		c.ReadTimeout, c.ReadTotal = 300*time.Millisecond, true
	})
	c, err := net.Dial("tcp", ed.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n")
	go func() {
		for range 10 {
			time.Sleep(60 * time.Millisecond)
			fmt.Fprint(c, "x")
		}
	}()
	if b, _ := io.ReadAll(c); !strings.HasPrefix(string(b), "HTTP/1.1 504 ") {
		t.Errorf("%q", b)
	}
	time.Sleep(300 * time.Millisecond)
}

func TestWriteTimeout(t *testing.T) {
	gone := make(chan struct{})
	ep := backend(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
			close(gone)
		case <-time.After(3 * time.Second):
		}
	})
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, func(_ *Options, c *EntryPoint) { c.WriteTimeout = 200 * time.Millisecond })
	if got := raw(t, ed.addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); got != "" && got != "<RESET>" {
		t.Errorf("%q", got)
	}
	select {
	case <-gone:
	case <-time.After(time.Second):
		t.Error("the server still works")
	}
}

func TestServerTimeouts(t *testing.T) {
	ep := script(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	ep.Transport = &exchange.Transport{DialTimeout: time.Second, ResponseHeaderTimeout: 200 * time.Millisecond}
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil)
	if got := raw(t, ed.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 504 ") || !strings.HasSuffix(got, "Gateway Timeout") {
		t.Errorf("%q", got)
	}
	if r := ed.recs.wait(t, 1); r.Reason != string(exchange.UpstreamSlow) || r.Status != 504 || r.OriginStatus != 0 {
		t.Errorf("%+v", r)
	}
}

func TestClientGone(t *testing.T) {
	for _, finish := range []bool{false, true} {
		var ended atomic.Int32
		ep := backend(t, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				ended.Add(1)
			case <-time.After(300 * time.Millisecond):
			}
			fmt.Fprint(w, "ok")
		})
		ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, func(_ *Options, c *EntryPoint) { c.FinishHalfClosed = finish })
		got := raw(t, ed.addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "<SHUT>")
		want, reason := "HTTP/1.1 499 ", string(exchange.ClientGone)
		if finish {
			want, reason = "HTTP/1.1 200 ", ""
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("finish %v, half-closed: %q", finish, got)
		}
		if r := ed.recs.wait(t, 1); r.Reason != reason {
			t.Errorf("finish %v: reason %q", finish, r.Reason)
		}
		// A reset counts in either case.
		c, err := net.Dial("tcp", ed.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		time.Sleep(30 * time.Millisecond)
		before := ended.Load()
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
		if r := ed.recs.wait(t, 2); r.Reason != string(exchange.ClientGone) || r.Status != 499 {
			t.Errorf("finish %v, reset: %+v", finish, r)
		}
		for range 100 {
			if ended.Load() > before {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if ended.Load() == before {
			t.Errorf("finish %v: the server was not told", finish)
		}
	}
}

func TestKeepAliveLimits(t *testing.T) {
	ep := backend(t, ok)
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, func(_ *Options, c *EntryPoint) {
		c.KeepAliveMaxRequests, c.MaxHead = 3, 1000
		c.ReasonHeader = true
		c.Forwarding.Insecure = true
	})
	got := raw(t, ed.addr, strings.Repeat("GET / HTTP/1.1\r\nHost: none.test\r\nX-Sluice-Reason: ?\r\n\r\n", 5))
	if strings.Count(got, "HTTP/1.1 404") != 3 || strings.Count(got, "Connection: close") != 1 || strings.Count(got, "X-Sluice-Reason: no_router") != 3 {
		t.Errorf("%q", got)
	}
	if got := raw(t, ed.addr, "GET / HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("x", 1000+wire.HeadSlack)+"\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 431 ") {
		t.Errorf("%q", got)
	}
}

func TestProxyProtocol(t *testing.T) {
	ep := backend(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("X-Forwarded-For")) })
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, func(_ *Options, c *EntryPoint) {
		c.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	get := "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	for in, want := range map[string]string{
		"PROXY TCP4 192.0.2.9 192.0.2.1 4000 80\r\n|":  "192.0.2.9",
		"PRO|XY TCP4 192.0.2.9 192.0.2.1 4000 80\r|\n": "192.0.2.9",
		"|":                  "127.0.0.1",
		"PROXY UNKNOWN\r\n|": "127.0.0.1",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00|\x02\x09\xc0\x00\x02\x01\x0f\xa0\x00\x50": "192.0.2.9",
	} {
		got := raw(t, ed.addr, strings.Split(in+get, "|")...)
		if !strings.HasSuffix(got, "\r\n\r\n"+want) {
			t.Errorf("%q: %q", in, got)
		}
	}
	other := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, func(_ *Options, c *EntryPoint) {
		c.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	if got := raw(t, other.addr, "PROXY TCP4 192.0.2.9 192.0.2.1 4000 80\r\n"+get); !strings.HasSuffix(got, "\r\n\r\n127.0.0.1") {
		t.Errorf("not believed: %q", got)
	}
	if got := raw(t, ed.addr, "PROXY TCP4 bad 192.0.2.1 4000 80\r\n"+get); got != "" && got != "<RESET>" {
		t.Errorf("%q", got)
	}
}

// TestStale sends over connections that the server closes while they are kept.
func TestStale(t *testing.T) {
	var conns atomic.Int32
	ep := script(t, func(c net.Conn) {
		n := conns.Add(1)
		br := bufio.NewReader(c)
		for range 2 {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			b, _ := io.ReadAll(r.Body)
			if r.URL.Path == "/bad" && n%2 == 1 {
				return // without a word, after the request was read
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(b)+2, "ok"+string(b))
		}
	})
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, func(o *Options, _ *EntryPoint) { o.Loops = 1 })
	try := func(method, path, body, want string) {
		t.Helper()
		got := raw(t, ed.addr, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", method, path, len(body), body))
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s %s: %q, want %q", method, path, got, want)
		}
	}
	try("GET", "/", "", "HTTP/1.1 200 ")
	try("GET", "/bad", "", "HTTP/1.1 200 ")    // kept, closed: repeated over a new one
	try("POST", "/", "b", "HTTP/1.1 200 ")     // over that one
	try("POST", "/", "b", "HTTP/1.1 200 ")     // the server has closed: seen before it is sent
	try("PUT", "/bad", "put", "HTTP/1.1 200 ") // repeated with its body
	conns.Store(0)
	time.Sleep(20 * time.Millisecond)
	try("GET", "/", "", "HTTP/1.1 200 ")
	try("GET", "/", "", "HTTP/1.1 200 ")
	conns.Store(0)
	try("POST", "/bad", "b", "HTTP/1.1 502 ") // may have been acted upon
}

func TestNextServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := endpoint(ln.Addr().String())
	ln.Close()
	good := backend(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "got %d", len(b))
	})
	ed := start(t, &fixed{eps: []*exchange.Endpoint{dead, good}}, nil)
	for i := range 4 {
		body := strings.Repeat("x", 50_000*i)
		got := raw(t, ed.addr, fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body))
		if !strings.HasSuffix(got, fmt.Sprintf("got %d", len(body))) {
			t.Errorf("%q", got)
		}
	}
	retries := 0
	for i := range 4 {
		retries += ed.recs.wait(t, i+1).Retries
	}
	if retries != 3 {
		t.Errorf("%d retries", retries)
	}
	alone := start(t, &fixed{eps: []*exchange.Endpoint{dead}}, nil)
	if got := raw(t, alone.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.HasSuffix(got, "Bad Gateway") {
		t.Errorf("%q", got)
	}
	if r := alone.recs.wait(t, 1); r.Reason != string(exchange.DialRefused) {
		t.Errorf("reason %q", r.Reason)
	}
	none := start(t, &fixed{}, nil)
	if got := raw(t, none.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.HasSuffix(got, "no available server\n") {
		t.Errorf("%q", got)
	}
}

func TestAddresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	six, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	h := &http.Server{Handler: http.HandlerFunc(ok)}
	go h.Serve(unix)
	go h.Serve(six)
	defer h.Close()
	u := endpoint(path)
	u.Network, u.Host = "unix", "localhost"
	port := six.Addr().(*net.TCPAddr).Port
	named := endpoint(fmt.Sprintf("some.name:%d", port))
	unknown := endpoint("no.name:80")
	resolve := func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "some.name" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}, nil // nobody listens at the first
	}
	for name, ep := range map[string]*exchange.Endpoint{"unix": u, "six": endpoint(six.Addr().String()), "name": named, "unknown": unknown, "nonsense": endpoint("nonsense")} {
		ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}, drop: true}, func(o *Options, c *EntryPoint) {
			o.Resolve = resolve
			c.Addr = "[::1]:0"
		})
		got := raw(t, ed.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		want := "HTTP/1.1 200 "
		if name == "unknown" || name == "nonsense" {
			want = "HTTP/1.1 502 "
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestBrokenServers(t *testing.T) {
	tests := map[string]struct {
		reply, want string
		reason      exchange.Reason
	}{
		"nothing":          {"", "HTTP/1.1 502 ", exchange.UpstreamEOF},
		"noise":            {"SSH-2.0-x\r\n", "HTTP/1.1 502 ", exchange.UpstreamBad},
		"status 099":       {"HTTP/1.1 099 X\r\n\r\n", "HTTP/1.1 502 ", exchange.UpstreamBad},
		"half a head":      {"HTTP/1.1 200 X\r\nA: b", "HTTP/1.1 502 ", exchange.UpstreamEOF},
		"two framings":     {"HTTP/1.1 200 X\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 502 ", exchange.UpstreamBad},
		"bad chunk":        {"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 502 ", exchange.UpstreamBad},
		"endless interims": {strings.Repeat("HTTP/1.1 102 X\r\n\r\n", 40), "HTTP/1.1 102 ", exchange.UpstreamBad},
		"too long":         {"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 X\r\n", "HTTP/1.1 200 ", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ep := script(t, func(c net.Conn) {
				if _, _, err := readRequest(c); err == nil {
					_, _ = io.WriteString(c, tt.reply)
				}
			})
			ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil)
			if got := raw(t, ed.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, tt.want) {
				t.Errorf("%q", got)
			}
			if r := ed.recs.wait(t, 1); r.Reason != string(tt.reason) {
				t.Errorf("reason %q, want %q", r.Reason, tt.reason)
			}
		})
	}
	// An answer that breaks off in its body must not look whole.
	for _, reply := range []string{"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nabc", "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"} {
		ep := script(t, func(c net.Conn) {
			if _, _, err := readRequest(c); err == nil {
				_, _ = io.WriteString(c, reply)
			}
		})
		ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil)
		resp, err := http.Get("http://" + ed.addr)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%q looks whole", reply)
		}
	}
}

func TestSwap(t *testing.T) {
	one, two := backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "one") }), backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "two") })
	ed := start(t, &fixed{eps: []*exchange.Endpoint{one}}, nil)
	c, err := net.Dial("tcp", ed.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	br := bufio.NewReader(c)
	get := func() string {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	if got := get(); got != "one" {
		t.Error(got)
	}
	ed.e.SetMatcher(&fixed{eps: []*exchange.Endpoint{two}})
	one.Gone.Store(true)
	ed.g.Sweep()
	if got := get(); got != "two" {
		t.Error(got)
	}
}

// TestKept holds that a connection is kept for the next request, also where the answer ends
// exactly with a read.
func TestKept(t *testing.T) {
	var conns atomic.Int32
	ep := script(t, func(c net.Conn) {
		conns.Add(1)
		br := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			var n int
			fmt.Sscanf(r.URL.Path, "/%d", &n)
			head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", n)
			fmt.Fprint(c, head+strings.Repeat("x", n))
		}
	})
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, func(o *Options, _ *EntryPoint) { o.Loops = 1 })
	c, err := net.Dial("tcp", ed.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	br := bufio.NewReader(c)
	head := len("HTTP/1.1 200 OK\r\nContent-Length: 65495\r\n\r\n")
	for _, n := range []int{0, 10, quantum - head, quantum - head + 1, quantum - head - 1, 2*quantum - head, 200_000, 10} {
		fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", n)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); len(b) != n || err != nil {
			t.Fatalf("%d bytes of %d, %v", len(b), n, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections to the server", n)
	}
}
