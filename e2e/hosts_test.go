package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// Two engines behind one router: equal names stand side by side, and one engine that goes
// away costs nothing of the other, nor its own last routes.
func TestTwoEngines(t *testing.T) {
	first := engine(t)
	own := testdocker.StartOwn(t)
	second, err := testdocker.New(own.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	})
	r := startRouter(t, first, "--providers.docker.sluice.hosts.nas.endpoint="+own.Host)
	first.Start(t, testdocker.Spec{Name: "a-" + r.caseID, Labels: r.host("web", "a.test"), Env: id("a")})
	second.Start(t, testdocker.Spec{Name: "b", Labels: r.host("web", "b.test"), Env: id("b")})
	second.Start(t, testdocker.Spec{Name: "hidden", Labels: map[string]string{"traefik.http.routers.hidden.rule": "Host(`hidden.test`)"}})
	r.served("a.test", "a")
	r.served("b.test", "b")
	a, err := r.API.Get("localhost", "/api/http/routers")
	if err != nil || !strings.Contains(a.Body, `"web@docker"`) || !strings.Contains(a.Body, `"web@docker.nas"`) || strings.Contains(a.Body, "hidden") {
		t.Errorf("the API shows %s %v", a.Body, err)
	}
	a, err = r.API.Get("localhost", "/api/http/routers/web@docker.nas")
	if err != nil || a.Status != 200 || !strings.Contains(a.Body, `"provider":"docker.nas"`) {
		t.Errorf("the router of the second engine: %d %s %v", a.Status, a.Body, err)
	}
	own.Stop()
	time.Sleep(300 * time.Millisecond)
	if err := r.isServed("b.test", "b"); err != nil {
		t.Errorf("without its engine: %v", err)
	}
	first.Start(t, testdocker.Spec{Name: "c-" + r.caseID, Labels: r.host("c", "c.test"), Env: id("c")})
	r.served("c.test", "c")
	own.Start()
	began := time.Now()
	second.Start(t, testdocker.Spec{Name: "d", Labels: r.host("d", "d.test"), Env: id("d")})
	testnet.Eventually(t, 30*time.Second, func() error { return r.isServed("d.test", "d") })
	t.Logf("figure: the second engine's next container answers %v after its return", time.Since(began).Round(time.Millisecond))
}
