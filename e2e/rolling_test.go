package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// startSwarmRouter starts the binary with the Swarm provider. It runs on the node, beside the
// swarm, and reaches tasks by the ports they publish there.
func startSwarmRouter(t *testing.T, e *testdocker.Engine, args ...string) *router {
	t.Helper()
	if info, err := e.Client().Info(t.Context()); err != nil || !info.Swarm.ControlAvailable {
		t.Skip("the engine is not a manager of a swarm")
	}
	return startRouter(t, nil, append([]string{"--providers.swarm", "--providers.swarm.exposedbydefault=false", "--providers.swarm.usebindportip",
		"--providers.swarm.endpoint=" + e.Host, "--providers.swarm.constraints=Label(`" + testdocker.Label + "`,`" + e.Run + "`)"}, args...)...)
}

// swarmService makes a service that answers for NAME.test, and removes it with the test. Its
// tasks publish port 80 on a port of the node each.
func swarmService(t *testing.T, e *testdocker.Engine, name string, replicas uint64, labels map[string]string, env ...string) string {
	t.Helper()
	own := map[string]string{testdocker.Label: e.Run, "traefik.enable": "true", "traefik.http.routers." + name + ".rule": "Host(`" + name + ".test`)",
		"traefik.http.services." + name + ".loadbalancer.server.port": "80"}
	maps.Copy(own, labels)
	grace := 5 * time.Second
	made, err := e.Client().ServiceCreate(t.Context(), swarm.ServiceSpec{
		Annotations:  swarm.Annotations{Name: e.Run + "-" + name, Labels: own},
		TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: e.Image, Env: env, StopGracePeriod: &grace}},
		EndpointSpec: &swarm.EndpointSpec{Ports: []swarm.PortConfig{{Protocol: "tcp", TargetPort: 80, PublishMode: swarm.PortConfigPublishModeHost}}},
		Mode:         swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &replicas}},
	}, swarm.ServiceCreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Client().ServiceRemove(context.Background(), made.ID) })
	return made.ID
}

// A rolling update of a Swarm service, by either order, loses no request.
func TestDeploySwarmRolling(t *testing.T) {
	for _, c := range []struct {
		order, term string
		long        bool
	}{{"start-first", "drain", false}, {"stop-first", "exit", false}, {"stop-first", "drain", true}} {
		if c.long && os.Getenv("SLUICE_E2E_LONG") == "" {
			continue
		}
		t.Run(c.order+" "+c.term, func(t *testing.T) {
			e := engine(t)
			r := startSwarmRouter(t, e, deployArgs...)
			const tasks = 3
			svc := swarmService(t, e, "web", tasks, nil, "ID=old", "ON_TERM="+c.term)
			testnet.Eventually(t, 40*time.Second, func() error {
				servers, err := r.serversOf("web", "swarm")
				if err == nil && len(servers) != tasks {
					err = fmt.Errorf("%d servers", len(servers))
				}
				return err
			})
			r.only("web.test", "old")
			deployAt(t, r, 500, fmt.Sprintf("docker service update of %d tasks, %s, SIGTERM: %s", tasks, c.order, c.term), tasks, func() {
				s, _, err := e.Client().ServiceInspectWithRaw(t.Context(), svc, swarm.ServiceInspectOptions{})
				if err != nil {
					t.Fatal(err)
				}
				s.Spec.TaskTemplate.ContainerSpec.Env = []string{"ID=new", "ON_TERM=" + c.term}
				s.Spec.UpdateConfig = &swarm.UpdateConfig{Parallelism: 1, Order: c.order, Delay: 500 * time.Millisecond, Monitor: time.Second}
				if _, err := e.Client().ServiceUpdate(t.Context(), svc, s.Version, s.Spec, swarm.ServiceUpdateOptions{}); err != nil {
					t.Fatal(err)
				}
				testnet.Eventually(t, time.Minute, func() error {
					s, _, err := e.Client().ServiceInspectWithRaw(t.Context(), svc, swarm.ServiceInspectOptions{})
					if err == nil && (s.UpdateStatus == nil || s.UpdateStatus.State != swarm.UpdateStateCompleted) {
						err = fmt.Errorf("update: %+v", s.UpdateStatus)
					}
					return err
				})
				r.only("web.test", "new")
			})
		})
	}
}
