package loop

import (
	"crypto/tls"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/loop/epoll"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// canned is a kernel whose client always has the same request and whose server the same answer.
type canned struct {
	request, answer []byte
	client, server  int32
	ask, reply      bool
	sent            int
}

func (k *canned) Read(fd int32, b []byte) (int, syscall.Errno) {
	switch {
	case fd == k.client && k.ask:
		k.ask = false
		return copy(b, k.request), 0
	case fd == k.server && k.reply:
		k.reply = false
		return copy(b, k.answer), 0
	}
	return -1, syscall.EAGAIN
}

func (k *canned) Write(fd int32, b []byte) (int, syscall.Errno) {
	if fd == k.server {
		k.reply = true
	} else {
		k.sent += len(b)
	}
	return len(b), 0
}

func (k *canned) Peek(int32) (int, syscall.Errno) { return -1, syscall.EAGAIN }
func (k *canned) Accept(int32) (int32, netip.AddrPort, syscall.Errno) {
	return -1, netip.AddrPort{}, syscall.EAGAIN
}
func (k *canned) Dial(epoll.Target) (int32, bool, syscall.Errno) { return k.server, false, 0 }
func (k *canned) Dialled(int32) syscall.Errno                    { return 0 }
func (k *canned) Watch(int32, uint32) syscall.Errno              { return 0 }
func (k *canned) Unwatch(int32)                                  {}
func (k *canned) Shut(int32)                                     {}
func (k *canned) Close(int32)                                    {}
func (k *canned) Reset(int32)                                    {}

// straight routes everything to one endpoint without allocating.
type straight struct {
	route exchange.Route
	ep    *exchange.Endpoint
}

func (s *straight) Match(*exchange.Exchange) (*exchange.Route, exchange.Reason) { return &s.route, "" }
func (s *straight) Pick(ex *exchange.Exchange) (*exchange.Endpoint, exchange.Reason) {
	ex.Backend = exchange.Backend{Endpoint: s.ep, Owner: s}
	return s.ep, ""
}
func (s *straight) Release(*exchange.Exchange, *exchange.Endpoint, exchange.Outcome) {}

// rounds returns a function that takes one request through a loop, all but the system calls.
func rounds(tb testing.TB, request, answer string) func() {
	k := &canned{request: []byte(request), answer: []byte(answer), client: 20, server: 21, ask: true}
	g := &Group{}
	g.responseLimits.MaxHead = wire.DefaultMaxHead
	l := newLoop(g, 0, k)
	g.loops = []*loop{l}
	e, err := g.newEntry(EntryPoint{Name: "web", Forwarding: &wire.Forwarding{Hostname: "edge"}, HandOver: func(*Handover) {}, ReadTimeout: 60e9, IdleTimeout: 180e9})
	if err != nil {
		tb.Fatal(err)
	}
	m := &straight{ep: endpoint("192.0.2.1:80")}
	m.route.To = m
	e.SetMatcher(m)
	l.admit(e, k.client, netip.MustParseAddrPort("198.51.100.7:4000"))
	evs := make([]syscall.EpollEvent, 1)
	event := func(fd int32) {
		evs[0] = syscall.EpollEvent{Events: epoll.In, Fd: fd, Pad: int32(l.conns[fd].gen)}
		l.turn(evs)
	}
	event(k.server)
	return func() {
		before := k.sent
		k.ask = true
		event(k.client)
		event(k.server)
		if k.sent == before {
			tb.Fatal("no answer")
		}
	}
}

const (
	benchRequest = "GET /api/things?id=1 HTTP/1.1\r\nHost: app.example.test\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\nCookie: a=b\r\n\r\n"
	benchAnswer  = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Type: text/html\r\nContent-Length: 10\r\nConnection: keep-alive\r\n\r\n0123456789"
)

func TestRequestDoesNotAllocate(t *testing.T) {
	round := rounds(t, benchRequest, benchAnswer)
	round()
	if n := testing.AllocsPerRun(200, round); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
	round = rounds(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	round()
	if n := testing.AllocsPerRun(200, round); n != 0 {
		t.Errorf("%v allocations a request with bodies", n)
	}
}

// BenchmarkRequest is a request's way through a loop without the system calls.
func BenchmarkRequest(b *testing.B) {
	round := rounds(b, benchRequest, benchAnswer)
	b.ReportAllocs()
	for b.Loop() {
		round()
	}
}

// BenchmarkShort is the same with the heads of the harness.
func BenchmarkShort(b *testing.B) {
	round := rounds(b, "GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Type: text/plain\r\n\r\n0123456789")
	b.ReportAllocs()
	for b.Loop() {
		round()
	}
}

// shaken returns both sides of a connection after its handshake, the server's as it is on a
// loop. What the client writes, a record at a time, is read from the pipe.
func shaken(tb testing.TB, version uint16) (client *tls.Conn, side *tlsSide, pipe net.Conn) {
	a, b := net.Pipe()
	tb.Cleanup(func() { a.Close(); b.Close() })
	side = &tlsSide{Conn: b}
	side.tc = tls.Server(side, &tls.Config{Certificates: []tls.Certificate{testnet.Pair(tb, "a.test")}, MaxVersion: version})
	client = tls.Client(a, &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := side.tc.Handshake(); err != nil {
		tb.Fatal(err)
	}
	if err := <-done; err != nil {
		tb.Fatal(err)
	}
	side.onLoop = true
	return client, side, b
}

// BenchmarkTLS is what TLS adds: a request is read and an answer of 1 KiB is sealed.
func BenchmarkTLS(b *testing.B) {
	client, side, pipe := shaken(b, tls.VersionTLS13)
	k := &canned{client: 20}
	l := newLoop(&Group{}, 0, k)
	cl := l.newClient()
	cl.tls, cl.fd = side, k.client
	wire := make(chan []byte, 1<<10)
	go func() {
		for {
			buf := make([]byte, 4<<10)
			n, err := pipe.Read(buf)
			if err != nil {
				close(wire)
				return
			}
			wire <- buf[:n]
		}
	}()
	answer := make([]byte, 1<<10)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		if _, err := client.Write([]byte(benchRequest)); err != nil {
			b.Fatal(err)
		}
		k.request, k.ask = <-wire, true
		b.StartTimer()
		cl.readable = true
		n, r := l.recv(&cl.conn, l.rb[headroom:headroom+quantum])
		if r != got || n != len(benchRequest) || cl.readable {
			b.Fatal(n, r)
		}
		if _, ok := l.seal(side, answer); !ok {
			b.Fatal("not sealed")
		}
	}
}
