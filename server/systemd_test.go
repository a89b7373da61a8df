package server

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// socketOf is a listening socket as systemd passes it.
func socketOf(t *testing.T, l interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func listenTCP(t *testing.T) (*net.TCPListener, string) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return l, l.Addr().String()
}

func TestSocketActivation(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		one, _ := backend(t, "one")
		a, first := listenTCP(t)
		b, second := listenTCP(t)
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		files := map[string][]*os.File{"web": {socketOf(t, a), socketOf(t, b)}, "dns": {socketOf(t, u)}}
		a.Close()
		b.Close()
		u.Close()
		// The addresses of the configuration are not listened at: they belong to nobody here.
		static := strings.Replace(plain, "address: 127.0.0.1:0", "address: 192.0.2.1:80\n  dns:\n    address: 192.0.2.1:53/udp", 1)
		e := start(t, lane, static, routes("a.test", one), func(o *Options) { o.Sockets = files })
		for _, address := range []string{first, second} {
			if got := get(address, "a.test/"); got != "200 one" {
				t.Errorf("%s: %s", address, got)
			}
		}
		if got := e.points.Load().udp["dns"].Addr().String(); got != u.LocalAddr().String() {
			t.Errorf("UDP at %s", got)
		}
		e.stop()
		e.eventually("the sockets are closed", func() bool {
			c, err := net.Dial("tcp", first)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
	})
}

func TestSocketsOfNobody(t *testing.T) {
	l, _ := listenTCP(t)
	defer l.Close()
	e, err := build(t, "handler", plain, "", func(o *Options) { o.Sockets = map[string][]*os.File{"wbe": {socketOf(t, l)}} })
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "socket wbe: there is no entry point of this name") {
		t.Errorf("got %v", err)
	}
}

// tellSockets is what the program of TestSocketsFromTheEnvironment does.
func tellSockets() {
	files, err := Sockets(os.LookupEnv)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	var out []string
	for name, list := range files {
		for _, f := range list {
			l, err := net.FileListener(f)
			if err != nil {
				out = append(out, err.Error())
				continue
			}
			out = append(out, name+"="+l.Addr().String())
		}
	}
	slices.Sort(out)
	fmt.Println(strings.Join(out, " "))
}

func TestSocketsFromTheEnvironment(t *testing.T) {
	a, first := listenTCP(t)
	defer a.Close()
	b, second := listenTCP(t)
	defer b.Close()
	for _, c := range []struct{ env, want string }{
		{"LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:secure", "secure=" + second + " web=" + first},
		{"LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:web", ""},
		{"LISTEN_PID=1 LISTEN_FDS=2 LISTEN_FDNAMES=web:secure", ""},
		{"LISTEN_PID=$$ LISTEN_FDS=2", "error LISTEN_FDNAMES: 1 names for 2 sockets; set FileDescriptorName= to the entry point in every .socket unit"},
		{"LISTEN_PID=$$ LISTEN_FDS=x", `error LISTEN_FDS: "x" is no number of sockets`},
		{"", ""},
	} {
		want := c.want
		if strings.Contains(c.env, "web:web") {
			both := []string{"web=" + first, "web=" + second}
			slices.Sort(both)
			want = strings.Join(both, " ")
		}
		cmd := exec.Command("/bin/sh", "-c", c.env+` exec "$0"`, os.Args[0])
		if c.env == "" {
			cmd.Args[2] = `exec "$0"`
		}
		cmd.Env = append(os.Environ(), "SLUICE_TEST_SOCKETS=1")
		cmd.ExtraFiles = []*os.File{socketOf(t, a), socketOf(t, b)}
		out, err := cmd.Output()
		for _, f := range cmd.ExtraFiles {
			f.Close()
		}
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", c.env, got, err, want)
		}
	}
}

// systemd hears when routes are live, that the program is alive, of reloads and of the end.
func TestNotifications(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hear := func() string {
		var b [512]byte
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := c.Read(b[:])
		if err != nil {
			return err.Error()
		}
		return string(b[:n])
	}
	env := map[string]string{"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "100000"}
	e := start(t, "handler", plain, "", func(o *Options) {
		o.Lookup = func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	})
	if got := hear(); got != "READY=1" {
		t.Errorf("at the start: %s", got)
	}
	if e.table.Load() == nil {
		t.Error("ready before the first routes")
	}
	began := time.Now()
	for range 3 {
		if got := hear(); got != "WATCHDOG=1" {
			t.Errorf("then: %s", got)
		}
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("three signs of life took %v", d)
	}
	next := func() string {
		for {
			if got := hear(); got != "WATCHDOG=1" {
				return got
			}
		}
	}
	e.Reload()
	if got := next(); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Errorf("at a reload: %q", got)
	}
	if got := next(); got != "READY=1" {
		t.Errorf("after it: %q", got)
	}
	e.stop()
	if got := next(); got != "STOPPING=1" {
		t.Errorf("at the end: %q", got)
	}
}
