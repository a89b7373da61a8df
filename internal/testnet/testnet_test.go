package testnet

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// A load must see the failures it is there to count.
func TestLoadCounts(t *testing.T) {
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "a.test" {
			t.Errorf("host %q", r.Host)
		}
		if n.Add(1)%10 == 0 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	l := StartLoad(srv.Listener.Addr().String(), "a.test", "/", 400, 4)
	time.Sleep(500 * time.Millisecond)
	r := l.Stop()
	srv.Close()
	if want := int(n.Load()) / 10; r.Failed != want || r.Sent != int(n.Load()) {
		t.Errorf("sent %d failed %d, the server saw %d and refused %d", r.Sent, r.Failed, n.Load(), want)
	}
	if r.Sent < 100 || r.FirstFailure == 0 {
		t.Errorf("too little happened: %v", r)
	}
}

func TestRefused(t *testing.T) {
	c := NewClient(FreeAddr(t))
	if _, err := c.Get("a.test", "/"); !Refused(err) {
		t.Errorf("refused connection not seen as one: %v", err)
	}
}
