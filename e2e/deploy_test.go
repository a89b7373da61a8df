package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// The load under which containers change: every eighth request is a POST.
const (
	deployRate    = 400
	deployWorkers = 16
	deployPosts   = 8
)

// deployArgs make the router tell why a request failed.
var deployArgs = []string{"--entrypoints.web.forwardedheaders.insecure=true", "--sluice.hold=10s"}

// deploy runs change under a steady load on web.test and prints the figures. No request may
// fail, but for this: a POST that a server had when it ended must not be sent again, and the
// engine's word of a stop comes after the signal; two of them for each stop are let pass.
func deploy(t *testing.T, r *router, what string, stops int, change func()) {
	t.Helper()
	deployAt(t, r, deployRate, what, stops, change)
}

func deployAt(t *testing.T, r *router, rate int, what string, stops int, change func()) {
	t.Helper()
	load := testnet.StartMixed(r.Addr, "web.test", "/", rate, deployWorkers, deployPosts)
	time.Sleep(500 * time.Millisecond)
	change()
	time.Sleep(500 * time.Millisecond)
	res := load.Stop()
	t.Logf("figure: %s at %d requests/s: %v", what, rate, res)
	under := 0
	for why, n := range res.Fails {
		if strings.HasPrefix(why, "POST") && strings.Contains(why, "upstream_eof") {
			under += n
		}
	}
	if under > 2*stops || res.Failed > under {
		t.Errorf("%s: %d requests failed, %d of them POSTs under way at %d stops", what, res.Failed, under, stops)
	}
}

// web is a container of the service web.
func (r *router) web(name string, env ...string) testdocker.Spec {
	return testdocker.Spec{Name: name + "-" + r.caseID, Labels: r.host("web", "web.test"), Env: append(id(name), env...)}
}

// Two replicas are replaced one after the other, the old one first.
func TestDeployStopFirst(t *testing.T) {
	for _, env := range [][]string{{"ON_TERM=exit"}, {"ON_TERM=drain"}, {"ON_TERM=exit", "START_DELAY=700ms"}} {
		t.Run(fmt.Sprint(env), func(t *testing.T) {
			e := engine(t)
			r := startRouter(t, e, deployArgs...)
			replicas := []*testdocker.Container{e.Start(t, r.web("w1", env...)), e.Start(t, r.web("w2", env...))}
			r.only("web.test", "w1", "w2")
			deploy(t, r, fmt.Sprintf("two replicas replaced twice, stop first, %v", env), 4, func() {
				for i := range 4 {
					replicas[i%2].Stop(5 * time.Second)
					replicas[i%2].Remove()
					replicas[i%2] = e.Start(t, r.web(fmt.Sprintf("w%d", i%2+1), env...))
					r.only("web.test", "w1", "w2")
				}
			})
		})
	}
}

// Each replica is replaced by a new one that starts before the old one stops.
func TestDeployStartFirst(t *testing.T) {
	for _, env := range [][]string{{"ON_TERM=exit"}, {"ON_TERM=drain", "START_DELAY=700ms"}} {
		t.Run(fmt.Sprint(env), func(t *testing.T) {
			e := engine(t)
			r := startRouter(t, e, deployArgs...)
			old := e.Start(t, r.web("v0", env...))
			r.only("web.test", "v0")
			deploy(t, r, fmt.Sprintf("one replica replaced four times, start first, %v", env), 4, func() {
				for i := range 4 {
					next := fmt.Sprintf("v%d", i+1)
					c := e.Start(t, r.web(next, env...))
					testnet.Eventually(t, soon, func() error { return r.isServed("web.test", next) })
					old.Stop(5 * time.Second)
					old.Remove()
					old = c
				}
			})
		})
	}
}

// The only replica goes, and its replacement comes afterwards: requests wait for it.
func TestDeployOnlyReplica(t *testing.T) {
	for _, env := range [][]string{{"ON_TERM=exit"}, {"ON_TERM=drain"}, {"ON_TERM=exit", "START_DELAY=1s"}} {
		t.Run(fmt.Sprint(env), func(t *testing.T) {
			e := engine(t)
			r := startRouter(t, e, deployArgs...)
			c := e.Start(t, r.web("one", env...))
			r.only("web.test", "one")
			deploy(t, r, fmt.Sprintf("the only replica replaced twice, %v", env), 2, func() {
				for range 2 {
					c.Stop(5 * time.Second)
					c.Remove()
					c = e.Start(t, r.web("one", env...))
					r.only("web.test", "one")
				}
			})
		})
	}
	t.Run("restart", func(t *testing.T) {
		e := engine(t)
		r := startRouter(t, e, deployArgs...)
		c := e.Start(t, r.web("one"))
		r.only("web.test", "one")
		deploy(t, r, "docker restart of the only replica, three times", 3, func() {
			for range 3 {
				c.Restart()
				r.only("web.test", "one")
			}
		})
	})
}

// A replica is killed without warning. Requests that must not be repeated and that it was
// answering fail; every other goes to the other replica.
func TestDeployKill(t *testing.T) {
	e := engine(t)
	r := startRouter(t, e, deployArgs...)
	a := e.Start(t, r.web("k1"))
	e.Start(t, r.web("k2"))
	r.only("web.test", "k1", "k2")
	deploy(t, r, "SIGKILL of one of two, three times", 3, func() {
		for range 3 {
			a.Kill("KILL")
			r.only("web.test", "k2")
			a.Start()
			r.only("web.test", "k1", "k2")
		}
	})
}

func TestDeployScale(t *testing.T) {
	e := engine(t)
	r := startRouter(t, e, deployArgs...)
	all := []*testdocker.Container{e.Start(t, r.web("s0"))}
	ids := []string{"s0"}
	r.only("web.test", ids...)
	deploy(t, r, "scale 1 to 5 to 1", 4, func() {
		for i := 1; i < 5; i++ {
			ids = append(ids, fmt.Sprintf("s%d", i))
			all = append(all, e.Start(t, r.web(ids[i])))
		}
		r.only("web.test", ids...)
		for i := 4; i > 0; i-- {
			all[i].Stop(5 * time.Second)
		}
		r.only("web.test", "s0")
	})
}

// What people type: docker compose up -d --force-recreate.
func TestDeployCompose(t *testing.T) {
	cli := compose(t)
	for _, n := range []int{2, 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			e := engine(t)
			r := startRouter(t, e, deployArgs...)
			file := filepath.Join(t.TempDir(), "compose.yml")
			text := "services:\n  web:\n    image: " + e.Image + "\n    environment: [ID=web]\n    expose: ['80']\n    labels:\n      " + testdocker.Label + ": " + e.Run + "\n"
			for k, v := range r.host("web", "web.test") {
				text += fmt.Sprintf("      %s: %q\n", k, v)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			project := e.Run + "deploy" + fmt.Sprint(n)
			up := func(args ...string) {
				t.Helper()
				full := append(append(cli[1:len(cli):len(cli)], "-p", project, "-f", file), args...)
				if out, err := command(t, nil, cli[0], full...); err != nil {
					t.Fatalf("compose %v: %v\n%s", args, err, out)
				}
			}
			t.Cleanup(func() { up("down", "--timeout", "2") })
			up("up", "-d", "--scale", fmt.Sprintf("web=%d", n))
			r.served("web.test", "web")
			deploy(t, r, fmt.Sprintf("compose up --force-recreate of %d replicas", n), n, func() {
				up("up", "-d", "--force-recreate", "--scale", fmt.Sprintf("web=%d", n))
				r.served("web.test", "web")
			})
		})
	}
}
