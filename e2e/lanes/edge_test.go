package lanes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
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
	log  *testnet.Output
	stop func()
}

// entryPoints are those of every edge, with their options.
var entryPoints = map[string][]string{
	"web":    nil,
	"secure": {".http.tls=true"},
	"slow":   {".transport.respondingTimeouts.readTimeout=400ms"},
	"under":  {".http.underscoreHeadersStrategy=reject"},
	"drop":   {".http.underscoreHeadersStrategy=delete"},
	"alias":  {".http.aliasHeadersStrategy=delete"},
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
	more = append([]string{"--providers.file.filename=" + file, "--sluice.lane=" + lane, "--sluice.loops=1", "--log.level=INFO"}, more...)
	for try := 1; ; try++ {
		e, err := tryEdge(t, lane, more)
		if err == nil {
			return e
		}
		if try == 5 || !errors.Is(err, syscall.EADDRINUSE) { // other tests look for free ports, too
			t.Fatalf("%s: %v", lane, err)
		}
	}
}

func tryEdge(t testing.TB, lane string, args []string) (*edge, error) {
	e := &edge{lane: lane, addr: freeAddrs(t), log: new(testnet.Output)}
	for name, options := range entryPoints {
		args = append(args, "--entryPoints."+name+".address="+e.addr[name])
		for _, o := range options {
			args = append(args, "--entryPoints."+name+o)
		}
	}
	static, _, err := decode.Static(args, nil, os.ReadFile)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, server.Options{Static: static, Version: "test", Stdout: e.log})
	if err != nil {
		cancel()
		return nil, err
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
	c := testnet.NewClient(e.addr["web"])
	defer c.Close()
	for range 800 {
		if a, err := c.Get("probe.test", "/"); err == nil && a.Status == 200 {
			t.Cleanup(e.stop)
			return e, nil
		}
		select {
		case err := <-done:
			cancel()
			return nil, err
		case <-time.After(25 * time.Millisecond):
		}
	}
	e.stop()
	return nil, fmt.Errorf("not ready:\n%s", e.log)
}

// freeAddrs finds a free port for every entry point.
func freeAddrs(t testing.TB) map[string]string {
	t.Helper()
	addrs := map[string]string{}
	for name := range entryPoints {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }() // at the end: no port twice
		addrs[name] = l.Addr().String()
	}
	return addrs
}

// dial connects to an entry point.
func (e *edge) dial(t testing.TB, entry string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", e.addr[entry], 5*time.Second)
	if err != nil {
		t.Error(err) // this may be another goroutine than the test's
		c, _ = net.Pipe()
		_ = c.Close()
		return c
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}
