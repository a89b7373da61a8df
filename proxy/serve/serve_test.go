package serve_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/serve"
	"github.com/sluice-edge/sluice/proxy/upstream"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ids atomic.Uint32

// endpoint makes an Endpoint of a URL.
func endpoint(t testing.TB, raw string) *exchange.Endpoint {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &exchange.Endpoint{
		ID: ids.Add(1), URL: raw, Scheme: u.Scheme, Network: "tcp", Addr: u.Host, Host: u.Host,
		Transport: &exchange.Transport{Name: "test", DialTimeout: 5 * time.Second, IdleConnTimeout: time.Minute},
	}
}

// pool picks endpoints in order, skipping those that failed.
type pool struct {
	eps      []*exchange.Endpoint
	flush    time.Duration
	mu       sync.Mutex
	outcomes []exchange.Outcome
	picked   int
}

func (p *pool) Pick(ex *exchange.Exchange) (*exchange.Endpoint, exchange.Reason) {
	for _, ep := range p.eps {
		if !ex.WasTried(ep) {
			ep.InFlight.Add(1)
			p.mu.Lock()
			p.picked++
			p.mu.Unlock()
			ex.Backend = exchange.Backend{Endpoint: ep, Service: "s", FlushInterval: p.flush, Owner: p}
			return ep, ""
		}
	}
	return nil, exchange.NoServer
}

func (p *pool) Release(_ *exchange.Exchange, ep *exchange.Endpoint, o exchange.Outcome) {
	ep.InFlight.Add(-1)
	p.mu.Lock()
	p.outcomes = append(p.outcomes, o)
	p.mu.Unlock()
}

func (p *pool) counts() (picked, released int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.picked, len(p.outcomes)
}

// routes matches by host.
type routes map[string]*exchange.Route

func (r routes) Match(ex *exchange.Exchange) (*exchange.Route, exchange.Reason) {
	host, _, _ := strings.Cut(ex.Req.Host, ":")
	if rt := r[host]; rt != nil {
		return rt, ""
	}
	return nil, exchange.NoRouter
}

// recorder keeps the records.
type recorder struct {
	off  bool // for benchmarks
	mu   sync.Mutex
	list []telemetry.Record
}

func (r *recorder) Request(x *telemetry.Record) {
	if r.off {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := *x
	for _, s := range []*string{&c.Method, &c.Host, &c.Target, &c.Proto, &c.Reason, &c.Router} {
		*s = strings.Clone(*s)
	}
	r.list = append(r.list, c)
}

func (r *recorder) wait(t testing.TB, n int) []telemetry.Record {
	t.Helper()
	for range 200 {
		r.mu.Lock()
		l := r.list
		r.mu.Unlock()
		if len(l) >= n {
			return l
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d records did not come", n)
	return nil
}

// edge is a running handler lane on a real port.
type edge struct {
	t    testing.TB
	addr string
	srv  *serve.Server
	cl   *upstream.Client
	rec  *recorder
	l    net.Listener
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func newEdge(t testing.TB, cfg serve.Config, m exchange.Matcher) *edge {
	t.Helper()
	e := &edge{t: t, cl: upstream.New(upstream.Options{}), rec: &recorder{}}
	cfg.EntryPoint, cfg.Client, cfg.Records = "web", e.cl, e.rec
	if cfg.Forwarding == nil {
		cfg.Forwarding = &wire.Forwarding{Hostname: "edge"}
	}
	if cfg.ReadTimeout == 0 {
		cfg.ReadTimeout = 5 * time.Second
	}
	e.srv = serve.New(cfg)
	e.srv.SetMatcher(m)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.l, e.addr = l, l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.wg.Go(func() { _ = e.cl.Run(ctx) })
	e.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			ap := func(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }
			e.wg.Go(func() { e.srv.Serve(serve.Conn{Conn: c, Peer: ap(c.RemoteAddr()), Local: ap(c.LocalAddr())}) })
		}
	})
	t.Cleanup(e.close)
	return e
}

func (e *edge) close() {
	_ = e.l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = e.srv.Shutdown(ctx)
	e.stop()
	e.wg.Wait()
}

func (e *edge) dial() net.Conn {
	e.t.Helper()
	c, err := net.Dial("tcp", e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// send writes raw and returns all that comes until the connection ends.
func (e *edge) send(raw string) string {
	e.t.Helper()
	c := e.dial()
	if _, err := io.WriteString(c, raw); err != nil {
		e.t.Fatal(err)
	}
	b, _ := io.ReadAll(c)
	return string(b)
}

func to(eps ...*exchange.Endpoint) *exchange.Route {
	return &exchange.Route{Router: "r@test", Service: "s@test", To: &pool{eps: eps}}
}

func echoServer(t testing.TB) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("X-Host", r.Host)
		w.Header().Set("X-Framing", fmt.Sprint(r.ContentLength, r.TransferEncoding))
		w.Header().Set("X-Xff", r.Header.Get("X-Forwarded-For"))
		if len(r.Trailer) > 0 {
			w.Header().Set("X-Trailer", fmt.Sprint(r.Trailer))
		}
		fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, b)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestPlain(t *testing.T) {
	b := echoServer(t)
	dead, _ := net.Listen("tcp", "127.0.0.1:0")
	_ = dead.Close()
	e := newEdge(t, serve.Config{}, routes{
		"a.test":     to(endpoint(t, b.URL)),
		"dead.test":  to(endpoint(t, "http://"+dead.Addr().String())),
		"empty.test": to(),
		"retry.test": to(endpoint(t, "http://"+dead.Addr().String()), endpoint(t, b.URL)),
	})
	for _, c := range []struct {
		name, send string
		want       []string
	}{
		{"get", "GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", []string{"HTTP/1.1 200 OK\r\n", "\r\nGET /x?y=1 ", "X-Host: a.test", "X-Xff: 127.0.0.1", "Connection: close"}},
		{"post", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", []string{"POST / hello", "X-Framing: 5 []"}},
		{"chunked", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\n\r\n", []string{"POST / helloabc", "X-Framing: -1 [chunked]"}},
		{"trailers", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nTE: trailers\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n", []string{"POST / abc", "X-Trailer: map[X-Sum:[9]]"}},
		{"head", "HEAD / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", []string{"HTTP/1.1 200 OK\r\n", "Content-Length: 7\r\n"}},
		{"http10", "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n", []string{"HTTP/1.0 200 OK\r\n", "GET / "}},
		{"pipeline", "GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nokGET /3 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", []string{"GET /1 ", "POST /2 ok", "GET /3 "}},
		{"404", "GET / HTTP/1.1\r\nHost: no.test\r\nConnection: close\r\n\r\n", []string{"HTTP/1.1 404 Not Found\r\n", "Content-Length: 19\r\n", "X-Content-Type-Options: nosniff\r\n", "\r\n404 page not found\n"}},
		{"502", "GET / HTTP/1.1\r\nHost: dead.test\r\nConnection: close\r\n\r\n", []string{"HTTP/1.1 502 Bad Gateway\r\n", "\r\nBad Gateway"}},
		{"503", "GET / HTTP/1.1\r\nHost: empty.test\r\nConnection: close\r\n\r\n", []string{"HTTP/1.1 503 Service Unavailable\r\n", "\r\nno available server\n"}},
		{"retry", "GET /r HTTP/1.1\r\nHost: retry.test\r\nConnection: close\r\n\r\n", []string{"HTTP/1.1 200 OK\r\n", "GET /r "}},
		{"400", "GET / HTTP/1.1\r\nHost: a.test\r\nA : b\r\n\r\n", []string{"HTTP/1.1 400 Bad Request\r\n", "Connection: close\r\n"}},
		{"505", "GET / HTTP/3.1\r\nHost: a.test\r\n\r\n", []string{"HTTP/1.1 505 "}},
		{"bad chunk", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", []string{"HTTP/1.1 400 Bad Request\r\n", "Connection: close\r\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e.t = t
			got := e.send(c.send)
			for _, w := range c.want {
				if !strings.Contains(got, w) {
					t.Errorf("no %q in\n%s", w, got)
				}
			}
			if c.name == "head" && !strings.HasSuffix(got, "\r\n\r\n") || c.name == "bad chunk" && strings.Count(got, "HTTP/1.1") != 1 {
				t.Errorf("too much:\n%s", got)
			}
		})
	}
	e.t = t
}

func TestKeepAliveReusesServerConnection(t *testing.T) {
	var conns atomic.Int32
	b := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	b.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	b.Start()
	defer b.Close()
	ep := endpoint(t, b.URL)
	rt := to(ep)
	e := newEdge(t, serve.Config{}, routes{"a.test": rt})
	c := e.dial()
	br := bufio.NewReader(c)
	for range 5 {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		r, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
	}
	for range 100 {
		if _, r := rt.To.(*pool).counts(); r == 5 {
			break
		}
		time.Sleep(time.Millisecond) // the answer is there before the end of its exchange
	}
	if conns.Load() != 1 || e.cl.Idle(ep) != 1 {
		t.Errorf("%d connections, %d idle", conns.Load(), e.cl.Idle(ep))
	}
	if p, r := rt.To.(*pool).counts(); p != 5 || r != 5 {
		t.Errorf("%d picks, %d releases", p, r)
	}
	if n := ep.InFlight.Load(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}
