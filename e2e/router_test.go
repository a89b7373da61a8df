package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// soon is how long a change may take to show; the figures are printed by
// TestEventToFirstAnswer, this bound only ends a failing test.
const soon = 10 * time.Second

var (
	binary     string // the router under test
	engineOnce = sync.OnceValues(func() (*testdocker.Engine, error) { return testdocker.New(testdocker.Host()) })
	engineUsed bool
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	binary = os.Getenv("SLUICE_BINARY")
	if binary == "" {
		dir, err := os.MkdirTemp("", "sluice-e2e")
		if err != nil {
			return 1, err
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "sluice")
		cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "../cmd/sluice")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("building the router: %w\n%s", err, out)
		}
	}
	code := m.Run()
	if engineUsed {
		if e, err := engineOnce(); err == nil {
			if err := e.Close(); err != nil {
				return 1, fmt.Errorf("cleaning up: %w", err)
			}
		}
	}
	return code, nil
}

// engine is the machine's engine, shared by the tests of this package.
func engine(t *testing.T) *testdocker.Engine {
	t.Helper()
	e, err := engineOnce()
	if err != nil {
		testdocker.Skip(t, err)
	}
	engineUsed = true
	return e
}

// router is a running process of the binary under test.
type router struct {
	*testnet.Client // of the entry point web
	API             *testnet.Client
	Addr            string // of the entry point web
	Log             *testnet.Output

	t       *testing.T
	apiAddr string
	e       *testdocker.Engine
	caseID  string
	cmd     *exec.Cmd
	done    chan struct{}
}

// startRouter starts the binary with the Docker provider on e, limited to the
// containers whose labels come from router.labels, and waits until it is up.
func startRouter(t *testing.T, e *testdocker.Engine, args ...string) *router {
	t.Helper()
	r := &router{t: t, e: e, Addr: testnet.FreeAddr(t), Log: &testnet.Output{}, done: make(chan struct{})}
	api := testnet.FreeAddr(t)
	r.apiAddr = api
	r.Client, r.API = testnet.NewClient(r.Addr), testnet.NewClient(api)
	all := []string{
		"--entrypoints.web.address=" + r.Addr,
		"--entrypoints.traefik.address=" + api,
		"--api.insecure", "--ping", "--log.level=DEBUG", "--sluice.hold=500ms",
	}
	if e != nil {
		r.caseID = fmt.Sprintf("%s-%s", e.Run, testnet.Port(r.Addr))
		all = append(all, "--providers.docker", "--providers.docker.exposedbydefault=false", "--providers.docker.endpoint="+e.Host,
			"--providers.docker.constraints=Label(`"+testdocker.Label+".case`,`"+r.caseID+"`)")
	}
	r.cmd = exec.Command(binary, append(all, args...)...)
	return r.start()
}

// restart starts a router with the settings and for the containers of one that has ended.
func (r *router) restart() *router {
	r.t.Helper()
	n := *r
	n.Log, n.done, n.Client, n.API = &testnet.Output{}, make(chan struct{}), testnet.NewClient(r.Addr), testnet.NewClient(r.apiAddr)
	n.cmd = exec.Command(r.cmd.Args[0], r.cmd.Args[1:]...)
	return n.start()
}

func (r *router) start() *router {
	t := r.t
	t.Helper()
	r.cmd.Stdout, r.cmd.Stderr = r.Log, r.Log
	r.cmd.Env = clean(os.Environ())
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = r.cmd.Wait()
		close(r.done)
	}()
	t.Cleanup(r.stop)
	testnet.Eventually(t, soon, func() error {
		select {
		case <-r.done:
			return fmt.Errorf("the router ended: %s\n%s", r.cmd.ProcessState, r.Log)
		default:
		}
		_, err := r.API.Get("localhost", "/ping")
		return err
	})
	return r
}

// clean drops what would configure the router behind the test's back.
func clean(env []string) []string {
	var out []string
	for _, kv := range env {
		if up := strings.ToUpper(kv); !strings.HasPrefix(up, "TRAEFIK_") && (!strings.HasPrefix(up, "SLUICE_") || strings.HasPrefix(up, "SLUICE_LANE=")) {
			out = append(out, kv)
		}
	}
	return out
}

// stop ends the process in order, and fails the test if it cannot.
func (r *router) stop() {
	r.Client.Close()
	r.API.Close()
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.done:
	case <-time.After(15 * time.Second):
		_ = r.cmd.Process.Kill()
		<-r.done
		r.t.Errorf("the router did not end within 15 s of SIGTERM")
	}
	if strings.Contains(r.Log.String(), "panic:") || strings.Contains(r.Log.String(), "goroutine ") {
		r.t.Errorf("the router panicked")
	}
	if r.t.Failed() {
		text := r.Log.String()
		if len(text) > 8000 && os.Getenv("SLUICE_E2E_LOG") == "" {
			text = text[:3000] + "\n[...]\n" + text[len(text)-5000:]
		}
		r.t.Logf("router log:\n%s", text)
	}
}

// labels are the labels of a container that this router sees: `traefik.enable`,
// the case, and pairs of key and value.
func (r *router) labels(pairs ...string) map[string]string {
	m := map[string]string{"traefik.enable": "true", testdocker.Label + ".case": r.caseID}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// host are labels for one router called name with a Host rule.
func (r *router) host(name, host string, pairs ...string) map[string]string {
	m := r.labels(pairs...)
	maps.Copy(m, map[string]string{
		"traefik.http.routers." + name + ".rule":                      "Host(`" + host + "`)",
		"traefik.http.routers." + name + ".service":                   name,
		"traefik.http.services." + name + ".loadbalancer.server.port": "80",
	})
	return m
}

// served waits until host answers 200 from the container with that ID.
func (r *router) served(host, id string) {
	r.t.Helper()
	testnet.Eventually(r.t, soon, func() error { return r.isServed(host, id) })
}

func (r *router) isServed(host, id string) error {
	a, err := r.Get(host, "/")
	if err != nil {
		return err
	}
	if got := a.Header.Get("X-App"); a.Status != 200 || got != id {
		return fmt.Errorf("%s: status %d from %q, want 200 from %q", host, a.Status, got, id)
	}
	return nil
}

// gone waits until host has no server: 404, or 503 where the host is still known.
func (r *router) gone(host string) {
	r.t.Helper()
	testnet.Eventually(r.t, soon, func() error {
		a, err := r.Get(host, "/")
		if err == nil && a.Status != 404 && a.Status != 503 {
			err = fmt.Errorf("%s still answers %d", host, a.Status)
		}
		return err
	})
}

// servers are the server URLs of a service with their state, from the API.
func (r *router) servers(service string) (map[string]string, error) {
	return r.serversOf(service, "docker")
}

func (r *router) serversOf(service, provider string) (map[string]string, error) {
	a, err := r.API.Get("localhost", "/api/http/services/"+service+"@"+provider)
	if err != nil {
		return nil, err
	}
	if a.Status != 200 {
		return nil, fmt.Errorf("service %s: status %d", service, a.Status)
	}
	var s struct {
		ServerStatus map[string]string
		LoadBalancer struct{ Servers []struct{ URL string } }
	}
	if err := json.Unmarshal([]byte(a.Body), &s); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, v := range s.LoadBalancer.Servers {
		out[v.URL] = s.ServerStatus[v.URL]
	}
	return out, nil
}

// only waits until the last n answers of host all came from the given IDs, and
// each of them answered.
func (r *router) only(host string, ids ...string) {
	r.t.Helper()
	testnet.Eventually(r.t, soon, func() error {
		seen := map[string]int{}
		for range 8 {
			a, err := r.Get(host, "/")
			if err != nil {
				return err
			}
			if a.Status != 200 {
				return fmt.Errorf("%s: status %d", host, a.Status)
			}
			seen[a.Header.Get("X-App")]++
		}
		for _, id := range ids {
			if seen[id] == 0 {
				return fmt.Errorf("%s: no answer of %q among %v", host, id, seen)
			}
			delete(seen, id)
		}
		if len(seen) > 0 {
			return fmt.Errorf("%s: answers of %v", host, seen)
		}
		return nil
	})
}

// logs waits until the log has every word in one line.
func (r *router) logs(words ...string) {
	r.t.Helper()
	testnet.Eventually(r.t, soon, func() error {
		if hasLine(r.Log.String(), words...) {
			return nil
		}
		return errors.New("no log line with " + strings.Join(words, ", "))
	})
}

func hasLine(text string, words ...string) bool {
lines:
	for line := range strings.Lines(text) {
		for _, w := range words {
			if !strings.Contains(strings.ToLower(line), strings.ToLower(w)) {
				continue lines
			}
		}
		return true
	}
	return false
}
