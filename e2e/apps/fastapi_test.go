package apps

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/sluice-edge/sluice/internal/testnet"
)

// uvicorn starts the application as its documentation says.
func uvicorn(t *testing.T, dir, port string) *process {
	t.Helper()
	app := start(t, dir, nil, python, "-m", "uvicorn", "main:app", "--root-path", "/api/v1", "--port", port)
	app.up(t, "127.0.0.1:"+port)
	return app
}

// TestFastAPI is the tutorial "Behind a Proxy" with its two files as they are: the second is
// named relative to the working directory.
func TestFastAPI(t *testing.T) {
	needs(t, "fastapi", "uvicorn", "websockets")
	inLanes(t, func(t *testing.T, env []string) {
		front, back := port(t, "9999"), port(t, "8000")
		dir := place(t, "fastapi", ":9999", ":"+front, ":8000", ":"+back)
		app := uvicorn(t, dir, back)
		edge := start(t, dir, env, binary, "--configFile=traefik.toml")
		edge.up(t, "127.0.0.1:"+front)
		base := "http://127.0.0.1:" + front
		live(t, base+"/api/v1/app")

		expect(t, base+"/api/v1/app", 200, `{"message":"Hello World","root_path":"/api/v1"}`)
		expect(t, base+"/app", 404, "404 page not found\n")
		docs(t, base, "http://127.0.0.1:"+back)
		redirects(t, base)
		paths(t, base)
		socket(t, strings.Replace(base, "http", "ws", 1), base)

		if r := do(t, "HEAD", base+"/api/v1/app", ""); r.status != 405 {
			t.Errorf("HEAD: %d", r.status)
		}
		app.stop(t)
		expect(t, base+"/api/v1/app", 502, "Bad Gateway")
	})
}

// docs is about the pages that must find the schema below the prefix.
func docs(t *testing.T, base, direct string) {
	t.Helper()
	expect(t, base+"/api/v1/docs", 200, "'/api/v1/openapi.json'", "/api/v1/docs/oauth2-redirect")
	expect(t, base+"/api/v1/docs/oauth2-redirect", 200)
	expect(t, base+"/api/v1/redoc", 200, "/api/v1/openapi.json")
	r := expect(t, base+"/api/v1/openapi.json", 200)
	var schema struct {
		Servers []struct{ URL string }
		Paths   map[string]any
	}
	if err := json.Unmarshal([]byte(r.body), &schema); err != nil || len(schema.Servers) != 1 || schema.Servers[0].URL != "/api/v1" || schema.Paths["/app"] == nil {
		t.Errorf("openapi.json: %v %s", err, r.body)
	}
	plain := expect(t, direct+"/openapi.json", 200)
	var a, b any
	_ = json.Unmarshal([]byte(r.body), &a)
	if _ = json.Unmarshal([]byte(plain.body), &b); !reflect.DeepEqual(a, b) {
		t.Errorf("the edge altered the schema:\n%s\n%s", r.body, plain.body)
	}
	expect(t, direct+"/docs", 200, "/api/v1/openapi.json")
	expect(t, direct+"/api/v1/openapi.json", 404)
}

// redirects is about missing slashes: scheme, host, prefix and query must be the public ones.
func redirects(t *testing.T, base string) {
	t.Helper()
	for _, host := range []string{"", "public.test", "public.test:1234"} {
		want := base
		var header []string
		if host != "" {
			scheme, _, _ := strings.Cut(base, "://")
			want, header = scheme+"://"+host, []string{"Host", host}
		}
		r := do(t, "GET", base+"/api/v1/items?q=a%20b", "", header...)
		if got := r.header.Get("Location"); r.status != 307 || got != want+"/api/v1/items/?q=a%20b" {
			t.Errorf("the slash is missing: %d, Location %q, not %q", r.status, got, want+"/api/v1/items/?q=a%20b")
		}
	}
	// What strangers say of scheme and host is not believed.
	r := do(t, "GET", base+"/api/v1/items", "", "X-Forwarded-Proto", "gopher", "X-Forwarded-Host", "evil.test", "X-Forwarded-Prefix", "/evil")
	if got := r.header.Get("Location"); got != base+"/api/v1/items/" {
		t.Errorf("Location %q", got)
	}
	expect(t, base+"/api/v1/items/?q=1", 200, `{"q":"1"}`)
}

type seenRequest struct {
	URL, Raw, Query string
	Headers         map[string]string
}

// paths is about what the application sees of them.
func paths(t *testing.T, base string) {
	t.Helper()
	expect(t, base+"/api/v1", 200, `{"path":"/"}`)
	expect(t, base+"/api/v1/", 200, `{"path":"/"}`)
	expect(t, base+"/api/v1app", 200, "Hello World") // prefixes are of characters, not of segments
	expect(t, base+"/api/v1/%61pp", 200, "Hello World")
	expect(t, base+"/api/v1/../app", 404, "404 page not found")
	expect(t, base+"/API/v1/app", 404, "404 page not found")
	for _, c := range [][3]string{
		{"/seen/a%2Fb/c;d?x=1;2", "/seen/a%2Fb/c;d", "x=1&2"}, // semicolons of queries become ampersands, as in the reference,
		{"/seen//a/b", "/seen/a/b", ""},
		{"/seen/%C3%A4?q=%C3%A4+b&empty=", "/seen/%C3%A4", "q=%C3%A4+b&empty="},
	} {
		r := do(t, "GET", base+"/api/v1"+c[0], "", "X-Forwarded-For", "9.9.9.9", "X-Real-Ip", "9.9.9.9", "X-Forwarded-Prefix", "/evil")
		var s seenRequest
		if err := json.Unmarshal([]byte(r.body), &s); err != nil || s.Raw != c[1] || s.Query != c[2] {
			t.Errorf("%s: %v %s", c[0], err, r.body)
		}
		scheme, host, _ := strings.Cut(base, "://")
		want := map[string]string{
			"host": host, "x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1", "x-forwarded-host": host,
			"x-forwarded-port": testnet.Port(host), "x-forwarded-prefix": "/api/v1", "x-forwarded-proto": scheme,
		}
		for k, v := range want {
			if s.Headers[k] != v {
				t.Errorf("%s: %s is %q, not %q", c[0], k, s.Headers[k], v)
			}
		}
		if !strings.HasPrefix(s.URL, base+"/api/v1/seen/") {
			t.Errorf("%s: the application takes its URL for %q", c[0], s.URL)
		}
	}
}

// socket is a WebSocket through the prefix, with a query.
func socket(t *testing.T, base, origin string) {
	t.Helper()
	cfg, err := websocket.NewConfig(base+"/api/v1/ws?a=b", origin)
	if err != nil {
		t.Fatal(err)
	}
	cfg.TlsConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the edge's own certificate
	cfg.Dialer = &net.Dialer{Timeout: 5 * time.Second}
	ws, err := websocket.DialConfig(cfg)
	if err != nil {
		t.Errorf("WebSocket: %v", err)
		return
	}
	defer func() { _ = ws.Close() }()
	_ = ws.SetDeadline(time.Now().Add(10 * time.Second))
	var url string
	if err := websocket.Message.Receive(ws, &url); err != nil || url != base+"/api/v1/ws?a=b" {
		t.Errorf("the application takes the WebSocket's URL for %q (%v)", url, err)
	}
	for _, said := range []string{"hello", strings.Repeat("0123456789", 10_000), ""} {
		var heard string
		if err := websocket.Message.Send(ws, said); err != nil {
			t.Fatal(err)
		}
		if err := websocket.Message.Receive(ws, &heard); err != nil || heard != said {
			t.Errorf("said %d bytes, heard %d: %v", len(said), len(heard), err)
		}
	}
}

// TestFastAPIBehindTLS has the same application behind an entry point with TLS: redirects
// keep https, and WebSockets are wss. It was the most common complaint.
func TestFastAPIBehindTLS(t *testing.T) {
	needs(t, "fastapi", "uvicorn", "websockets")
	inLanes(t, func(t *testing.T, env []string) {
		front, back := port(t, "9999"), port(t, "8000")
		dir := place(t, "fastapi", "[entryPoints.http]", "[entryPoints.http.http.tls]\n  [entryPoints.http]", ":9999", ":"+front, ":8000", ":"+back)
		uvicorn(t, dir, back)
		edge := start(t, dir, env, binary, "--configFile=traefik.toml")
		edge.up(t, "127.0.0.1:"+front)
		base := "https://127.0.0.1:" + front
		live(t, base+"/api/v1/app")
		expect(t, base+"/api/v1/app", 200, "Hello World")
		redirects(t, base)
		paths(t, base)
		socket(t, strings.Replace(base, "https", "wss", 1), base)
	})
}
