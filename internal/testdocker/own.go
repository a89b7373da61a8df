package testdocker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
)

// Own is a Docker engine that a test started itself and may stop: a second
// dockerd with its own data, socket and bridge.
type Own struct {
	// Host is its address in the form of DOCKER_HOST.
	Host string

	t      testing.TB
	dir    string
	bridge string
	cmd    *exec.Cmd
	done   chan struct{}
	log    *os.File
}

// StartOwn starts an engine of the test's own. Where that is impossible (no
// root, no dockerd, no right to make a bridge) the test is skipped with the reason.
func StartOwn(t testing.TB) *Own {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a second engine needs root")
	}
	for _, need := range []string{"dockerd", "ip"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Skipf("a second engine needs %s: %v", need, err)
		}
	}
	// Socket paths are limited to some hundred bytes: no t.TempDir.
	dir, err := os.MkdirTemp("", "own")
	if err != nil {
		t.Fatal(err)
	}
	o := &Own{t: t, dir: dir, Host: "unix://" + filepath.Join(dir, "d.sock"), bridge: fmt.Sprintf("slt%d", os.Getpid()%100000)}
	t.Cleanup(o.cleanup)
	// A range that neither the default pools of an engine nor the usual home networks use.
	subnet := fmt.Sprintf("10.213.%d.1/24", os.Getpid()%250)
	for _, args := range [][]string{{"link", "add", o.bridge, "type", "bridge"}, {"addr", "add", subnet, "dev", o.bridge}, {"link", "set", o.bridge, "up"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("a second engine needs its own bridge: ip %v: %v %s", args, err, bytes.TrimSpace(out))
		}
	}
	if o.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	if err := o.run(); err != nil {
		text, _ := os.ReadFile(o.log.Name())
		t.Skipf("a second engine does not start: %v\n%s", err, tail(text, 1500))
	}
	return o
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// run starts dockerd and waits until it answers. Containers outlive a stop.
func (o *Own) run() error {
	o.cmd = exec.Command("dockerd", "--live-restore", "--host="+o.Host, "--data-root="+filepath.Join(o.dir, "data"),
		"--exec-root="+filepath.Join(o.dir, "exec"), "--pidfile="+filepath.Join(o.dir, "pid"), "--bridge="+o.bridge,
		"--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false", "--userland-proxy=false")
	o.cmd.Stdout, o.cmd.Stderr = o.log, o.log
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := o.cmd.Start(); err != nil {
		return err
	}
	o.done = make(chan struct{})
	go func() {
		_ = o.cmd.Wait()
		close(o.done)
	}()
	cli, err := client.NewClientWithOpts(client.WithHost(o.Host), client.WithAPIVersionNegotiation())
	if err != nil {
		return err
	}
	defer cli.Close()
	deadline := time.Now().Add(60 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_, err := cli.Info(ctx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-o.done:
			return errors.New("dockerd ended")
		case <-time.After(200 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// Stop ends the engine; its containers run on.
func (o *Own) Stop() {
	o.t.Helper()
	_ = o.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-o.done:
	case <-time.After(30 * time.Second):
		o.t.Fatal("the engine did not end within 30 s of SIGTERM")
	}
}

// Start starts the engine again.
func (o *Own) Start() {
	o.t.Helper()
	if err := o.run(); err != nil {
		o.t.Fatal(err)
	}
}

// cleanup ends the engine and its containerd and removes bridge and data. The
// containers were removed by Engine.Close, which runs before.
func (o *Own) cleanup() {
	if o.cmd != nil && o.cmd.Process != nil {
		_ = o.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-o.done:
		case <-time.After(30 * time.Second):
			_ = o.cmd.Process.Kill()
		}
		// With live-restore containerd outlives a killed dockerd; it is in its group.
		_ = syscall.Kill(-o.cmd.Process.Pid, syscall.SIGTERM)
	}
	_ = exec.Command("ip", "link", "del", o.bridge).Run()
	if o.log != nil {
		_ = o.log.Close()
	}
	for _, sub := range []string{"data", "exec"} { // what a killed engine left mounted
		out, _ := exec.Command("sh", "-c", `grep -o "$1[^ ]*" /proc/self/mounts | sort -r | xargs -r -n1 umount -l`, "sh", filepath.Join(o.dir, sub)).CombinedOutput()
		if len(bytes.TrimSpace(out)) > 0 {
			o.t.Logf("umount: %s", out)
		}
	}
	if err := os.RemoveAll(o.dir); err != nil {
		o.t.Logf("removing the engine's data: %v", err)
	}
}
