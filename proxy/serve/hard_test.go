package serve_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/serve"
	"github.com/sluice-edge/sluice/telemetry"
)

// script is a server that says exactly what it is told: each connection is given to do.
func script(t testing.TB, do func(n int, c net.Conn, br *bufio.Reader)) *exchange.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				do(n, c, bufio.NewReader(c))
			}()
		}
	}()
	return endpoint(t, "http://"+l.Addr().String())
}

func readHead(br *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		l, err := br.ReadString('\n')
		b.WriteString(l)
		if err != nil || l == "\r\n" {
			return b.String(), err
		}
	}
}

// say answers every request of a connection with text, and sends its head to seen.
func say(seen chan<- string, text string) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			h, err := readHead(br)
			if err != nil {
				return
			}
			seen <- h
			_, _ = io.WriteString(c, text)
		}
	}
}

func TestAnswersOfServers(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		close        bool
		want         string // the client's view after the head's Date
		status       string
		body         string
	}{
		{name: "sized", answer: "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok", status: "HTTP/1.1 200 Fine", body: "ok"},
		{name: "chunked", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", status: "HTTP/1.1 200 OK", body: "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"},
		{name: "trailers", answer: "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n", status: "HTTP/1.1 200 OK", body: "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"},
		{name: "until close", answer: "HTTP/1.1 200 OK\r\n\r\nto the end", close: true, status: "HTTP/1.1 200 OK", body: "a\r\nto the end\r\n0\r\n\r\n"},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", status: "HTTP/1.1 204 No Content", body: ""},
		{name: "304", answer: "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", status: "HTTP/1.1 304 Not Modified", body: ""},
		{name: "1xx", answer: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", status: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK", body: "ok"},
		{name: "not HTTP", answer: "nonsense\r\n\r\n", status: "HTTP/1.1 502 Bad Gateway", body: "Bad Gateway"},
		{name: "both lengths", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: "HTTP/1.1 502 Bad Gateway", body: "Bad Gateway"},
		{name: "101 unasked", answer: "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: y\r\n\r\n", status: "HTTP/1.1 502 Bad Gateway", body: "Bad Gateway"},
		{name: "nothing", answer: "", close: true, status: "HTTP/1.1 502 Bad Gateway", body: "Bad Gateway"},
		{name: "half a head", answer: "HTTP/1.1 200 OK\r\nA: b", close: true, status: "HTTP/1.1 502 Bad Gateway", body: "Bad Gateway"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ep := script(t, func(_ int, nc net.Conn, br *bufio.Reader) {
				if _, err := readHead(br); err != nil {
					return
				}
				_, _ = io.WriteString(nc, c.answer)
				if !c.close {
					_, _ = readHead(br)
				}
			})
			e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
			got := e.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
			if !strings.HasPrefix(got, c.status+"\r\n") {
				t.Errorf("not %q:\n%s", c.status, got)
			}
			if i := strings.LastIndex(got, "\r\n\r\n"); c.body == "" && i != len(got)-4 || c.body != "" && !strings.HasSuffix(got, "\r\n\r\n"+c.body) {
				t.Errorf("body is not %q:\n%s", c.body, got)
			}
		})
	}
}

func TestTruncatedAnswerCutsTheClient(t *testing.T) {
	for name, answer := range map[string]string{
		"sized":   "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
	} {
		t.Run(name, func(t *testing.T) {
			ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
				_, _ = readHead(br)
				_, _ = io.WriteString(c, answer)
			})
			rt := to(ep)
			e := newEdge(t, serve.Config{}, routes{"a.test": rt})
			req, _ := http.NewRequest("GET", "http://"+e.addr, nil) //nolint:noctx // a test
			req.Host = "a.test"
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			r, err := tr.RoundTrip(req)
			if err == nil {
				_, err = io.ReadAll(r.Body)
				_ = r.Body.Close()
			}
			if err == nil {
				t.Error("the client did not notice")
			}
			rec := e.rec.wait(t, 1)
			if got := rec[len(rec)-1].Reason; got != "upstream_eof" && got != "upstream_bad" {
				t.Errorf("reason %q", got)
			}
		})
	}
}

func TestStaleConnectionIsReplaced(t *testing.T) {
	for _, c := range []struct {
		name, request string
		want          string
	}{
		{"get", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "200"},
		{"put", "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi", "200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ep := script(t, func(n int, nc net.Conn, br *bufio.Reader) {
				for i := 0; ; i++ {
					h, err := readHead(br)
					if err != nil {
						return
					}
					if strings.HasPrefix(h, "PUT") {
						_, _ = io.ReadFull(br, make([]byte, 2))
					}
					if n == 0 && i == 1 {
						return // takes the second request of the first connection and dies
					}
					_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
			nc := e.dial()
			br := bufio.NewReader(nc)
			for range 3 {
				_, _ = io.WriteString(nc, c.request)
				r, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, r.Body)
				if !strings.HasPrefix(r.Status, c.want) {
					t.Errorf("status %s", r.Status)
				}
			}
		})
	}
}

func TestStalePostIsNotRepeatedWhenItMayHaveBeenSeen(t *testing.T) {
	ep := script(t, func(n int, nc net.Conn, br *bufio.Reader) {
		for i := 0; ; i++ {
			if _, err := readHead(br); err != nil {
				return
			}
			_, _ = io.ReadFull(br, make([]byte, 2))
			if n == 0 && i == 1 {
				return
			}
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
	nc := e.dial()
	br := bufio.NewReader(nc)
	var got []int
	for range 3 {
		_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
		r, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		got = append(got, r.StatusCode)
	}
	if fmt.Sprint(got) != "[200 502 200]" {
		t.Error(got)
	}
}

func TestClosedIdleConnectionIsNotUsed(t *testing.T) {
	closed := make(chan struct{}, 4)
	ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if _, err := readHead(br); err != nil {
			return
		}
		_, _ = io.ReadFull(br, make([]byte, 2))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_ = c.Close()
		closed <- struct{}{}
	})
	e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
	nc := e.dial()
	br := bufio.NewReader(nc)
	for range 3 {
		_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
		r, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != 200 {
			t.Error(r.Status)
		}
		<-closed
		time.Sleep(5 * time.Millisecond)
	}
}

func TestExpectContinue(t *testing.T) {
	t.Run("asked", func(t *testing.T) {
		b := echoServer(t)
		e := newEdge(t, serve.Config{}, routes{"a.test": to(endpoint(t, b.URL))})
		c := e.dial()
		br := bufio.NewReader(c)
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
		h, err := readHead(br)
		if err != nil || h != "HTTP/1.1 100 Continue\r\n\r\n" {
			t.Fatalf("%q %v", h, err)
		}
		_, _ = io.WriteString(c, "hello")
		rest, _ := io.ReadAll(br)
		if !strings.HasPrefix(string(rest), "HTTP/1.1 200") || !strings.HasSuffix(string(rest), "POST / hello") {
			t.Errorf("%s", rest)
		}
	})
	t.Run("refused", func(t *testing.T) {
		seen := make(chan string, 1)
		ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
			h, _ := readHead(br)
			seen <- h
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
			_, _ = readHead(br)
		})
		e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
		got := e.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 413") {
			t.Errorf("%s", got)
		}
		if h := <-seen; !strings.Contains(h, "Expect: 100-continue\r\n") {
			t.Errorf("the server saw %q", h)
		}
	})
}

func TestUpgrade(t *testing.T) {
	ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
		h, _ := readHead(br)
		if !strings.Contains(h, "Upgrade: websocket\r\n") || !strings.Contains(h, "Connection: Upgrade\r\n") {
			_, _ = io.WriteString(c, "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello ")
		b, _ := io.ReadAll(br) // until the client's half-close
		_, _ = c.Write(bytes.ToUpper(b))
	})
	e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
	c := e.dial()
	// The bytes after the head come with it.
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly ")
	br := bufio.NewReader(c)
	h, err := readHead(br)
	if err != nil || !strings.HasPrefix(h, "HTTP/1.1 101 Switching Protocols\r\n") || !strings.Contains(h, "Upgrade: websocket\r\n") || !strings.Contains(h, "Connection: Upgrade\r\n") {
		t.Fatalf("%q %v", h, err)
	}
	_, _ = io.WriteString(c, "late")
	_ = c.(*net.TCPConn).CloseWrite()
	rest, _ := io.ReadAll(br)
	if string(rest) != "hello EARLY LATE" {
		t.Errorf("%q", rest)
	}
	if r := e.rec.wait(t, 1)[0]; r.Status != 101 || r.Protocol != telemetry.WebSocket || r.RequestBytes != 10 || r.ResponseBytes != 16 {
		t.Errorf("%+v", r)
	}
}

func TestClientAbort(t *testing.T) {
	gone := make(chan error, 1)
	ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
		_, _ = readHead(br)
		_, err := io.ReadAll(br)
		gone <- err
	})
	rt := to(ep)
	for _, req := range []string{
		"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
	} {
		e := newEdge(t, serve.Config{}, routes{"a.test": rt})
		c := e.dial()
		_, _ = io.WriteString(c, req)
		time.Sleep(100 * time.Millisecond)
		if strings.Contains(req, "POST") {
			_, _ = io.WriteString(c, "abc")
		}
		_ = c.Close()
		select {
		case err := <-gone:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(3 * time.Second):
			t.Fatal("the server's connection stays open")
		}
		r := e.rec.wait(t, 1)[0]
		if r.Status != 499 || r.Reason != "client_gone" {
			t.Errorf("%d %s", r.Status, r.Reason)
		}
		e.close()
	}
	if o := rt.To.(*pool).outcomes; len(o) != 2 || o[0] != exchange.Aborted {
		t.Errorf("outcomes %v", o)
	}
}

func TestHalfClosedClient(t *testing.T) {
	for _, finish := range []bool{false, true} {
		ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
			_, _ = readHead(br)
			time.Sleep(200 * time.Millisecond)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_, _ = readHead(br)
		})
		e := newEdge(t, serve.Config{FinishHalfClosed: finish}, routes{"a.test": to(ep)})
		c := e.dial()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		_ = c.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(c)
		want := "HTTP/1.1 499 Client Closed Request\r\n"
		if finish {
			want = "HTTP/1.1 200 OK\r\n"
		}
		if !strings.HasPrefix(string(b), want) {
			t.Errorf("%v: %s", finish, b)
		}
	}
}

func TestTimeouts(t *testing.T) {
	stuck := script(t, func(_ int, _ net.Conn, br *bufio.Reader) { _, _ = io.ReadAll(br) })
	stuck.Transport.ResponseHeaderTimeout = 100 * time.Millisecond
	e := newEdge(t, serve.Config{ReadTimeout: 300 * time.Millisecond, IdleTimeout: 300 * time.Millisecond}, routes{"a.test": to(stuck)})
	got := e.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 504 Gateway Timeout\r\n") || !strings.HasSuffix(got, "\r\n\r\nGateway Timeout") {
		t.Errorf("%s", got)
	}
	stuck.Transport.ResponseHeaderTimeout = 0
	began := time.Now()
	if got := e.send("GET / HT"); !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("half a line: %s", got)
	}
	if got := e.send("GET / HTTP/1.1\r\nHost: a.test\r\n"); got != "" {
		t.Errorf("half a head: %s", got)
	}
	if got := e.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc"); !strings.HasPrefix(got, "HTTP/1.1 504") {
		t.Errorf("half a body: %s", got)
	}
	if d := time.Since(began); d < 900*time.Millisecond || d > 3*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestSlowUploadPassesByProgress(t *testing.T) {
	b := echoServer(t)
	for _, total := range []bool{false, true} {
		e := newEdge(t, serve.Config{ReadTimeout: 200 * time.Millisecond, ReadTotal: total}, routes{"a.test": to(endpoint(t, b.URL))})
		c := e.dial()
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
		for _, x := range "hello" {
			time.Sleep(80 * time.Millisecond)
			_, _ = io.WriteString(c, string(x))
		}
		got, _ := io.ReadAll(c)
		want := "HTTP/1.1 200"
		if total {
			want = "HTTP/1.1 504"
		}
		if !strings.HasPrefix(string(got), want) {
			t.Errorf("total %v: %s", total, got)
		}
	}
}

func TestEarlyAnswerToLongUpload(t *testing.T) {
	ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
		_, _ = readHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
		time.Sleep(300 * time.Millisecond)
	})
	e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
	c := e.dial()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n")
	go func() {
		b := make([]byte, 64<<10)
		for {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}()
	br := bufio.NewReader(c)
	r, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r.Body)
	if r.StatusCode != 413 || string(b) != "big" || err != nil {
		t.Errorf("%s %q %v", r.Status, b, err)
	}
}

func TestLargeBodies(t *testing.T) {
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
		}
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	}))
	defer b.Close()
	e := newEdge(t, serve.Config{}, routes{"a.test": to(endpoint(t, b.URL))})
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, sized := range []bool{true, false} {
		for range 3 {
			var body io.Reader = bytes.NewReader(data)
			if !sized {
				body = io.MultiReader(body)
			}
			req, _ := http.NewRequest("POST", "http://"+e.addr+"/", body) //nolint:noctx // a test
			req.Host = "a.test"
			r, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("sized %v: %d bytes, %v", sized, len(got), err)
			}
		}
	}
}

// h2cServer answers over HTTP/2 in clear text.
func h2cServer(t testing.TB, h http.Handler) *exchange.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http2.Server{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			go s.ServeConn(c, &http2.ServeConnOpts{Handler: h})
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return endpoint(t, "h2c://"+l.Addr().String())
}

func TestGRPCLikeTrailersEndToEnd(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/trailers-only" {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "5")
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("X-Te", r.Header.Get("Te"))
		w.Header().Set("X-Path", r.RequestURI)
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		b := make([]byte, 100)
		for {
			n, err := r.Body.Read(b)
			_, _ = w.Write(bytes.ToUpper(b[:n]))
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				break
			}
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	})
	e := newEdge(t, serve.Config{}, routes{"a.test": to(h2cServer(t, h))})
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, e.addr)
	}}
	defer tr.CloseIdleConnections()
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", "http://a.test/svc/m%2Fx?q=1", pr) //nolint:noctx // a test
	req.Header.Set("Te", "trailers")
	r, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	// Both directions are open at once.
	for _, s := range []string{"one", "two"} {
		_, _ = io.WriteString(pw, s)
		b := make([]byte, 3)
		if _, err := io.ReadFull(r.Body, b); err != nil || string(b) != strings.ToUpper(s) {
			t.Fatalf("%q %v", b, err)
		}
	}
	_ = pw.Close()
	if rest, err := io.ReadAll(r.Body); len(rest) > 0 || err != nil {
		t.Errorf("%q %v", rest, err)
	}
	if r.Trailer.Get("Grpc-Status") != "0" || r.Header.Get("X-Te") != "trailers" || r.Header.Get("X-Path") != "/svc/m%2Fx?q=1" || r.ProtoMajor != 2 {
		t.Errorf("%v %v", r.Header, r.Trailer)
	}
	req, _ = http.NewRequest("POST", "http://a.test/trailers-only", strings.NewReader("x")) //nolint:noctx // a test
	r, err = tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	if r.Header.Get("Grpc-Status") != "5" {
		t.Errorf("%v", r.Header)
	}
}

func TestHTTPSUpstreams(t *testing.T) {
	for _, h2 := range []bool{true, false} {
		b := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s", r.Proto, b)
		}))
		b.EnableHTTP2 = h2
		b.StartTLS()
		for _, disable := range []bool{false, true} {
			ep := endpoint(t, b.URL)
			ep.Transport.DisableHTTP2 = disable
			ep.Transport.TLS = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // a test
			e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
			want := "HTTP/1.1 hi"
			if h2 && !disable {
				want = "HTTP/2.0 hi"
			}
			for range 3 {
				got := e.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
				if !strings.HasSuffix(got, want) {
					t.Errorf("%s", got)
				}
			}
			e.close()
		}
		ep := endpoint(t, b.URL)
		ep.Transport.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
		got := e.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
		if r := e.rec.wait(t, 1)[0]; !strings.HasPrefix(got, "HTTP/1.1 502") || r.Reason != "upstream_tls" {
			t.Errorf("%s %s", r.Reason, got)
		}
		e.close()
		b.Close()
	}
}

func TestDrain(t *testing.T) {
	hold := make(chan struct{})
	ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			h, err := readHead(br)
			if err != nil {
				return
			}
			if strings.HasPrefix(h, "GET /slow") {
				<-hold
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
	idle, busy := e.dial(), e.dial()
	_, _ = io.WriteString(idle, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	ib := bufio.NewReader(idle)
	if r, err := http.ReadResponse(ib, nil); err != nil || r.Close {
		t.Fatal(err)
	} else {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	_, _ = io.WriteString(busy, "GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n")
	time.Sleep(50 * time.Millisecond)
	done := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		done <- e.srv.Shutdown(ctx)
	}()
	if b, err := io.ReadAll(ib); len(b) > 0 || err != nil {
		t.Errorf("idle: %q %v", b, err)
	}
	close(hold)
	b, _ := io.ReadAll(busy)
	if !strings.Contains(string(b), "Connection: close\r\n") || !strings.HasSuffix(string(b), "ok") {
		t.Errorf("busy: %s", b)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
