package lanes

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/server"
)

// names are the lanes; the first is the loop lane wherever there is one.
var names = [2]string{"auto", "handler"}

// edge is a whole server in this process.
type edge struct {
	lane string
	addr map[string]string // entry point -> address
	log  *buffer
	stop func()
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// entryPoints are those of every edge, with their options.
var entryPoints = map[string][]string{
	"web":    nil,
	"secure": {".http.tls=true"},
	"slow":   {".transport.respondingTimeouts.readTimeout=400ms"},
	"under":  {".http.underscoreHeadersStrategy=reject"},
	"drop":   {".http.underscoreHeadersStrategy=delete"},
	"behind": {".proxyProtocol.trustedIPs=127.0.0.1"},
	"beside": {".proxyProtocol.trustedIPs=192.0.2.1"},
	"two":    {".transport.keepAliveMaxRequests=2"},
	"small":  {".http.maxHeaderBytes=4096"},
	"strict": {".http.encodedCharacters.allowEncodedSlash=false"},
	"dots":   {".http.sanitizePath=false"},
	"trust":  {".forwardedHeaders.trustedIPs=127.0.0.0/8"},
}

// startEdge starts a server with that lane, its routes in YAML, and waits until the host
// "probe.test" is served.
func startEdge(t testing.TB, lane, dynamic string, more ...string) *edge {
	t.Helper()
	file := filepath.Join(t.TempDir(), "dynamic.yml")
	if err := os.WriteFile(file, []byte(dynamic), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &edge{lane: lane, addr: map[string]string{}, log: new(buffer)}
	args := append([]string{"--providers.file.filename=" + file, "--sluice.lane=" + lane, "--sluice.loops=1", "--log.level=INFO"}, more...)
	for name, options := range entryPoints {
		e.addr[name] = testnet.FreeAddr(t)
		args = append(args, "--entryPoints."+name+".address="+e.addr[name])
		for _, o := range options {
			args = append(args, "--entryPoints."+name+o)
		}
	}
	static, _, err := decode.Static(args, nil, os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, server.Options{Static: static, Version: "test", Stdout: e.log})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	e.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: the server ended with %v", lane, err)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s: the server does not end", lane)
		}
		if text := e.log.String(); strings.Contains(text, "panic") {
			t.Errorf("%s: the log tells of a panic:\n%s", lane, text)
		}
	})
	t.Cleanup(e.stop)
	c := testnet.NewClient(e.addr["web"])
	defer c.Close()
	for i := 0; ; i++ {
		a, err := c.Get("probe.test", "/")
		if err == nil && a.Status == 200 {
			return e
		}
		if i == 400 {
			t.Fatalf("%s: not ready: %v %v\n%s", lane, a, err, e.log)
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// dial connects to an entry point.
func (e *edge) dial(t testing.TB, entry string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", e.addr[entry], 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}
