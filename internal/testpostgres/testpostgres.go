// Package testpostgres runs a real PostgreSQL server inside a test.
package testpostgres

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Start starts a server that ends with the test and returns its address. Without
// PostgreSQL, or as root without a user to run it, the test is skipped.
func Start(t testing.TB) string {
	t.Helper()
	initdb, postgres := find(t, "initdb"), find(t, "postgres")
	dir, err := os.MkdirTemp("", "testpostgres") // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cred := unprivileged(t, dir)
	data := filepath.Join(dir, "data")
	run := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(name, args...) //nolint:gosec // a server of this machine
		c.Dir, c.SysProcAttr = dir, &syscall.SysProcAttr{Credential: cred}
		return c
	}
	if out, err := run(initdb, "-D", data, "-U", "edge", "-A", "trust", "-N", "--no-instructions").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	_ = l.Close()
	server := run(postgres, "-D", data, "-p", port, "-h", "127.0.0.1", "-k", dir, "-F", "-c", "shared_buffers=8MB", "-c", "max_connections=40")
	var log bytes.Buffer
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGQUIT) // at once
		_ = server.Wait()
	})
	ready := func() bool {
		b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
		return err == nil && strings.Contains(string(b), "ready")
	}
	for end := time.Now().Add(20 * time.Second); !ready(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("PostgreSQL does not start:\n%s", log.String())
		}
	}
	return "postgres://edge@127.0.0.1:" + port + "/postgres?sslmode=disable"
}

// find looks for a program of PostgreSQL in the path and where Debian puts it.
func find(t testing.TB, name string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	slices.Sort(found)
	if len(found) > 0 {
		return found[len(found)-1]
	}
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skip("PostgreSQL is not installed")
	}
	return p
}

// unprivileged gives dir to a user that may run the server, where that is not ourselves.
func unprivileged(t testing.TB, dir string) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			t.Skipf("no user to run PostgreSQL: %v", err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Skip("no user to run PostgreSQL")
	return nil
}
