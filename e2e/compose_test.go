package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// command runs a program at the top of the repository, with further variables,
// and returns what it wrote.
func command(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// compose is the command line of the compose that is installed.
func compose(t *testing.T) []string {
	t.Helper()
	if exec.Command("docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	if _, err := exec.LookPath("docker-compose"); err == nil {
		return []string{"docker-compose"}
	}
	if os.Getenv(testdocker.RequireEnv) != "" {
		t.Fatal("neither 'docker compose' nor docker-compose")
	}
	t.Skip("neither 'docker compose' nor docker-compose")
	return nil
}

// stack is a compose project of this test.
type stack struct {
	http, https, dash string // addresses
	project           string
	env               []string
	up                func(project string, files ...string)
}

// newStack builds the image as `make image` does and prepares ports and names.
func newStack(t *testing.T, e *testdocker.Engine, name string, env ...string) *stack {
	t.Helper()
	cli := compose(t)
	s := &stack{http: testnet.FreeAddr(t), https: testnet.FreeAddr(t), dash: testnet.FreeAddr(t), project: e.Run + name}
	tag := "sluice-test:" + e.Run + "-" + name
	gid, user := "0", "0:0"
	if out, err := exec.Command("stat", "-Lc", "%g %a", "/var/run/docker.sock").Output(); err == nil {
		var mode string
		_, _ = fmt.Sscan(string(out), &gid, &mode)
		if len(mode) > 1 && strings.Contains("67", mode[len(mode)-2:len(mode)-1]) {
			user = "65532:65532"
		}
	}
	s.env = append([]string{
		"HTTP_PORT=" + testnet.Port(s.http), "HTTPS_PORT=" + testnet.Port(s.https), "DASHBOARD_PORT=" + testnet.Port(s.dash),
		"SLUICE_IMAGE=" + tag, "ROUTER_IMAGE=" + tag, "ROUTER_NAME=" + s.project, "DOCKER_GID=" + gid, "SLUICE_USER=" + user,
		"COMPOSE_PROJECT_NAME=" + s.project, "COMPOSE_IGNORE_ORPHANS=1",
	}, env...)
	abs, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := command(t, append(s.env, "SLUICE_BINARY="+abs), "tools/image.sh"); err != nil {
		t.Fatalf("building the image: %v\n%s", err, out)
	}
	t.Cleanup(func() { _, _ = command(t, nil, "docker", "image", "rm", "-f", tag) })
	s.up = func(project string, files ...string) {
		t.Helper()
		base := append(cli[1:], "-p", project)
		for _, f := range files {
			base = append(base, "-f", f)
		}
		t.Cleanup(func() {
			if t.Failed() {
				out, _ := command(t, s.env, cli[0], append(base, "logs", "--tail=60")...)
				t.Logf("logs:\n%s", out)
			}
			if out, err := command(t, s.env, cli[0], append(base, "down", "--volumes", "--timeout", "3")...); err != nil {
				t.Errorf("compose down: %v\n%s", err, out)
			}
		})
		if out, err := command(t, s.env, cli[0], append(base, "up", "-d")...); err != nil {
			t.Fatalf("compose up: %v\n%s", err, out)
		}
	}
	return s
}

// public makes sure that the external network of the stacks exists, and removes
// it again if it did not.
func public(t *testing.T, e *testdocker.Engine) {
	t.Helper()
	ctx := context.Background()
	const name = "traefik-public"
	if _, err := e.Client().NetworkInspect(ctx, name, network.InspectOptions{}); err == nil {
		return
	}
	if _, err := e.Client().NetworkCreate(ctx, name, network.CreateOptions{Driver: "bridge"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Client().NetworkRemove(ctx, name) })
}

// want waits until a request answers with that status and returns the answer.
func want(t *testing.T, c *testnet.Client, status int, method, host, path string, edit ...func(*http.Request)) testnet.Answer {
	t.Helper()
	var a testnet.Answer
	testnet.Eventually(t, 20*time.Second, func() (err error) {
		if a, err = c.Do(method, host, path, edit...); err == nil && a.Status != status {
			err = fmt.Errorf("%s %s%s: status %d, want %d; %s", method, host, path, a.Status, status, a.Body)
		}
		return err
	})
	return a
}

func TestDevStack(t *testing.T) {
	e := engine(t)
	public(t, e)
	host := e.Run + ".localhost"
	s := newStack(t, e, "dev", "APP_HOST="+host, "IDLE=2s")
	s.up(s.project, "deploy/compose/base.yml", "deploy/compose/dev.yml")
	s.up(s.project+"app", "deploy/compose/app.yml")
	web, dash := testnet.NewClient(s.http), testnet.NewClient(s.dash)
	defer web.Close()
	defer dash.Close()
	// The dashboard through the router, which forwards to itself on 8080.
	a := want(t, web, 200, "GET", "monitor.localhost", "/dashboard/")
	if !strings.Contains(a.Body, "<html") {
		t.Errorf("the dashboard is not a page: %.200s", a.Body)
	}
	a, err := web.Get("monitor.localhost", "/")
	if err != nil || a.Status/100 != 3 || !strings.HasSuffix(a.Header.Get("Location"), "/dashboard/") {
		t.Errorf("/ of the dashboard: %d %q %v", a.Status, a.Header.Get("Location"), err)
	}
	a = want(t, web, 200, "GET", "monitor.localhost", "/api/http/routers")
	if !strings.Contains(a.Body, "traefik-dashboard-http@docker") {
		t.Errorf("the API does not know its router: %s", a.Body)
	}
	want(t, dash, 200, "GET", "localhost", "/dashboard/") // and without the router
	a = want(t, web, 200, "GET", host, "/")
	if !strings.Contains(a.Body, "X-Forwarded-Host: "+host) {
		t.Errorf("the app saw:\n%s", a.Body)
	}
	want(t, web, 404, "GET", "unknown.localhost", "/")

	// An application and what it depends on sleep, and a request wakes both.
	s.env = append(s.env, "APP_HOST=sleepy."+host)
	s.up(s.project+"sleepy", "deploy/compose/sleep.yml")
	running := func(n int) {
		t.Helper()
		testnet.Eventually(t, 30*time.Second, func() error {
			list, err := e.Client().ContainerList(t.Context(), container.ListOptions{
				Filters: filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+s.project+"sleepy"))})
			if err == nil && len(list) != n {
				err = fmt.Errorf("%d containers run, want %d", len(list), n)
			}
			return err
		})
	}
	want(t, web, 200, "GET", "sleepy."+host, "/")
	running(0)
	want(t, web, 200, "GET", "sleepy."+host, "/")
	running(2)
}

func TestProdStack(t *testing.T) {
	e := engine(t)
	public(t, e)
	host := "monitor." + e.Run + ".test"
	// changethis, as a user would make it with openssl passwd -apr1.
	hash, err := exec.Command("openssl", "passwd", "-apr1", "-salt", "89eqM5Ro", "changethis").Output()
	if err != nil {
		t.Skipf("needs openssl: %v", err)
	}
	s := newStack(t, e, "prod", "MONITOR_HOST="+host, "EMAIL=nobody@"+host, "USERNAME=admin", "HASHED_PASSWORD="+strings.TrimSpace(string(hash)))
	s.up(s.project, "deploy/compose/base.yml", "deploy/compose/prod.yml", "e2e/testdata/prod-offline.yml")
	web, tls := testnet.NewClient(s.http), testnet.TLS(s.https)
	defer web.Close()
	defer tls.Close()
	a := want(t, web, 301, "GET", host, "/dashboard/?x=1")
	if got := a.Header.Get("Location"); got != "https://"+host+"/dashboard/?x=1" {
		t.Errorf("Location %q", got)
	}
	want(t, web, 308, "POST", host, "/")
	a = want(t, tls, 401, "GET", host, "/dashboard/")
	if got := a.Header.Get("WWW-Authenticate"); got != `Basic realm="traefik"` {
		t.Errorf("WWW-Authenticate %q", got)
	}
	auth := func(password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth("admin", password) }
	}
	want(t, tls, 401, "GET", host, "/dashboard/", auth("wrong"))
	a = want(t, tls, 200, "GET", host, "/dashboard/", auth("changethis"))
	if !strings.Contains(a.Body, "<html") {
		t.Errorf("the dashboard is not a page: %.200s", a.Body)
	}
	want(t, tls, 200, "GET", host, "/api/rawdata", auth("changethis"))
	want(t, tls, 404, "GET", "unknown.test", "/")
}

// TestMakeUp does what the README says at its top, beside whatever else runs.
func TestMakeUp(t *testing.T) {
	e := engine(t)
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip(err)
	}
	web, tls := testnet.FreeAddr(t), testnet.FreeAddr(t)
	project := e.Run + "up"
	env := []string{"COMPOSE_PROJECT_NAME=" + project, "SLUICE_IMAGE=sluice-test:" + project}
	ports := []string{"HTTP_PORT=" + testnet.Port(web), "HTTPS_PORT=" + testnet.Port(tls)}
	t.Cleanup(func() { _, _ = command(t, env, "make", append([]string{"down"}, ports...)...) })
	out, err := command(t, env, "make", append([]string{"up"}, ports...)...)
	if err != nil {
		t.Fatalf("make up: %v\n%s", err, out)
	}
	c := testnet.NewClient(web)
	defer c.Close()
	for _, p := range []string{"http://monitor.localhost:", "http://whoami.localhost:"} {
		if !strings.Contains(out, p+testnet.Port(web)) {
			t.Errorf("make up does not print %s%s:\n%s", p, testnet.Port(web), out)
		}
	}
	seen := map[string]bool{}
	for range 6 {
		a := want(t, c, 200, "GET", "whoami.localhost", "/")
		seen[strings.SplitN(a.Body, "\n", 2)[0]] = true
	}
	if len(seen) != 2 {
		t.Errorf("two replicas answered as %v", seen)
	}
	a := want(t, c, 200, "GET", "apps.localhost", "/app/hello")
	if !strings.Contains(a.Body, "GET /hello ") || !strings.Contains(a.Body, "X-Forwarded-Prefix: /app") {
		t.Errorf("below a path the app saw:\n%s", a.Body)
	}
	want(t, c, 401, "GET", "private.localhost", "/")
	want(t, c, 200, "GET", "private.localhost", "/", func(r *http.Request) { r.SetBasicAuth("admin", "admin") })
	want(t, c, 200, "GET", "monitor.localhost", "/api/overview")

	if out, err := command(t, env, "make", append([]string{"down"}, ports...)...); err != nil {
		t.Fatalf("make down: %v\n%s", err, out)
	}
	ctx := context.Background()
	mine := filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+project))
	cs, err1 := e.Client().ContainerList(ctx, container.ListOptions{All: true, Filters: mine})
	ns, err2 := e.Client().NetworkList(ctx, network.ListOptions{Filters: mine})
	vs, err3 := e.Client().VolumeList(ctx, volume.ListOptions{Filters: mine})
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	if len(cs)+len(ns)+len(vs.Volumes) > 0 {
		t.Errorf("make down left %d containers, %d networks, %d volumes", len(cs), len(ns), len(vs.Volumes))
	}
	if _, err := e.Client().ImageInspect(ctx, "sluice-test:"+project); err == nil {
		t.Error("make down left the image")
	}
}
