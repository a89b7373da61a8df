package lanes

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestDeadServer has one of two servers refuse connections: nothing was sent there, so the
// other one gets the request with its whole body, with or without the retry middleware, in
// either lane, and whether the body is there at once or still coming.
func TestDeadServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	_ = l.Close()
	live := echo(t)
	y := fmt.Sprintf("http:\n  routers:\n    probe: {rule: \"Host(`probe.test`)\", service: live}\n"+
		"    plain: {rule: \"Host(`plain.test`)\", service: both}\n    retry: {rule: \"Host(`retry.test`)\", service: both, middlewares: [r]}\n"+
		"    gone: {rule: \"Host(`gone.test`)\", service: none, middlewares: [r]}\n"+
		"  middlewares:\n    r: {retry: {attempts: 3}}\n  services:\n    live: {loadBalancer: {servers: [{url: \"http://%[2]s\"}]}}\n"+
		"    both: {loadBalancer: {servers: [{url: \"http://%[1]s\"}, {url: \"http://%[2]s\"}]}}\n    none: {loadBalancer: {servers: [{url: \"http://%[1]s\"}]}}\n", dead, live)
	for _, lane := range names {
		e := startEdge(t, lane, y)
		for _, host := range []string{"plain.test", "retry.test"} {
			t.Run(lane+" "+host, func(t *testing.T) {
				c := open(t, e, false)
				defer func() { _ = c.Close() }()
				for n := range 12 {
					k := kind{path: fmt.Sprintf("/%d", n)}
					req, method := k.request([]string{"GET", "POST", "chunks"}[n%3], host)
					if n >= 6 { // the end of the body comes later
						cut := len(req) - min(len(req)/2, 4)
						if _, err := io.WriteString(c, req[:cut]); err != nil {
							t.Fatal(err)
						}
						time.Sleep(10 * time.Millisecond)
						req = req[cut:]
					}
					text, status, err := c.ask(req, method)
					if err != nil || status != 200 || !strings.Contains(text, fmt.Sprintf("%s /%d HTTP", method, n)) || !strings.Contains(text, "<nil>") {
						t.Fatalf("request %d: %d %v %s", n, status, err, text)
					}
				}
			})
		}
		t.Run(lane+" none lives", func(t *testing.T) {
			c := open(t, e, false)
			defer func() { _ = c.Close() }()
			for n, m := range []string{"GET", "POST", "GET"} {
				k := kind{}
				req, method := k.request(m, "gone.test")
				if text, status, err := c.ask(req, method); err != nil || status != 502 {
					t.Fatalf("request %d: %d %v %s", n, status, err, text)
				}
			}
		})
	}
}
