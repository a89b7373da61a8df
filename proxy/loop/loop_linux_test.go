package loop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixed routes everything to one list of endpoints.
type fixed struct {
	mu    sync.Mutex
	eps   []*exchange.Endpoint
	ops   []exchange.Op
	tail  http.Handler
	turn  int
	drop  bool
	ended atomic.Int64
}

func (f *fixed) Match(ex *exchange.Exchange) (*exchange.Route, exchange.Reason) {
	if ex.Req.Host == "none.test" {
		return nil, exchange.NoRouter
	}
	return &exchange.Route{Router: "r@test", Service: "s@test", To: f, Ops: f.ops, Tail: f.tail}, ""
}

func (f *fixed) Pick(ex *exchange.Exchange) (*exchange.Endpoint, exchange.Reason) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range f.eps {
		f.turn++
		if ep := f.eps[f.turn%len(f.eps)]; !ex.WasTried(ep) {
			ep.InFlight.Add(1)
			ex.Backend = exchange.Backend{Endpoint: ep, Service: "s@test", Owner: f, DropHost: f.drop}
			return ep, ""
		}
	}
	return nil, exchange.NoServerUp
}

func (f *fixed) Release(_ *exchange.Exchange, ep *exchange.Endpoint, _ exchange.Outcome) {
	ep.InFlight.Add(-1)
	f.ended.Add(1)
}

var endpointID atomic.Uint32

func endpoint(addr string) *exchange.Endpoint {
	return &exchange.Endpoint{ID: endpointID.Add(1), Scheme: "http", Network: "tcp", Addr: addr, URL: "http://" + addr, Host: addr,
		Transport: &exchange.Transport{DialTimeout: 3 * time.Second}}
}

// records keeps what the loops report.
type records struct {
	mu   sync.Mutex
	list []telemetry.Record
}

func (r *records) Request(rec *telemetry.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := *rec
	c.Method, c.Host, c.Target, c.Reason = strings.Clone(c.Method), strings.Clone(c.Host), strings.Clone(c.Target), strings.Clone(c.Reason)
	r.list = append(r.list, c)
}

// wait returns the n-th record, once it is there.
func (r *records) wait(t *testing.T, n int) telemetry.Record {
	t.Helper()
	for range 500 {
		r.mu.Lock()
		if len(r.list) >= n {
			rec := r.list[n-1]
			r.mu.Unlock()
			return rec
		}
		r.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("record %d never came", n)
	return telemetry.Record{}
}

type edge struct {
	g     *Group
	e     *Entry
	addr  string
	route *fixed
	recs  *records
	hands chan *Handover
	run   chan error
}

// descriptors counts open sockets and epoll instances; others come and go in the runtime.
func descriptors(t *testing.T) (n int) {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range d {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "anon_inode:") {
			n++
		}
	}
	return n
}

// start runs an edge in front of backends; set may change its entry point.
func start(t *testing.T, route *fixed, set func(*Options, *EntryPoint)) *edge {
	t.Helper()
	before := descriptors(t)
	ed := &edge{route: route, recs: &records{}, hands: make(chan *Handover, 16), run: make(chan error, 1)}
	o := Options{Loops: 2, Sink: func() telemetry.Sink { return ed.recs }}
	cfg := EntryPoint{Name: "web", Addr: "127.0.0.1:0", Forwarding: &wire.Forwarding{Hostname: "edge"}, HandOver: func(h *Handover) { ed.hands <- h }}
	if set != nil {
		set(&o, &cfg)
	}
	var err error
	if ed.g, err = New(o); err != nil {
		t.Fatal(err)
	}
	if ed.e, err = ed.g.Listen(cfg); err != nil {
		t.Fatal(err)
	}
	ed.e.SetMatcher(route)
	ed.addr = ed.e.Addr().String()
	go func() { ed.run <- ed.g.Run(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		_ = ed.g.Shutdown(ctx)
		if err := <-ed.run; err != nil {
			t.Errorf("Run: %v", err)
		}
		for _, ep := range route.eps {
			if n := ep.InFlight.Load(); n != 0 {
				t.Errorf("%d requests in flight at the end", n)
			}
		}
		http.DefaultClient.CloseIdleConnections()
		for range 100 {
			if descriptors(t) <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%d descriptors before, %d after", before, descriptors(t))
	})
	return ed
}

// backend runs an http server for the test.
func backend(t *testing.T, h http.HandlerFunc) *exchange.Endpoint {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return endpoint(s.Listener.Addr().String())
}

// script answers each connection with the reply of a function of the bytes it gets first.
func script(t *testing.T, serve func(c net.Conn)) *exchange.Endpoint {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				serve(c)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return endpoint(ln.Addr().String())
}

// readHead reads to the end of a head.
func readRequest(c net.Conn) (*http.Request, *bufio.Reader, error) {
	br := bufio.NewReader(c)
	r, err := http.ReadRequest(br)
	return r, br, err
}

// raw sends bytes and returns all that comes until the edge closes, or the time is over.
func raw(t *testing.T, addr string, parts ...string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(4 * time.Second))
	for i, p := range parts {
		if i > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		if p == "<SHUT>" {
			_ = c.(*net.TCPConn).CloseWrite()
			continue
		}
		if _, err := io.WriteString(c, p); err != nil {
			break
		}
	}
	b, err := io.ReadAll(c)
	if err != nil {
		return string(b) + "<" + errText(err) + ">"
	}
	return string(b)
}

func errText(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "TIMEOUT"
	}
	return "RESET"
}

// answer answers in the way that the path asks for.
func answer(w http.ResponseWriter, path string) {
	switch path {
	case "/stream":
		for range 3 {
			fmt.Fprint(w, "abc")
			_ = http.NewResponseController(w).Flush()
		}
	case "/204":
		w.WriteHeader(204)
	case "/304":
		w.WriteHeader(304)
	case "/hints":
		w.Header().Set("Link", "</x>")
		w.WriteHeader(103)
		fmt.Fprint(w, "ok")
	case "/trailers":
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprint(w, "abc")
		_ = http.NewResponseController(w).Flush()
		w.Header().Set("X-Sum", "9")
	default:
		fmt.Fprint(w, "ok")
	}
}

func TestRequests(t *testing.T) {
	ep := backend(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", fmt.Sprintf("%s %s %s %s %d", r.Method, r.RequestURI, r.Host, r.Header.Get("X-Forwarded-For"), len(b)))
		answer(w, r.URL.Path)
	})
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil)
	strip := func(s string) string {
		var out []string
		for line := range strings.SplitSeq(s, "\r\n") {
			if !strings.HasPrefix(line, "Date:") && !strings.HasPrefix(line, "Content-Type: text/plain") {
				out = append(out, line)
			}
		}
		return strings.Join(out, "\n")
	}
	big := strings.Repeat("x", 300_000)
	tests := []struct{ name, in, want string }{
		{"get", "GET /a?b HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\nX-Seen: GET /a?b a.test 127.0.0.1 0\nContent-Length: 2\nConnection: close\n\nok"},
		{"1.0", "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n", "HTTP/1.0 200 OK\nX-Seen: GET / a.test 127.0.0.1 0\nContent-Length: 2\nConnection: close\n\nok"},
		{"1.0 stream", "GET /stream HTTP/1.0\r\nHost: a.test\r\n\r\n", "HTTP/1.0 200 OK\nX-Seen: GET /stream a.test 127.0.0.1 0\nConnection: close\n\nabcabcabc"},
		{"head", "HEAD / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\nX-Seen: HEAD / a.test 127.0.0.1 0\nContent-Length: 2\nConnection: close\n\n"},
		{"204", "GET /204 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "HTTP/1.1 204 No Content\nX-Seen: GET /204 a.test 127.0.0.1 0\nConnection: close\n\n"},
		{"304", "GET /304 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "HTTP/1.1 304 Not Modified\nX-Seen: GET /304 a.test 127.0.0.1 0\nConnection: close\n\n"},
		{"hints", "GET /hints HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "HTTP/1.1 103 Early Hints\nLink: </x>\nX-Seen: GET /hints a.test 127.0.0.1 0\n\nHTTP/1.1 200 OK\nLink: </x>\nX-Seen: GET /hints a.test 127.0.0.1 0\nContent-Length: 2\nConnection: close\n\nok"},
		{"trailers", "GET /trailers HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\nTrailer: X-Sum\nX-Seen: GET /trailers a.test 127.0.0.1 0\nTransfer-Encoding: chunked\nConnection: close\n\n3\nabc\n0\nX-Sum: 9\n\n"},
		{"post", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 300000\r\nConnection: close\r\n\r\n" + big, "HTTP/1.1 200 OK\nX-Seen: POST / a.test 127.0.0.1 300000\nContent-Length: 2\nConnection: close\n\nok"},
		{"chunked", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n", "HTTP/1.1 200 OK\nX-Seen: POST / a.test 127.0.0.1 3\nContent-Length: 2\nConnection: close\n\nok"},
		{"pipelined", "GET /1 HTTP/1.1\r\nHost: none.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "HTTP/1.1 404 Not Found\nX-Content-Type-Options: nosniff\nContent-Length: 19\n\n404 page not found\nHTTP/1.1 200 OK\nX-Seen: GET /2 a.test 127.0.0.1 0\nContent-Length: 2\nConnection: close\n\nok"},
		{"unwanted body", "POST /1 HTTP/1.1\r\nHost: none.test\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "HTTP/1.1 404 Not Found\nX-Content-Type-Options: nosniff\nContent-Length: 19\n\n404 page not found\nHTTP/1.1 200 OK\nX-Seen: GET /2 a.test 127.0.0.1 0\nContent-Length: 2\nConnection: close\n\nok"},
		{"bad head", "GET / HTTP/1.1\r\nHost : a\r\n\r\nGET / HTTP/1.1\r\n", "HTTP/1.1 400 Bad Request\nContent-Length: 15\nConnection: close\n\n400 Bad Request"},
		{"bad chunk", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "HTTP/1.1 400 Bad Request\nContent-Length: 11\nConnection: close\n\nBad Request"},
		{"version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\nContent-Length: 26\nConnection: close\n\nHTTP Version Not Supported"},
		{"half-closed", "GET / HTTP/1.0\r\nHost: none.test\r\n\r\n<SHUT>", "HTTP/1.0 404 Not Found\nX-Content-Type-Options: nosniff\nContent-Length: 19\nConnection: close\n\n404 page not found\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := []string{tt.in}
			if s, ok := strings.CutSuffix(tt.in, "<SHUT>"); ok {
				in = []string{s, "<SHUT>"}
			}
			if got := strip(raw(t, ed.addr, in...)); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if len(tt.in) > 2000 {
				return
			}
			// Byte by byte it is the same.
			var bytewise []string
			for i := range len(in[0]) {
				bytewise = append(bytewise, in[0][i:i+1])
			}
			if len(bytewise) > 60 {
				bytewise = append(bytewise[:60:60], in[0][60:])
			}
			c, err := net.Dial("tcp", ed.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(4 * time.Second))
			for _, p := range bytewise {
				if _, err := io.WriteString(c, p); err != nil {
					break
				}
				time.Sleep(200 * time.Microsecond)
			}
			if len(in) > 1 {
				_ = c.(*net.TCPConn).CloseWrite()
			}
			b, _ := io.ReadAll(c)
			if got := strip(string(b)); got != tt.want {
				t.Errorf("byte by byte\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}
