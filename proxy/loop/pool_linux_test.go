package loop

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// TestSurplus: more connections than the limit stay for a moment, since they are needed again
// at once under load, and go when they are not.
func TestSurplus(t *testing.T) {
	const limit, clients = 40, 120
	here, goOn := make(chan struct{}), make(chan struct{})
	ep := backend(t, func(w http.ResponseWriter, r *http.Request) { here <- struct{}{}; <-goOn; ok(w, r) })
	ep.Transport.MaxIdlePerHost = limit
	ed := start(t, &fixed{eps: []*exchange.Endpoint{ep}}, func(o *Options, _ *EntryPoint) { o.Loops = 1 })
	idle := func() int {
		n := make(chan int)
		if !ed.g.loops[0].post(func(l *loop) { n <- len(l.pool(ep).idle) }) {
			t.Fatal("the loop has ended")
		}
		return <-n
	}
	conns := make([]net.Conn, clients)
	for i := range conns {
		c, err := net.Dial("tcp", ed.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		conns[i] = c
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		<-here
	}
	close(goOn)
	for _, c := range conns {
		if _, err := c.Read(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if n := idle(); n <= limit {
		t.Errorf("%d connections are kept at once", n)
	}
	by := time.Now().Add(10 * time.Second)
	for idle() > limit && time.Now().Before(by) {
		time.Sleep(20 * time.Millisecond)
	}
	if n := idle(); n > limit || n < limit/2 {
		t.Errorf("%d connections are kept in the end", n)
	}
}
