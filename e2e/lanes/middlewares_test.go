package lanes

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// kind is a middleware with options that let a plain request through, or answer it.
type kind struct {
	name string // of config.Middleware, in JSON
	yaml string // its options, in the flow style
	// get and post are the statuses of a GET and of a POST with a body; 200 if 0.
	get, post int
	fields    string // that requests need
	path      string // "/p/x" if empty
	has       string // what the answer's body (which tells what the server saw) must hold
}

// kinds has a row, at least, for every kind there is; TestEveryKind holds it.
var kinds = []kind{
	{name: "addPrefix", yaml: "{prefix: /added}", has: "GET /added/p/x"},
	{name: "stripPrefix", yaml: "{prefixes: [/p]}", has: "GET /x "},
	{name: "stripPrefixRegex", yaml: "{regex: ['/p']}", has: "GET /x "},
	{name: "replacePath", yaml: "{path: /other}", has: "GET /other "},
	{name: "replacePathRegex", yaml: "{regex: '^/p/(.*)', replacement: '/q/$1'}", has: "GET /q/x "},
	{name: "chain", yaml: "{middlewares: [addPrefix0, headers0]}", has: "GET /added/p/x"},
	{name: "ipWhiteList", yaml: "{sourceRange: [127.0.0.1]}"},
	{name: "ipAllowList", yaml: "{sourceRange: [127.0.0.1]}"},
	{name: "ipAllowList", yaml: "{sourceRange: [192.0.2.1]}", get: 403, post: 403},
	{name: "ipDenyList", yaml: "{sourceRange: [127.0.0.0/8]}", get: 403, post: 403},
	{name: "headers", yaml: "{customRequestHeaders: {X-In: a}, customResponseHeaders: {X-Out: b}}", has: "X-In: a"},
	{name: "headers", yaml: "{accessControlAllowMethods: [GET], accessControlAllowOriginList: ['*']}"},
	{name: "encodedCharacters", yaml: "{allowEncodedSlash: false}"},
	{name: "encodedCharacters", yaml: "{allowEncodedSlash: false}", path: "/p/a%2fb", get: 400, post: 400},
	{name: "errors", yaml: "{status: ['500-599'], service: echo, query: /error}"},
	{name: "rateLimit", yaml: "{average: 100000, burst: 100000}"},
	{name: "redirectRegex", yaml: "{regex: '^http(s?)://[^/]*/p/(.*)', replacement: 'http://elsewhere.test/$2'}", get: 302, post: 307},
	{name: "redirectScheme", yaml: "{scheme: gopher, permanent: true}", get: 301, post: 308},
	{name: "basicAuth", yaml: "{users: ['u:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=']}", fields: "Authorization: Basic dTpwYXNz\r\n"},
	{name: "basicAuth", yaml: "{users: ['u:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=']}", get: 401, post: 401},
	{name: "basicAuth", yaml: "{users: ['u:$2y$04$yqWL.1X6kwSXd0uW1zxQqO2X8KtKJ0mrJrzsAIp9l8tO4qVb7VwGm']}", fields: "Authorization: Basic dTpub3Q=\r\n", get: 401, post: 401},
	{name: "digestAuth", yaml: "{users: ['u:traefik:a2688e031edb4be6a3797f3882655c05']}", get: 401, post: 401},
	{name: "forwardAuth", yaml: "{address: 'http://@echo/auth', authResponseHeaders: [X-Seen]}"},
	{name: "inFlightReq", yaml: "{amount: 1000}"},
	{name: "buffering", yaml: "{maxRequestBodyBytes: 100000}"},
	{name: "buffering", yaml: "{maxRequestBodyBytes: 5}", post: 413},
	{name: "circuitBreaker", yaml: "{expression: 'NetworkErrorRatio() > 0.9'}"},
	{name: "compress", yaml: "{}"},
	{name: "compress", yaml: "{minResponseBodyBytes: 10}", fields: "Accept-Encoding: gzip\r\n"},
	{name: "passTLSClientCert", yaml: "{pem: true}"},
	{name: "retry", yaml: "{attempts: 3}"},
	{name: "contentType", yaml: "{autoDetect: true}"},
	{name: "grpcWeb", yaml: "{allowOrigins: ['*']}"},
	{name: "respond", yaml: "{status: 204}", get: 204, post: 204},
	{name: "respond", yaml: "{status: 200, body: hello}", has: "hello"},
	{name: "maintenance", yaml: "{}", get: 503, post: 503},
	{name: "rewriteLocation", yaml: "{}"},
}

// TestEveryKind fails when a kind of middleware has no row.
func TestEveryKind(t *testing.T) {
	rows := map[string]bool{}
	for _, k := range kinds {
		rows[k.name] = true
	}
	for f := range reflect.TypeFor[config.Middleware]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || name == "plugin" || name == "" {
			continue
		}
		if !rows[name] {
			t.Errorf("no row for %s", name)
		}
	}
}

// echo answers with what it saw: the request's head and a digest of its body.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s HTTP\n", r.Method, r.RequestURI)
		var names []string
		for n := range r.Header {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			fmt.Fprintf(&b, "%s: %s\n", n, strings.Join(r.Header[n], "|"))
		}
		fmt.Fprintf(&b, "body %d %x %v\n", len(body), sha256.Sum256(body), err)
		w.Header().Set("X-Seen", "yes")
		w.Header()["Date"] = nil
		_, _ = io.WriteString(w, b.String())
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

// kindsYAML is the configuration with a route for each row, "k<n>.test", and a plain one, "plain.test".
func kindsYAML(addr string) string {
	var y strings.Builder
	y.WriteString("http:\n  routers:\n    probe: {rule: \"Host(`probe.test`) || Host(`plain.test`)\", service: echo}\n")
	for i, k := range kinds {
		fmt.Fprintf(&y, "    k%d: {rule: \"Host(`k%d.test`)\", service: echo, middlewares: [%s%d]}\n", i, i, k.name, i)
	}
	y.WriteString("  middlewares:\n    headers0: {headers: {customRequestHeaders: {X-In: a}}}\n")
	for i, k := range kinds {
		fmt.Fprintf(&y, "    %s%d: {%s: %s}\n", k.name, i, k.name, strings.ReplaceAll(k.yaml, "@echo", addr))
	}
	fmt.Fprintf(&y, "  services:\n    echo: {loadBalancer: {servers: [{url: \"http://%s\"}]}}\n", addr)
	return y.String()
}

// conn is a client's connection that asks one request after another.
type conn struct {
	net.Conn
	br *bufio.Reader
}

func open(t *testing.T, e *edge, overTLS bool) *conn {
	t.Helper()
	if !overTLS {
		c := e.dial(t, "web")
		return &conn{c, bufio.NewReader(c)}
	}
	c := tls.Client(e.dial(t, "secure"), &tls.Config{InsecureSkipVerify: true, ServerName: "plain.test"}) //nolint:gosec // the edge's own certificate
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return &conn{c, bufio.NewReader(c)}
}

// ask sends a request and returns the answer as text: status, fields but Date, and the body.
func (c *conn) ask(request, method string) (string, int, error) {
	if _, err := io.WriteString(c, request); err != nil {
		return "", 0, err
	}
	resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		return "", 0, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Header.Del("Date")
	// Nonces are random, and stages are free to choose how the end of a body is said.
	if v := resp.Header.Get("Www-Authenticate"); strings.HasPrefix(v, "Digest ") {
		resp.Header.Set("Www-Authenticate", "Digest")
	}
	var b strings.Builder
	fmt.Fprintln(&b, resp.Status, resp.TransferEncoding)
	_ = resp.Header.Write(&b)
	fmt.Fprintf(&b, "\n%s", body)
	return b.String(), resp.StatusCode, err
}

func (k *kind) request(method, host string) (string, string) {
	path := k.path
	if path == "" {
		path = "/p/x"
	}
	req := method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: t\r\n" + k.fields
	switch method {
	case "GET":
		return req + "\r\n", "GET"
	case "POST":
		return req + "Content-Length: 20000\r\n\r\n" + strings.Repeat("0123456789", 2000), "POST"
	default: // chunks
		return strings.Replace(req, method, "PUT", 1) + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "PUT"
	}
}

// TestMiddlewares asks every kind in both lanes, in clear and over TLS, several requests on
// a connection each, and compares the answers, which tell what the server saw.
func TestMiddlewares(t *testing.T) {
	addr := echo(t)
	yaml := kindsYAML(addr)
	var edges [2]*edge
	for i := range edges {
		edges[i] = startEdge(t, names[i], yaml)
	}
	for i, k := range kinds {
		for _, overTLS := range []bool{false, true} {
			name := fmt.Sprintf("%s%d", k.name, i)
			if overTLS {
				name += " over TLS"
			}
			t.Run(name, func(t *testing.T) {
				host := fmt.Sprintf("k%d.test", i)
				var conns [2]*conn
				for j := range edges {
					conns[j] = open(t, edges[j], overTLS)
					defer func() { _ = conns[j].Close() }()
				}
				for n, m := range []string{"GET", "POST", "chunks", "GET"} {
					req, method := k.request(m, host)
					var got [2]string
					for j := range edges {
						text, status, err := conns[j].ask(req, method)
						if err != nil {
							t.Fatalf("%s: request %d, %s: %v", names[j], n, m, err)
						}
						want := k.get
						if m == "POST" || m == "chunks" {
							want = k.post
						}
						if want == 0 {
							want = 200
						}
						if status != want && !(m == "chunks" && status == 200) {
							t.Errorf("%s: request %d, %s: %d, not %d\n%s", names[j], n, m, status, want, text)
						}
						if m == "GET" && !strings.Contains(text, k.has) {
							t.Errorf("%s: the answer does not have %q:\n%s", names[j], k.has, text)
						}
						got[j] = text
						if strings.Contains(text, "Connection: close") || status == 413 { // a body that nobody reads to its end
							_ = conns[j].Close()
							conns[j] = open(t, edges[j], overTLS)
						}
					}
					if got[0] != got[1] {
						t.Errorf("request %d, %s: the lanes differ:\n-- %s\n%s\n-- %s\n%s", n, m, names[0], got[0], names[1], got[1])
					}
				}
			})
		}
	}
}

// TestAlternate asks routes with and without a tail in turn on one connection, so that it
// goes to the handler lane and comes back again and again.
func TestAlternate(t *testing.T) {
	addr := echo(t)
	yaml := kindsYAML(addr)
	tails := []int{}
	for i, k := range kinds {
		switch k.name {
		case "retry", "buffering", "compress", "errors", "circuitBreaker":
			if k.get == 0 && k.post == 0 {
				tails = append(tails, i)
			}
		}
	}
	for _, lane := range names {
		e := startEdge(t, lane, yaml)
		for _, overTLS := range []bool{false, true} {
			for _, step := range []int{1, 2, 5} {
				t.Run(fmt.Sprintf("%s TLS=%t one in %d", lane, overTLS, step+1), func(t *testing.T) {
					c := open(t, e, overTLS)
					defer func() { _ = c.Close() }()
					for n := range 50 {
						k, host := kind{}, "plain.test"
						if n%(step+1) == step {
							i := tails[n%len(tails)]
							k, host = kinds[i], fmt.Sprintf("k%d.test", i)
						}
						req, method := k.request([]string{"GET", "POST", "chunks"}[n%3], host)
						text, status, err := c.ask(req, method)
						if err != nil || status != 200 {
							t.Fatalf("request %d to %s: %d %v %s", n, host, status, err, text)
						}
						if !strings.Contains(text, "encoding") && !strings.Contains(text, method+" /p/x HTTP") && !strings.Contains(text, "Content-Encoding") {
							t.Fatalf("request %d to %s: not its answer: %s", n, host, text)
						}
					}
				})
				t.Run(fmt.Sprintf("%s TLS=%t one in %d, all at once", lane, overTLS, step+1), func(t *testing.T) {
					c := open(t, e, overTLS)
					defer func() { _ = c.Close() }()
					var all strings.Builder
					for n := range 50 {
						k, host := kind{}, "plain.test"
						if n%(step+1) == step {
							i := tails[n%len(tails)]
							k, host = kinds[i], fmt.Sprintf("k%d.test", i)
						}
						k.path, k.fields = fmt.Sprintf("/p/%d", n), ""
						req, _ := k.request([]string{"GET", "chunks"}[n%2], host)
						all.WriteString(req)
					}
					go func() { _, _ = io.WriteString(c, all.String()) }()
					for n := range 50 {
						text, status, err := c.ask("", []string{"GET", "PUT"}[n%2])
						if err != nil || status != 200 || !strings.Contains(text, fmt.Sprintf(" /p/%d HTTP", n)) {
							t.Fatalf("answer %d: %d %v %s", n, status, err, text)
						}
					}
				})
			}
		}
	}
}

// TestShutdown ends servers with a tunnel and a request under way: the request is answered,
// the tunnel is cut when the grace time is over, in either lane.
func TestShutdown(t *testing.T) {
	for _, lane := range names {
		t.Run(lane, func(t *testing.T) {
			t.Parallel()
			tunnel := newBackend(t, []string{"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", "@echo"}, nil)
			slow := newBackend(t, []string{"@wait 500ms", ok}, nil)
			y := fmt.Sprintf("http:\n  routers:\n    t: {rule: \"Host(`t.test`)\", service: t}\n    s: {rule: \"Host(`s.test`)\", service: s}\n    probe: {rule: \"Host(`probe.test`)\", service: p}\n"+
				"  services:\n    t: {loadBalancer: {servers: [{url: \"http://%s\"}]}}\n    s: {loadBalancer: {servers: [{url: \"http://%s\"}]}}\n    p: {loadBalancer: {servers: [{url: \"http://%s\"}]}}\n", tunnel.addr(), slow.addr(), echo(t))
			var grace []string
			for name := range entryPoints {
				grace = append(grace, "--entryPoints."+name+".transport.lifeCycle.graceTimeOut=2s")
			}
			e := startEdge(t, lane, y, grace...)
			up := e.dial(t, "web")
			defer func() { _ = up.Close() }()
			tk := newTalker(up, []string{"GET"})
			tk.play([]string{"GET / HTTP/1.1\r\nHost: t.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", "@answer", "hi", "@tunnel 2"})
			req := e.dial(t, "web")
			defer func() { _ = req.Close() }()
			ask := newTalker(req, []string{"GET"})
			ask.play([]string{"GET / HTTP/1.1\r\nHost: s.test\r\n\r\n", "@wait 100ms"})
			began := time.Now()
			stopped := make(chan struct{})
			go func() { e.stop(); close(stopped) }()
			if !ask.await(patience, func() bool { return ask.finals == 1 }) || !strings.Contains(ask.view(), `body "ok"`) {
				t.Errorf("the request under way was not answered:\n%s", ask.view())
			}
			tk.play([]string{"still", "@tunnel 7"})
			if !strings.Contains(tk.view(), `tunnel "histill"`) {
				t.Errorf("the tunnel is cut before the grace time is over:\n%s", tk.view())
			}
			tk.await(patience, func() bool { return false })
			if took := time.Since(began); !tk.ended || took < 1500*time.Millisecond || took > 6*time.Second {
				t.Errorf("the tunnel ended: %t, after %v", tk.ended, took)
			}
			<-stopped
		})
	}
}
