package loop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/telemetry"
)

func ok(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }

func TestTLS(t *testing.T) {
	cert := testnet.Pair(t, "a.test")
	big := strings.Repeat("0123456789", 50_000)
	ep := backend(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d %s", r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-Port"), len(b), big)
	})
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, func(_ *Options, c *EntryPoint) {
		c.AltSvc = `h3=":443"`
		c.TLS = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}, nil
		}
	})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}}
		client := &http.Client{Transport: tr, Timeout: 5 * time.Second}
		for i := range 5 {
			body := strings.Repeat("x", i*70_000)
			resp, err := client.Post("https://"+ed.addr+"/", "text/plain", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprintf("https %s %d %s", ed.addr[strings.LastIndexByte(ed.addr, ':')+1:], len(body), big); err != nil || string(b) != want || resp.Header.Get("Alt-Svc") == "" {
				t.Fatalf("TLS %x request %d: %v, %d bytes, %.60q", version, i, err, len(b), b)
			}
		}
		tr.CloseIdleConnections()
	}
	// Clear text on the same port.
	if got := raw(t, ed.addr, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "http 80 0") {
		t.Errorf("clear: %.200q", got)
	}
	// A connection that ends within its handshake, and one with noise.
	raw(t, ed.addr, "\x16\x03\x01", "<SHUT>")
	raw(t, ed.addr, "\x16\x03\x01\x00\x05hello")
	// ALPN h2 goes to the other lane, after its handshake.
	c, err := tls.Dial("tcp", ed.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := <-ed.hands
	defer h.Conn.Close()
	if _, is := h.Conn.(*tls.Conn); h.Cause != CauseHTTP2 || !is || h.TLS == nil || h.TLS.NegotiatedProtocol != "h2" || !h.Peer.IsValid() {
		t.Errorf("%+v", h)
	}
}

// TestShim pins what the loop relies on in crypto/tls: a temporary error of the connection
// below is not kept, and a record that came in part is finished with what comes later.
func TestShim(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client, side, b := shaken(t, version)
		var wire []byte
		got := make(chan []byte)
		go func() {
			buf := make([]byte, 64<<10)
			n, _ := io.ReadAtLeast(b, buf, 1)
			for n < 2_000 {
				k, err := b.Read(buf[n:])
				if err != nil {
					break
				}
				n += k
			}
			got <- buf[:n]
		}()
		msg := strings.Repeat("m", 2_000)
		if _, err := client.Write([]byte(msg)); err != nil {
			t.Fatal(err)
		}
		wire = <-got
		var plain []byte
		buf := make([]byte, 4096)
		for i := range wire { // byte by byte, with an empty read in between
			if _, err := side.tc.Read(buf); err == nil {
				t.Fatal("bytes from nowhere")
			}
			side.raw = wire[i : i+1]
			n, err := side.tc.Read(buf)
			plain = append(plain, buf[:n]...)
			if err != nil && err != wait {
				t.Fatalf("TLS %x: %v is not the shim's own error", version, err)
			}
		}
		if string(plain) != msg {
			t.Errorf("TLS %x: %d bytes of %d", version, len(plain), len(msg))
		}
		if n, err := side.tc.Write([]byte("answer")); n != 6 || err != nil || len(side.out) == 0 {
			t.Errorf("TLS %x: Write = %d, %v", version, n, err)
		}
	}
}

// TestShimPieces: however records come, alone, together or in part, nothing is left lying in
// crypto/tls when the loop is told that there is no more.
func TestShimPieces(t *testing.T) {
	for seed := range uint64(40) {
		version := []uint16{tls.VersionTLS12, tls.VersionTLS13}[seed%2]
		client, side, b := shaken(t, version)
		k := newFake(seed)
		l := newLoop(&Group{}, 0, k)
		s := k.socket()
		cl := l.newClient()
		cl.tls, cl.fd = side, s.fd
		var sent, plain []byte
		for i := range 40 {
			msg := bytes.Repeat([]byte{byte('a' + i%26)}, 1+k.rng.IntN([]int{10, 300, 3000, 16 << 10}[k.rng.IntN(4)]))
			flown := make(chan []byte, 1)
			go func() {
				buf := make([]byte, 40<<10)
				n := 0
				for ends := (recordEnds{}); n == 0 || !ends.between(); {
					m, err := b.Read(buf[n:])
					if err != nil {
						break
					}
					ends.pass(buf[n : n+m])
					n += m
				}
				flown <- buf[:n]
			}()
			if _, err := client.Write(msg); err != nil {
				t.Fatal(err)
			}
			sent = append(sent, msg...)
			s.flight = append(s.flight, <-flown...)
			for len(s.flight) > 0 && k.rng.IntN(4) > 0 || i == 39 && len(s.flight)+len(s.rx) > 0 {
				s.arrive()
				cl.readable = true
				for cl.readable {
					room := 1 + k.rng.IntN(40<<10)
					n, r := l.recv(&cl.conn, l.rb[headroom:headroom+room])
					if r != again && r != got {
						t.Fatalf("seed %d: %v", seed, r)
					}
					plain = append(plain, l.rb[headroom:headroom+n]...)
				}
			}
		}
		if !bytes.Equal(plain, sent) || !side.idle {
			t.Fatalf("seed %d: %d bytes of %d, idle %v", seed, len(plain), len(sent), side.idle)
		}
	}
}

func TestTunnel(t *testing.T) {
	ep := script(t, func(c net.Conn) {
		r, br, err := readRequest(c)
		if err != nil || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\n\r\nhello ")
		_, _ = io.Copy(c, br)
		_ = c.(*net.TCPConn).CloseWrite()
	})
	cert := testnet.Pair(t, "a.test")
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, func(_ *Options, c *EntryPoint) {
		c.TLS = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{cert}}, nil
		}
	})
	for n, secure := range []bool{false, true} {
		var c net.Conn
		var err error
		if secure {
			c, err = tls.Dial("tcp", ed.addr, &tls.Config{InsecureSkipVerify: true})
		} else {
			c, err = net.Dial("tcp", ed.addr)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		// What is sent behind the request belongs to the tunnel.
		fmt.Fprint(c, "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly ")
		br := bufio.NewReader(c)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("X-A") != "1" {
			t.Fatalf("secure %v: %v, %v", secure, resp, err)
		}
		big := strings.Repeat("abcdefgh", 100_000)
		go func() {
			fmt.Fprint(c, big)
			if tc, ok := c.(interface{ CloseWrite() error }); ok {
				_ = tc.CloseWrite()
			}
		}()
		b, err := io.ReadAll(br)
		if want := "hello early " + big; err != nil || string(b) != want {
			t.Fatalf("secure %v: %d bytes of %d, %v", secure, len(b), len(want), err)
		}
		c.Close()
		rec := ed.recs.wait(t, n+1)
		if rec.Status != 101 || rec.OriginStatus != 101 || rec.Protocol != telemetry.WebSocket || rec.RequestBytes != int64(len(big)+6) || rec.ResponseBytes != int64(len(big)+12) || rec.Host != "a.test" || rec.Target != "/chat" {
			t.Errorf("record %+v", rec)
		}
	}
}

func TestSwitchingUnasked(t *testing.T) {
	ep := script(t, func(c net.Conn) {
		if _, _, err := readRequest(c); err == nil {
			fmt.Fprint(c, "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		}
	})
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil)
	if got := raw(t, ed.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("%q", got)
	}
	if r := ed.recs.wait(t, 1); r.Reason != string(exchange.UpstreamBad) {
		t.Errorf("reason %q", r.Reason)
	}
}

func TestContinue(t *testing.T) {
	ep := script(t, func(c net.Conn) {
		r, br, err := readRequest(c)
		if err != nil {
			return
		}
		switch r.URL.Path {
		case "/asks": // a server that tells to go on
			fmt.Fprint(c, "HTTP/1.1 100 Continue\r\n\r\n")
		case "/refuses":
			fmt.Fprint(c, "HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n")
			return
		}
		r.Body = io.NopCloser(io.LimitReader(br, 5))
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
	})
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil)
	try := func(path string, wantGo bool, want string) {
		t.Helper()
		c, err := net.Dial("tcp", ed.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(4 * time.Second))
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n", path)
		br := bufio.NewReader(c)
		if wantGo {
			resp, err := http.ReadResponse(br, nil)
			if err != nil || resp.StatusCode != 100 {
				t.Fatalf("%s: %v, %v", path, resp, err)
			}
			fmt.Fprint(c, "hello")
		}
		b, _ := io.ReadAll(br)
		if !strings.HasPrefix(string(b), want) || wantGo && !strings.HasSuffix(string(b), "hello") {
			t.Errorf("%s: %q", path, b)
		}
	}
	try("/asks", true, "HTTP/1.1 200 ")
	try("/silent", true, "HTTP/1.1 200 ") // the edge goes on by itself after a second
	try("/refuses", false, "HTTP/1.1 413 ")
}

// blocker is an op that must wait.
type blocker struct{}

func (blocker) Request(ex *exchange.Exchange) exchange.Verdict {
	if strings.HasPrefix(ex.Req.Path, "/block") && !ex.MayBlock {
		return exchange.Block
	}
	return exchange.Next
}

func TestHandOver(t *testing.T) {
	ep := backend(t, ok)
	route := &fixed{eps: []*exchange.Endpoint{ep}, ops: []exchange.Op{blocker{}}}
	ed := start(t, route, nil)
	c, err := net.Dial("tcp", ed.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	br := bufio.NewReader(c)
	get := func(path, want string) {
		t.Helper()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", path)
		if want == "" {
			return
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); string(b) != want {
			t.Fatalf("%s: %q", path, b)
		}
	}
	get("/", "ok")
	for i := range 2 { // there and back
		get("/block", "")
		h := <-ed.hands
		if h.Cause != CauseRoute || h.Ex == nil || h.Ex.NextOp != 0 || h.Ex.Req.Path != "/block" || string(h.Buffered) != "body" || h.Requests != 1+2*i || h.Peer.String() != c.LocalAddr().String() {
			t.Fatalf("%+v %+v", h, h.Ex)
		}
		h.Ex.RunDone()
		fmt.Fprint(h.Conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); string(b) != "back" {
			t.Fatalf("%q", b)
		}
		// The next request has come meanwhile, in part.
		fmt.Fprint(c, "POST /n HTTP/1.1\r\nHost: a\r\n")
		first := make([]byte, len("POST /n HTTP/1.1\r\nHost: a\r\n"))
		if _, err := io.ReadFull(h.Conn, first); err != nil {
			t.Fatal(err)
		}
		if !h.Return(h.Conn, first) {
			t.Fatal("the loop does not take it back")
		}
		fmt.Fprint(c, "Content-Length: 0\r\n\r\n")
		resp, err = http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); string(b) != "ok" {
			t.Fatalf("%q", b)
		}
	}
	// A connection that goes over again and again stays there.
	get("/block", "")
	h := <-ed.hands
	if h.Return(h.Conn, nil) {
		t.Error("it is taken back a third time")
	}
	h.Conn.Close()
}

func TestHandOverOfServers(t *testing.T) {
	ep := endpoint("127.0.0.1:1")
	ep.Scheme = "https"
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil)
	for range 2 {
		c, err := net.Dial("tcp", ed.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		h := <-ed.hands
		if h.Ex == nil || h.Ex.Backend.Endpoint != nil || h.Ex.Req.Fields.Has("Accept-Encoding") {
			t.Errorf("%+v", h.Ex)
		}
		h.Conn.Close()
		c.Close()
	}
	for _, in := range []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxyz", "PRI * HTTP/2.0\r\n\r\n|SM\r\n\r\nxyz"} {
		c, err := net.Dial("tcp", ed.addr)
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(in, "|") {
			fmt.Fprint(c, part)
			time.Sleep(10 * time.Millisecond)
		}
		h := <-ed.hands
		if h.Cause != CausePreface || string(h.Buffered) != strings.ReplaceAll(in, "|", "") {
			t.Errorf("%+v", h)
		}
		h.Conn.Close()
		c.Close()
	}
}

func TestRaw(t *testing.T) {
	var on atomic.Bool
	ed := start(t, &fixed{eps: []*exchange.Endpoint{backend(t, ok)}}, func(_ *Options, c *EntryPoint) {
		c.Raw = on.Load
	})
	if got := raw(t, ed.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(got, "ok") {
		t.Errorf("%q", got)
	}
	on.Store(true)
	c, err := net.Dial("tcp", ed.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := <-ed.hands // before the client has said anything
	if h.Cause != CauseRaw || len(h.Buffered) != 0 || h.Ex != nil {
		t.Errorf("%+v", h)
	}
	h.Conn.Close()
}

func TestShutdown(t *testing.T) {
	hold := make(chan struct{})
	var asked sync.WaitGroup
	asked.Add(1)
	ep := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			asked.Done()
			<-hold
		}
		fmt.Fprint(w, "ok")
	})
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil)
	dial := func(send string) (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", ed.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprint(c, send)
		return c, bufio.NewReader(c)
	}
	idle, idleR := dial("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	defer idle.Close()
	if resp, err := http.ReadResponse(idleR, nil); err != nil || resp.Close {
		t.Fatal(resp, err)
	} else {
		_, _ = io.ReadAll(resp.Body)
	}
	slow, slowR := dial("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	defer slow.Close()
	fresh, freshR := dial("")
	defer fresh.Close()
	asked.Wait()
	time.Sleep(20 * time.Millisecond) // fresh is accepted
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		defer cancel()
		done <- ed.g.Shutdown(ctx)
	}()
	if _, err := idleR.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection: %v", err)
	}
	for range 200 { // until no loop listens any more
		c, err := net.Dial("tcp", ed.addr)
		if err != nil {
			break
		}
		c.Close()
		time.Sleep(time.Millisecond)
	}
	fmt.Fprint(fresh, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") // was on its way
	if resp, err := http.ReadResponse(freshR, nil); err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Errorf("the fresh connection: %v, %v", resp, err)
	}
	if c, err := net.Dial("tcp", ed.addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}
	close(hold)
	resp, err := http.ReadResponse(slowR, nil)
	if err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Errorf("the slow request: %v, %v", resp, err)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// faulty is an op that panics: on the request, on the answer, or at the end.
type faulty struct{}

func (f faulty) Request(ex *exchange.Exchange) exchange.Verdict {
	switch ex.Req.Path {
	case "/request":
		panic("request")
	case "/answer":
		ex.OnResponse(f, 0)
	case "/done":
		ex.OnDone(f, 0)
	}
	return exchange.Next
}

func (faulty) Response(*exchange.Exchange, uint64) { panic("answer") }
func (faulty) Done(*exchange.Exchange, uint64)     { panic("done") }

// TestFault holds that a fault in an op costs only the connection it strikes.
func TestFault(t *testing.T) {
	ed := start(t, &fixed{eps: []*exchange.Endpoint{backend(t, ok)}, ops: []exchange.Op{faulty{}}}, func(o *Options, _ *EntryPoint) { o.Loops = 1 })
	other, err := net.Dial("tcp", ed.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, path := range []string{"/request", "/answer", "/done", "/"} {
		got := raw(t, ed.addr, "GET "+path+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if path == "/" != strings.HasSuffix(got, "\r\n\r\nok") && path != "/done" {
			t.Errorf("%s: %q", path, got)
		}
	}
	fmt.Fprint(other, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if b, _ := io.ReadAll(other); !strings.HasSuffix(string(b), "ok") {
		t.Errorf("the other connection: %q", b)
	}
}
