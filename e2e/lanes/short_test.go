package lanes

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// A connection in clear text is not judged by fewer bytes than a request has at least, as in
// the reference; over TLS and with enough of them what is wrong is said at once.
func TestBeginningsTooShortForARequest(t *testing.T) {
	y := fmt.Sprintf("http:\n  routers: {probe: {rule: \"Host(`probe.test`)\", service: s}}\n  services: {s: {loadBalancer: {servers: [{url: \"http://%s\"}]}}}\n", echo(t))
	answer := func(c net.Conn, limit time.Duration) (int, error) {
		_ = c.SetReadDeadline(time.Now().Add(limit))
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return 0, err
		}
		_ = r.Body.Close()
		return r.StatusCode, nil
	}
	say := func(t *testing.T, c net.Conn, text string) {
		t.Helper()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
	}
	for _, lane := range names {
		e := startEdge(t, lane, y)
		for name, first := range map[string]string{"a line": "hello\r\n", "a head": "GARBAGE\r\n\r\n", "bytes": "\x00\x01\x02"} {
			t.Run(lane+" "+name, func(t *testing.T) {
				c := e.dial(t, "web")
				defer func() { _ = c.Close() }()
				say(t, c, first)
				if status, err := answer(c, 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("answered: %d %v", status, err)
				}
				say(t, c, "GARBAGE GARBAGE")
				if status, err := answer(c, 10*time.Second); status != 400 {
					t.Fatalf("enough bytes: %d %v", status, err)
				}
			})
			t.Run(lane+" "+name+", then the end", func(t *testing.T) {
				c := e.dial(t, "web")
				defer func() { _ = c.Close() }()
				say(t, c, first)
				_ = c.(*net.TCPConn).CloseWrite()
				if status, err := answer(c, 10*time.Second); status != 400 {
					t.Fatalf("%d %v", status, err)
				}
			})
		}
		t.Run(lane+" a request in small pieces", func(t *testing.T) {
			c := e.dial(t, "web")
			defer func() { _ = c.Close() }()
			for _, p := range []string{"G", "ET /", " HTTP/1", ".1\r\nHost: probe.test\r\n\r\n"} {
				say(t, c, p)
				time.Sleep(10 * time.Millisecond)
			}
			if status, err := answer(c, 10*time.Second); status != 200 {
				t.Fatalf("%d %v", status, err)
			}
		})
		t.Run(lane+" that never go on", func(t *testing.T) {
			for _, first := range []string{"hello\r\n", "G", "PRI", "GET / HT"} {
				c := e.dial(t, "slow")
				defer func() { _ = c.Close() }()
				say(t, c, first)
				if status, err := answer(c, 10*time.Second); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("%q is waited for: %d", first, status)
				}
			}
		})
		t.Run(lane+" TLS", func(t *testing.T) {
			c := tls.Client(e.dial(t, "secure"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // the edge's own certificate
			defer func() { _ = c.Close() }()
			say(t, c, "hello\r\n")
			if status, err := answer(c, 10*time.Second); status != 400 {
				t.Fatalf("%d %v", status, err)
			}
		})
	}
}
