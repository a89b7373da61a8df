package serve_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"github.com/sluice-edge/sluice/proxy/serve"
)

// TestHeadsAreTheirOwn has many clients of HTTP/2 ask for small answers at once, which are
// written after their requests' end: none may see a field of another's answer.
func TestHeadsAreTheirOwn(t *testing.T) {
	ep := script(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			h, err := readHead(br)
			if err != nil {
				return
			}
			var who string
			_, _ = fmt.Sscanf(h, "GET /%s", &who)
			switch who[0] {
			case 'n':
				_, _ = fmt.Fprintf(c, "HTTP/1.1 304 Not Modified\r\nETag: %q\r\nX-%s: %s\r\n\r\n", who, who, who)
			case 's':
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-%s: %s\r\nETag: %q\r\nContent-Length: 2\r\n\r\nok", who, who, who)
			default:
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-%s: %s\r\nETag: %q\r\n\r\n2\r\nok\r\n0\r\nX-Sum: %s\r\n\r\n", who, who, who, who)
			}
		}
	})
	e := newEdge(t, serve.Config{}, routes{"a.test": to(ep)})
	var wg sync.WaitGroup
	for n := range 12 {
		wg.Go(func() {
			tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) { return net.Dial("tcp", e.addr) }}
			defer tr.CloseIdleConnections()
			for i := range 400 {
				who := fmt.Sprintf("%c%02d%03d", "nst"[(n+i)%3], n, i%40)
				req, _ := http.NewRequest("GET", "http://a.test/"+who, nil) //nolint:noctx // a test
				r, err := tr.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_ = r.Body.Close()
				if r.Header.Get("Etag") != `"`+who+`"` || r.Header.Get("X-"+who) != who || who[0] == 't' && r.Trailer.Get("X-Sum") != who {
					t.Errorf("%s: %v %v", who, r.Header, r.Trailer)
					return
				}
			}
		})
	}
	wg.Wait()
}
