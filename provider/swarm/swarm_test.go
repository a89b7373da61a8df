package swarm

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/provider/docker"
	"github.com/sluice-edge/sluice/provider/labels"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a swarm with an overlay network of the test's own.
type lab struct {
	t   *testing.T
	e   *testdocker.Engine
	cli *client.Client
	net string
}

// open skips the test where the engine is no manager of a swarm.
func open(t *testing.T) *lab {
	t.Helper()
	e := testdocker.Open(t)
	info, err := e.Client().Info(t.Context())
	if err != nil || !info.Swarm.ControlAvailable {
		t.Skip("the engine is not a manager of a swarm")
	}
	l := &lab{t: t, e: e, cli: e.Client(), net: e.Run + "-ov"}
	r, err := l.cli.NetworkCreate(t.Context(), l.net, network.CreateOptions{Driver: "overlay", Attachable: true})
	if err != nil {
		t.Skipf("no overlay network: %v", err)
	}
	t.Cleanup(func() {
		for range 50 {
			if err := l.cli.NetworkRemove(context.Background(), r.ID); err == nil || errdefs.IsNotFound(err) {
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
		t.Errorf("network %s is still in use", l.net)
	})
	return l
}

func (l *lab) spec(name string, replicas uint64, more map[string]string) swarm.ServiceSpec {
	own := map[string]string{testdocker.Label: l.e.Run, "traefik.http.services." + name + ".loadbalancer.server.port": "80"}
	maps.Copy(own, more)
	grace := 3 * time.Second
	return swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: l.e.Run + "-" + name, Labels: own},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{Image: l.e.Image, Env: []string{"ON_TERM=drain"}, StopGracePeriod: &grace,
				Labels: map[string]string{testdocker.Label: l.e.Run}},
			Networks: []swarm.NetworkAttachmentConfig{{Target: l.net}},
		},
		Mode: swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &replicas}},
	}
}

func (l *lab) create(spec swarm.ServiceSpec) string {
	l.t.Helper()
	r, err := l.cli.ServiceCreate(l.t.Context(), spec, swarm.ServiceCreateOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = l.cli.ServiceRemove(context.Background(), r.ID) })
	return r.ID
}

func (l *lab) update(id string, change func(*swarm.ServiceSpec)) {
	l.t.Helper()
	s, _, err := l.cli.ServiceInspectWithRaw(l.t.Context(), id, swarm.ServiceInspectOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	change(&s.Spec)
	if _, err := l.cli.ServiceUpdate(l.t.Context(), id, s.Version, s.Spec, swarm.ServiceUpdateOptions{}); err != nil {
		l.t.Fatal(err)
	}
}

// ips are the addresses of the tasks that run, sorted.
func (l *lab) ips(id string) []string {
	l.t.Helper()
	tasks, err := l.cli.TaskList(l.t.Context(), swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", id), filters.Arg("desired-state", "running"))})
	if err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, t := range tasks {
		if t.Status.State == swarm.TaskStateRunning {
			ip, _, _ := strings.Cut(t.NetworksAttachments[0].Addresses[0], "/")
			out = append(out, ip)
		}
	}
	slices.Sort(out)
	return out
}

type view struct {
	l    *lab
	out  chan provider.Update
	last provider.Update
}

func (l *lab) watch(change func(*config.SwarmProvider, *Options)) *view {
	l.t.Helper()
	cfg := &config.SwarmProvider{}
	cfg.SetDefaults()
	cfg.Endpoint = l.e.Host
	cfg.Constraints = "Label(`" + testdocker.Label + "`,`" + l.e.Run + "`)"
	cfg.RefreshSeconds = config.Duration(time.Hour) // events and polls must do
	opts := Options{Log: zerolog.New(zerolog.NewTestWriter(l.t)).Level(zerolog.WarnLevel)}
	if change != nil {
		change(cfg, &opts)
	}
	v := &view{l: l, out: make(chan provider.Update)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- New(cfg, opts).Run(ctx, v.out) }()
	l.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("Run: %v", err)
		}
	})
	return v
}

// show writes routers and how many servers each has, live and fenced.
func show(u provider.Update, run string) string {
	if u.Config == nil {
		return "nothing"
	}
	var out []string
	for _, r := range u.Config.HTTP.Routers {
		live, fenced := 0, 0
		if s := u.Config.HTTP.Services[r.Service]; s != nil && s.LoadBalancer != nil {
			for _, srv := range s.LoadBalancer.Servers {
				if srv.Fenced {
					fenced++
				} else {
					live++
				}
			}
		}
		out = append(out, fmt.Sprintf("%s %d", strings.ReplaceAll(r.Rule, run+"-", ""), live))
		if fenced > 0 {
			out[len(out)-1] += fmt.Sprintf("+%d", fenced)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// await takes updates until show gives want, and tells how long that took.
func (v *view) await(want string) time.Duration {
	v.l.t.Helper()
	start := time.Now()
	limit := time.After(30 * time.Second)
	for show(v.last, v.l.e.Run) != want {
		select {
		case v.last = <-v.out:
		case <-limit:
			v.l.t.Fatalf("the provider says %q, want %q: %v", show(v.last, v.l.e.Run), want, v.last.Problems)
		}
	}
	return time.Since(start)
}

func (v *view) urls(service string) []string {
	var out []string
	for _, s := range v.last.Config.HTTP.Services[service].LoadBalancer.Servers {
		out = append(out, strings.TrimSuffix(strings.TrimPrefix(s.URL, "http://"), ":80"))
	}
	slices.Sort(out)
	return out
}

func TestServicesComeScaleAndGo(t *testing.T) {
	l := open(t)
	v := l.watch(nil)
	v.await("")
	id := l.create(l.spec("web", 2, nil))
	v.await("Host(`web`) 2")
	if got, want := v.urls("web"), l.ips(id); !slices.Equal(got, want) {
		t.Errorf("servers %v, tasks %v", got, want)
	}
	l.update(id, func(s *swarm.ServiceSpec) { n := uint64(3); s.Mode.Replicated.Replicas = &n })
	v.await("Host(`web`) 3")
	l.update(id, func(s *swarm.ServiceSpec) { n := uint64(1); s.Mode.Replicated.Replicas = &n })
	v.await("Host(`web`) 1")
	l.update(id, func(s *swarm.ServiceSpec) { s.Labels["traefik.http.routers.w.rule"] = "Host(`new.test`)" })
	v.await("Host(`new.test`) 1")
	l.update(id, func(s *swarm.ServiceSpec) { n := uint64(0); s.Mode.Replicated.Replicas = &n })
	v.await("Host(`new.test`) 0") // known, and nothing runs: 503
	if err := l.cli.ServiceRemove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	t.Logf("a service that is removed is forgotten after %v", v.await(""))
}

// TestNameOfTheOnlyTask checks what a default rule calls ContainerName.
func TestNameOfTheOnlyTask(t *testing.T) {
	l := open(t)
	v := l.watch(func(c *config.SwarmProvider, _ *Options) { c.DefaultRule = "Host(`{{ .ContainerName }}`)" })
	v.await("")
	id := l.create(l.spec("web", 1, nil))
	v.await("Host(`web.1`) 1")
	l.update(id, func(s *swarm.ServiceSpec) { n := uint64(2); s.Mode.Replicated.Replicas = &n })
	v.await("Host(`web`) 2")
}

func TestDeadTaskIsNoticed(t *testing.T) {
	l := open(t)
	v := l.watch(nil)
	id := l.create(l.spec("web", 2, nil))
	v.await("Host(`web`) 2")
	before := l.ips(id)
	list, err := l.cli.ContainerList(t.Context(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "com.docker.swarm.service.id="+id))})
	if err != nil || len(list) != 2 {
		t.Fatal(len(list), err)
	}
	start := time.Now()
	if err := l.cli.ContainerKill(t.Context(), list[0].ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	v.await("Host(`web`) 1")
	t.Logf("a killed task is out after %v", time.Since(start))
	v.await("Host(`web`) 2") // its replacement
	if slices.Equal(before, v.urls("web")) {
		t.Error("the dead task is still a server")
	}
}

func TestVirtualAddress(t *testing.T) {
	l := open(t)
	v := l.watch(nil)
	id := l.create(l.spec("vip", 2, map[string]string{"traefik.swarm.lbswarm": "true"}))
	rr := l.spec("rr", 1, map[string]string{"traefik.docker.lbswarm": "true"})
	rr.EndpointSpec = &swarm.EndpointSpec{Mode: swarm.ResolutionModeDNSRR}
	l.create(rr)
	both := l.spec("both", 1, map[string]string{"traefik.docker.lbswarm": "true", "traefik.swarm.network": l.net})
	l.create(both)
	v.await("Host(`vip`) 1")
	s, _, err := l.cli.ServiceInspectWithRaw(t.Context(), id, swarm.ServiceInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want, _, _ := strings.Cut(s.Endpoint.VirtualIPs[0].Addr, "/")
	if got := v.urls("vip"); !slices.Equal(got, []string{want}) {
		t.Errorf("server %v, virtual address %s", got, want)
	}
	limit := time.After(15 * time.Second)
	for !hasCode(v.last, config.CodeMissingIP) || !hasCode(v.last, config.CodeConflict) {
		select {
		case v.last = <-v.out:
		case <-limit:
			t.Fatalf("problems: %v", v.last.Problems)
		}
	}
}

func hasCode(u provider.Update, code string) bool {
	return slices.ContainsFunc(u.Problems, func(p config.Problem) bool { return p.Code == code })
}

// TestRollingUpdate counts the servers while two tasks are replaced one by one: there is always one.
func TestRollingUpdate(t *testing.T) {
	l := open(t)
	v := l.watch(nil)
	spec := l.spec("web", 2, nil)
	spec.UpdateConfig = &swarm.UpdateConfig{Parallelism: 1, Delay: time.Second, Order: swarm.UpdateOrderStopFirst}
	id := l.create(spec)
	v.await("Host(`web`) 2")
	old := v.urls("web")
	l.update(id, func(s *swarm.ServiceSpec) { s.TaskTemplate.ForceUpdate++ })
	limit := time.After(40 * time.Second)
	for {
		select {
		case v.last = <-v.out:
		case <-limit:
			t.Fatalf("not updated: %s", show(v.last, l.e.Run))
		}
		now := v.urls("web")
		if len(now) == 0 || strings.Contains(show(v.last, l.e.Run), "+") {
			t.Errorf("no live server in between: %s", show(v.last, l.e.Run))
		}
		if len(now) == 2 && !slices.ContainsFunc(now, func(u string) bool { return slices.Contains(old, u) }) {
			return
		}
	}
}

func TestPlace(t *testing.T) {
	p := New(&config.SwarmProvider{}, Options{})
	p.networks = map[string]string{"n1": "shop_web", "n2": "back", "in": "ingress"}
	nets := []docker.Network{{Name: "back", ID: "n2", IP: "10.2.0.3"}, {Name: "shop_web", ID: "n1", IP: "10.1.0.3"}}
	host := []swarm.PortConfig{{TargetPort: 80, PublishedPort: 8080, PublishMode: swarm.PortConfigPublishModeHost, Protocol: swarm.PortConfigProtocolTCP}}
	svc := func(ts ...task) *service {
		s := &service{tasks: ts}
		s.Spec.Name, s.Spec.Labels = "s", map[string]string{stackNamespace: "shop"}
		s.Endpoint.VirtualIPs = []swarm.EndpointVirtualIP{{NetworkID: "in", Addr: "10.0.0.9/24"}, {NetworkID: "n1", Addr: "10.1.0.9/24"}, {NetworkID: "n2", Addr: "10.2.0.9/24"}}
		return s
	}
	for _, c := range []struct {
		name  string
		s     *service
		where labels.Where
		bind  bool
		want  string
		code  string
	}{
		{name: "no port", s: svc(task{networks: nets}), code: config.CodeMissingPort},
		{name: "first by name", s: svc(task{networks: nets}), where: labels.Where{Port: "80"}, want: "10.2.0.3:80"},
		{name: "network of the stack", s: svc(task{networks: nets}), where: labels.Where{Port: "80", Network: "web"}, want: "10.1.0.3:80"},
		{name: "unknown network", s: svc(task{networks: nets}, task{networks: nets}), where: labels.Where{Port: "80", Network: "x"}, want: "10.2.0.3:80 10.2.0.3:80", code: config.CodeUnknownNetwork},
		{name: "virtual", s: svc(task{networks: nets}), where: labels.Where{Port: "80", VIP: true, Network: "web"}, want: "10.1.0.9:80"},
		{name: "leaving ones only where nothing else is", s: svc(task{networks: nets, leaving: true}, task{networks: nets[1:]}), where: labels.Where{Port: "80"}, want: "10.1.0.3:80"},
		{name: "all leaving", s: svc(task{networks: nets, leaving: true}), where: labels.Where{Port: "80"}, want: "10.2.0.3:80!"},
		{name: "network of the node", s: svc(task{host: true, node: "192.0.2.1"}), where: labels.Where{Port: "80"}, want: "192.0.2.1:80"},
		{name: "node unknown", s: svc(task{host: true}), where: labels.Where{Port: "80"}, code: config.CodeMissingIP},
		{name: "published at the node", s: svc(task{networks: nets, node: "192.0.2.1", ports: host}), bind: true, where: labels.Where{Port: "80"}, want: "192.0.2.1:8080"},
		{name: "published, not asked for", s: svc(task{networks: nets, node: "192.0.2.1", ports: host}), where: labels.Where{Port: "80"}, want: "10.2.0.3:80"},
		{name: "no network", s: svc(task{networks: []docker.Network{{Name: "ingress", IP: "10.0.0.3"}}}), where: labels.Where{Port: "80"}, code: config.CodeMissingIP},
	} {
		p.cfg.UseBindPortIP = c.bind
		addrs, problems := placer{p, c.s}.Place(c.where)
		var got, code []string
		for _, a := range addrs {
			got = append(got, a.Host+":"+a.Port)
			if a.Fenced {
				got[len(got)-1] += "!"
			}
		}
		for _, p := range problems {
			code = append(code, p.Code)
		}
		if strings.Join(got, " ") != c.want || strings.Join(code, " ") != c.code {
			t.Errorf("%s: %v %v, want %q %q", c.name, got, code, c.want, c.code)
		}
	}
}

func TestPick(t *testing.T) {
	for in, want := range map[string][2]string{"10.0.0.1/24": {"10.0.0.1", ""}, "fd00::1/64": {"", "fd00::1"}, "": {}, "x": {}, "0.0.0.0/0": {}} {
		if a, b := pick(in, "", ""); [2]string{a, b} != want {
			t.Errorf("%q: %q %q", in, a, b)
		}
	}
}

func TestForgottenOptionsAreNoticed(t *testing.T) {
	cfg := &config.SwarmProvider{}
	cfg.SetDefaults()
	beside := &config.DockerProvider{}
	beside.SetDefaults()
	if p := New(cfg, Options{Beside: beside}); len(p.static) != 0 {
		t.Errorf("%v", p.static)
	}
	beside.Constraints = "Label(`a`,`b`)"
	if p := New(cfg, Options{Beside: beside}); len(p.static) != 1 {
		t.Error("constraints for the other provider were not noticed")
	}
}

func TestNoManager(t *testing.T) {
	if os.Getenv("DOCKER_TEST_OWN") == "" && testing.Short() {
		t.Skip("starts an engine")
	}
	own := testdocker.StartOwn(t)
	cfg := &config.SwarmProvider{}
	cfg.SetDefaults()
	cfg.Endpoint = own.Host
	out := make(chan provider.Update)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- New(cfg, Options{Log: zerolog.Nop()}).Run(ctx, out) }()
	u := <-out
	if u.Config != nil || !strings.Contains(u.Problems[0].Text, "not a manager") {
		t.Errorf("%+v", u)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
