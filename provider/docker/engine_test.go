package docker

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/provider"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// view is a running Provider and what it last said.
type view struct {
	t    *testing.T
	out  chan provider.Update
	last provider.Update
	good provider.Update // the last one with a configuration
}

// watch runs a Provider on an engine, looking only at the containers of this run.
func watch(t *testing.T, e *testdocker.Engine, change func(*config.DockerProvider, *Options)) *view {
	t.Helper()
	cfg := &config.DockerProvider{}
	cfg.SetDefaults()
	cfg.Endpoint = e.Host
	cfg.Constraints = "Label(`" + testdocker.Label + "`,`" + e.Run + "`)"
	opts := Options{Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)}
	if os.Getenv("DOCKER_TEST_DEBUG") != "" {
		opts.Log = opts.Log.Level(zerolog.DebugLevel)
	}
	if change != nil {
		change(cfg, &opts)
	}
	p := New(cfg, opts)
	v := &view{t: t, out: make(chan provider.Update)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, v.out) }()
	t.Cleanup(func() {
		cancel()
		for {
			select {
			case <-v.out:
			case err := <-done:
				if err != nil {
					t.Errorf("Run: %v", err)
				}
				return
			case <-time.After(10 * time.Second):
				t.Fatal("Run does not end")
			}
		}
	})
	return v
}

// show writes routers and servers as "rule -> url url(fenced)", without the run's name.
func show(u provider.Update, run string) string {
	if u.Config == nil {
		return "(no configuration)"
	}
	var out []string
	for _, r := range u.Config.HTTP.Routers {
		line := r.Rule + " ->"
		if s := u.Config.HTTP.Services[r.Service]; s != nil && s.LoadBalancer != nil {
			for _, srv := range s.LoadBalancer.Servers {
				line += " " + srv.URL
				if srv.Fenced {
					line += "(fenced)"
				}
			}
		}
		out = append(out, strings.ReplaceAll(line, run+"-", ""))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// await takes updates until show gives want.
func (v *view) await(run, want string) {
	v.t.Helper()
	limit := time.After(15 * time.Second)
	for show(v.good, run) != want {
		select {
		case v.last = <-v.out:
			if v.last.Config != nil {
				v.good = v.last
			}
		case <-limit:
			v.t.Fatalf("the provider says\n%s\nwant\n%s\nproblems: %v", show(v.good, run), want, v.last.Problems)
		}
	}
}

func codes(ps []config.Problem) string {
	set := map[string]bool{}
	for _, p := range ps {
		if p.Field != testdocker.Label { // the label of the tests, not one under test
			set[p.Code] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), " ")
}

func TestContainersComeAndGo(t *testing.T) {
	e := testdocker.Open(t)
	v := watch(t, e, nil)
	v.await(e.Run, "")

	a := e.Start(t, testdocker.Spec{Name: "a"})
	at := func(host, suffix string) string {
		return "Host(`" + host + "`) -> http://" + a.IP("bridge") + ":80" + suffix
	}
	v.await(e.Run, at("a", ""))
	a.Pause()
	v.await(e.Run, at("a", "(fenced)"))
	a.Unpause()
	v.await(e.Run, at("a", ""))
	a.Rename("b")
	v.await(e.Run, at("b", ""))
	a.Kill("HUP") // or whatever the program makes of it
	a.Stop(time.Second)
	v.await(e.Run, "Host(`b`) ->")
	a.Start()
	v.await(e.Run, at("b", ""))
	a.Restart()
	v.await(e.Run, at("b", ""))
	a.Kill("KILL")
	v.await(e.Run, "Host(`b`) ->")
	a.Remove()
	// Its hosts are answered a while longer; then it is forgotten.
	start := time.Now()
	v.await(e.Run, "")
	if d := time.Since(start); d < linger/2 || d > linger+2*time.Second {
		t.Errorf("forgotten after %v, want about %v", d, linger)
	}
}

func TestStopSignalFencesAtOnce(t *testing.T) {
	e := testdocker.Open(t)
	told := make(chan []string, 4)
	v := watch(t, e, func(_ *config.DockerProvider, o *Options) { o.Stopping = func(u []string) { told <- u } })
	// A container that takes two seconds to stop.
	a := e.Start(t, testdocker.Spec{Name: "a", Env: []string{"ON_TERM=ignore"}})
	url := "http://" + a.IP("bridge") + ":80"
	v.await(e.Run, "Host(`a`) -> "+url)
	start := time.Now()
	done := make(chan struct{})
	go func() { defer close(done); a.Stop(2 * time.Second) }()
	v.await(e.Run, "Host(`a`) -> "+url+"(fenced)")
	fenced := time.Since(start)
	if got := <-told; !slices.Equal(got, []string{url}) {
		t.Errorf("told %v", got)
	}
	v.await(e.Run, "Host(`a`) ->")
	<-done
	t.Logf("fenced %v after the stop was asked for, gone after %v", fenced, time.Since(start))
}

func TestHealthIsFollowed(t *testing.T) {
	e := testdocker.Open(t)
	v := watch(t, e, nil)
	a := e.Start(t, testdocker.Spec{Name: "a", Health: true})
	v.await(e.Run, "Host(`a`) -> http://"+a.IP("bridge")+":80(fenced)")
	v.await(e.Run, "Host(`a`) -> http://"+a.IP("bridge")+":80")
}

func TestNetworks(t *testing.T) {
	e := testdocker.Open(t)
	n1, n2 := e.Network(t, "n1"), e.Network(t, "n2")
	v := watch(t, e, nil)
	a := e.Start(t, testdocker.Spec{Name: "a", Networks: []string{n2, n1}})
	v.await(e.Run, "Host(`a`) -> http://"+a.IP(n1)+":80") // the first by name
	a.Disconnect(n1)
	v.await(e.Run, "Host(`a`) -> http://"+a.IP(n2)+":80")
	a.Connect(n1)
	v.await(e.Run, "Host(`a`) -> http://"+a.IP(n1)+":80")

	b := e.Start(t, testdocker.Spec{Name: "b", Networks: []string{n1, n2}, Labels: map[string]string{"traefik.docker.network": n2}})
	c := e.Start(t, testdocker.Spec{Name: "c", Networks: []string{n1}, Labels: map[string]string{"traefik.docker.network": "nope"}})
	v.await(e.Run, "Host(`a`) -> http://"+a.IP(n1)+":80\nHost(`b`) -> http://"+b.IP(n2)+":80\nHost(`c`) -> http://"+c.IP(n1)+":80")
	if codes(v.last.Problems) != config.CodeUnknownNetwork {
		t.Errorf("problems: %v", v.last.Problems)
	}
}

// create makes a container with a host configuration of the test's own.
func create(t *testing.T, e *testdocker.Engine, name string, labels map[string]string, mode string, env ...string) string {
	t.Helper()
	l := maps.Clone(labels)
	if l == nil {
		l = map[string]string{}
	}
	l[testdocker.Label] = e.Run
	r, err := e.Client().ContainerCreate(t.Context(), &container.Config{Image: e.Image, Labels: l, Env: env},
		&container.HostConfig{NetworkMode: container.NetworkMode(mode)}, nil, nil, e.Run+"-"+name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = e.Client().ContainerRemove(context.Background(), r.ID, container.RemoveOptions{Force: true})
	})
	if err := e.Client().ContainerStart(t.Context(), r.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func TestNetworkModes(t *testing.T) {
	e := testdocker.Open(t)
	v := watch(t, e, nil)
	port := func(n string) map[string]string {
		return map[string]string{"traefik.http.services.s" + n + ".loadbalancer.server.port": n}
	}
	base := e.Start(t, testdocker.Spec{Name: "base", Labels: map[string]string{"traefik.enable": "false"}})
	create(t, e, "side", port("81"), "container:"+base.ID, "PORTS=81")
	create(t, e, "none", port("82"), "none")
	side := "Host(`side`) -> http://" + base.IP("bridge") + ":81"
	v.await(e.Run, side)
	if codes(v.last.Problems) != config.CodeMissingIP {
		t.Errorf("problems: %v", v.last.Problems)
	}
	base.Stop(0)
	v.await(e.Run, "")
	base.Start()
	v.await(e.Run, "Host(`side`) -> http://"+base.IP("bridge")+":81")
}

func TestFirstListAndWatchOff(t *testing.T) {
	e := testdocker.Open(t)
	a := e.Start(t, testdocker.Spec{Name: "a"})
	e.Create(t, testdocker.Spec{Name: "made", Labels: map[string]string{"traefik.http.routers.m.rule": "Host(`made.test`)"}})
	e.Create(t, testdocker.Spec{Name: "job"})
	v := watch(t, e, func(c *config.DockerProvider, _ *Options) { c.Watch = false })
	want := "Host(`a`) -> http://" + a.IP("bridge") + ":80\nHost(`made.test`) ->"
	v.await(e.Run, want)
	e.Start(t, testdocker.Spec{Name: "late"})
	select {
	case u := <-v.out:
		t.Errorf("watch is off, and yet: %s", show(u, e.Run))
	case <-time.After(500 * time.Millisecond):
	}
	w := watch(t, e, func(c *config.DockerProvider, o *Options) { o.Compat404 = true })
	w.await(e.Run, fmt.Sprintf("Host(`a`) -> http://%s:80\nHost(`late`) -> %s", a.IP("bridge"), lateURL(t, e)))
}

func lateURL(t *testing.T, e *testdocker.Engine) string {
	t.Helper()
	r, err := e.Client().ContainerInspect(t.Context(), e.Run+"-late")
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + r.NetworkSettings.Networks["bridge"].IPAddress + ":80"
}

// TestStartToUpdate prints how long it takes from the engine's start event to the update.
func TestStartToUpdate(t *testing.T) {
	e := testdocker.Open(t)
	v := watch(t, e, nil)
	v.await(e.Run, "")
	var took []time.Duration
	for i := range 20 {
		name := fmt.Sprint("t", i)
		c := e.Create(t, testdocker.Spec{Name: name})
		c.Start()
		for {
			u := <-v.out
			if u.Config != nil && strings.Contains(show(u, e.Run), "Host(`"+name+"`) -> http://") {
				took = append(took, time.Since(u.At))
				break
			}
		}
	}
	slices.Sort(took)
	t.Logf("from the start event to the update: median %v, worst %v of %d", took[len(took)/2], took[len(took)-1], len(took))
}
