package serve_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/serve"
)

func TestPostAfterADeadServer(t *testing.T) {
	b := echoServer(t)
	dead, _ := net.Listen("tcp", "127.0.0.1:0")
	_ = dead.Close()
	eps := []*exchange.Endpoint{endpoint(t, "http://"+dead.Addr().String()), endpoint(t, b.URL)}
	rt := &exchange.Route{}
	e := newEdge(t, serve.Config{}, routes{"plain.test": to(eps...), "tail.test": rt})
	rt.Tail = serve.OpHandler(nil, serve.Forward(&pool{eps: eps}, e.cl))
	for _, host := range []string{"plain.test", "tail.test"} {
		c := e.dial()
		for _, piece := range []string{"POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 3\r\nConnection: close\r\n\r\n", "x", "yz"} {
			_, _ = io.WriteString(c, piece)
			time.Sleep(30 * time.Millisecond)
		}
		if got, _ := io.ReadAll(c); !strings.HasSuffix(string(got), "POST / xyz") {
			t.Errorf("%s in pieces: %s", host, got)
		}
		for _, conn := range []string{"close", "keep-alive"} {
			got := e.send("POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 1\r\nConnection: " + conn + "\r\n\r\nxPOST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
			if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "POST / x") {
				t.Errorf("%s %s: %s", host, conn, got)
			}
		}
	}
}
