package testdocker

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-connections/nat"
)

// Spec describes a container. The zero value is a container of the test
// program on port 80 of the default network, without labels of its own.
type Spec struct {
	// Name is appended to the run's name; empty lets the engine choose.
	Name   string
	Labels map[string]string
	// Env of the test program, see its package comment.
	Env []string
	// Cmd are the arguments of the entry point.
	Cmd []string
	// Image other than the test program's.
	Image string
	// Expose lists container ports as "80/tcp"; nil means 80/tcp.
	Expose []string
	// Publish maps container ports to host addresses: "80/tcp" -> "127.0.0.1:8080".
	Publish map[string]string
	// Networks to join; the first is the one the container starts in.
	Networks []string
	// Health makes the engine run the program's health check every 200 ms.
	Health bool
	Binds  []string
	User   string
	// GroupAdd are further groups of the user.
	GroupAdd []string
}

// Container is a container of this run.
type Container struct {
	ID string
	// Name is the full name, without a slash.
	Name string

	t testing.TB
	e *Engine
}

func call(t testing.TB) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(context.Background(), 30*time.Second)
}

// Create makes a container and does not start it. It is removed with the test.
func (e *Engine) Create(t testing.TB, s Spec) *Container {
	t.Helper()
	ctx, cancel := call(t)
	defer cancel()
	labels := map[string]string{Label: e.Run}
	maps.Copy(labels, s.Labels)
	cfg := &container.Config{Image: e.Image, Labels: labels, Env: s.Env, Cmd: s.Cmd, User: s.User, ExposedPorts: nat.PortSet{}}
	if s.Image != "" {
		cfg.Image = s.Image
	}
	if s.Expose == nil {
		s.Expose = []string{"80/tcp"}
	}
	for _, p := range s.Expose {
		cfg.ExposedPorts[nat.Port(p)] = struct{}{}
	}
	if s.Health {
		cfg.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "/app", "health"},
			Interval: 200 * time.Millisecond, Timeout: 2 * time.Second, Retries: 1}
	}
	zero := 0
	cfg.StopTimeout = &zero
	host := &container.HostConfig{Binds: s.Binds, GroupAdd: s.GroupAdd, PortBindings: nat.PortMap{}}
	for p, addr := range s.Publish {
		ap := netip.MustParseAddrPort(addr)
		host.PortBindings[nat.Port(p)] = []nat.PortBinding{{HostIP: ap.Addr().String(), HostPort: addr[strings.LastIndex(addr, ":")+1:]}}
	}
	if len(s.Networks) > 0 {
		host.NetworkMode = container.NetworkMode(s.Networks[0])
	}
	name := ""
	if s.Name != "" {
		name = e.Run + "-" + s.Name
	}
	made, err := e.cli.ContainerCreate(ctx, cfg, host, nil, nil, name)
	if err != nil {
		t.Fatalf("creating container %s: %v", s.Name, err)
	}
	c := &Container{ID: made.ID, t: t, e: e}
	t.Cleanup(c.Remove)
	if len(s.Networks) > 1 {
		for _, n := range s.Networks[1:] {
			c.Connect(n)
		}
	}
	c.Name = strings.TrimPrefix(c.Inspect().Name, "/")
	return c
}

// Start creates a container and starts it.
func (e *Engine) Start(t testing.TB, s Spec) *Container {
	t.Helper()
	c := e.Create(t, s)
	c.Start()
	return c
}

// Network makes a bridge network that is removed with the test.
func (e *Engine) Network(t testing.TB, name string) string {
	t.Helper()
	ctx, cancel := call(t)
	defer cancel()
	full := e.Run + "-" + name
	made, err := e.cli.NetworkCreate(ctx, full, network.CreateOptions{Driver: "bridge", Labels: map[string]string{Label: e.Run}})
	if err != nil {
		t.Fatalf("creating network %s: %v", name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := call(t)
		defer cancel()
		if n, err := e.cli.NetworkInspect(ctx, made.ID, network.InspectOptions{}); err == nil {
			for id := range n.Containers {
				_ = e.cli.NetworkDisconnect(ctx, made.ID, id, true)
			}
		}
		_ = e.cli.NetworkRemove(ctx, made.ID)
	})
	return full
}

func (c *Container) must(what string, f func(ctx context.Context) error) {
	c.t.Helper()
	ctx, cancel := call(c.t)
	defer cancel()
	if err := f(ctx); err != nil {
		c.t.Fatalf("%s of container %s: %v", what, c.Name, err)
	}
}

// Start starts the container.
func (c *Container) Start() {
	c.t.Helper()
	c.must("start", func(ctx context.Context) error { return c.e.cli.ContainerStart(ctx, c.ID, container.StartOptions{}) })
}

// Stop sends SIGTERM, and SIGKILL after grace.
func (c *Container) Stop(grace time.Duration) {
	c.t.Helper()
	secs := int(grace / time.Second)
	c.must("stop", func(ctx context.Context) error {
		return c.e.cli.ContainerStop(ctx, c.ID, container.StopOptions{Timeout: &secs})
	})
}

// Restart stops and starts the container.
func (c *Container) Restart() {
	c.t.Helper()
	zero := 0
	c.must("restart", func(ctx context.Context) error {
		return c.e.cli.ContainerRestart(ctx, c.ID, container.StopOptions{Timeout: &zero})
	})
}

// Kill sends a signal by its name.
func (c *Container) Kill(signal string) {
	c.t.Helper()
	c.must("kill", func(ctx context.Context) error { return c.e.cli.ContainerKill(ctx, c.ID, signal) })
}

// Pause freezes the container's processes.
func (c *Container) Pause() {
	c.t.Helper()
	c.must("pause", func(ctx context.Context) error { return c.e.cli.ContainerPause(ctx, c.ID) })
}

// Unpause lets them go on.
func (c *Container) Unpause() {
	c.t.Helper()
	c.must("unpause", func(ctx context.Context) error { return c.e.cli.ContainerUnpause(ctx, c.ID) })
}

// Rename gives the container another name below the run's name.
func (c *Container) Rename(name string) {
	c.t.Helper()
	full := c.e.Run + "-" + name
	c.must("rename", func(ctx context.Context) error { return c.e.cli.ContainerRename(ctx, c.ID, full) })
	c.Name = full
}

// Connect joins a network.
func (c *Container) Connect(net string) {
	c.t.Helper()
	c.must("connect", func(ctx context.Context) error { return c.e.cli.NetworkConnect(ctx, net, c.ID, nil) })
}

// Disconnect leaves a network.
func (c *Container) Disconnect(net string) {
	c.t.Helper()
	c.must("disconnect", func(ctx context.Context) error { return c.e.cli.NetworkDisconnect(ctx, net, c.ID, true) })
}

// Remove removes the container, running or not.
func (c *Container) Remove() {
	c.must("remove", func(ctx context.Context) error { return c.e.remove(ctx, c.ID) })
}

// Inspect is what the engine knows of the container.
func (c *Container) Inspect() container.InspectResponse {
	c.t.Helper()
	var got container.InspectResponse
	c.must("inspect", func(ctx context.Context) (err error) {
		got, err = c.e.cli.ContainerInspect(ctx, c.ID)
		return err
	})
	return got
}

// IP is the container's address in a network; empty means the default bridge.
func (c *Container) IP(net string) string {
	c.t.Helper()
	if net == "" {
		net = "bridge"
	}
	if n := c.Inspect().NetworkSettings.Networks[net]; n != nil {
		return n.IPAddress
	}
	return ""
}

// Logs is what the container has written so far.
func (c *Container) Logs() string {
	c.t.Helper()
	var out strings.Builder
	c.must("logs", func(ctx context.Context) error {
		rc, err := c.e.cli.ContainerLogs(ctx, c.ID, container.LogsOptions{ShowStdout: true, ShowStderr: true})
		if err != nil {
			return err
		}
		defer rc.Close()
		_, err = stdcopy.StdCopy(&out, &out, rc)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	})
	return out.String()
}
