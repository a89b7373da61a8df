package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// idleFor is after how long the applications of these tests sleep.
const idleFor = "2s"

func browser(q *http.Request) { q.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8") }

// stands waits until a container is in a state ("running", "exited", "paused") and returns
// how long that took.
func stands(t *testing.T, c *testdocker.Container, state string) time.Duration {
	t.Helper()
	began := time.Now()
	testnet.Eventually(t, 20*time.Second, func() error {
		if s := c.Inspect().State.Status; s != state {
			return fmt.Errorf("%s is %s, want %s", c.Name, s, state)
		}
		return nil
	})
	return time.Since(began)
}

// An application without requests is stopped, and the next request starts it again: whatever
// the method, after a restart of the router too.
func TestIdleSleepsAndWakes(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e, "--sluice.hold=10s")
	c := e.Start(t, testdocker.Spec{Name: "i-" + r.caseID, Labels: r.host("i", "i.test", "sluice.idle", idleFor), Env: id("i")})
	r.served("i.test", "i")
	t.Logf("figure: asleep %v after the last request with sluice.idle=%s", stands(t, c, "exited").Round(time.Millisecond), idleFor)
	r.logs("application put to sleep", "i-"+r.caseID)
	began := time.Now()
	if err := r.isServed("i.test", "i"); err != nil {
		t.Fatalf("the request that wakes it: %v\n%s", err, c.Logs())
	}
	t.Logf("figure: woken by a GET, which was answered after %v", time.Since(began).Round(time.Millisecond))

	stands(t, c, "exited")
	began = time.Now()
	a, err := r.Do("POST", "i.test", "/", func(q *http.Request) {
		q.Body, q.ContentLength = io.NopCloser(strings.NewReader("kept")), 4
	})
	if err != nil || a.Status != 200 || !strings.Contains(a.Body, `"POST"`) {
		t.Errorf("a POST that wakes it: %d %q, %v", a.Status, a.Body, err)
	}
	t.Logf("figure: woken by a POST, which was answered after %v", time.Since(began).Round(time.Millisecond))

	stands(t, c, "exited")
	r.stop()
	again := r.restart()
	began = time.Now()
	testnet.Eventually(t, soon, func() error { return again.isServed("i.test", "i") })
	t.Logf("figure: woken through a router that was restarted meanwhile after %v", time.Since(began).Round(time.Millisecond))
}

// A browser gets a page that loads again by itself where the start takes its time, and the
// application where it does not; programs wait, and are told to come back when it is too long.
func TestIdlePage(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e, "--sluice.hold=2s")
	slow := e.Start(t, testdocker.Spec{Name: "s-" + r.caseID, Labels: r.host("s", "s.test", "sluice.idle", idleFor), Env: append(id("s"), "START_DELAY=4s")})
	quick := e.Start(t, testdocker.Spec{Name: "q-" + r.caseID, Labels: r.host("q", "q.test", "sluice.idle", idleFor, "sluice.idle.page", "10s", "sluice.hold", "10s"), Env: id("q")})
	none := e.Start(t, testdocker.Spec{Name: "z-" + r.caseID, Labels: r.host("z", "z.test", "sluice.idle", idleFor, "sluice.idle.page", "0s", "sluice.hold", "10s"), Env: id("z")})
	r.served("s.test", "s")
	for _, c := range []*testdocker.Container{slow, quick, none} {
		stands(t, c, "exited")
	}
	if a, err := r.Do("GET", "q.test", "/", browser); err != nil || a.Status != 200 {
		t.Errorf("an application that starts at once: %d %q, %v", a.Status, a.Body, err)
	}
	began := time.Now()
	a, err := r.Do("GET", "z.test", "/", browser)
	if err != nil || a.Status != 503 || !strings.Contains(a.Body, `http-equiv="refresh"`) || time.Since(began) > 5*time.Second {
		t.Errorf("with the page at once: %d after %v, %v: %q", a.Status, time.Since(began), err, a.Body)
	}
	r.served("z.test", "z")

	began = time.Now()
	a, err = r.Do("GET", "s.test", "/", browser)
	took := time.Since(began)
	if err != nil || a.Status != 503 || !strings.Contains(a.Body, `http-equiv="refresh"`) || a.Header.Get("Retry-After") == "" || took > 4*time.Second {
		t.Errorf("a browser: %d %v %q after %v, %v", a.Status, a.Header, a.Body, took, err)
	}
	t.Logf("figure: the page for browsers came after %v", took.Round(time.Millisecond))
	a, err = r.Get("s.test", "/")
	if err != nil || a.Status != 503 || a.Header.Get("Retry-After") == "" || strings.Contains(a.Body, "<") {
		t.Errorf("a program, after the time for waiting: %d %v %q, %v", a.Status, a.Header, a.Body, err)
	}
	testnet.Eventually(t, soon, func() error {
		if a, err := r.Do("GET", "s.test", "/", browser); err != nil || a.Status != 200 {
			return fmt.Errorf("%d %v", a.Status, err)
		}
		return nil
	})
}

// What runs keeps its application awake: a slow request, an upgraded connection.
func TestIdleNotWhileBusy(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	slow := e.Start(t, testdocker.Spec{Name: "s-" + r.caseID, Labels: r.host("s", "s.test", "sluice.idle", "1s"), Env: id("s")})
	up := e.Start(t, testdocker.Spec{Name: "w-" + r.caseID, Labels: r.host("w", "w.test", "sluice.idle", "1s"), Env: id("w")})
	r.served("s.test", "s")
	r.served("w.test", "w")
	c, err := net.Dial("tcp", r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: w.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	br := bufio.NewReader(c)
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("upgrade: %v %v", resp, err)
	}
	if a, err := r.Get("s.test", "/?sleep=2500ms"); err != nil || a.Status != 200 {
		t.Errorf("a request that takes longer than the idle time: %d %v", a.Status, err)
	}
	if s := up.Inspect().State.Status; s != "running" {
		t.Errorf("with an open tunnel the application is %s", s)
	}
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(c, "ping")
	b := make([]byte, 4)
	if _, err := io.ReadFull(br, b); err != nil || string(b) != "ping" {
		t.Errorf("the tunnel: %q %v", b, err)
	}
	c.Close()
	stands(t, up, "exited")
	stands(t, slow, "exited")
}

// Two replicas and a worker of one group sleep and wake together; what they depend on starts
// first and stops last, unless somebody else needs it.
func TestIdleGroup(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e, "--sluice.hold=15s")
	compose := func(service string) []string {
		return []string{"com.docker.compose.project", "shop" + r.caseID, "com.docker.compose.service", service, "com.docker.compose.container-number", service}
	}
	db := e.Start(t, testdocker.Spec{Name: "db-" + r.caseID, Labels: r.labels(append(compose("db"), "traefik.enable", "false")...), Health: true, Env: id("db")})
	idle := []string{"sluice.idle", idleFor, "sluice.idle.group", "shop", "sluice.idle.dependsOn", "db"}
	var web []*testdocker.Container
	for _, n := range []string{"1", "2"} {
		l := r.host("web", "web.test", append(append(idle, compose("web")...), "com.docker.compose.container-number", n)...)
		web = append(web, e.Start(t, testdocker.Spec{Name: "web" + n + "-" + r.caseID, Labels: l, Env: id("web" + n)}))
	}
	worker := e.Start(t, testdocker.Spec{Name: "wk-" + r.caseID, Env: id("wk"),
		Labels: r.labels(append(compose("worker"), "traefik.enable", "false", "sluice.idle.group", "shop")...)})
	r.only("web.test", "web1", "web2")
	all := append(web, worker, db)
	for _, c := range all {
		stands(t, c, "exited")
	}
	began := time.Now()
	testnet.Eventually(t, 20*time.Second, func() error {
		a, err := r.Get("web.test", "/")
		if err == nil && a.Status != 200 {
			err = fmt.Errorf("status %d", a.Status)
		}
		return err
	})
	t.Logf("figure: a group of four woken, the database first and healthy, answered after %v", time.Since(began).Round(time.Millisecond))
	for _, c := range all {
		stands(t, c, "running")
	}
	first := db.Inspect().State.StartedAt
	for _, c := range web {
		if at := c.Inspect().State.StartedAt; at < first {
			t.Errorf("%s started at %s, the database at %s", c.Name, at, first)
		}
	}
	r.only("web.test", "web1", "web2")
}

// Another application that is awake and depends on the same database keeps that running.
func TestIdleNeeded(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e, "--sluice.hold=15s")
	db := e.Start(t, testdocker.Spec{Name: "db-" + r.caseID, Labels: r.labels("traefik.enable", "false"), Env: id("db")})
	dep := []string{"sluice.idle.dependsOn", db.Name}
	a := e.Start(t, testdocker.Spec{Name: "a-" + r.caseID, Labels: r.host("a", "a.test", append(dep, "sluice.idle", idleFor)...), Env: id("a")})
	b := e.Start(t, testdocker.Spec{Name: "b-" + r.caseID, Labels: r.host("b", "b.test", append(dep, "sluice.idle", "1h")...), Env: id("b")})
	r.served("a.test", "a")
	r.served("b.test", "b")
	stands(t, a, "exited")
	if s := db.Inspect().State.Status; s != "running" {
		t.Errorf("the database that b needs is %s", s)
	}
	r.served("b.test", "b")
	r.served("a.test", "a")
	_ = b
}

// Paused applications go on where they were.
func TestIdlePause(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e, "--sluice.hold=10s")
	c := e.Start(t, testdocker.Spec{Name: "p-" + r.caseID, Labels: r.host("p", "p.test", "sluice.idle", idleFor, "sluice.idle.mode", "pause"), Env: id("p")})
	r.served("p.test", "p")
	stands(t, c, "paused")
	pid := c.Inspect().State.Pid
	began := time.Now()
	if err := r.isServed("p.test", "p"); err != nil {
		t.Fatal(err)
	}
	t.Logf("figure: a paused application woken by a GET, which was answered after %v", time.Since(began).Round(time.Millisecond))
	if now := c.Inspect().State.Pid; now != pid {
		t.Errorf("it was started anew: process %d, then %d", pid, now)
	}
	stands(t, c, "paused")
	r.stop()
	again := r.restart()
	testnet.Eventually(t, soon, func() error { return again.isServed("p.test", "p") })
}

// A proxy in front of the socket that refuses to write costs the sleep alone, and a Problem
// says what to change.
func TestIdleWithoutRights(t *testing.T) {
	t.Parallel()
	e := engine(t)
	target := &url.URL{Scheme: "http", Host: "engine"}
	proxy := httputil.NewSingleHostReverseProxy(target)
	socket := strings.TrimPrefix(e.Host, "unix://")
	if _, err := os.Stat(socket); err != nil {
		t.Skip("the engine has no socket here")
	}
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method != http.MethodGet && q.Method != http.MethodHead {
			http.Error(w, "403 Forbidden", http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(srv.CloseClientConnections)
	r := startRouter(t, e, "--providers.docker.endpoint="+srv.URL)
	c := e.Start(t, testdocker.Spec{Name: "n-" + r.caseID, Labels: r.host("n", "n.test", "sluice.idle", "1s"), Env: id("n")})
	r.served("n.test", "n")
	problem := func(words ...string) {
		t.Helper()
		testnet.Eventually(t, soon, func() error {
			a, err := r.API.Get("localhost", "/api/sluice/problems")
			if err == nil {
				for _, w := range words {
					if !strings.Contains(a.Body, w) {
						err = errors.New("no problem with " + w + ": " + a.Body)
					}
				}
			}
			return err
		})
	}
	problem("engine_refused", "cannot be put to sleep", "cannot be stopped", "socket proxy")
	r.served("n.test", "n")
	c.Stop(time.Second)
	testnet.Eventually(t, 15*time.Second, func() error {
		began := time.Now()
		a, err := r.Get("n.test", "/")
		if err == nil && (a.Status != 503 || time.Since(began) > time.Second) {
			err = fmt.Errorf("%d after %v", a.Status, time.Since(began))
		}
		if err == nil && !strings.Contains(r.Log.String(), "cannot be woken") {
			err = errors.New("not tried yet")
		}
		return err
	})
	problem("cannot be started")
}

// A connection to a TCP service wakes it and is held, an open one keeps it awake.
func TestIdleTCP(t *testing.T) {
	t.Parallel()
	e := engine(t)
	addr := testnet.FreeAddr(t)
	r := startRouter(t, e, "--entrypoints.raw.address="+addr, "--sluice.hold=10s")
	c := e.Start(t, testdocker.Spec{Name: "t-" + r.caseID, Env: id("t"), Labels: r.labels("traefik.tcp.routers.t.rule", "HostSNI(`*`)",
		"traefik.tcp.routers.t.entrypoints", "raw", "traefik.tcp.services.t.loadbalancer.server.port", "80", "sluice.idle", idleFor)})
	raw := testnet.NewClient(addr)
	defer raw.Close()
	answers := func() error {
		a, err := raw.Get("t.test", "/")
		if err == nil && a.Header.Get("X-App") != "t" {
			err = fmt.Errorf("status %d", a.Status)
		}
		return err
	}
	testnet.Eventually(t, soon, answers) // and the client keeps its connection
	time.Sleep(4 * time.Second)
	if s := c.Inspect().State.Status; s != "running" {
		t.Errorf("with an open connection it is %s", s)
	}
	raw.Close()
	stands(t, c, "exited")
	began := time.Now()
	if err := answers(); err != nil {
		t.Fatalf("the connection that wakes it: %v", err)
	}
	t.Logf("figure: a TCP service woken by a connection, which was answered after %v", time.Since(began).Round(time.Millisecond))
}

// A Swarm service sleeps by having no replicas, and wakes with as many as it had, also after a
// restart of the router.
func TestIdleSwarm(t *testing.T) {
	e := engine(t)
	r := startSwarmRouter(t, e, "--sluice.hold=20s")
	id := swarmService(t, e, "sw", 2, map[string]string{"sluice.idle": idleFor}, "ID=sw")
	replicas := func(want uint64) {
		t.Helper()
		testnet.Eventually(t, 40*time.Second, func() error {
			s, _, err := e.Client().ServiceInspectWithRaw(context.Background(), id, swarm.ServiceInspectOptions{})
			if err == nil && *s.Spec.Mode.Replicated.Replicas != want {
				err = fmt.Errorf("%d replicas, want %d", *s.Spec.Mode.Replicated.Replicas, want)
			}
			return err
		})
	}
	testnet.Eventually(t, 40*time.Second, func() error { return r.isServed("sw.test", "sw") })
	replicas(0)
	patient := func(r *router) time.Duration {
		t.Helper()
		began := time.Now()
		testnet.Eventually(t, 40*time.Second, func() error { return r.isServed("sw.test", "sw") })
		return time.Since(began)
	}
	t.Logf("figure: a Swarm service woken from no replicas to two, answered after %v", patient(r).Round(time.Millisecond))
	replicas(2)
	replicas(0)
	r.stop()
	again := r.restart()
	t.Logf("figure: woken through a router that was restarted meanwhile after %v", patient(again).Round(time.Millisecond))
	replicas(2)
}
