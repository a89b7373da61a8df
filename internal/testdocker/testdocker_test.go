package testdocker

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
)

// The helper's own promises: the program answers, health follows, names and
// networks are as asked, and Close leaves nothing behind.
func TestContainer(t *testing.T) {
	e := Open(t)
	net := e.Network(t, "n1")
	c := e.Start(t, Spec{Name: "one", Labels: map[string]string{"a": "b"}, Env: []string{"ID=one", "PORTS=80,81"}, Networks: []string{net}, Health: true})
	if c.Name != e.Run+"-one" || c.Inspect().Config.Labels["a"] != "b" {
		t.Errorf("name %q labels %v", c.Name, c.Inspect().Config.Labels)
	}
	app := testnet.NewClient(c.IP(net) + ":81")
	defer app.Close()
	testnet.Eventually(t, 10*time.Second, func() error {
		a, err := app.Get("app.test", "/x")
		if err == nil && (!strings.Contains(a.Body, `"ID":"one"`) || !strings.Contains(a.Body, `"Port":"81"`)) {
			err = errors.New(a.Body)
		}
		return err
	})
	health := func(want string) {
		t.Helper()
		testnet.Eventually(t, 10*time.Second, func() error {
			if got := c.Inspect().State.Health.Status; got != want {
				return errors.New("health is " + got)
			}
			return nil
		})
	}
	health("healthy")
	if _, err := app.Do("POST", "app.test", "/healthz?ok=false"); err != nil {
		t.Fatal(err)
	}
	health("unhealthy")
}
