package e2e

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// refused asserts that host is not served although its container runs.
func (r *router) refused(host string) {
	r.t.Helper()
	a, err := r.Get(host, "/")
	if err != nil || (a.Status != 404 && a.Status != 503) {
		r.t.Errorf("%s: status %d, %v; want 404 or 503", host, a.Status, err)
	}
}

// A wrong label costs that label; the message names container, key and the
// nearest right key.
func TestBrokenLabel(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	c := e.Start(t, testdocker.Spec{Name: "broken-" + r.caseID, Env: id("b"), Labels: r.host("b", "b.test",
		"traefik.http.routers.b.prioritty", "5",
		"traefik.http.middlewares.cmp.compress.minresponsebodybytes", "many")})
	e.Start(t, testdocker.Spec{Name: "good-" + r.caseID, Env: id("g"), Labels: r.host("g", "g.test")})
	r.served("g.test", "g")
	r.served("b.test", "b")
	r.logs(c.Name, "traefik.http.routers.b.prioritty", "priority")
	r.logs(c.Name, "minresponsebodybytes")
}

// A label that names a guard which cannot be built closes its router with 503, and the API
// says why; other containers go on.
func TestUnbuildableGuard(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	guards := map[string][2]string{
		"basic":   {"traefik.http.middlewares.basic.basicauth.users", "nocolon"},
		"digest":  {"traefik.http.middlewares.digest.digestauth.usersfile", "/does/not/exist"},
		"forward": {"traefik.http.middlewares.forward.forwardauth.authresponseheadersregex", "^("},
		"allow":   {"traefik.http.middlewares.allow.ipallowlist.sourcerange", "10.0.0.300"},
		"deny":    {"sluice.http.middlewares.deny.ipdenylist.sourcerange", "nobody"},
		"rate":    {"traefik.http.middlewares.rate.ratelimit.period", "-1s"},
		"flight":  {"traefik.http.middlewares.flight.inflightreq.sourcecriterion.ipstrategy.excludedips", "x"},
	}
	for name, l := range guards {
		e.Start(t, testdocker.Spec{Name: name + "-" + r.caseID, Env: id(name),
			Labels: r.host(name, name+".test", "traefik.http.routers."+name+".middlewares", name, l[0], l[1])})
	}
	e.Start(t, testdocker.Spec{Name: "good-" + r.caseID, Env: id("g"), Labels: r.host("g", "g.test")})
	r.served("g.test", "g")
	for name := range guards {
		r.becomes(name+".test", 503)
		a, err := r.API.Get("localhost", "/api/http/middlewares/"+name+"@docker")
		if err != nil || !strings.Contains(a.Body, `"status":"disabled"`) || !strings.Contains(a.Body, `"error"`) {
			t.Errorf("the API about %s: %d %s %v", name, a.Status, a.Body, err)
		}
	}
}

// Two containers define one router differently: both are named, and the rest
// goes on. When one goes, the other's definition holds.
func TestConflict(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	one := e.Start(t, testdocker.Spec{Name: "one-" + r.caseID, Env: id("1"), Labels: r.host("same", "one.test")})
	r.served("one.test", "1")
	two := e.Start(t, testdocker.Spec{Name: "two-" + r.caseID, Env: id("2"), Labels: r.host("same", "two.test")})
	e.Start(t, testdocker.Spec{Name: "good-" + r.caseID, Env: id("g"), Labels: r.host("g", "g.test")})
	r.served("g.test", "g")
	r.logs("same", one.Name, two.Name)
	one.Remove()
	r.served("two.test", "2")
}

func TestUnknownMiddleware(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	e.Start(t, testdocker.Spec{Name: "m-" + r.caseID, Env: id("m"), Labels: r.host("m", "m.test", "traefik.http.routers.m.middlewares", "nowhere")})
	e.Start(t, testdocker.Spec{Name: "good-" + r.caseID, Env: id("g"), Labels: r.host("g", "g.test")})
	r.served("g.test", "g")
	r.refused("m.test")
	r.logs("nowhere")
	a, err := r.API.Get("localhost", "/api/http/routers/m@docker")
	if err != nil || a.Status != 200 || !strings.Contains(a.Body, "nowhere") {
		t.Errorf("the API says: %d %s %v", a.Status, a.Body, err)
	}
}

func TestInvalidRule(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	bad := r.host("r", "r.test")
	bad["traefik.http.routers.r.rule"] = "Host(`r.test`"
	unknown := r.host("u", "u.test")
	unknown["traefik.http.routers.u.rule"] = "Hots(`u.test`)"
	e.Start(t, testdocker.Spec{Name: "r-" + r.caseID, Env: id("r"), Labels: bad})
	e.Start(t, testdocker.Spec{Name: "u-" + r.caseID, Env: id("u"), Labels: unknown})
	e.Start(t, testdocker.Spec{Name: "good-" + r.caseID, Env: id("g"), Labels: r.host("g", "g.test")})
	r.served("g.test", "g")
	r.refused("r.test")
	r.refused("u.test")
	r.logs("r@docker")
	r.logs("u@docker", "Hots")
}

// once runs the binary to its end.
func once(t *testing.T, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = clean(os.Environ())
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%v: still running after 15 s\n%s", args, out)
	}
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// What cannot be started is said in one line that names the thing, with an
// exit code that is not zero.
func TestCannotStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.yml")
	if err := os.WriteFile(broken, []byte("entryPoints:\n  web:\n    address: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"port in use", []string{"--entrypoints.web.address=" + taken.Addr().String()}, []string{taken.Addr().String(), "in use"}},
		{"unknown flag", []string{"--entrypoint.web.address=:0"}, []string{`"entrypoint"`, "did you mean entryPoints"}},
		{"bad value", []string{"--entrypoints.web.address=127.0.0.1:0", "--api.dashboard=perhaps"}, []string{"api.dashboard", "perhaps"}},
		{"no such file", []string{"--configFile=" + dir + "/none.yml"}, []string{"none.yml"}},
		{"broken file", []string{"--configFile=" + broken}, []string{"broken.yml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out := once(t, c.args...)
			if code == 0 {
				t.Errorf("exit code 0\n%s", out)
			}
			if !hasLine(out, c.want...) {
				t.Errorf("no line with %q in\n%s", c.want, out)
			}
			if strings.Contains(out, "goroutine ") {
				t.Errorf("it panicked:\n%s", out)
			}
		})
	}
}

// A dynamic file that cannot be read or parsed is named; Docker's routes go on,
// and the file's come when it is mended.
func TestUnreadableDynamicFile(t *testing.T) {
	t.Parallel()
	e := engine(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bad.yml"), []byte("http:\n  routers:\n   - [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := startRouter(t, e, "--providers.file.directory="+dir, "--providers.file.watch=true")
	e.Start(t, testdocker.Spec{Name: "f-" + r.caseID, Env: id("f"), Labels: r.host("f", "f.test")})
	r.served("f.test", "f")
	r.logs("bad.yml")
	c := e.Start(t, testdocker.Spec{Name: "file-" + r.caseID, Env: id("file")})
	good := "http:\n  routers:\n    x:\n      rule: Host(`x.test`)\n      service: x\n  services:\n    x:\n      loadBalancer:\n        servers:\n          - url: http://" + c.IP("") + ":80\n"
	tmp := filepath.Join(dir, ".new")
	if err := os.WriteFile(tmp, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, "bad.yml")); err != nil {
		t.Fatal(err)
	}
	testnet.Eventually(t, soon, func() error { return r.isServed("x.test", "file") })
	r.served("f.test", "f")
}
