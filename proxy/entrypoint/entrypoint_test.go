package entrypoint

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/stream"
	"github.com/sluice-edge/sluice/proxy/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{
		":80": "tcp :80", "127.0.0.1:80": "tcp 127.0.0.1:80", "[::1]:80/tcp": "tcp [::1]:80", ":53/udp": "udp :53",
		":53/UDP": "udp :53", "localhost:0": "tcp localhost:0", "80": "", ":80/sctp": "", "": "", "host": "", "host:": "",
	} {
		a, err := ParseAddress(in)
		got := a.Network + " " + a.String()
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%q: %q, want %q (%v)", in, got, want, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{":80", "[::1]:80/tcp", ":53/udp", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		b, err := ParseAddress(a.String() + "/" + a.Network)
		if err != nil || b != a {
			t.Errorf("%q: %v, again %v %v", s, a, b, err)
		}
	})
}

// teller answers with what it knows of the request.
type teller struct{}

func (teller) Match(*exchange.Exchange) (*exchange.Route, exchange.Reason) {
	return &exchange.Route{Router: "t", Ops: []exchange.Op{teller{}}}, ""
}

func (teller) Request(ex *exchange.Exchange) exchange.Verdict {
	proto := "http"
	if ex.Req.TLS != nil {
		proto = "https"
	}
	ex.Reply(200, exchange.Responded, fmt.Sprintf("%s %s %s %s", proto, ex.Req.Proto, ex.Req.Peer.Addr(), ex.Req.Fields.Get("X-Real-Ip")))
	return exchange.Answer
}

func certificate(t testing.TB) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	t.Helper()
	cfg := &tls.Config{Certificates: []tls.Certificate{testnet.Pair(t, "a.test")}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}
	return func(*tls.ClientHelloInfo) (*tls.Config, error) { return cfg, nil }
}

func start(t testing.TB, ep *config.EntryPoint, tlsFor func(*tls.ClientHelloInfo) (*tls.Config, error)) (*EntryPoint, string) {
	t.Helper()
	if ep.Transport == nil {
		base := config.EntryPoint{}
		base.SetDefaults()
		ep.Transport, ep.HTTP = base.Transport, base.HTTP
		ep.Transport.LifeCycle.GraceTimeOut = config.Duration(200 * time.Millisecond)
	}
	ep.Address = "127.0.0.1:0"
	e, err := New(Config{Name: "web", EP: ep, Client: upstream.New(upstream.Options{}), TLS: tlsFor, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	e.SetMatcher(teller{})
	if err := e.Listen(context.Background()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- e.Run() }()
	t.Cleanup(func() {
		_ = e.Shutdown(context.Background())
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := e.Open(); n != 0 {
			t.Errorf("%d connections open after the end", n)
		}
	})
	return e, e.Addrs()[0].String()
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	return c
}

const get = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"

func say(t testing.TB, c net.Conn, pieces ...string) string {
	t.Helper()
	for i, p := range pieces {
		if i > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		_, _ = io.WriteString(c, p)
	}
	b, _ := io.ReadAll(c)
	_, body, _ := strings.Cut(string(b), "\r\n\r\n")
	return body
}

func TestClearTLSAndHTTP2OnOnePort(t *testing.T) {
	_, addr := start(t, &config.EntryPoint{}, certificate(t))
	if got := say(t, dial(t, addr), get); got != "http HTTP/1.1 127.0.0.1 127.0.0.1" {
		t.Errorf("clear: %q", got)
	}
	tc := tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test
	if got := say(t, tc, get); got != "https HTTP/1.1 127.0.0.1 127.0.0.1" {
		t.Errorf("TLS: %q", got)
	}
	for _, clear := range []bool{false, true} {
		tr := &http2.Transport{AllowHTTP: clear, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // a test
		url := "https://" + addr
		if clear {
			url = "http://" + addr
			tr.DialTLSContext = func(context.Context, string, string, *tls.Config) (net.Conn, error) { return net.Dial("tcp", addr) }
		}
		req, _ := http.NewRequest("GET", url, nil) //nolint:noctx // a test
		r, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		tr.CloseIdleConnections()
		if want := fmt.Sprintf("%s HTTP/2.0 127.0.0.1 127.0.0.1", strings.SplitN(url, ":", 2)[0]); string(b) != want {
			t.Errorf("h2: %q, want %q", b, want)
		}
	}
}

func TestProxyHeaders(t *testing.T) {
	v1 := "PROXY TCP4 203.0.113.7 198.51.100.1 1234 80\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc6\x33\x64\x01\x04\xd2\x00\x50"
	for _, c := range []struct {
		name    string
		pp      *config.EntryPointProxyProtocol
		pieces  []string
		want    string
		refused bool
	}{
		{"v1", &config.EntryPointProxyProtocol{Insecure: true}, []string{v1 + get}, "http HTTP/1.1 203.0.113.7 203.0.113.7", false},
		{"v1 in pieces", &config.EntryPointProxyProtocol{TrustedIPs: []string{"127.0.0.0/8"}}, []string{v1[:3], v1[3:20], v1[20:], get}, "http HTTP/1.1 203.0.113.7 203.0.113.7", false},
		{"v2 in pieces", &config.EntryPointProxyProtocol{Insecure: true}, []string{v2[:5], v2[5:20], v2[20:] + get}, "http HTTP/1.1 203.0.113.7 203.0.113.7", false},
		{"none", &config.EntryPointProxyProtocol{Insecure: true}, []string{get}, "http HTTP/1.1 127.0.0.1 127.0.0.1", false},
		{"not trusted", &config.EntryPointProxyProtocol{TrustedIPs: []string{"10.0.0.1"}}, []string{v1 + get}, "http HTTP/1.1 127.0.0.1 127.0.0.1", false},
		{"broken", &config.EntryPointProxyProtocol{Insecure: true}, []string{"PROXY TCP4 x\r\n" + get}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, addr := start(t, &config.EntryPoint{ProxyProtocol: c.pp}, nil)
			if got := say(t, dial(t, addr), c.pieces...); got != c.want {
				t.Errorf("%q", got)
			}
		})
	}
	_, addr := start(t, &config.EntryPoint{ProxyProtocol: &config.EntryPointProxyProtocol{Insecure: true}}, certificate(t))
	c := dial(t, addr)
	_, _ = io.WriteString(c, v1)
	if got := say(t, tls.Client(c, &tls.Config{InsecureSkipVerify: true}), get); got != "https HTTP/1.1 203.0.113.7 203.0.113.7" { //nolint:gosec // a test
		t.Errorf("before TLS: %q", got)
	}
}

// table is a TCP of two routes.
type table struct{ clear, byName Taker }

func (x table) Peek() bool { return x.byName != nil }

func (x table) Match(c *stream.Conn) Taker {
	switch {
	case !c.TLS && x.clear != nil:
		return x.clear
	case c.TLS && c.SNI == "t.test" && x.byName != nil:
		return x.byName
	}
	return nil
}

// banner says something first and then what it was given.
type banner struct {
	text string
	tls  func(*tls.ClientHelloInfo) (*tls.Config, error)
}

func (b banner) ServeTCP(c stream.Conn) {
	nc := net.Conn(&stream.Replay{Conn: c.Conn, First: c.Buffered})
	defer func() { _ = c.Close() }()
	if b.tls != nil {
		nc = tls.Server(nc, &tls.Config{GetConfigForClient: b.tls, MinVersion: tls.VersionTLS12})
	}
	fmt.Fprintf(nc, "%s postgres=%v\n", b.text, c.Postgres)
	_, _ = io.Copy(nc, nc)
}

func line(t testing.TB, c net.Conn) string {
	t.Helper()
	l, _ := bufio.NewReader(c).ReadString('\n')
	return l
}

func TestTCPRoutesBesideHTTP(t *testing.T) {
	certs := certificate(t)
	client := &tls.Config{InsecureSkipVerify: true, ServerName: "t.test"} //nolint:gosec // a test
	t.Run("by name", func(t *testing.T) {
		e, addr := start(t, &config.EntryPoint{}, certs)
		e.SetTCP(table{byName: banner{"sni", certs}})
		if got := line(t, tls.Client(dial(t, addr), client)); got != "sni postgres=false\n" {
			t.Errorf("%q", got)
		}
		other := client.Clone()
		other.ServerName = "h.test"
		if got := say(t, tls.Client(dial(t, addr), other), get); !strings.HasPrefix(got, "https ") {
			t.Errorf("%q", got)
		}
		if got := say(t, dial(t, addr), get); !strings.HasPrefix(got, "http ") {
			t.Errorf("%q", got)
		}
		c := dial(t, addr)
		_, _ = io.WriteString(c, stream.PostgresTLS[:3])
		time.Sleep(10 * time.Millisecond)
		_, _ = io.WriteString(c, stream.PostgresTLS[3:])
		b := make([]byte, 1)
		if _, err := io.ReadFull(c, b); err != nil || b[0] != 'S' {
			t.Fatalf("%q %v", b, err)
		}
		if got := line(t, tls.Client(c, client)); got != "sni postgres=true\n" {
			t.Errorf("%q", got)
		}
	})
	t.Run("server speaks first", func(t *testing.T) {
		for _, peek := range []Taker{nil, banner{"sni", certs}} {
			e, addr := start(t, &config.EntryPoint{}, certs)
			e.SetTCP(table{clear: banner{"clear", nil}, byName: peek})
			began := time.Now()
			if got := line(t, dial(t, addr)); got != "clear postgres=false\n" {
				t.Errorf("%q", got)
			}
			if d := time.Since(began); peek == nil && d > 100*time.Millisecond {
				t.Errorf("waited %v", d)
			}
		}
	})
	t.Run("clear beside TLS", func(t *testing.T) {
		e, addr := start(t, &config.EntryPoint{}, certs)
		e.SetTCP(table{clear: banner{"clear", nil}, byName: banner{"sni", certs}})
		c := dial(t, addr)
		_, _ = io.WriteString(c, "hello\n")
		br := bufio.NewReader(c)
		one, _ := br.ReadString('\n')
		two, _ := br.ReadString('\n')
		if one != "clear postgres=false\n" || two != "hello\n" {
			t.Errorf("%q %q", one, two)
		}
	})
}

// every takes all TLS.
type every struct{ Taker }

func (every) Peek() bool { return true }

func (x every) Match(c *stream.Conn) Taker {
	if c.TLS {
		return x.Taker
	}
	return nil
}

func TestMalformedHellosReachNoRoute(t *testing.T) {
	e, addr := start(t, &config.EntryPoint{}, certificate(t))
	e.SetTCP(every{banner{"passed", nil}})
	for name, hello := range map[string]string{
		"not a ClientHello": "\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", "an empty record": "\x16\x03\x01\x00\x00", "a record too large": "\x16\x03\x01\xff\xff" + strings.Repeat("x", 100),
		"lengths that lie": "\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00",
	} {
		c := dial(t, addr)
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(c, hello)
		if b, err := io.ReadAll(c); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	if got := line(t, tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true})); got != "" { //nolint:gosec // a test
		t.Errorf("the banner is no TLS: %q", got)
	}
}

func TestShutdownGoesOnAcceptingForItsGrace(t *testing.T) {
	ep := &config.EntryPoint{}
	ep.SetDefaults()
	ep.Transport.LifeCycle.RequestAcceptGraceTimeout = config.Duration(200 * time.Millisecond)
	e, addr := start(t, ep, nil)
	done := make(chan struct{})
	go func() { _ = e.Shutdown(context.Background()); close(done) }()
	time.Sleep(50 * time.Millisecond)
	if got := say(t, dial(t, addr), get); !strings.HasPrefix(got, "http ") {
		t.Errorf("%q", got)
	}
	<-done
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("still listening")
	}
}

func TestReusePort(t *testing.T) {
	ep := &config.EntryPoint{ReusePort: true}
	e, addr := start(t, ep, nil)
	a, err := ParseAddress(addr)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(context.Background(), a, true)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if l, err = Listen(context.Background(), a, false); err == nil {
		_ = l.Close()
		t.Error("listened twice without reusePort")
	}
	_ = e
}
