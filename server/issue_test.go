package server

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testacme"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// TestResolversReplacedDuringAnOrder changes a resolver's settings while the authority makes
// a certificate. The order is finished by those before, and its certificate is neither
// ordered again nor overwritten by what the new ones store.
func TestResolversReplacedDuringAnOrder(t *testing.T) {
	web := testnet.FreeAddr(t)
	var port int
	_, _ = fmt.Sscan(testnet.Port(web), &port)
	ca := testacme.Start(t, testacme.Options{HTTPPort: port})
	reached, release := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(reached) })
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	ca.Front(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/finalize-order") {
			once()
			<-release
		}
		return false
	})
	static := strings.Replace(plain, "127.0.0.1:0", web, 1) + fmt.Sprintf(`certificatesResolvers:
  le:
    acme:
      email: EMAIL
      storage: DIR/acme.json
      caServer: %s
      caCertificates: [%s]
      preflight: off
      httpChallenge:
        entryPoint: web
`, ca.URL, ca.TrustFile)
	one, _ := backend(t, "one")
	secure := func(hosts ...string) string {
		text := routes(hosts...)
		return strings.ReplaceAll(text, "      service:", "      tls: {certResolver: le}\n      service:")
	}
	e := start(t, "handler", strings.Replace(static, "EMAIL", "a@a.test", 1), secure("a.test", one))
	select {
	case <-reached:
	case <-time.After(time.Minute):
		t.Fatalf("nothing is ordered\n%s", e.log)
	}
	old := e.acme.Load()
	write(t, e.static, strings.NewReplacer("EMAIL", "b@a.test", "DYNAMIC", e.dynamic, "LANE", "handler", "DIR", filepath.Dir(e.static)).Replace(static))
	write(t, e.dynamic, secure("a.test", one, "b.test", one))
	e.eventually("the settings are read", func() bool { return strings.Contains(e.log.String(), "static configuration reloaded") })
	e.eventually("the new route is live", func() bool { return e.runtime().Routers["b-test@file"] != nil })
	if e.acme.Load() != old {
		t.Error("the resolvers were replaced while an order was under way")
	}
	if p := e.problem("no certificate resolver"); p != nil {
		t.Error(p)
	}
	free()
	stored := func() []string {
		var file map[string]struct {
			Certificates []struct{ Domain struct{ Main string } }
		}
		b, err := os.ReadFile(filepath.Join(filepath.Dir(e.static), "acme.json"))
		if err != nil || json.Unmarshal(b, &file) != nil {
			return nil
		}
		var names []string
		for _, c := range file["le"].Certificates {
			names = append(names, c.Domain.Main)
		}
		slices.Sort(names)
		return names
	}
	testnet.Eventually(t, time.Minute, func() error {
		if got := stored(); !slices.Equal(got, []string{"a.test", "b.test"}) {
			return fmt.Errorf("stored: %v\n%s", got, e.log)
		}
		return nil
	})
	if n := ca.Orders(); n != 2 {
		t.Errorf("%d orders for two names", n)
	}
	for _, name := range []string{"a.test", "b.test"} {
		e.eventually(name+" is served", func() bool {
			return slices.ContainsFunc(e.leaves(), func(c *x509.Certificate) bool { return slices.Equal(c.DNSNames, []string{name}) })
		})
	}
}
