package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/internal/testacme"
	"github.com/sluice-edge/sluice/internal/testnet"
)

func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_TEST_SOCKETS") != "" {
		tellSockets()
		return
	}
	testacme.Environ(0)
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"),
		goleak.IgnoreTopFunction("net/http.setRequestCancel.func4"), // the ACME library leaves bodies open until their time is over
	)
}

// edge is a running Server whose configuration is in files.
type edge struct {
	*Server
	t               *testing.T
	static, dynamic string
	log             *testnet.Output
	stop            context.CancelFunc
	ended           chan error
}

// both runs a test on both lanes.
func both(t *testing.T, f func(t *testing.T, lane string)) {
	for _, lane := range []string{"auto", "handler"} {
		t.Run(lane, func(t *testing.T) { f(t, lane) })
	}
}

// build makes a Server of a static file; DYNAMIC in it stands for the file of the file
// provider, LANE for the lane.
func build(t *testing.T, lane, static, dynamic string, more ...func(*Options)) (*edge, error) {
	t.Helper()
	dir := t.TempDir()
	e := &edge{t: t, static: filepath.Join(dir, "sluice.yml"), dynamic: filepath.Join(dir, "dynamic.yml"), log: &testnet.Output{}, ended: make(chan error, 1)}
	fill := func(text string) string {
		return strings.NewReplacer("DYNAMIC", e.dynamic, "LANE", lane, "DIR", dir).Replace(text)
	}
	write(t, e.dynamic, dynamic)
	write(t, e.static, fill(static))
	load := func() (*config.Static, *decode.Sources, error) {
		return decode.Static([]string{"--configFile=" + e.static}, nil, func(name string) ([]byte, error) {
			b, err := os.ReadFile(name)
			return []byte(fill(string(b))), err
		})
	}
	s, src, err := load()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Static: s, Sources: src, Load: load, Version: "test", Stdout: e.log}
	for _, f := range more {
		f(&o)
	}
	e.Server, err = New(t.Context(), o)
	return e, err
}

// start runs it until the test ends, and waits for the first routes.
func start(t *testing.T, lane, static, dynamic string, more ...func(*Options)) *edge {
	t.Helper()
	e, err := build(t, lane, static, dynamic, more...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.stop = cancel
	go func() { e.ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-e.ended; err != nil {
			t.Errorf("ended with %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", e.log)
		}
	})
	e.eventually("the first configuration is live", func() bool { return e.table.Load() != nil })
	return e
}

func write(t *testing.T, name, text string) {
	t.Helper()
	next := name + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, name); err != nil {
		t.Fatal(err)
	}
}

func (e *edge) eventually(what string, ok func() bool) {
	e.t.Helper()
	for until := time.Now().Add(8 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			e.t.Fatalf("not so: %s\n%s", what, e.log)
		}
	}
}

// address is where an entry point listens, or "".
func (e *edge) address(name string) string {
	for _, p := range e.points.Load().tcp {
		if p.Name() == name {
			return strings.Replace(p.Addrs()[0].String(), "[::]", "127.0.0.1", 1)
		}
	}
	return ""
}

// get asks an entry point for "host/path" on a connection of its own.
func (e *edge) get(entryPoint, url string) string { return get(e.address(entryPoint), url) }

func get(address, url string) string {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Get("http://" + url)
	if err != nil {
		return "error " + err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "error " + err.Error()
	}
	return fmt.Sprint(resp.StatusCode, " ", strings.TrimSpace(string(b)))
}

// backend answers its name; /slow waits for release.
func backend(t *testing.T, name string) (url string, release func()) {
	t.Helper()
	wait := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-wait
		}
		_, _ = io.WriteString(w, name)
	}))
	once := sync.OnceFunc(func() { close(wait) })
	t.Cleanup(func() { once(); srv.Close() })
	return srv.URL, once
}

// routes is a dynamic file of hosts and their servers.
func routes(hosts ...string) string {
	var r, s strings.Builder
	for i := 0; i < len(hosts); i += 2 {
		name := strings.ReplaceAll(hosts[i], ".", "-")
		fmt.Fprintf(&r, "    %s:\n      rule: Host(`%s`)\n      service: %s\n", name, hosts[i], name)
		fmt.Fprintf(&s, "    %s:\n      loadBalancer:\n        servers:\n          - url: %s\n", name, hosts[i+1])
	}
	return "http:\n  routers:\n" + r.String() + "  services:\n" + s.String()
}

// problem finds a Problem that is shown now by a part of its text.
func (e *edge) problem(part string) *config.Problem {
	for _, p := range e.runtime().Problems {
		if strings.Contains(p.String(), part) {
			return &p
		}
	}
	return nil
}
