package swarm

import (
	"testing"

	"github.com/sluice-edge/sluice/config"
)

// A task that has started is probed before its first request, and each has a life of its own.
func TestTasksAreProbed(t *testing.T) {
	l := open(t)
	v := l.watch(func(_ *config.SwarmProvider, o *Options) { o.Ready = config.ReadyTCP })
	l.create(l.spec("ready", 2, map[string]string{"traefik.http.routers.ready.rule": "Host(`ready.test`)"}))
	v.await("Host(`ready.test`) 2")
	servers := v.last.Config.HTTP.Services["ready"].LoadBalancer.Servers
	for _, s := range servers {
		if s.Ready != config.ReadyTCP || s.Epoch == 0 {
			t.Errorf("server %s: probe %q, epoch %d", s.URL, s.Ready, s.Epoch)
		}
	}
	if servers[0].Epoch == servers[1].Epoch {
		t.Error("two tasks have one life")
	}
}
