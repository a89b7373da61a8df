// Package testdocker starts labelled containers on a real Docker engine for
// tests, from a FROM scratch image that holds one static test program. Nothing
// is pulled. Everything it makes carries Label with the run's name and is
// removed by Close.
package testdocker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

// Label is on everything a run makes; its value is Engine.Run.
const Label = "sluice.test"

// RequireEnv is the environment variable that turns a missing engine from a
// skipped test into a failed one.
const RequireEnv = "SLUICE_REQUIRE_DOCKER"

// Engine is a Docker engine and what one run of tests made on it.
// It is safe for concurrent use.
type Engine struct {
	// Run is the value of Label, and the beginning of every name.
	Run string
	// Host is the engine's address in the form of DOCKER_HOST.
	Host string
	// Image is the reference of the test program's image.
	Image string

	cli *client.Client
}

// ErrNoEngine means that no engine answers.
var ErrNoEngine = errors.New("no Docker engine answers")

// Open returns the engine of DOCKER_HOST, or the usual socket. Without one the
// test is skipped, or fails if RequireEnv is set.
func Open(t testing.TB) *Engine {
	t.Helper()
	e, err := New(Host())
	if err != nil {
		Skip(t, err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	return e
}

// Host is the address of the machine's engine.
func Host() string {
	if h := os.Getenv("DOCKER_HOST"); h != "" {
		return h
	}
	return client.DefaultDockerHost
}

// New connects to an engine and imports the image of the test program.
// ErrNoEngine is the error if it does not answer.
func New(host string) (*Engine, error) {
	cli, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	ping, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	if _, err := cli.Ping(ping); err != nil {
		_ = cli.Close()
		return nil, fmt.Errorf("%w at %s: %w", ErrNoEngine, host, err)
	}
	var id [4]byte
	_, _ = rand.Read(id[:])
	e := &Engine{Run: "slt" + hex.EncodeToString(id[:]), Host: host, cli: cli}
	if err := e.importImage(ctx); err != nil {
		_ = cli.Close()
		return nil, err
	}
	return e, nil
}

// Client is the engine's API.
func (e *Engine) Client() *client.Client { return e.cli }

// importImage builds the test program and makes an image of it.
func (e *Engine) importImage(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "testdocker")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "app")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin,
		"github.com/sluice-edge/sluice/internal/testdocker/app")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the test program: %w\n%s", err, out)
	}
	data, err := os.ReadFile(bin)
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(data))}); err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	e.Image = "sluice-test:" + e.Run
	rc, err := e.cli.ImageImport(ctx, image.ImportSource{Source: &layer, SourceName: "-"}, e.Image,
		image.ImportOptions{Changes: []string{`ENTRYPOINT ["/app"]`, "LABEL " + Label + "=" + e.Run}})
	if err != nil {
		return fmt.Errorf("importing the image: %w", err)
	}
	defer rc.Close()
	_, err = io.Copy(io.Discard, rc)
	return err
}

// Close removes everything the run made: containers, networks, volumes and
// the image. It goes on after an error and returns all of them.
func (e *Engine) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	mine := filters.NewArgs(filters.Arg("label", Label+"="+e.Run))
	var errs []error
	list, err := e.cli.ContainerList(ctx, container.ListOptions{All: true, Filters: mine})
	errs = append(errs, err)
	for _, c := range list {
		errs = append(errs, e.remove(ctx, c.ID))
	}
	nets, err := e.cli.NetworkList(ctx, network.ListOptions{Filters: mine})
	errs = append(errs, err)
	for _, n := range nets {
		errs = append(errs, e.cli.NetworkRemove(ctx, n.ID))
	}
	vols, err := e.cli.VolumeList(ctx, volume.ListOptions{Filters: mine})
	errs = append(errs, err)
	for _, v := range vols.Volumes {
		errs = append(errs, e.cli.VolumeRemove(ctx, v.Name, true))
	}
	if e.Image != "" {
		_, err = e.cli.ImageRemove(ctx, e.Image, image.RemoveOptions{Force: true, PruneChildren: true})
		errs = append(errs, err)
	}
	errs = append(errs, e.cli.Close())
	return errors.Join(errs...)
}

// remove removes a container; one that is gone already is fine.
func (e *Engine) remove(ctx context.Context, id string) error {
	err := e.cli.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// Skip ends a test for want of an engine: skipped, or failed if RequireEnv is
// set. Errors of another kind always fail it.
func Skip(t testing.TB, err error) {
	t.Helper()
	required := os.Getenv(RequireEnv) != "" && os.Getenv(RequireEnv) != "0"
	if errors.Is(err, ErrNoEngine) && !required {
		t.Skip(err)
	}
	t.Fatalf("%v (%s=%q)", err, RequireEnv, os.Getenv(RequireEnv))
}
