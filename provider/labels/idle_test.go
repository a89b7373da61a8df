package labels

import (
	"reflect"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

func TestIdleOfAService(t *testing.T) {
	b, _ := NewBuilder(Options{ExposedByDefault: true})
	w := &Workload{Key: "a", Name: "a", Source: "container a", Engine: "docker", Rank: Down, Asleep: true, Labels: map[string]string{
		"traefik.http.routers.a.rule": "Host(`a.test`)", "sluice.idle": "30m", "sluice.idle.page": "0s",
		ComposeProject: "shop", ComposeService: "web",
	}}
	s := b.Build(w)
	if s == nil || s.Config == nil || len(s.Problems) > 0 {
		t.Fatalf("share %+v", s)
	}
	for _, svc := range s.Config.HTTP.Services {
		want := &config.Idle{Engine: "docker", Unit: "shop/web", After: config.Duration(30 * time.Minute), Asleep: true}
		if got := svc.LoadBalancer.Idle; !reflect.DeepEqual(got, want) {
			t.Errorf("idle %+v, want %+v", got, want)
		}
	}
}
