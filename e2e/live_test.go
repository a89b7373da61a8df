package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// link makes a symbolic link to the socket of a unix:// address.
func link(t *testing.T, host, path string) {
	t.Helper()
	sock, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		t.Skipf("the engine is at %s, not at a unix socket", host)
	}
	if err := os.Symlink(sock, path); err != nil {
		t.Fatal(err)
	}
}

// TestEventToFirstAnswer prints the time from Docker's start event (its own
// time stamp) to the first 200 through the router, median of 20. The test fails
// only where an answer never comes.
func TestEventToFirstAnswer(t *testing.T) {
	e := engine(t)
	r := startRouter(t, e)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	evs, errs := e.Client().Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", "container"), filters.Arg("event", "start"), filters.Arg("label", testdocker.Label+".case="+r.caseID))})
	n := 20
	if v, err := strconv.Atoi(os.Getenv("SLUICE_E2E_STARTS")); err == nil && v > 0 {
		n = v // the figures are over 200
	}
	var took []time.Duration
	for i := range n {
		name := fmt.Sprintf("t%d", i)
		c := e.Create(t, testdocker.Spec{Name: name + "-" + r.caseID, Labels: r.host(name, name+".test"), Env: id(name)})
		first := make(chan time.Time, 1)
		go func() {
			deadline := time.Now().Add(soon)
			for time.Now().Before(deadline) {
				if r.isServed(name+".test", name) == nil {
					first <- time.Now()
					return
				}
				time.Sleep(500 * time.Microsecond)
			}
			close(first)
		}()
		c.Start()
		var at time.Time
		select {
		case ev := <-evs:
			at = time.Unix(0, ev.TimeNano)
		case err := <-errs:
			t.Fatal(err)
		case <-time.After(soon):
			t.Fatal("no start event")
		}
		done, ok := <-first
		if !ok {
			t.Fatalf("container %d never answered", i)
		}
		took = append(took, done.Sub(at))
		if took[i] > 100*time.Millisecond {
			t.Logf("container %d took %v", i, took[i])
		}
		c.Remove()
	}
	slices.Sort(took)
	t.Logf("figure: start event to first 200 through the router: median %v, min %v, p99 %v, max %v of %d",
		took[n/2].Round(100*time.Microsecond), took[0].Round(100*time.Microsecond), took[(n-1)*99/100].Round(100*time.Microsecond), took[n-1].Round(100*time.Microsecond), n)
}

// TestRedeploy recreates one of two replicas after the other under a steady
// load; no request may fail.
func TestRedeploy(t *testing.T) {
	for _, term := range []string{"exit", "drain"} {
		t.Run(term, func(t *testing.T) {
			e := engine(t)
			r := startRouter(t, e)
			spec := func(name string) testdocker.Spec {
				return testdocker.Spec{Name: name + "-" + r.caseID, Labels: r.host("web", "web.test"), Env: []string{"ID=" + name, "ON_TERM=" + term}}
			}
			replicas := []*testdocker.Container{e.Start(t, spec("w1")), e.Start(t, spec("w2"))}
			r.only("web.test", "w1", "w2")
			load := testnet.StartLoad(r.Addr, "web.test", "/", 500, 16)
			time.Sleep(500 * time.Millisecond)
			for round := range 4 {
				i := round % 2
				name := fmt.Sprintf("w%d", i+1)
				replicas[i].Stop(5 * time.Second)
				replicas[i].Remove()
				replicas[i] = e.Start(t, spec(name))
				r.only("web.test", "w1", "w2")
			}
			res := load.Stop()
			t.Logf("figure: 4 recreations of one of two replicas (SIGTERM: %s) at 500 requests/s: %v", term, res)
			if res.Failed > 0 {
				t.Errorf("%d requests failed", res.Failed)
			}
		})
	}
}

// TestKillOneOfTwo kills a replica without warning. Requests it was answering
// may fail; every later one goes to the other.
func TestKillOneOfTwo(t *testing.T) {
	e := engine(t)
	r := startRouter(t, e)
	a := e.Start(t, testdocker.Spec{Name: "x1-" + r.caseID, Labels: r.host("x", "x.test"), Env: id("x1")})
	e.Start(t, testdocker.Spec{Name: "x2-" + r.caseID, Labels: r.host("x", "x.test"), Env: id("x2")})
	r.only("x.test", "x1", "x2")
	const workers = 16
	load := testnet.StartLoad(r.Addr, "x.test", "/", 500, workers)
	time.Sleep(500 * time.Millisecond)
	a.Kill("KILL")
	time.Sleep(time.Second)
	res := load.Stop()
	t.Logf("figure: SIGKILL of one of two replicas at 500 requests/s: %v", res)
	if res.Failed > workers {
		t.Errorf("%d requests failed, more than could be on their way", res.Failed)
	}
}
