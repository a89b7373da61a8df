package docker

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testdocker"
)

func TestFindEndpoint(t *testing.T) {
	const def, user, machine = "unix:///var/run/docker.sock", "/run/user/7/podman/podman.sock", "/run/podman/podman.sock"
	for name, c := range map[string]struct {
		configured, host, runtime string
		there                     []string
		want                      string
	}{
		"docker":                    {"", "", "/run/user/7", []string{"/var/run/docker.sock", user, machine}, def},
		"user's podman":             {"", "", "/run/user/7", []string{user, machine}, "unix://" + user},
		"default written out":       {def, "", "/run/user/7", []string{user}, "unix://" + user},
		"machine's podman":          {"", "", "/run/user/7", []string{machine}, "unix://" + machine},
		"no runtime directory":      {"", "", "", []string{"/podman/podman.sock", machine}, "unix://" + machine},
		"relative directory":        {"", "", "here", []string{"here/podman/podman.sock"}, def},
		"nothing":                   {"", "", "/run/user/7", nil, def},
		"configured":                {"unix:///x.sock", "tcp://h:1", "/run/user/7", []string{user}, "unix:///x.sock"},
		"DOCKER_HOST before podman": {"", "tcp://h:1", "/run/user/7", []string{user}, "tcp://h:1"},
	} {
		env := func(key string) string {
			return map[string]string{"DOCKER_HOST": c.host, "XDG_RUNTIME_DIR": c.runtime}[key]
		}
		if got := findEndpoint(c.configured, env, func(p string) bool { return slices.Contains(c.there, p) }); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	dir := t.TempDir()
	if socketThere(filepath.Join(dir, "none")) || !socketThere(dir) {
		t.Error("socketThere")
	}
}

func TestRemoteHost(t *testing.T) {
	for endpoint, want := range map[string]string{"unix:///var/run/docker.sock": "", "": "", "tcp://127.0.0.1:2375": "", "tcp://localhost:2375": "", "tcp://[::1]:2375": "",
		"ssh://me@nas": "nas", "tcp://192.0.2.7:2376": "192.0.2.7", "https://[2001:db8::1]:2376": "2001:db8::1"} {
		if got := remoteHost(endpoint); got != want {
			t.Errorf("%q: %q, want %q", endpoint, got, want)
		}
	}
}

// viaSocket is another socket of an engine.
func viaSocket(t *testing.T, host string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "via") // paths of sockets are limited to some hundred bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "d.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", strings.TrimPrefix(host, "unix://"))
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
	return "unix://" + l.Addr().String()
}

// One engine by two sockets, under two names: each provider gives its own objects, the
// further one by its own options.
func TestFurtherEngine(t *testing.T) {
	e := testdocker.Open(t)
	if !strings.HasPrefix(e.Host, "unix://") {
		t.Skip("the engine has no socket")
	}
	no := false
	main := &config.DockerProvider{}
	main.SetDefaults()
	main.Sluice = &config.DockerSluice{Hosts: map[string]*config.DockerHost{"nas": {Endpoint: viaSocket(t, e.Host), ExposedByDefault: &no}}}
	further := main.Further()["docker.nas"]
	at := func(cfg *config.DockerProvider, name string) *view {
		return watch(t, e, func(c *config.DockerProvider, o *Options) {
			c.Endpoint, c.ExposedByDefault, o.Name = cfg.Endpoint, cfg.ExposedByDefault, name
			if name == "" {
				c.Endpoint = e.Host
			}
		})
	}
	first, second := at(main, ""), at(further, "docker.nas")
	for _, n := range []string{"plain", "wanted"} {
		l := map[string]string{"traefik.http.routers." + n + ".rule": "Host(`" + n + ".test`)"}
		if n == "wanted" {
			l["traefik.enable"] = "true"
		}
		e.Start(t, testdocker.Spec{Name: n, Labels: l})
	}
	routers := func(v *view) string {
		if v.last.Config == nil || v.last.Config.HTTP == nil {
			return ""
		}
		var names []string
		for n := range v.last.Config.HTTP.Routers {
			names = append(names, n)
		}
		slices.Sort(names)
		return v.last.Provider + ": " + strings.Join(names, " ")
	}
	for v, want := range map[*view]string{first: "docker: plain wanted", second: "docker.nas: wanted"} {
		for end := time.Now().Add(20 * time.Second); routers(v) != want; {
			select {
			case v.last = <-v.out:
			case <-time.After(time.Until(end)):
				t.Fatalf("%q, want %q", routers(v), want)
			}
		}
	}
}
