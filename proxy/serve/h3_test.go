package serve_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/proxy/serve"
)

func TestHTTP3(t *testing.T) {
	cfg := &tls.Config{Certificates: []tls.Certificate{testnet.Pair(t, "a.test")}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}
	b := echoServer(t)
	e := newEdge(t, serve.Config{AltSvc: `h3=":1"`}, routes{"a.test": to(endpoint(t, b.URL))})
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := e.srv.NewH3(pc, func(*tls.ClientHelloInfo) (*tls.Config, error) { return cfg, nil })
	done := make(chan error, 1)
	go func() { done <- h.Run() }()
	tr := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // a test
	for _, c := range []struct{ host, body, want string }{{"a.test", "hello", "POST /x?y=1 hello"}, {"no.test", "", "404 page not found\n"}} {
		var body io.Reader
		method := "GET"
		if c.body != "" {
			body, method = strings.NewReader(c.body), "POST"
		}
		req, _ := http.NewRequest(method, "https://"+pc.LocalAddr().String()+"/x?y=1", body) //nolint:noctx // a test
		req.Host = c.host
		r, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil || string(got) != c.want || r.Header.Get("Alt-Svc") != "" {
			t.Errorf("%q %v %v", got, err, r.Header)
		}
	}
	if r := e.rec.wait(t, 1)[0]; r.Proto != "HTTP/3.0" || r.Status != 200 || !r.Peer.Addr().IsLoopback() {
		t.Errorf("%+v", r)
	}
	_ = tr.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
