package lanes

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Servers that are asked by HTTP/2 in clear text get upgrades by HTTP/1.1, as WebSockets need.
func TestUpgradeAtServersOfHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_, _ = fmt.Fprint(w, r.Proto)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(c, rw)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	yaml := fmt.Sprintf("http:\n  routers:\n    r: {rule: \"Host(`probe.test`)\", service: s}\n  services:\n    s: {loadBalancer: {servers: [{url: \"%s\"}]}}\n",
		strings.Replace(s.URL, "http", "h2c", 1))
	for _, lane := range names {
		e := startEdge(t, lane, yaml)
		c := open(t, e, false)
		for _, req := range []string{"", "Connection: Upgrade\r\nUpgrade: websocket\r\n"} {
			_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: probe.test\r\n%s\r\n", req)
			resp, err := http.ReadResponse(c.br, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := http.StatusOK
			if req != "" {
				want = http.StatusSwitchingProtocols
			}
			if resp.StatusCode != want {
				t.Fatalf("%s: %s", lane, resp.Status)
			}
			if req == "" {
				if b, _ := io.ReadAll(resp.Body); string(b) != "HTTP/2.0" {
					t.Errorf("%s: asked by %s", lane, b)
				}
			}
		}
		_, _ = io.WriteString(c, "hello")
		b := make([]byte, 5)
		if _, err := io.ReadFull(c.br, b); err != nil || string(b) != "hello" {
			t.Errorf("%s: %q, %v", lane, b, err)
		}
		_ = c.Close()
		e.stop()
	}
}
