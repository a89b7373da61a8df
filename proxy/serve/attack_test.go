package serve_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/serve"
)

// ask2 sends one HTTP/2 head by frames, as no client library would, and returns what became
// of the stream: a status, or "RST".
func ask2(t *testing.T, e *edge, fields ...string) string {
	t.Helper()
	c := e.dial()
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	f.AllowIllegalWrites = true
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = f.WriteSettings()
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: true})
	for {
		fr, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch fr := fr.(type) {
		case *http2.MetaHeadersFrame:
			return fr.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "RST"
		}
	}
}

// What HTTP/2 can say and HTTP/1.1 cannot must not reach a server: it would be another
// request line, another Host, another framing.
func TestHeadsOfHTTP2CannotBecomeOtherRequests(t *testing.T) {
	seen := make(chan string, 100)
	ep := script(t, say(seen, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
	head := func(method, path, authority string, more ...string) []string {
		return append([]string{":method", method, ":scheme", "http", ":path", path, ":authority", authority}, more...)
	}
	if got := ask2(t, e, head("GET", "/", "a.test")...); got != "200" {
		t.Fatalf("a plain request: %s", got)
	}
	<-seen
	for name, fields := range map[string][]string{
		"request line in the method":   head("GET /admin HTTP/1.1", "/", "a.test"),
		"path in the method":           head("GET /admin", "/", "a.test"),
		"line break in the method":     head("GET / HTTP/1.1\r\nX: y\r\n\r\nGET", "/", "a.test"),
		"request line in the path":     head("GET", "/ HTTP/1.1", "a.test"),
		"absolute path":                head("GET", "http://b.test/", "a.test"),
		"list of hosts":                head("GET", "/", "a.test,b.test"),
		"path in the authority":        head("GET", "/", "a.test/b"),
		"user in the authority":        head("GET", "/", "b@a.test"),
		"another Host":                 head("GET", "/", "a.test", "host", "b.test"),
		"line break in a field":        head("GET", "/", "a.test", "x-a", "1\r\nx-b: 2"),
		"colon in a name":              head("GET", "/", "a.test", "x-a: 1\r\nx-b", "2"),
		"transfer-encoding":            head("POST", "/", "a.test", "transfer-encoding", "chunked"),
		"connection":                   head("GET", "/", "a.test", "connection", "x-real-ip"),
		"upgrade":                      head("GET", "/", "a.test", "upgrade", "websocket"),
		"two lengths":                  head("POST", "/", "a.test", "content-length", "1", "content-length", "2"),
		"CONNECT to somewhere":         {":method", "CONNECT", ":authority", "a.test:22"},
		"pseudo field behind a field":  {":method", "GET", ":scheme", "http", "x-a", "1", ":path", "/", ":authority", "a.test"},
		"two paths":                    head("GET", "/", "a.test", ":path", "/b"),
		"NUL in a field":               head("GET", "/", "a.test", "x-a", "1\x002"),
		"a space at the end of a name": head("GET", "/", "a.test", "content-length ", "5"),
	} {
		t.Run(name, func(t *testing.T) {
			got := ask2(t, e, fields...)
			if got != "RST" && !strings.HasPrefix(got, "4") && got != "501" {
				t.Errorf("answered %s", got)
			}
			select {
			case h := <-seen:
				t.Errorf("the server got %q", h)
			default:
			}
		})
	}
}

// A server that switches protocols before it has the whole request leaves the rest of the
// body without a meaning: neither side may take it for its own.
func TestSwitchBeforeTheEndOfTheRequest(t *testing.T) {
	ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
		_, _ = readHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.ReadAll(br)
	})
	e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
	c := e.dial()
	_, _ = io.WriteString(c, "POST /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 100\r\n\r\nbegin")
	h, err := readHead(bufio.NewReader(c))
	if err != nil || !strings.HasPrefix(h, "HTTP/1.1 502 ") {
		t.Errorf("%q %v", h, err)
	}
}

// faulty is an op with a fault.
type faulty struct{}

func (faulty) Request(*exchange.Exchange) exchange.Verdict { panic("a fault in an op") }

func TestAFaultEndsItsConnectionOnly(t *testing.T) {
	srv := echoServer(t)
	good := endpoint(t, srv.URL)
	bad := to(good)
	bad.Ops = []exchange.Op{faulty{}}
	e := newEdge(t, serve.Config{}, routes{"bad.test": bad, "a.test": to(good)})
	if got := e.send("GET / HTTP/1.1\r\nHost: bad.test\r\nConnection: close\r\n\r\n"); got != "" {
		t.Errorf("answered %q", got)
	}
	if got := e.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("afterwards: %q", got)
	}
}

// An answer that breaks off on a kept connection must not be followed by that of another
// attempt: the client would take the second head for the rest of the first body.
func TestABrokenAnswerIsNotContinuedByAnother(t *testing.T) {
	for name, broken := range map[string]string{
		"sized":   "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
	} {
		t.Run(name, func(t *testing.T) {
			ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
				for {
					h, err := readHead(br)
					if err != nil {
						return
					}
					if strings.HasPrefix(h, "GET /broken") {
						_, _ = io.WriteString(c, broken)
						return
					}
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			})
			e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
			for range 2 { // the second attempt finds a connection that was used before
				got := e.send("GET /good HTTP/1.1\r\nHost: a.test\r\n\r\nGET /broken HTTP/1.1\r\nHost: a.test\r\n\r\n")
				if n := strings.Count(got, "HTTP/1.1 "); n != 2 {
					t.Errorf("%d heads for two requests: %q", n, got)
				}
			}
		})
	}
}
