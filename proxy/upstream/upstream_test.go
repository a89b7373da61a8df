package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func endpoint(id uint32, scheme, addr string) *exchange.Endpoint {
	return &exchange.Endpoint{
		ID: id, URL: scheme + "://" + addr, Scheme: scheme, Network: "tcp", Addr: addr, Host: addr,
		Transport: &exchange.Transport{DialTimeout: 2 * time.Second, IdleConnTimeout: time.Minute},
	}
}

// listen accepts connections and gives them to do.
func listen(t testing.TB, do func(net.Conn)) string {
	t.Helper()
	return testnet.Accept(t, 5*time.Second, do)
}

func TestDialReasons(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := l.Addr().String()
	_ = l.Close()
	silent := listen(t, func(c net.Conn) { _, _ = io.ReadAll(c) })
	noise := listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad\r\n\r\n") })
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		name   string
		ctx    context.Context
		ep     *exchange.Endpoint
		want   exchange.Reason
		status int
	}{
		{"refused", context.Background(), endpoint(1, "http", refused), exchange.DialRefused, 502},
		{"no name", context.Background(), endpoint(2, "http", "nosuch.invalid:80"), exchange.DialNoHost, 502},
		{"no socket", context.Background(), &exchange.Endpoint{ID: 3, Network: "unix", Addr: "/nonexistent/socket", Scheme: "http", Transport: &exchange.Transport{}}, exchange.DialFailed, 502},
		{"client gone", gone, endpoint(4, "http", silent), exchange.ClientGone, 499},
		{"silent TLS", context.Background(), func() *exchange.Endpoint {
			ep := endpoint(5, "https", silent)
			ep.Transport.DialTimeout = 50 * time.Millisecond
			return ep
		}(), exchange.DialTimeout, 504},
		{"not TLS", context.Background(), endpoint(6, "https", noise), exchange.UpstreamTLS, 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			nc, err := Dial(c.ctx, c.ep, nil)
			if err == nil {
				_ = nc.Close()
				t.Fatal("connected")
			}
			e := asError(err)
			if e.Reason != c.want || !e.Unsent || e.Reason.Status() != c.status {
				t.Errorf("%s %v %d: %v", e.Reason, e.Unsent, e.Reason.Status(), err)
			}
		})
	}
}

// Short idle times are kept without a sweep.
func TestIdleTimesThatAreShort(t *testing.T) {
	ended := make(chan time.Time, 2)
	c := New(Options{})
	defer c.Close()
	ep := endpoint(12, "http", listen(t, func(c net.Conn) { _, _ = io.ReadAll(c); ended <- time.Now() }))
	ep.Transport.IdleConnTimeout = 50 * time.Millisecond
	for range 2 {
		began := time.Now()
		idleConn(t, c, ep)
		select {
		case at := <-ended:
			if took := at.Sub(began); took < ep.Transport.IdleConnTimeout {
				t.Errorf("closed after %v", took)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("not closed")
		}
	}
	if n := c.Idle(ep); n != 0 {
		t.Errorf("%d idle", n)
	}
}

func idleConn(t testing.TB, c *Client, ep *exchange.Endpoint) *conn {
	t.Helper()
	nc, err := Dial(context.Background(), ep, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := c.pool(ep)
	cn := newConn(p, nc)
	p.put(cn)
	return cn
}

func TestPool(t *testing.T) {
	addr := listen(t, func(c net.Conn) { _, _ = io.ReadAll(c) })
	c := New(Options{})
	ep := endpoint(7, "http", addr)
	ep.Transport.MaxIdlePerHost = 2
	p := c.pool(ep)
	idleConn(t, c, ep)
	last := idleConn(t, c, ep)
	idleConn(t, c, ep) // one too many
	if n := c.Idle(ep); n != 2 {
		t.Errorf("%d idle", n)
	}
	if got := p.get(time.Now()); got != last || !got.reused {
		t.Error("not the one used last")
	} else {
		p.put(got)
	}
	if got := p.get(time.Now().Add(2 * time.Minute)); got != nil {
		t.Error("a connection beyond its idle time is given")
	}
	idleConn(t, c, ep)
	c.sweep(time.Now(), func(*exchange.Endpoint) bool { return true })
	if n := c.Idle(ep); n != 1 {
		t.Errorf("%d idle after the sweep", n)
	}
	ep.Gone.Store(true)
	c.sweep(time.Now(), func(*exchange.Endpoint) bool { return true })
	if ps := *c.pools.Load(); ps[ep.ID] != nil {
		t.Error("the pool of an endpoint that is gone stays")
	}
	ep.Gone.Store(false)
	ep.Transport.MaxIdlePerHost = -1
	idleConn(t, c, ep)
	if n := c.Idle(ep); n != 0 {
		t.Errorf("%d idle where none are allowed", n)
	}
	c.Close()
}

func TestConnectionsThatAreNotQuietAreNotUsed(t *testing.T) {
	for name, do := range map[string]func(net.Conn){
		"closed":  func(net.Conn) {},
		"surplus": func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); _, _ = io.ReadAll(c) },
	} {
		t.Run(name, func(t *testing.T) {
			c := New(Options{})
			ep := endpoint(8, "http", listen(t, do))
			cn := idleConn(t, c, ep)
			for range 200 {
				if cn.peek.state() != sockQuiet {
					break
				}
				time.Sleep(time.Millisecond)
			}
			if got := c.pool(ep).get(time.Now()); got != nil {
				got.close()
				t.Error("it was given")
			}
			c.Close()
		})
	}
}

func TestTLSTicketsDoNotSpoilAConnection(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	c := New(Options{})
	ep := endpoint(9, "https", s.Listener.Addr().String())
	ep.Transport.TLS = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // a test
	cn := idleConn(t, c, ep)
	for range 200 {
		if cn.peek.state() == sockBytes { // the session ticket has come
			break
		}
		time.Sleep(time.Millisecond)
	}
	got := c.pool(ep).get(time.Now())
	if got == nil {
		t.Fatal("the connection was given up")
	}
	_, _ = io.WriteString(got.nc, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	b, _ := io.ReadAll(got.nc)
	if !strings.HasPrefix(string(b), "HTTP/1.1 404") {
		t.Errorf("%q", b)
	}
	got.close()
	c.Close()
}

func TestTunnelPassesHalfCloses(t *testing.T) {
	inner := listen(t, func(c net.Conn) {
		b, _ := io.ReadAll(c)
		_, _ = c.Write(b)
	})
	counts := make(chan [2]int64, 1)
	outer := listen(t, func(c net.Conn) {
		s, err := net.Dial("tcp", inner)
		if err != nil {
			return
		}
		in, out := Tunnel(c, s, []byte("early "), nil)
		counts <- [2]int64{in, out}
	})
	c, err := net.Dial("tcp", outer)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "late")
	_ = c.(*net.TCPConn).CloseWrite()
	b, _ := io.ReadAll(bufio.NewReader(c))
	if string(b) != "early late" {
		t.Errorf("%q", b)
	}
	if n := <-counts; n != [2]int64{10, 10} {
		t.Error(n)
	}
}

func TestRunClosesEverything(t *testing.T) {
	ended := make(chan struct{})
	ep := endpoint(10, "http", listen(t, func(c net.Conn) { _, _ = io.ReadAll(c); close(ended) }))
	c := New(Options{})
	idleConn(t, c, ep)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = c.Run(ctx); close(done) }()
	cancel()
	<-done
	<-ended
}

func TestSweepClosesWhatLeaves(t *testing.T) {
	ended := make(chan struct{})
	ep := endpoint(11, "http", listen(t, func(c net.Conn) { _, _ = io.ReadAll(c); close(ended) }))
	c := New(Options{})
	defer c.Close()
	idleConn(t, c, ep)
	c.Sweep()
	if n := c.Idle(ep); n != 1 {
		t.Fatalf("%d idle, a connection to a server that stays is kept", n)
	}
	ep.Fenced.Store(true) // stopping: no new request, what runs finishes
	c.Sweep()
	<-ended
	if n := c.Idle(ep); n != 0 {
		t.Errorf("%d idle", n)
	}
}
