package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

func id(name string) []string { return []string{"ID=" + name} }

func TestStartAndStop(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	e.Start(t, testdocker.Spec{Name: "stay-" + r.caseID, Labels: r.host("stay", "stay.test"), Env: id("stay")})
	c := e.Start(t, testdocker.Spec{Name: "go-" + r.caseID, Labels: r.host("go", "go.test"), Env: id("go")})
	r.served("go.test", "go")
	a, err := r.Get("go.test", "/path?q=1")
	if err != nil {
		t.Fatal(err)
	}
	var seen struct {
		Host, Path string
		Header     map[string][]string
	}
	if err := json.Unmarshal([]byte(a.Body), &seen); err != nil {
		t.Fatal(err)
	}
	if seen.Host != "go.test" || seen.Path != "/path?q=1" || fmt.Sprint(seen.Header["X-Forwarded-For"]) != "[127.0.0.1]" ||
		fmt.Sprint(seen.Header["X-Forwarded-Host"]) != "[go.test]" || fmt.Sprint(seen.Header["X-Forwarded-Proto"]) != "[http]" {
		t.Errorf("the app saw %+v", seen)
	}
	c.Stop(time.Second)
	r.gone("go.test")
	r.served("stay.test", "stay")
	c.Start()
	r.served("go.test", "go")
	c.Remove()
	r.gone("go.test")
	r.served("stay.test", "stay")
}

// Containers that ran before the router are there as well.
func TestStartedBefore(t *testing.T) {
	t.Parallel()
	e := engine(t)
	early := &router{caseID: e.Run + "-early"}
	e.Start(t, testdocker.Spec{Name: "early", Labels: early.host("early", "early.test"), Env: id("early")})
	r := startRouter(t, e, "--providers.docker.constraints=Label(`"+testdocker.Label+".case`,`"+early.caseID+"`)")
	r.served("early.test", "early")
}

func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	c := e.Start(t, testdocker.Spec{Name: "k-" + r.caseID, Labels: r.host("k", "k.test"), Env: id("k")})
	r.served("k.test", "k")
	c.Kill("KILL")
	r.gone("k.test")
	c.Start()
	r.served("k.test", "k")
	for range 3 {
		c.Restart()
		r.served("k.test", "k")
	}
}

// Without a rule the container's name makes the host; a new name makes a new one.
func TestRename(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	c := e.Start(t, testdocker.Spec{Name: "old-" + r.caseID, Labels: r.labels(), Env: id("renamed")})
	old := c.Name
	r.served(old, "renamed")
	c.Rename("new-" + r.caseID)
	r.served(c.Name, "renamed")
	r.gone(old)
}

func TestPause(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	c := e.Start(t, testdocker.Spec{Name: "p1-" + r.caseID, Labels: r.host("p", "p.test"), Env: id("p1")})
	e.Start(t, testdocker.Spec{Name: "p2-" + r.caseID, Labels: r.host("p", "p.test"), Env: id("p2")})
	r.only("p.test", "p1", "p2")
	c.Pause()
	r.only("p.test", "p2")
	c.Unpause()
	r.only("p.test", "p1", "p2")
}

func TestUnhealthy(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	sick := e.Start(t, testdocker.Spec{Name: "h1-" + r.caseID, Labels: r.host("h", "h.test"), Env: id("h1"), Health: true})
	e.Start(t, testdocker.Spec{Name: "h2-" + r.caseID, Labels: r.host("h", "h.test"), Env: id("h2"), Health: true})
	r.only("h.test", "h1", "h2")
	app := testnet.NewClient(sick.IP("") + ":80")
	defer app.Close()
	verdict := func(ok string) {
		if _, err := app.Do("POST", "app.test", "/healthz?ok="+ok); err != nil {
			t.Fatal(err)
		}
	}
	verdict("false")
	r.only("h.test", "h2")
	verdict("true")
	r.only("h.test", "h1", "h2")
}

// A container that is recreated under its name with other labels has the new
// routes, and the old ones are gone.
func TestRecreateWithOtherLabels(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	c := e.Start(t, testdocker.Spec{Name: "app-" + r.caseID, Labels: r.host("app", "one.test"), Env: id("one")})
	r.served("one.test", "one")
	c.Remove()
	e.Start(t, testdocker.Spec{Name: "app-" + r.caseID, Labels: r.host("app", "two.test", "traefik.http.routers.app.middlewares", "strip",
		"traefik.http.middlewares.strip.stripprefix.prefixes", "/api"), Env: id("two")})
	r.served("two.test", "two")
	r.gone("one.test")
	a, err := r.Get("two.test", "/api/users")
	if err != nil || a.Status != 200 {
		t.Fatal(a.Status, err)
	}
	var seen struct{ Path string }
	if err := json.Unmarshal([]byte(a.Body), &seen); err != nil || seen.Path != "/users" {
		t.Errorf("the app saw %q, %v", seen.Path, err)
	}
}

// The label names a network the container joins later and leaves again.
func TestNetworkConnect(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	first, second := e.Network(t, "a-"+r.caseID), e.Network(t, "b-"+r.caseID)
	c := e.Start(t, testdocker.Spec{Name: "net-" + r.caseID, Env: id("net"), Networks: []string{first},
		Labels: r.host("net", "net.test", "traefik.docker.network", second)})
	r.served("net.test", "net")
	c.Connect(second)
	at := func(network string) {
		t.Helper()
		want := "http://" + c.IP(network) + ":80"
		testnet.Eventually(t, soon, func() error {
			s, err := r.servers("net")
			if _, ok := s[want]; err == nil && (!ok || len(s) != 1) {
				err = fmt.Errorf("servers are %v, want %s", s, want)
			}
			return err
		})
		r.served("net.test", "net")
	}
	at(second)
	c.Disconnect(second)
	at(first)
}

func TestScale(t *testing.T) {
	t.Parallel()
	e := engine(t)
	r := startRouter(t, e)
	var all []*testdocker.Container
	var ids []string
	for i := range 4 {
		name := fmt.Sprintf("s%d", i)
		ids = append(ids, name)
		all = append(all, e.Start(t, testdocker.Spec{Name: name + "-" + r.caseID, Labels: r.host("s", "s.test"), Env: id(name)}))
		r.only("s.test", ids...)
	}
	for i := 3; i > 0; i-- {
		all[i].Stop(time.Second)
		ids = ids[:i]
		r.only("s.test", ids...)
	}
}
