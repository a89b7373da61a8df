package lanes

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// headerTimeout is the time for the answer's head in TestHeaderTimeout.
const headerTimeout = 600 * time.Millisecond

// responseHeaderTimeout begins when the whole request is with the server and ends with the
// head of the answer: neither a long upload nor a long answer is cut by it.
func TestHeaderTimeout(t *testing.T) {
	hang := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		if r.URL.Path == "/early" {
			_ = rc.Flush()
		}
		b, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/silent":
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		case "/long", "/early":
			_ = rc.Flush()
			time.Sleep(2 * headerTimeout)
		}
		_, _ = fmt.Fprintf(w, "got %d", len(b))
	})
	plain := httptest.NewServer(h)
	defer plain.Close()
	framed := httptest.NewUnstartedServer(h)
	framed.Config.Protocols = new(http.Protocols)
	framed.Config.Protocols.SetUnencryptedHTTP2(true)
	framed.Start()
	defer framed.Close()
	defer close(hang)
	yaml := fmt.Sprintf("http:\n  routers:\n    h1: {rule: \"Host(`probe.test`) || Host(`h1.test`)\", service: h1}\n    h2: {rule: \"Host(`h2.test`)\", service: h2}\n"+
		"  services:\n    h1: {loadBalancer: {servers: [{url: \"%s\"}], serversTransport: t}}\n    h2: {loadBalancer: {servers: [{url: \"%s\"}], serversTransport: t}}\n"+
		"  serversTransports:\n    t: {forwardingTimeouts: {responseHeaderTimeout: %s}}\n", plain.URL, strings.Replace(framed.URL, "http", "h2c", 1), headerTimeout)
	for _, lane := range names {
		e := startEdge(t, lane, yaml)
		headerTimes(t, e)
	}
}

func headerTimes(t *testing.T, e *edge) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, host := range []string{"h1.test", "h2.test"} {
		for _, c := range []struct {
			path   string
			upload bool
			want   string
		}{
			{"/", false, "200 got 0"}, {"/", true, "200 got 4"}, {"/long", false, "200 got 0"}, {"/long", true, "200 got 4"},
			{"/early", true, "200 got 4"}, {"/silent", false, "504 Gateway Timeout"}, {"/silent", true, "504 Gateway Timeout"},
		} {
			wg.Go(func() {
				if got := slowly(t, e, host, c.path, c.upload); got != c.want {
					t.Errorf("%s: %s%s, upload %t: %s, not %s", e.lane, host, c.path, c.upload, got, c.want)
				}
			})
		}
	}
}

// slowly sends a request, with a body that takes longer than headerTimeout where upload is
// set, and gives status and body of the answer.
func slowly(t *testing.T, e *edge, host, path string, upload bool) string {
	c := open(t, e, false)
	defer func() { _ = c.Close() }()
	if !upload {
		_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
	} else {
		_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 4\r\n\r\n", path, host)
		for range 4 {
			time.Sleep(headerTimeout / 2)
			_, _ = io.WriteString(c, "x")
		}
	}
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return "cut: " + err.Error()
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, b)
}
