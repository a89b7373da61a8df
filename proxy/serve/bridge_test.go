package serve_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/serve"
)

// mark is an op that marks requests and answers.
type mark string

func (m mark) Request(ex *exchange.Exchange) exchange.Verdict {
	ex.Req.Fields.Add("X-Path", string(m))
	ex.OnResponse(m, 0)
	ex.OnDone(m, 0)
	return exchange.Next
}

func (m mark) Response(ex *exchange.Exchange, _ uint64) { ex.Resp.Fields.Add("X-Back", string(m)) }

func (m mark) Done(*exchange.Exchange, uint64) {}

// strip takes a prefix off the path.
type strip string

func (s strip) Request(ex *exchange.Exchange) exchange.Verdict {
	ex.Req.Path = strings.TrimPrefix(ex.Req.Path, string(s))
	return exchange.Next
}

// deny answers at once.
type deny struct{}

func (deny) Request(ex *exchange.Exchange) exchange.Verdict {
	return ex.Reply(403, exchange.IPDenied, "Forbidden")
}

// shout is a stage that changes the head and passes the body through itself.
func shout(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-Stage", "yes")
		next.ServeHTTP(&shouter{ResponseWriter: w}, r)
	})
}

type shouter struct{ http.ResponseWriter }

func (s *shouter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *shouter) Write(p []byte) (int, error) {
	return s.ResponseWriter.Write([]byte(strings.ToUpper(string(p))))
}

func TestTailWithSegments(t *testing.T) {
	seen := make(chan string, 10)
	ep := script(t, say(seen, "HTTP/1.1 200 Nice\r\nx-server: S\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"))
	rt := &exchange.Route{Router: "r", Ops: []exchange.Op{mark("outer")}}
	svc := &pool{eps: []*exchange.Endpoint{ep}}
	e := newEdge(t, serve.Config{}, routes{"a.test": rt})
	rt.Tail = shout(serve.OpHandler([]exchange.Op{mark("inner"), strip("/pre")}, serve.Forward(svc, e.cl)))
	got := e.send("GET /pre/x%2Fy?q=%20 HTTP/1.1\r\nHost: a.test\r\nx-Mixed: m\r\nConnection: close\r\n\r\n")
	for _, w := range []string{"HTTP/1.1 200 Nice\r\n", "x-server: S\r\n", "X-Back: inner\r\nX-Back: outer\r\n", "Trailer: X-T\r\n", "\r\n\r\n2\r\nOK\r\n0\r\nX-T: 1\r\n\r\n"} {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in\n%s", w, got)
		}
	}
	h := <-seen
	for _, w := range []string{"GET /x%2Fy?q=%20 HTTP/1.1\r\n", "Host: a.test\r\n", "x-Mixed: m\r\n", "X-Path: outer\r\n", "X-Path: inner\r\n", "X-Stage: yes\r\n", "X-Forwarded-For: 127.0.0.1\r\n"} {
		if !strings.Contains(h, w) {
			t.Errorf("no %q in\n%s", w, h)
		}
	}
	if p, r := svc.counts(); p != 1 || r != 1 {
		t.Errorf("%d picks, %d releases", p, r)
	}
	if r := e.rec.wait(t, 1)[0]; r.Status != 200 || r.OriginStatus != 200 || r.OriginBytes != 2 || r.ServerURL != ep.URL {
		t.Errorf("%+v", r)
	}
	rt2 := &exchange.Route{Ops: []exchange.Op{mark("outer")}, Tail: serve.OpHandler([]exchange.Op{mark("inner"), deny{}}, http.NotFoundHandler())}
	e.srv.SetMatcher(routes{"a.test": rt2})
	got = e.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 403 Forbidden\r\n") || !strings.Contains(got, "X-Back: inner\r\nX-Back: outer\r\n") || !strings.HasSuffix(got, "\r\n\r\nForbidden") {
		t.Errorf("%s", got)
	}
}

func TestTailHandlers(t *testing.T) {
	handlers := map[string]http.HandlerFunc{
		"small": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "small") },
		"none":  func(http.ResponseWriter, *http.Request) {},
		"large": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 5000)) },
		"flush": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "b")
		},
		"early": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</x>")
			w.WriteHeader(103)
			w.WriteHeader(204)
		},
		"echo": func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%d %s %v %s", r.ContentLength, b, r.Trailer, r.RemoteAddr[:9])
		},
		"panic": func(http.ResponseWriter, *http.Request) { panic("a fault") },
		"abort": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", 5000))
			panic(http.ErrAbortHandler)
		},
		"short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			_, _ = io.WriteString(w, "short")
		},
		"hijack": func(w http.ResponseWriter, _ *http.Request) { hijack(t, w) },
	}
	m := routes{}
	for name, h := range handlers {
		m[name] = &exchange.Route{Router: name, Tail: h}
	}
	e := newEdge(t, serve.Config{}, m)
	for _, c := range []struct{ host, send, status, end string }{
		{"small", "", "200 OK", "Content-Length: 5\r\nConnection: close\r\n\r\nsmall"},
		{"none", "", "200 OK", "Content-Length: 0\r\nConnection: close\r\n\r\n"},
		{"large", "", "200 OK", "x\r\n0\r\n\r\n"},
		{"flush", "", "200 OK", "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"},
		{"early", "", "103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content", "Connection: close\r\n\r\n"},
		{"echo", "POST / HTTP/1.1\r\nHost: echo\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nhi\r\n0\r\nX-T: v\r\n\r\n", "200 OK", "-1 hi map[X-T:[v]] 127.0.0.1"},
		{"panic", "", "500 Internal Server Error", "Internal Server Error"},
		{"abort", "", "200 OK", "x\r\n"},
		{"short", "", "200 OK", "Content-Length: 9\r\nConnection: close\r\n\r\nshort"},
		{"hijack", "", "200 Mine", "early"},
	} {
		t.Run(c.host, func(t *testing.T) {
			if c.send == "" {
				c.send = "GET / HTTP/1.1\r\nHost: " + c.host + "\r\nConnection: close\r\n\r\n"
			}
			if c.host == "hijack" {
				c.send += "early"
			}
			got := e.send(c.send)
			if !strings.HasPrefix(got, "HTTP/1.1 "+c.status+"\r\n") || !strings.HasSuffix(got, c.end) {
				t.Errorf("%s", got)
			}
		})
	}
}

func hijack(t *testing.T, w http.ResponseWriter) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	b := make([]byte, 5)
	_, _ = io.ReadFull(rw, b)
	_, _ = rw.WriteString("HTTP/1.1 200 Mine\r\n\r\n" + string(b))
	_ = rw.Flush()
}

func TestUpgradeThroughATail(t *testing.T) {
	ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
		_, _ = readHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		b := make([]byte, 8)
		_, _ = io.ReadFull(br, b)
		_, _ = c.Write(b)
	})
	rt := &exchange.Route{Router: "r", Ops: []exchange.Op{mark("outer")}}
	e := newEdge(t, serve.Config{}, routes{"a.test": rt})
	rt.Tail = serve.OpHandler([]exchange.Op{mark("inner")}, serve.Forward(&pool{eps: []*exchange.Endpoint{ep}}, e.cl))
	c := e.dial()
	br := bufio.NewReader(c)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
	h, err := readHead(br)
	if err != nil || !strings.HasPrefix(h, "HTTP/1.1 101 ") || !strings.Contains(h, "X-Back: inner\r\nX-Back: outer\r\n") || strings.Count(h, "Upgrade: websocket") != 1 {
		t.Fatalf("%q %v", h, err)
	}
	_, _ = io.WriteString(c, "lat")
	if b, _ := io.ReadAll(br); string(b) != "earlylat" {
		t.Errorf("%q", b)
	}
}

func TestTailClientAbort(t *testing.T) {
	ended := make(chan struct{})
	e := newEdge(t, serve.Config{}, routes{"a.test": {Tail: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	})}})
	c := e.dial()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	time.Sleep(20 * time.Millisecond)
	_ = c.Close()
	select {
	case <-ended:
	case <-time.After(3 * time.Second):
		t.Error("the handler's context goes on")
	}
}

func TestStreamsReachTheClientAtOnce(t *testing.T) {
	step := make(chan struct{})
	ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
		_, _ = readHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 12\r\n\r\n")
		for range 3 {
			<-step
			_, _ = io.WriteString(c, "data")
		}
	})
	rt := &exchange.Route{Router: "r"}
	e := newEdge(t, serve.Config{}, routes{"a.test": to(ep), "tail.test": rt})
	svc := &pool{eps: []*exchange.Endpoint{ep}, flush: time.Hour}
	rt.Tail = shout(serve.Forward(svc, e.cl))
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) { return net.Dial("tcp", e.addr) }}
	defer tr.CloseIdleConnections()
	h1 := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", e.addr) }}
	defer h1.CloseIdleConnections()
	for _, c := range []http.RoundTripper{tr, h1} {
		for _, host := range []string{"a.test", "tail.test"} {
			req, _ := http.NewRequest("GET", "http://"+host, nil) //nolint:noctx // a test
			r, err := c.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 4)
			for range 3 {
				step <- struct{}{}
				if _, err := io.ReadFull(r.Body, b); err != nil || !strings.EqualFold(string(b), "data") {
					t.Fatalf("%q %v", b, err)
				}
			}
			_ = r.Body.Close()
		}
	}
}

// TestContinue hands connections over as the loop lane does.
func TestContinue(t *testing.T) {
	e := newEdge(t, serve.Config{}, routes{"a.test": {Router: "r", Tail: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, b)
	})}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	_ = client.SetDeadline(time.Now().Add(5 * time.Second))
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ex := new(exchange.Exchange)
	ex.Req = exchange.Request{Method: "POST", Proto: "HTTP/1.1", Host: "a.test", Target: "/one", Path: "/one", Framing: exchange.Sized, Length: 5, KeepAlive: true, EntryPoint: "web"}
	ex.Route, _ = routes{"a.test": {Router: "r", Ops: []exchange.Op{deny{}}, Tail: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, b)
	})}}.Match(ex)
	ex.NextOp = 1 // the loop has run the op that would deny
	back := make(chan net.Conn, 1)
	var wg sync.WaitGroup
	asked := 0
	wg.Go(func() {
		e.srv.Continue(serve.Handover{
			Conn: serve.Conn{Conn: server, Buffered: []byte("he"), Peer: netip.MustParseAddrPort("192.0.2.1:5")},
			Ex:   ex, Requests: 3, Since: time.Now(),
			Return: func(c net.Conn, buffered []byte) bool {
				if asked++; asked < 2 || len(buffered) > 0 {
					return false
				}
				back <- c
				return true
			},
		})
	})
	br := bufio.NewReader(client)
	read := func() string {
		r, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		return string(b)
	}
	_, _ = io.WriteString(client, "llo")
	if got := read(); got != "POST /one hello" {
		t.Errorf("%q", got)
	}
	_, _ = io.WriteString(client, "GET /two HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if got := read(); got != "GET /two " {
		t.Errorf("%q", got)
	}
	c := <-back
	wg.Wait()
	_, _ = io.WriteString(c, "mine")
	b := make([]byte, 4)
	if _, err := io.ReadFull(br, b); err != nil || string(b) != "mine" {
		t.Errorf("%q %v", b, err)
	}
	_ = c.Close()
}

func TestKeepAliveLimits(t *testing.T) {
	for name, cfg := range map[string]serve.Config{
		"requests": {KeepAliveMaxRequests: 2},
		"time":     {KeepAliveMaxTime: time.Nanosecond},
	} {
		e := newEdge(t, cfg, routes{})
		got := e.send(strings.Repeat("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 4))
		want := 2
		if name == "time" {
			want = 1
		}
		if n := strings.Count(got, "HTTP/1.1 404"); n != want || strings.Count(got, "Connection: close") != 1 {
			t.Errorf("%s: %d answers", name, n)
		}
	}
}
