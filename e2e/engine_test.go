package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// While the engine is away the last good routes stay; when it is back, changes
// are followed again.
func TestEngineRestart(t *testing.T) {
	own := testdocker.StartOwn(t)
	e, err := testdocker.New(own.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	r := startRouter(t, e)
	e.Start(t, testdocker.Spec{Name: "a", Labels: r.host("a", "a.test"), Env: id("a")})
	r.served("a.test", "a")

	load := testnet.StartLoad(r.Addr, "a.test", "/", 100, 4)
	own.Stop()
	time.Sleep(1500 * time.Millisecond)
	if err := r.isServed("a.test", "a"); err != nil {
		t.Errorf("without the engine: %v", err)
	}
	own.Start()
	began := time.Now()
	e.Start(t, testdocker.Spec{Name: "b", Labels: r.host("b", "b.test"), Env: id("b")})
	testnet.Eventually(t, 30*time.Second, func() error { return r.isServed("b.test", "b") })
	t.Logf("figure: a container started after the engine's return answers after %v", time.Since(began).Round(time.Millisecond))
	if res := load.Stop(); res.Failed > 0 {
		t.Errorf("while the engine restarted: %v", res)
	} else {
		t.Logf("figure: engine restart: %v", res)
	}
}

// Without a socket the router says so, serves what else it has, and connects
// when the socket appears.
func TestEngineLater(t *testing.T) {
	e := engine(t)
	dir := t.TempDir()
	r := startRouter(t, e, "--providers.docker.endpoint=unix://"+dir+"/none.sock")
	r.logs("none.sock")
	testnet.Eventually(t, 10*time.Second, func() error { // the line is out a moment before the first table
		if a, err := r.API.Get("localhost", "/ping"); err != nil || a.Status != 200 {
			return fmt.Errorf("ping: %d %v", a.Status, err)
		}
		return nil
	})
	if a, err := r.Get("x.test", "/"); err != nil || a.Status != 404 {
		t.Errorf("an unknown host: %d %v", a.Status, err)
	}
	link(t, e.Host, dir+"/none.sock")
	e.Start(t, testdocker.Spec{Name: "later-" + r.caseID, Labels: r.host("l", "l.test"), Env: id("l")})
	testnet.Eventually(t, 45*time.Second, func() error { return r.isServed("l.test", "l") })
}

// With tens of containers at once every route comes.
func TestManyAtOnce(t *testing.T) {
	e := engine(t)
	r := startRouter(t, e)
	const n = 12
	for i := range n {
		name := fmt.Sprintf("m%d", i)
		e.Start(t, testdocker.Spec{Name: name + "-" + r.caseID, Labels: r.host(name, name+".test"), Env: id(name)})
	}
	for i := range n {
		r.served(fmt.Sprintf("m%d.test", i), fmt.Sprintf("m%d", i))
	}
}
