// Package testredis runs a real Redis (or Valkey) server inside a test.
package testredis

import (
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// Server is a server on a port of its own, without persistence: a restart loses everything.
type Server struct {
	// URL of the server.
	URL string

	t    testing.TB
	name string
	port string
	cmd  *exec.Cmd
}

// Start starts a server that ends with the test. Without redis-server or valkey-server the
// test is skipped.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t}
	for _, n := range []string{"redis-server", "valkey-server"} {
		if p, err := exec.LookPath(n); err == nil {
			s.name = p
			break
		}
	}
	if s.name == "" {
		t.Skip("neither redis-server nor valkey-server is installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	_ = l.Close()
	s.URL = "redis://127.0.0.1:" + s.port
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts the server again on its port.
func (s *Server) Start() {
	s.t.Helper()
	s.cmd = exec.Command(s.name, "--port", s.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no") //nolint:gosec // a server of this machine
	s.cmd.Dir = s.t.TempDir()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+s.port)
		if err == nil {
			_ = c.Close()
			return
		}
	}
	s.t.Fatal("redis-server does not listen")
}

// Stop kills the server.
func (s *Server) Stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}
