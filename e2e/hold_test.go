package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// A request waits as long as the label says, from the loss of the server on; a POST with its
// body, too. Later ones are told at once to come back.
func TestHold(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e, "--sluice.hold=0s")
	c := e.Start(t, testdocker.Spec{Name: "h-" + r.caseID, Labels: r.host("h", "h.test", "sluice.hold", "3s"), Env: id("h")})
	d := e.Start(t, testdocker.Spec{Name: "n-" + r.caseID, Labels: r.host("n", "n.test"), Env: id("n")})
	r.served("h.test", "h")
	r.served("n.test", "n")
	d.Stop(time.Second)
	testnet.Eventually(t, soon, func() error {
		began := time.Now()
		a, err := r.Get("n.test", "/")
		if took := time.Since(began); err == nil && (a.Status != 503 || took > 300*time.Millisecond) {
			err = fmt.Errorf("without hold: %d after %v", a.Status, took)
		}
		return err
	})
	c.Stop(time.Second)
	stopped := time.Now()
	body := func(q *http.Request) {
		q.Body, q.ContentLength = io.NopCloser(strings.NewReader("kept")), 4
	}
	a, err := r.Do("POST", "h.test", "/", body)
	if took := time.Since(stopped); err != nil || a.Status != 503 || a.Header.Get("Retry-After") == "" || took < 2*time.Second || took > 4*time.Second {
		t.Errorf("held: %d %v after %v, %v", a.Status, a.Header, took, err)
	}
	began := time.Now()
	if a, err = r.Get("h.test", "/"); err != nil || a.Status != 503 || time.Since(began) > 300*time.Millisecond {
		t.Errorf("after the time: %d after %v, %v", a.Status, time.Since(began), err)
	}
	c.Start()
	r.served("h.test", "h")
	c.Stop(time.Second)
	got := make(chan error, 1)
	go func() {
		a, err := r.Do("POST", "h.test", "/", body)
		if err == nil && a.Status != 200 {
			err = fmt.Errorf("status %d", a.Status)
		}
		got <- err
	}()
	time.Sleep(300 * time.Millisecond)
	c.Start()
	if err := <-got; err != nil {
		t.Errorf("a POST held for the replacement: %v", err)
	}
}

// A container that has started takes requests once its probe passes; sluice.ready=none
// sends them at once.
func TestReady(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	for _, c := range []struct {
		name, ready string
		want        int // the first answer after the start
	}{{"tcp", "", 200}, {"http", "http:/healthz", 200}, {"none", "none", 502}} {
		host := c.name + ".test"
		labels := r.host(c.name, host, "sluice.hold", "5s")
		if c.ready != "" {
			labels["sluice.ready"] = c.ready
		}
		e.Start(t, testdocker.Spec{Name: c.name + "-" + r.caseID, Labels: labels, Env: append(id(c.name), "START_DELAY=1s")})
		testnet.Eventually(t, soon, func() error {
			a, err := r.Get(host, "/")
			if err == nil && (a.Status == 404 || a.Status == 503) { // none, or held for longer than this test wants
				return fmt.Errorf("not known yet to have started")
			}
			if err != nil || a.Status != c.want {
				t.Errorf("%s: first answer %d, %v, want %d", c.name, a.Status, err, c.want)
			}
			return nil
		})
		r.served(host, c.name)
	}
}

// Browsers get pages where they are switched on, others the plain text.
func TestPages(t *testing.T) {
	t.Parallel()
	e := engine(t)
	browser := func(q *http.Request) { q.Header.Set("Accept", "text/html,*/*;q=0.8") }
	for _, on := range []bool{true, false} {
		r := startRouter(t, e, fmt.Sprintf("--sluice.pages=%v", on))
		c := e.Start(t, testdocker.Spec{Name: "p-" + r.caseID, Labels: r.host("p", "p.test"), Env: id("p")})
		r.served("p.test", "p")
		c.Stop(time.Second)
		r.becomes("p.test", 503)
		for host, want := range map[string]string{"p.test": "<h1>Unavailable</h1>", "nobody.test": "<h1>Not found</h1>"} {
			a, err := r.Do("GET", host, "/", browser)
			if html := strings.Contains(a.Body, want) && strings.HasPrefix(a.Header.Get("Content-Type"), "text/html"); err != nil || html != on {
				t.Errorf("pages %v: %s: %d %q, %v", on, host, a.Status, a.Body, err)
			}
			if a, err = r.Get(host, "/"); err != nil || strings.Contains(a.Body, "<") {
				t.Errorf("pages %v: a program gets %q, %v", on, a.Body, err)
			}
		}
		if c.Start(); !on {
			continue
		}
		// A slow start shows a page that loads again by itself.
		slow := e.Start(t, testdocker.Spec{Name: "s-" + r.caseID, Labels: r.host("s", "s.test"), Env: append(id("s"), "START_DELAY=3s")})
		testnet.Eventually(t, soon, func() error {
			a, err := r.Do("GET", "s.test", "/", browser)
			if err == nil && (a.Status != 503 || !strings.Contains(a.Body, `http-equiv="refresh"`) || a.Header.Get("Retry-After") == "") {
				err = fmt.Errorf("while it starts: %d %v %q", a.Status, a.Header, a.Body)
			}
			return err
		})
		r.served("s.test", "s")
		slow.Stop(time.Second)
	}
}

// The newest replica's labels count, and the older one goes on serving; equal names in two
// projects are told apart.
func TestNewestWins(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	spec := func(name, project, host string) testdocker.Spec {
		return testdocker.Spec{Name: name + "-" + r.caseID, Env: id(name), Labels: r.host("web", host,
			"com.docker.compose.project", project, "com.docker.compose.service", "web")}
	}
	e.Start(t, spec("old", "one", "old.test"))
	r.served("old.test", "old")
	e.Start(t, spec("new", "one", "new.test"))
	r.only("new.test", "old", "new")
	r.becomes("old.test", 404)
	e.Start(t, spec("other", "two", "other.test"))
	r.only("other.test", "other")
	r.only("new.test", "old", "new")
	a, err := r.API.Get("localhost", "/api/sluice/problems")
	if err != nil || a.Status != 200 {
		t.Skipf("problems are not told by the API: %d %v", a.Status, err)
	}
	for _, name := range []string{"new-" + r.caseID, "other-" + r.caseID} {
		if !strings.Contains(a.Body, name) {
			t.Errorf("no problem names %s:\n%s", name, a.Body)
		}
	}
}

// A container that was created and is not started yet is one that starts: requests wait for it,
// but not for ever.
func TestHoldForACreatedContainer(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e, "--sluice.hold=4s")
	c := e.Create(t, testdocker.Spec{Name: "c-" + r.caseID, Labels: r.host("c", "c.test"), Env: id("c")})
	testnet.Eventually(t, soon, func() error {
		if _, err := r.servers("c"); err != nil {
			return err
		}
		return nil
	})
	got := make(chan error, 1)
	go func() {
		a, err := r.Do("POST", "c.test", "/")
		if err == nil && a.Status != 200 {
			err = fmt.Errorf("status %d %v", a.Status, a.Header)
		}
		got <- err
	}()
	time.Sleep(300 * time.Millisecond)
	c.Start()
	if err := <-got; err != nil {
		t.Errorf("a request before the start: %v", err)
	}
	e.Create(t, testdocker.Spec{Name: "n-" + r.caseID, Labels: r.host("n", "n.test"), Env: id("n")})
	testnet.Eventually(t, 15*time.Second, func() error {
		began := time.Now()
		a, err := r.Get("n.test", "/")
		if took := time.Since(began); err == nil && (a.Status != 503 || took > time.Second) {
			err = fmt.Errorf("a container that never starts: %d after %v", a.Status, took)
		}
		return err
	})
}
