package serve_test

import (
	"bufio"
	"net"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/proxy/serve"
)

// noDeadline ends a deadline.
var noDeadline time.Time

// skipAnswer reads an answer with a body of five bytes, without allocating.
func skipAnswer(br *bufio.Reader) bool {
	for {
		l, err := br.ReadSlice('\n')
		if err != nil {
			return false
		}
		if len(l) == 2 {
			_, err = br.Discard(5)
			return err == nil
		}
	}
}

var benchRequest = []byte("GET /some/path?x=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n")

// keepAlive returns a function that makes one keep-alive GET through the handler lane;
// client and server are bare sockets that do not allocate.
func keepAlive(t testing.TB) func() bool {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
	ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
		_ = c.SetDeadline(noDeadline)
		for {
			for {
				l, err := br.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(l) == 2 {
					break
				}
			}
			_, _ = c.Write(answer)
		}
	})
	e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
	e.rec.off = true
	c := e.dial()
	_ = c.SetDeadline(noDeadline)
	br := bufio.NewReader(c)
	return func() bool {
		_, err := c.Write(benchRequest)
		return err == nil && skipAnswer(br)
	}
}

func BenchmarkKeepAlive(b *testing.B) {
	get := keepAlive(b)
	b.ReportAllocs()
	for b.Loop() {
		if !get() {
			b.Fatal("no answer")
		}
	}
}

func TestKeepAliveDoesNotAllocate(t *testing.T) {
	if testnet.RaceDetector {
		t.Skip("pools forget under the race detector")
	}
	get := keepAlive(t)
	get()
	// The outcomes that the test's own pool keeps grow a slice now and then.
	if n := testing.AllocsPerRun(500, func() { get() }); n > 0 {
		t.Errorf("%v allocations a request", n)
	}
}
