package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The generators must see the failures they are there to count, and the backend
// must frame its answers well.
func TestBackendAndLoads(t *testing.T) {
	go func() { _ = runBackend([]string{"17030", "1"}) }()
	const addr = "127.0.0.1:17030"
	if _, ok := waitFor(5*time.Second, 5*time.Millisecond, addr, "localhost", "/", ""); !ok {
		t.Fatal("the backend does not answer")
	}
	for _, c := range []struct {
		path string
		body io.Reader
		want int
	}{
		{"/", nil, 1024},
		{"/100k", nil, 100 << 10},
		{"/", bytes.NewReader(make([]byte, 200000)), 1024},
		{"/", io.MultiReader(strings.NewReader("ab"), strings.NewReader("c")), 1024},
		{"/", io.MultiReader(bytes.NewReader(make([]byte, 200000))), 1024},
	} {
		resp, err := http.Post("http://"+addr+c.path, "text/plain", c.body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || len(got) != c.want {
			t.Errorf("%s: %d bytes, %v; want %d", c.path, len(got), err, c.want)
		}
	}
	if r := steady(addr, 300*time.Millisecond, 200, 4); r.ok < 40 || r.failed() != 0 {
		t.Errorf("steady load: %+v", r)
	}
	if r := steady("127.0.0.1:1", 100*time.Millisecond, 100, 2); r.ok != 0 || r.refused == 0 {
		t.Errorf("steady load on a closed port: %+v", r)
	}
}

func TestWebSocket(t *testing.T) {
	go func() { _ = runWSEcho([]string{"127.0.0.1:17031"}) }()
	if _, ok := waitFor(5*time.Second, 5*time.Millisecond, "127.0.0.1:17031", "localhost", "/", ""); !ok {
		t.Fatal("the echo server does not answer")
	}
	if l := wsLoad("127.0.0.1:17031", 200*time.Millisecond, 4, 64); l.n == 0 || l.errs != 0 {
		t.Errorf("echo load: %+v", l)
	}
	open, errs, done := wsIdle("127.0.0.1:17031", 20)
	done()
	if open != 20 || errs != 0 {
		t.Errorf("idle: %d open, %d errors", open, errs)
	}
}

// A process uses CPU time and the harness sees it.
func TestProc(t *testing.T) {
	p, err := start(filepath.Join(t.TempDir(), "log"), nil, "sh", "-c", "while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	time.Sleep(300 * time.Millisecond)
	if p.cpu() < 20*time.Millisecond || p.pss() == 0 || p.descriptors() < 3 {
		t.Errorf("cpu %v, memory %d, descriptors %d", p.cpu(), p.pss(), p.descriptors())
	}
}

func TestReportReplacesOnlyItsPart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(file, []byte("before\n"+markBegin+"old"+markEnd+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newReport(options{rounds: 1, each: time.Second}, []*contestant{{name: "nginx"}, {name: "sluice"}})
	r.add(section{key: "s1", title: "t", text: "TABLE", cpu: map[string]float64{"nginx": 10, "sluice": 7}})
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(file)
	for _, want := range []string{"before\n", "\nafter\n", "TABLE", "7.0 (0.70)"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "old") {
		t.Error("the old table is still there")
	}
}
