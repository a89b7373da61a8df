package apps

import (
	"crypto/tls"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/sluice-edge/sluice/internal/testnet"
)

// TestSocketIO is a laboratory's service below a path prefix, with the documentation's
// files; only the directory and the privileged port are others.
func TestSocketIO(t *testing.T) {
	needs(t, "socketio", "aiohttp")
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			inLanes(t, func(t *testing.T, env []string) { socketIO(t, env, scheme) })
		})
	}
}

func socketIO(t *testing.T, env []string, scheme string) {
	front, back := testnet.Port(testnet.FreeAddr(t)), port(t, "8001")
	dir := place(t, "pydase", "/etc/traefik/dynamic_conf", "@dir", ":80\"", ":"+front+"\"", ":8001", ":"+back)
	static := filepath.Join(dir, "traefik.yml")
	rewrite(t, static, "@dir", dir)
	if scheme == "https" {
		rewrite(t, static, "address:", "http: {tls: {}}\n    address:")
	}
	service := start(t, dir, nil, python, "service.py", back)
	service.up(t, "127.0.0.1:"+back)
	edge := start(t, dir, env, binary, "--configFile="+static)
	edge.up(t, "127.0.0.1:"+front)
	base := scheme + "://127.0.0.1:" + front
	live(t, base+"/my-service/")

	// The page, wherever below the prefix, learns prefix and scheme; strangers cannot set them.
	for path, seen := range map[string]string{
		"/my-service": "/", "/my-service/": "/", "/my-service/x?q": "/x?q", "/my-service/deep/page": "/deep/page", "/my-serviceX/custom.css": "/X/custom.css",
	} {
		want := "prefix=/my-service scheme=" + scheme + " path=" + seen + "<"
		expect(t, base+path, 200, `"/my-service/assets/index.js"`, want)
		r := do(t, "GET", base+path, "", "X-Forwarded-Prefix", "/evil", "X-Forwarded-Proto", "ws")
		if !strings.Contains(r.body, want) {
			t.Errorf("GET %s with a forged prefix: %s", path, r.body)
		}
	}
	expect(t, base+"/MY-service/", 404, "404 page not found\n")
	expect(t, base+"/my-service/api/v1/get_value?access_path=voltage", 200, "1.5")
	if r := do(t, "PUT", base+"/my-service/api/v1/update_value", `{"path":"voltage","value":1.75}`, "Content-Type", "application/json"); r.status != 200 {
		t.Errorf("PUT: %d %s", r.status, r.body)
	}
	expect(t, base+"/my-service/api/v1/get_value?access_path=voltage", 200, "1.75")
	expect(t, base+"/my-service/ws/socket.io/?EIO=4&transport=polling", 200, `0{"sid":`)
	engine(t, strings.Replace(base, "http", "ws", 1), base)

	// The service's own client, by WebSocket only.
	out, err := exec.Command(python, filepath.Join(dir, "client.py"), base, "/my-service").CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != "1.75 done 2.5 websocket" {
		t.Errorf("client: %v %s", err, out)
	}
	service.stop(t)
	expect(t, base+"/my-service/", 502, "Bad Gateway")
}

// engine opens Socket.IO as a browser does, asks, and outlives a few pings.
func engine(t *testing.T, base, origin string) {
	t.Helper()
	cfg, err := websocket.NewConfig(base+"/my-service/ws/socket.io/?EIO=4&transport=websocket", origin)
	if err != nil {
		t.Fatal(err)
	}
	cfg.TlsConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the edge's own certificate
	cfg.Dialer = &net.Dialer{Timeout: 5 * time.Second}
	cfg.Header.Set("Accept-Encoding", "gzip, deflate, br")
	ws, err := websocket.DialConfig(cfg)
	if err != nil {
		t.Errorf("WebSocket: %v", err)
		return
	}
	defer func() { _ = ws.Close() }()
	_ = ws.SetDeadline(time.Now().Add(15 * time.Second))
	pings := 0
	hear := func() string {
		for {
			var s string
			if err := websocket.Message.Receive(ws, &s); err != nil {
				t.Errorf("after %d pings: %v", pings, err)
				return ""
			}
			if s != "2" {
				return s
			}
			pings++
			_ = websocket.Message.Send(ws, "3")
			if pings == 2 {
				return "pings"
			}
		}
	}
	if s := hear(); !strings.HasPrefix(s, `0{"sid":`) {
		t.Errorf("opening: %q", s)
	}
	_ = websocket.Message.Send(ws, "40")
	if s := hear(); !strings.HasPrefix(s, `40{"sid":`) {
		t.Errorf("connecting: %q", s)
	}
	_ = websocket.Message.Send(ws, `421["get_value","voltage"]`)
	if s := hear(); s != "431[1.75]" {
		t.Errorf("asking: %q", s)
	}
	if s := hear(); s != "pings" {
		t.Errorf("waiting: %q", s)
	}
}
