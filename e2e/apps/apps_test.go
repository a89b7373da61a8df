package apps

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
)

// python is Debian's: others do not see its packages.
const python = "/usr/bin/python3"

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		binary = os.Getenv("SLUICE_BINARY")
		if binary == "" {
			dir, err := os.MkdirTemp("", "sluice-apps")
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			defer func() { _ = os.RemoveAll(dir) }()
			binary = filepath.Join(dir, "sluice")
			cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "../../cmd/sluice")
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "building the router: %v\n%s", err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// needs skips the test where a Python package is missing.
func needs(t *testing.T, modules ...string) {
	t.Helper()
	out, err := exec.Command(python, "-c", "import "+strings.Join(modules, ", ")).CombinedOutput()
	if err == nil {
		return
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	why := fmt.Sprintf("Debian's Python packages are missing ('make setup' installs them): %v: %s", err, lines[len(lines)-1])
	if os.Getenv("SLUICE_REQUIRE_PYTHON") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// port is want where that is free, else another one: the documents' files name ports.
func port(t *testing.T, want string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:"+want)
	if err != nil {
		return testnet.Port(testnet.FreeAddr(t))
	}
	_ = l.Close()
	return want
}

// place copies the files of testdata/name into a directory of their own, with replacements.
func place(t *testing.T, name string, replace ...string) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob(filepath.Join("testdata", name, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of %s: %v", name, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer(replace...).Replace(string(b))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// process is a program that runs until the test's end.
type process struct {
	cmd  *exec.Cmd
	out  testnet.Output
	done chan struct{}
}

func start(t *testing.T, dir string, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, append(clean(os.Environ()), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(name), p.out.String())
		}
	})
	return p
}

// clean drops what would configure the edge behind the test's back.
func clean(env []string) (out []string) {
	for _, kv := range env {
		if up := strings.ToUpper(kv); !strings.HasPrefix(up, "TRAEFIK_") && !strings.HasPrefix(up, "SLUICE_") {
			out = append(out, kv)
		}
	}
	return out
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
		t.Errorf("%s did not end", p.cmd.Path)
	}
}

// up waits until the address takes connections.
func (p *process) up(t *testing.T, addr string) {
	t.Helper()
	testnet.Eventually(t, 30*time.Second, func() error {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %s", p.cmd.Path, p.out.String())
		default:
		}
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

// live waits until the first configuration is: until then the edge answers 404.
func live(t *testing.T, url string) {
	t.Helper()
	testnet.Eventually(t, 10*time.Second, func() error {
		resp, err := client.Get(url)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			return fmt.Errorf("%s: %s", url, resp.Status)
		}
		return nil
	})
}

// reply is an answer as tests look at it.
type reply struct {
	status int
	header http.Header
	body   string
}

var client = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // the edge's own certificate
	Timeout:       15 * time.Second,
}

func do(t *testing.T, method, url, body string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, url, err)
		return reply{header: http.Header{}}
	}
	b, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Errorf("%s %s: %v", method, url, err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

// expect asks by GET and checks the status and that the body has every part.
func expect(t *testing.T, url string, status int, parts ...string) reply {
	t.Helper()
	r := do(t, "GET", url, "")
	if r.status != status {
		t.Errorf("GET %s: %d, not %d: %s", url, r.status, status, r.body)
	}
	for _, p := range parts {
		if !strings.Contains(r.body, p) {
			t.Errorf("GET %s: no %q in %s", url, p, r.body)
		}
	}
	return r
}

// inLanes runs test with the environment that chooses each lane.
func inLanes(t *testing.T, test func(t *testing.T, env []string)) {
	for _, lane := range []string{"auto", "handler"} {
		t.Run(lane, func(t *testing.T) { test(t, []string{"SLUICE_LANE=" + lane}) })
	}
}

// rewrite replaces text in a file.
func rewrite(t *testing.T, file, from, to string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(b), from, to)), 0o600); err != nil {
		t.Fatal(err)
	}
}
