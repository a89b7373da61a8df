package stream

import (
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
)

// The PROXY header comes before TLS: the proxy in front of the server's TLS reads it.
func TestProxyHeaderBeforeTLS(t *testing.T) {
	some := httptest.NewTLSServer(nil)
	cert := some.TLS.Certificates[0]
	some.Close()
	got := make(chan string, 1)
	srv := listen(t, func(c net.Conn) {
		head := make([]byte, 28) // of version 2, for IPv4
		if _, err := io.ReadFull(c, head); err != nil {
			got <- err.Error()
			return
		}
		b, err := io.ReadAll(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
		if err != nil {
			got <- err.Error()
			return
		}
		got <- string(head) + string(b)
	})
	lb := &config.TCPLoadBalancer{Servers: []config.TCPServer{{Address: srv, TLS: true}}, ServersTransport: "tr",
		ProxyProtocol: &config.ProxyProtocol{Version: 1}} // of no effect beside a transport
	b, err := NewBook(nil, nil).Begin().TCP("s", lb, &config.TCPServersTransport{
		ProxyProtocol: &config.ProxyProtocol{Version: 2}, TLS: &config.TLSClient{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	c := dialTo(t, edge(t, &Route{To: b, Log: zerolog.Nop()}))
	_, _ = io.WriteString(c, "hi")
	_ = c.(interface{ CloseWrite() error }).CloseWrite()
	if g := <-got; !strings.HasPrefix(g, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01") || !strings.HasSuffix(g, "hi") {
		t.Errorf("%q", g)
	}
}
