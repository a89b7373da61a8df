package upstream

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// What a server is asked, by its URL and the path of the check.
func TestProbePaths(t *testing.T) {
	for _, c := range []struct{ server, path, want string }{
		{"", "/health?a&b=1", "/health?a&b=1"},
		{"", "health", "/health"},
		{"", "", "/"},
		{"/base/x", "/health", "/health"},
		{"/base/x", "health", "/base/health"},
		{"/base/x/", "health", "/base/x/health"},
		{"/base/x", "", "/base/x"},
		{"/base/x?q=1", "", "/base/x?q=1"},
		{"/base/x?q=1", "?r=2", "/base/x?r=2"},
		{"/base/x", "../health", "/health"},
		{"/a%2Fb/c", "d%2Fe", "/a%2Fb/d%2Fe"},
	} {
		var got string
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = r.RequestURI
			if r.Close || r.Host != r.Context().Value(http.LocalAddrContextKey).(interface{ String() string }).String() {
				t.Errorf("close %t, host %s", r.Close, r.Host)
			}
		}))
		ep := &exchange.Endpoint{URL: s.URL + c.server, Scheme: "http", Network: "tcp", Addr: s.Listener.Addr().String(), Host: s.Listener.Addr().String(), Transport: &exchange.Transport{}}
		if err := (Prober{}).Probe(context.Background(), ep, &config.HealthCheck{Path: c.path}); err != nil || got != c.want {
			t.Errorf("%q at %q: %q, %v; want %q", c.path, c.server, got, err, c.want)
		}
		s.Close()
	}
	ep := &exchange.Endpoint{URL: "unix:///run/x.sock", Scheme: "http", Network: "unix", Addr: "/run/x.sock", Host: "localhost"}
	if u, err := probeURL(ep, &config.HealthCheck{Path: "health"}); err != nil || u.String() != "http://localhost/health" {
		t.Errorf("a socket: %v, %v", u, err)
	}
}
