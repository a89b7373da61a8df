package lanes

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// guest is who a connection to the server of TestBoundConnections belongs to.
type guest struct {
	mu   sync.Mutex
	half string // has said its name, and not proved it yet
	name string
}

type guestKey struct{}

// greeter authenticates connections, as NTLM does: a name, a proof, and from then on every
// request of the connection is that user's.
func greeter(w http.ResponseWriter, r *http.Request) {
	g := r.Context().Value(guestKey{}).(*guest)
	g.mu.Lock()
	defer g.mu.Unlock()
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	step, name, _ := strings.Cut(token, ":")
	switch {
	case scheme == "":
	case step == "hello":
		g.half = name
		w.Header().Set("Www-Authenticate", scheme+" prove")
		w.WriteHeader(http.StatusUnauthorized)
		return
	case step == "proof" && g.half == name:
		g.name = name
	default:
		w.WriteHeader(http.StatusForbidden)
		return
	}
	_, _ = fmt.Fprintf(w, "you are %q", g.name)
}

// Who has logged a connection in is the only one whose requests go over it.
func TestBoundConnections(t *testing.T) {
	var mu sync.Mutex
	open_ := map[net.Conn]http.ConnState{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(greeter))
	s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, guestKey{}, &guest{})
	}
	s.Config.ConnState = func(c net.Conn, st http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if open_[c] = st; st == http.StateClosed {
			delete(open_, c)
		}
	}
	s.Start()
	defer s.Close()
	yaml := fmt.Sprintf("http:\n  routers:\n    plain: {rule: \"Host(`probe.test`) || Host(`plain.test`)\", service: s}\n"+
		"    staged: {rule: \"Host(`staged.test`)\", service: s, middlewares: [b]}\n  middlewares:\n    b: {buffering: {maxRequestBodyBytes: 100000}}\n"+
		"  services:\n    s: {loadBalancer: {servers: [{url: \"%s\"}]}}\n", s.URL)
	for _, lane := range names {
		t.Run(lane, func(t *testing.T) {
			e := startEdge(t, lane, yaml)
			for _, overTLS := range []bool{false, true} {
				for _, hosts := range [][2]string{{"plain.test", "plain.test"}, {"plain.test", "staged.test"}, {"staged.test", "plain.test"}} {
					bound(t, e, overTLS, hosts)
				}
			}
			e.stop()
		})
	}
	mu.Lock()
	defer mu.Unlock()
	for c, st := range open_ {
		if st == http.StateActive {
			t.Errorf("%v is still open", c.RemoteAddr())
		}
	}
}

// bound logs two clients in by turns, at hosts that lead to the same server, beside a third
// that never does.
func bound(t *testing.T, e *edge, overTLS bool, hosts [2]string) {
	t.Helper()
	ask := func(c *conn, host, credentials string) (int, string) {
		req := "GET / HTTP/1.1\r\nHost: " + host + "\r\n"
		if credentials != "" {
			req += "Authorization: " + credentials + "\r\n"
		}
		if _, err := io.WriteString(c, req+"\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		return resp.StatusCode, string(b)
	}
	alice, bob, nobody := open(t, e, overTLS), open(t, e, overTLS), open(t, e, overTLS)
	for _, c := range []*conn{alice, bob, nobody} {
		defer func() { _ = c.Close() }()
		if _, who := ask(c, hosts[0], ""); who != `you are ""` {
			t.Fatalf("%s: %s at first", e.lane, who)
		}
	}
	for i, step := range []string{"hello", "proof"} {
		want := []int{http.StatusUnauthorized, http.StatusOK}[i]
		for name, c := range map[string]*conn{"NTLM %s:alice": alice, "negotiate %s:bob": bob} {
			if status, _ := ask(c, hosts[i], fmt.Sprintf(name, step)); status != want {
				t.Errorf("%s: %s: %d, not %d", e.lane, step, status, want)
			}
		}
	}
	for i := range 8 {
		for c, want := range map[*conn]string{alice: `you are "alice"`, bob: `you are "bob"`, nobody: `you are ""`} {
			if _, who := ask(c, hosts[i%2], ""); who != want {
				t.Errorf("%s, TLS %t, %v: %s, not %s", e.lane, overTLS, hosts, who, want)
			}
		}
	}
}
