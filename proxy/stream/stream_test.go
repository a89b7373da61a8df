package stream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen runs do for each connection to a port.
func listen(t testing.TB, do func(c net.Conn)) string {
	t.Helper()
	return testnet.Accept(t, 10*time.Second, do)
}

// named says who it is and echoes.
func named(t testing.TB, name string) string {
	return listen(t, func(c net.Conn) {
		fmt.Fprintf(c, "id=%s\n", name)
		_, _ = io.Copy(c, c)
	})
}

func ap(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

// edge serves a port by a route.
func edge(t testing.TB, r *Route) string {
	return listen(t, func(c net.Conn) {
		_ = c.SetDeadline(time.Time{})
		r.ServeTCP(Conn{Conn: c, Peer: ap(c.RemoteAddr()), Local: ap(c.LocalAddr())})
	})
}

func dialTo(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func balancer(t testing.TB, d *Draft, name string, hc *config.TCPHealthCheck, addrs ...string) *Balancer {
	t.Helper()
	lb := &config.TCPLoadBalancer{HealthCheck: hc}
	for _, a := range addrs {
		lb.Servers = append(lb.Servers, config.TCPServer{Address: a})
	}
	b, err := d.TCP(name, lb, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func firstLine(t testing.TB, addr string) string {
	t.Helper()
	c := dialTo(t, addr)
	l, err := bufio.NewReader(c).ReadString('\n')
	_ = c.Close()
	if err != nil {
		return "closed"
	}
	return strings.TrimSpace(strings.TrimPrefix(l, "id="))
}

func TestTurnsAndWeights(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	d := NewBook(nil, nil).Begin()
	rr := balancer(t, d, "rr", nil, a, b)
	w := NewWeighted([]Share{{3, balancer(t, d, "sa", nil, a)}, {1, balancer(t, d, "sb", nil, b)}, {5, balancer(t, d, "none", nil)}, {0, rr}})
	d.Commit()
	for _, c := range []struct {
		s    Service
		n    int
		want map[string]int
	}{{rr, 6, map[string]int{"a": 3, "b": 3}}, {w, 8, map[string]int{"a": 6, "b": 2}}} {
		addr := edge(t, &Route{To: c.s, Log: zerolog.Nop()})
		got := map[string]int{}
		for range c.n {
			got[firstLine(t, addr)]++
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
}

func TestBookKeepsWhatStays(t *testing.T) {
	bk := NewBook(nil, nil)
	d := bk.Begin()
	one := balancer(t, d, "x@f", nil, "127.0.0.1:1", "127.0.0.1:2")
	d.Commit()
	one.servers[1].down.Store(true)
	if n := bk.Fence("127.0.0.1:1", true); n != 1 || one.Pick() != nil || one.Up() {
		t.Error("fenced and down servers are picked")
	}
	d = bk.Begin()
	if balancer(t, d, "x@f", nil, "127.0.0.1:1", "127.0.0.1:2") != one {
		t.Error("an unchanged balancer is not kept")
	}
	d = bk.Begin()
	two := balancer(t, d, "x@f", nil, "127.0.0.1:2", "127.0.0.1:3")
	d.Commit()
	if two == one || two.servers[0].Up() || !two.servers[1].Up() {
		t.Error("a server that stays loses its state")
	}
	if s := bk.Status("x@f"); s["127.0.0.1:2"] != "DOWN" || s["127.0.0.1:3"] != "UP" || len(s) != 2 {
		t.Error(s)
	}
	if bk.Status("y@f") != nil {
		t.Error("status of a service that is none")
	}
	odd, err := bk.Begin().TCP("odd", &config.TCPLoadBalancer{Servers: []config.TCPServer{{Address: "nohost"}, {Address: "127.0.0.1:1"}}}, nil)
	if err != nil || len(odd.Servers()) != 1 || !strings.Contains(odd.Warning(), `"nohost"`) {
		t.Errorf("%v: an address without port is not left out, with a warning: %q", err, odd.Warning())
	}
	u, err := bk.Begin().UDP("odd", &config.UDPLoadBalancer{Servers: []config.UDPServer{{Address: "127.0.0.1:1"}, {Address: ":"}, {Address: "x"}}})
	if err != nil || len(u.Servers()) != 2 || u.Warning() == "" {
		t.Errorf("%v: %q", err, u.Warning())
	}
}

func TestHalfCloseWaitsForTheAnswer(t *testing.T) {
	late := listen(t, func(c net.Conn) {
		b, _ := io.ReadAll(c)
		time.Sleep(300 * time.Millisecond) // longer than the default terminationDelay
		fmt.Fprintf(c, "got %d\n", len(b))
	})
	d := NewBook(nil, nil).Begin()
	addr := edge(t, &Route{To: balancer(t, d, "s", nil, late), Log: zerolog.Nop()})
	c := dialTo(t, addr)
	_, _ = io.WriteString(c, "one")
	_ = c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "got 3\n" || err != nil {
		t.Errorf("%q %v", b, err)
	}
}

func TestPipeEndsSilentHalfOpen(t *testing.T) {
	silent := listen(t, func(c net.Conn) { _, _ = io.ReadAll(c); time.Sleep(500 * time.Millisecond) })
	addr := listen(t, func(c net.Conn) {
		s, err := net.Dial("tcp", silent)
		if err != nil {
			return
		}
		Pipe(c, s, nil, 50*time.Millisecond)
	})
	c := dialTo(t, addr)
	_ = c.(*net.TCPConn).CloseWrite()
	began := time.Now()
	_, _ = io.ReadAll(c)
	if d := time.Since(began); d > 400*time.Millisecond {
		t.Errorf("took %v", d)
	}
}

func TestProxyHeaderToServer(t *testing.T) {
	for version, want := range map[int]string{1: "PROXY TCP4 127.0.0.1 127.0.0.1 ", 2: "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"} {
		got := make(chan string, 1)
		srv := listen(t, func(c net.Conn) {
			b, _ := io.ReadAll(c)
			got <- string(b)
		})
		d := NewBook(nil, nil).Begin()
		b, err := d.TCP("s", &config.TCPLoadBalancer{Servers: []config.TCPServer{{Address: srv}}, ProxyProtocol: &config.ProxyProtocol{Version: version}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := dialTo(t, edge(t, &Route{To: b, Log: zerolog.Nop()}))
		_, _ = io.WriteString(c, "hi")
		_ = c.Close()
		if g := <-got; !strings.HasPrefix(g, want) || !strings.HasSuffix(g, "hi") {
			t.Errorf("version %d: %q", version, g)
		}
	}
}

func TestGuards(t *testing.T) {
	a := named(t, "a")
	bk := NewBook(nil, nil)
	d := bk.Begin()
	svc := balancer(t, d, "s", nil, a)
	one, err := d.Guard("one", &config.TCPMiddleware{InFlightConn: &config.TCPInFlightConn{Amount: 1}})
	if err != nil {
		t.Fatal(err)
	}
	d.Commit()
	d = bk.Begin()
	again, _ := d.Guard("one", &config.TCPMiddleware{InFlightConn: &config.TCPInFlightConn{Amount: 2}})
	elsewhere, _ := d.Guard("ip", &config.TCPMiddleware{IPAllowList: &config.TCPIPAllowList{SourceRange: []string{"10.0.0.0/8"}}})
	addr := edge(t, &Route{To: svc, Guards: []Guard{one}, Log: zerolog.Nop()})
	c := dialTo(t, addr)
	br := bufio.NewReader(c)
	if l, _ := br.ReadString('\n'); l != "id=a\n" {
		t.Fatal(l)
	}
	if got := firstLine(t, addr); got != "closed" {
		t.Errorf("a second connection got %s", got)
	}
	p := netip.MustParseAddr("127.0.0.1")
	if !again.Enter(p) || again.Enter(p) {
		t.Error("the count does not go on in the next table")
	}
	again.Leave(p)
	_ = c.Close()
	for range 100 {
		if firstLine(t, addr) == "a" {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := firstLine(t, edge(t, &Route{To: svc, Guards: []Guard{elsewhere}, Log: zerolog.Nop()})); got != "closed" {
		t.Errorf("a stranger got %s", got)
	}
	if got := firstLine(t, edge(t, &Route{To: svc, Broken: true, Log: zerolog.Nop()})); got != "closed" {
		t.Errorf("a broken route gave %s", got)
	}
}

func TestHealth(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	dead, _ := net.Listen("tcp", "127.0.0.1:0")
	gone := dead.Addr().String()
	_ = dead.Close()
	changes := make(chan string, 10)
	bk := NewBook(func(_, addr string, up bool, _ error) { changes <- fmt.Sprint(addr, up) }, nil)
	d := bk.Begin()
	lb := balancer(t, d, "s", &config.TCPHealthCheck{Interval: config.Duration(20 * time.Millisecond), Timeout: config.Duration(time.Second), Expect: "id=a\n"}, a, b, gone)
	d.Commit()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = bk.Run(ctx); close(done) }()
	for range 2 {
		<-changes
	}
	for range 4 {
		if s := lb.Pick(); s == nil || s.Address != a {
			t.Errorf("picked %v", s)
		}
	}
	bk.Begin().Commit() // the service is gone: its check ends
	cancel()
	<-done
}

func TestUDPSessions(t *testing.T) {
	d := NewBook(nil, nil).Begin()
	lb, err := d.UDP("s", &config.UDPLoadBalancer{Servers: []config.UDPServer{{Address: udpServer(t, "a ")}, {Address: udpServer(t, "b ")}}})
	if err != nil {
		t.Fatal(err)
	}
	uc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	u := NewUDP(uc, UDPOptions{Timeout: 100 * time.Millisecond}, zerolog.Nop())
	done := make(chan struct{})
	go func() { _ = u.Run(); close(done) }()
	ask := func(c net.Conn, what string) string {
		_, _ = io.WriteString(c, what)
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		b := make([]byte, maxDatagram)
		n, err := c.Read(b)
		if err != nil {
			return "nothing"
		}
		return string(b[:n])
	}
	client := func() net.Conn {
		c, err := net.Dial("udp", u.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	none := client()
	if got := ask(none, "x"); got != "nothing" {
		t.Errorf("without a service: %s", got)
	}
	u.SetService(lb)
	counts := map[string]int{}
	for range 4 {
		c := client()
		first := ask(c, "one")
		if second := ask(c, "two"); first[:1] != second[:1] || !strings.HasSuffix(second, " two") {
			t.Errorf("%q, then %q", first, second)
		}
		counts[first[:1]]++
	}
	if counts["a"] != 2 || counts["b"] != 2 {
		t.Error(counts)
	}
	big := strings.Repeat("y", 9000)
	if got := ask(client(), big); !strings.HasSuffix(got, " "+big) {
		t.Errorf("%d bytes", len(got))
	}
	for range 100 {
		if u.Open() == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if u.Open() != 0 {
		t.Error("sessions do not end")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_ = ask(client(), "last")
	_ = u.Shutdown(ctx)
	<-done
}
