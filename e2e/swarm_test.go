package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/sluice-edge/sluice/internal/testacme"
	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// swarmStack is a stack of deploy/swarm on the real swarm, with an ACME server of its own.
type swarmStack struct {
	*stack
	t   *testing.T
	cli *client.Client
	ca  *testacme.CA
}

// manager skips the test where the engine is no manager of a swarm or cannot deploy stacks.
func manager(t *testing.T, e *testdocker.Engine) swarm.Node {
	t.Helper()
	info, err := e.Client().Info(t.Context())
	if err != nil || !info.Swarm.ControlAvailable {
		t.Skip("the engine is not a manager of a swarm")
	}
	if err := exec.Command("docker", "stack", "config", "--help").Run(); err != nil {
		t.Skip("docker has no stacks: ", err)
	}
	n, _, err := e.Client().NodeInspectWithRaw(t.Context(), info.Swarm.NodeID)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// label gives the node a label for the length of a test.
func label(t *testing.T, cli *client.Client, node, key string) {
	t.Helper()
	set := func(ctx context.Context, edit func(map[string]string)) {
		n, _, err := cli.NodeInspectWithRaw(ctx, node)
		if err == nil {
			if n.Spec.Labels == nil {
				n.Spec.Labels = map[string]string{}
			}
			edit(n.Spec.Labels)
			err = cli.NodeUpdate(ctx, node, n.Version, n.Spec)
		}
		if err != nil {
			t.Errorf("label %s of the node: %v", key, err)
		}
	}
	set(t.Context(), func(m map[string]string) { m[key] = "true" })
	t.Cleanup(func() { set(context.Background(), func(m map[string]string) { delete(m, key) }) })
}

func newSwarmStack(t *testing.T, name, nodeLabel string) *swarmStack {
	t.Helper()
	e := engine(t)
	node := manager(t, e)
	s := &swarmStack{t: t, cli: e.Client()}
	hash, err := exec.Command("openssl", "passwd", "-apr1", "-salt", "89eqM5Ro", "changethis").Output()
	if err != nil {
		t.Skipf("needs openssl: %v", err)
	}
	s.stack = newStack(t, e, name, "USERNAME=admin", "HASHED_PASSWORD="+strings.TrimSpace(string(hash)),
		"MONITOR_HOST=monitor.test", "APP_HOST=app.test", "EMAIL=nobody@app.test", "CONSTRAINT_LABEL="+e.Run+name, "PUBLIC_NETWORK="+e.Run+name+"-public",
		"SLUICE_USER=0:0")
	label(t, s.cli, node.ID, nodeLabel)
	r, err := s.cli.NetworkCreate(t.Context(), e.Run+name+"-public", network.CreateOptions{Driver: "overlay"})
	if err != nil {
		t.Skipf("no overlay network: %v", err)
	}
	t.Cleanup(func() {
		s.eventually("the network is in use", func(ctx context.Context) bool {
			err := s.cli.NetworkRemove(ctx, r.ID)
			return err == nil || errdefs.IsNotFound(err)
		})
	})
	var port int
	_, _ = fmt.Sscan(testnet.Port(s.https), &port)
	s.ca = testacme.Start(t, testacme.Options{TLSPort: port})
	trust := filepath.Join(t.TempDir(), "ca.pem")
	if data, err := os.ReadFile(s.ca.TrustFile); err != nil || os.WriteFile(trust, data, 0o600) != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "ACME_SERVER="+s.reachable(s.ca.URL), "ACME_SERVER_NAME="+s.ca.ServerName(), "ACME_TRUST_FILE="+trust)
	return s
}

// reachable forwards from the bridge of the nodes, so that tasks reach an address of this host.
func (s *swarmStack) reachable(url string) string {
	s.t.Helper()
	n, err := s.cli.NetworkInspect(s.t.Context(), "docker_gwbridge", network.InspectOptions{})
	if err != nil || len(n.IPAM.Config) == 0 {
		s.t.Skipf("no bridge of the node: %v", err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(n.IPAM.Config[0].Gateway, "0"))
	if err != nil {
		s.t.Skipf("the bridge of the node is not reached from here: %v", err)
	}
	s.t.Cleanup(func() { _ = l.Close() })
	rest := strings.TrimPrefix(url, "https://")
	target, path, _ := strings.Cut(rest, "/")
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
	return "https://" + l.Addr().String() + "/" + path
}

func (s *swarmStack) eventually(what string, ok func(context.Context) bool) {
	s.t.Helper()
	for range 200 {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		done := ok(ctx)
		cancel()
		if done {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	s.t.Errorf("%s after 40 s", what)
}

// deploy starts a stack. It is removed with the test, and nothing of it stays.
func (s *swarmStack) deploy(name string, files ...string) {
	s.t.Helper()
	name = s.project + name
	args := []string{"stack", "deploy", "--resolve-image=never"}
	for _, f := range files {
		args = append(args, "-c", f)
	}
	s.t.Cleanup(func() {
		mine := filters.NewArgs(filters.Arg("label", "com.docker.stack.namespace="+name))
		if s.t.Failed() {
			out, _ := command(s.t, s.env, "sh", "-c", `docker stack ps --no-trunc $0; for s in $(docker stack services -q $0); do docker service logs --raw $s 2>&1 | grep -v HTTP/1.1 | tail -40; done`, name)
			s.t.Logf("stack %s:\n%s", name, out)
		}
		if out, err := command(s.t, s.env, "docker", "stack", "rm", name); err != nil {
			s.t.Errorf("stack rm: %v\n%s", err, out)
		}
		s.eventually("containers are left", func(ctx context.Context) bool {
			list, err := s.cli.ContainerList(ctx, container.ListOptions{All: true, Filters: mine})
			return err == nil && len(list) == 0
		})
		s.eventually("networks are left", func(ctx context.Context) bool {
			list, err := s.cli.NetworkList(ctx, network.ListOptions{Filters: mine})
			return err == nil && len(list) == 0
		})
		s.eventually("volumes are left", func(ctx context.Context) bool {
			list, err := s.cli.VolumeList(ctx, volume.ListOptions{Filters: mine})
			for _, v := range list.Volumes {
				err = errors.Join(err, s.cli.VolumeRemove(ctx, v.Name, true))
			}
			return err == nil
		})
	})
	if out, err := command(s.t, s.env, "docker", append(args, name)...); err != nil {
		s.t.Fatalf("stack deploy: %v\n%s", err, out)
	}
}

// routes checks what both stacks promise.
func (s *swarmStack) routes() (web, secure *testnet.Client) {
	t := s.t
	t.Helper()
	web, secure = testnet.NewClient(s.http), testnet.TLS(s.https)
	t.Cleanup(web.Close)
	t.Cleanup(secure.Close)
	auth := func(r *http.Request) { r.SetBasicAuth("admin", "changethis") }
	began := time.Now()
	a := want(t, web, 301, "GET", "app.test", "/x?y=1")
	t.Logf("figure: first answer %v after the deployment of the application", time.Since(began).Round(10*time.Millisecond))
	if got := a.Header.Get("Location"); got != "https://app.test/x?y=1" {
		t.Errorf("Location %q", got)
	}
	want(t, secure, 401, "GET", "monitor.test", "/api/rawdata")
	a = want(t, secure, 200, "GET", "monitor.test", "/api/http/routers", auth)
	if !strings.Contains(a.Body, "app-https@swarm") {
		t.Errorf("the API does not know the application: %s", a.Body)
	}
	want(t, secure, 404, "GET", "unknown.test", "/")
	seen := map[string]bool{}
	testnet.Eventually(t, 20*time.Second, func() error {
		a, err := secure.Get("app.test", "/")
		if err != nil || a.Status != 200 {
			return fmt.Errorf("app: %d %w", a.Status, err)
		}
		seen[strings.SplitN(a.Body, "\n", 2)[0]] = true
		if len(seen) != 2 {
			return fmt.Errorf("two tasks answered as %v", seen)
		}
		return nil
	})
	return web, secure
}

// serial waits for the certificate of the test's authority and gives its serial number.
func (s *swarmStack) serial(host string) string {
	s.t.Helper()
	var serial string
	testnet.Eventually(s.t, 30*time.Second, func() error {
		conn, err := tls.Dial("tcp", s.https, &tls.Config{ServerName: host, InsecureSkipVerify: true}) //nolint:gosec // the issuer is looked at below
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		leaf := conn.ConnectionState().PeerCertificates[0]
		if !strings.Contains(leaf.Issuer.CommonName, "Pebble") {
			return fmt.Errorf("the certificate is by %q", leaf.Issuer.CommonName)
		}
		serial = leaf.SerialNumber.String()
		return nil
	})
	return serial
}

func TestSwarmStack(t *testing.T) {
	s := newSwarmStack(t, "sw", "traefik-public.traefik-public-certificates")
	s.deploy("", "deploy/swarm/stack.yml", "e2e/testdata/swarm-offline.yml")
	s.deploy("app", "deploy/swarm/app.yml")
	s.routes()
	s.serial("app.test")
}

// On one node the global service has one task. That a second one serves the first one's
// certificate is seen by replacing it: neither has a volume.
func TestSwarmHighlyAvailable(t *testing.T) {
	s := newSwarmStack(t, "ha", "sluice.store")
	s.env = append(s.env, "REDIS_IMAGE="+redisImage(t, s.cli, s.project), "LIMIT_AVERAGE=1", "LIMIT_BURST=20", "STORAGE_KEY_SECRET="+s.project+"-key")
	var key [32]byte
	_, _ = rand.Read(key[:])
	secret, err := s.cli.SecretCreate(t.Context(), swarm.SecretSpec{Annotations: swarm.Annotations{Name: s.project + "-key"}, Data: []byte(hex.EncodeToString(key[:]))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.eventually("the secret is in use", func(ctx context.Context) bool { return s.cli.SecretRemove(ctx, secret.ID) == nil })
	})
	s.deploy("", "deploy/swarm/ha.yml", "e2e/testdata/swarm-offline.yml")
	s.deploy("app", "deploy/swarm/app.yml")
	web, _ := s.routes()
	before, orders := s.serial("app.test"), s.ca.Orders()

	// The limit is counted in Redis: a new task goes on with it.
	s.env = append(s.env, "APP_MIDDLEWARES=per-client")
	limited := func() int {
		ok := 0
		for range 40 {
			if a, err := web.Get("app.test", "/"); err == nil && a.Status == 200 {
				ok++
			}
		}
		return ok
	}
	if out, err := command(t, s.env, "docker", "stack", "deploy", "--resolve-image=never", "-c", "deploy/swarm/app.yml", s.project+"app"); err != nil {
		t.Fatalf("stack deploy: %v\n%s", err, out)
	}
	want(t, web, 200, "GET", "app.test", "/")
	if n := limited(); n < 10 || n > 25 {
		t.Errorf("%d of 40 requests passed the limit of 20", n)
	}
	began := time.Now()
	if out, err := command(t, s.env, "docker", "service", "update", "--force", "--detach=false", "--update-delay=0s", s.project+"_traefik"); err != nil {
		t.Fatalf("service update: %v\n%s", err, out)
	}
	want(t, web, 429, "GET", "app.test", "/", func(r *http.Request) { r.Close = true })
	t.Logf("figure: the router's task was replaced in %v", time.Since(began).Round(10*time.Millisecond))
	if after := s.serial("app.test"); after != before {
		t.Errorf("the new task serves the certificate %s, the old one %s", after, before)
	}
	if n := s.ca.Orders(); n != orders {
		t.Errorf("the new task ordered: %d orders, before %d", n, orders)
	}
}

// redisImage packs this machine's redis-server with its libraries: nothing is pulled.
func redisImage(t *testing.T, cli *client.Client, name string) string {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip(err)
	}
	out, err := exec.Command("ldd", bin).Output()
	if err != nil {
		t.Skipf("ldd %s: %v", bin, err)
	}
	files := map[string]string{"usr/bin/redis-server": bin}
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "/") {
			files[strings.TrimPrefix(word, "/")] = word
		}
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for to, from := range files {
		data, err := os.ReadFile(from)
		if err == nil {
			err = w.WriteHeader(&tar.Header{Name: to, Mode: 0o755, Size: int64(len(data))})
		}
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tag := "sluice-test:" + name + "-redis"
	rc, err := cli.ImageImport(t.Context(), image.ImportSource{Source: &layer, SourceName: "-"}, tag, image.ImportOptions{Changes: []string{"ENV PATH=/usr/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, rc)
	_ = rc.Close()
	t.Cleanup(func() { _, _ = cli.ImageRemove(context.Background(), tag, image.RemoveOptions{Force: true}) })
	return tag
}
