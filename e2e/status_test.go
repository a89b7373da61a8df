package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// A host whose only container has stopped is still known: 503 says so, and with
// sluice.compat404 the reference's 404.
func TestStoppedHost(t *testing.T) {
	t.Parallel()
	e := engine(t)
	for _, c := range []struct {
		args []string
		want int
	}{
		{nil, 503},
		{[]string{"--sluice.compat404=true"}, 404},
	} {
		t.Run(fmt.Sprint(c.want), func(t *testing.T) {
			r := startRouter(t, e, c.args...)
			app := e.Start(t, testdocker.Spec{Name: "st-" + r.caseID, Labels: r.host("st", "st.test"), Env: id("st")})
			r.served("st.test", "st")
			app.Stop(time.Second)
			r.becomes("st.test", c.want)
			app.Remove()
			r.becomes("st.test", 404)
		})
	}
}

// becomes waits until host answers with a status.
func (r *router) becomes(host string, status int) {
	r.t.Helper()
	testnet.Eventually(r.t, soon, func() error {
		a, err := r.Get(host, "/")
		if err == nil && a.Status != status {
			err = fmt.Errorf("%s answers %d, want %d", host, a.Status, status)
		}
		return err
	})
}
