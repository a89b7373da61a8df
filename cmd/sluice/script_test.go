package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sluice": main})
}

// The scripts in testdata/script drive the program as users do. Beside the commands of
// testscript there are "exits CODE COMMAND...", and "sluice-start" and "sluice-stop" for a
// router on the free port $PORT.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("..", "..", "testdata", "script"),
		Setup: func(e *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer l.Close()
			e.Setenv("PORT", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "sluice-start": start, "sluice-stop": stop},
	})
}

// exits runs a command that must end with a code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGUMENTS")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var e *exec.ExitError
	if errors.As(err, &e) {
		code = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// running is the router of a script.
type running struct {
	cmd  *exec.Cmd
	done chan error
	out  *strings.Builder
}

var (
	routersMu sync.Mutex
	routers   = map[*testscript.TestScript]*running{}
)

func start(ts *testscript.TestScript, neg bool, args []string) {
	program, err := exec.LookPath("sluice")
	ts.Check(err)
	r := &running{cmd: exec.Command(program, args...), done: make(chan error, 1), out: &strings.Builder{}}
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = ts.Getenv("WORK"), r.out, r.out
	ts.Check(r.cmd.Start())
	go func() { r.done <- r.cmd.Wait() }()
	ts.Defer(func() { _ = r.cmd.Process.Kill() })
	routersMu.Lock()
	routers[ts] = r
	routersMu.Unlock()
	for until := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", "127.0.0.1:"+ts.Getenv("PORT"))
		if err == nil {
			c.Close()
			return
		}
		select {
		case err := <-r.done:
			ts.Fatalf("the router ended: %v\n%s", err, r.out)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(until) {
			ts.Fatalf("the router does not listen")
		}
	}
}

func stop(ts *testscript.TestScript, neg bool, args []string) {
	routersMu.Lock()
	r := routers[ts]
	routersMu.Unlock()
	ts.Check(r.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-r.done:
		if err != nil {
			ts.Fatalf("ended with %v\n%s", err, r.out)
		}
	case <-time.After(20 * time.Second):
		ts.Fatalf("does not end")
	}
}

// whoami tells what it was asked, turns unhealthy by request and drains on a stop.
func TestWhoami(t *testing.T) {
	out, in := io.Pipe()
	p := &program{stdin: strings.NewReader(""), stdout: in, stderr: io.Discard, environ: nil, read: os.ReadFile}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- p.main(ctx, []string{"whoami", "--port=0", "--name=demo"}) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(strings.TrimSpace(strings.TrimPrefix(line, "listening on ")))
	base := "http://127.0.0.1:" + port
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	_, body := get("/x?y=1")
	for _, want := range []string{"Name: demo\n", "Hostname: ", "IP: 127.0.0.1\n", "RemoteAddr: 127.0.0.1:", "GET /x?y=1 HTTP/1.1\n", "Host: 127.0.0.1:" + port + "\n", "User-Agent: Go-http-client"} {
		if !strings.Contains(body, want) {
			t.Errorf("the answer lacks %q:\n%s", want, body)
		}
	}
	if _, body := get("/api"); !strings.Contains(body, `"name":"demo"`) {
		t.Errorf("JSON: %s", body)
	}
	if _, body := get("/data?size=3&unit=KB"); len(body) != 3<<10 {
		t.Errorf("data: %d bytes", len(body))
	}
	if code, _ := get("/health"); code != 200 {
		t.Errorf("health: %d", code)
	}
	resp, err := http.Post(base+"/health", "text/plain", strings.NewReader("503"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if code, _ := get("/health"); code != 503 {
		t.Errorf("health after the post: %d", code)
	}
	slow := make(chan string, 1)
	go func() {
		resp, err := http.Get(base + "/?wait=300ms")
		if err != nil {
			slow <- err.Error()
			return
		}
		defer resp.Body.Close()
		slow <- resp.Status
	}()
	time.Sleep(100 * time.Millisecond)
	cancel()
	if got := <-slow; got != "200 OK" {
		t.Errorf("a request that was running at the stop: %s", got)
	}
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// check --docker reads the engine's list; the engine here is a recorded answer.
func TestEngineContainers(t *testing.T) {
	const recorded = `[{"Id":"1","Names":["/web-1"],"Image":"app","Command":"/app","Labels":{"traefik.http.routers.a.rule":"Host(` + "`a.test`" + `)"},
"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":53,"Type":"udp"}],
"NetworkSettings":{"Networks":{"back":{"IPAddress":"172.18.0.2"}}}},
{"Id":"2","Names":["/edge"],"Image":"traefik","Command":"/entrypoint.sh --providers.docker","Labels":{},"Ports":[],"NetworkSettings":{"Networks":{"front":{}}}}]`
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "d.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/containers/json" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, recorded)
	})}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	var out, tally strings.Builder
	p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &tally, read: os.ReadFile}
	code := p.main(context.Background(), []string{"check", "--docker", "--docker-endpoint=unix://" + filepath.Join(dir, "d.sock")})
	const want = "container web-1: error: container web-1: shares no network with the router \"edge\"; connect it to one of front [no_shared_network]\n"
	if code != 1 || out.String() != want || tally.String() != "sluice: 1 error, 0 warnings\n" {
		t.Errorf("code %d\n%s%s", code, out.String(), tally.String())
	}
}
