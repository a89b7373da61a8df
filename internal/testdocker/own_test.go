package testdocker

import (
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
)

// A container outlives the engine that is stopped, and is there when it is back.
func TestOwnEngine(t *testing.T) {
	o := StartOwn(t)
	e, err := New(o.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	c := e.Start(t, Spec{Name: "c"})
	app := testnet.NewClient(c.IP("") + ":80")
	defer app.Close()
	answers := func() {
		t.Helper()
		testnet.Eventually(t, 10*time.Second, func() error {
			_, err := app.Get("app.test", "/")
			return err
		})
	}
	answers()
	o.Stop()
	answers()
	o.Start()
	answers()
	if !c.Inspect().State.Running {
		t.Error("the engine forgot its container")
	}
	c.Remove()
}
