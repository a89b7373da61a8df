package server

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

func TestStaticReload(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		one, release := backend(t, "one")
		e := start(t, lane, strings.Replace(plain, "INFO", "ERROR", 1), routes("a.test", one))
		web := e.address("web")
		keep, err := net.Dial("tcp", web)
		if err != nil {
			t.Fatal(err)
		}
		defer keep.Close()

		// Added: an entry point, an access log, a log level; the rest is as before.
		access := filepath.Join(filepath.Dir(e.static), "access.log")
		second := strings.Replace(plain, "127.0.0.1:0\n", "127.0.0.1:0\n  more:\n    address: 127.0.0.1:0\n", 1)
		write(t, e.static, second+"accessLog:\n  filePath: "+access+"\n  fields: {headers: {defaultMode: keep}}\nping:\n  entryPoint: more\n")
		e.eventually("the new entry point serves", func() bool { return e.address("more") != "" && e.get("more", "a.test/") == "200 one" })
		if got := e.get("more", "x.test/ping"); got != "200 OK" {
			t.Errorf("ping at the new entry point: %s", got)
		}
		if e.address("web") != web {
			t.Error("the entry point that did not change moved")
		}
		e.eventually("requests are logged", func() bool {
			b, _ := os.ReadFile(access)
			return strings.Contains(string(b), "GET / HTTP/1.1") && strings.Contains(string(b), "Go-http-client")
		})
		e.eventually("the level is live", func() bool { return strings.Contains(e.log.String(), "static configuration reloaded") })

		// Removed again: what runs there finishes.
		more := e.address("more")
		slow := make(chan string)
		go func() { slow <- get(more, "a.test/slow") }()
		time.Sleep(100 * time.Millisecond)
		write(t, e.static, plain)
		e.eventually("the entry point is gone", func() bool {
			c, err := net.Dial("tcp", more)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		if got := e.get("web", "a.test/"); got != "200 one" {
			t.Errorf("the other entry point: %s", got)
		}
		if got := e.get("web", "x.test/ping"); !strings.HasPrefix(got, "404") {
			t.Errorf("ping is off: %s", got)
		}
		release()
		if got := <-slow; got != "200 one" {
			t.Errorf("the request that ran: %s", got)
		}
		// The connection of the beginning still works.
		if _, err := keep.Write([]byte("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		var b [4096]byte
		if n, _ := keep.Read(b[:]); !strings.HasPrefix(string(b[:n]), "HTTP/1.1 200 OK\r\n") {
			t.Errorf("the old connection: %q", b[:n])
		}
	})
}

func TestStaticReloadRouterSettings(t *testing.T) {
	one, _ := backend(t, "one")
	dynamic := routes("a.test", one) + "  middlewares:\n    hi:\n      headers:\n        customResponseHeaders:\n          X-Hi: there\n"
	e := start(t, "auto", plain, dynamic)
	header := func() string {
		r, _ := http.NewRequest(http.MethodGet, "http://"+e.address("web")+"/", nil)
		r.Host = "a.test"
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return err.Error()
		}
		resp.Body.Close()
		return resp.Header.Get("X-Hi")
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if got := header(); got != "" {
		t.Fatal(got)
	}
	write(t, e.static, strings.Replace(plain, "127.0.0.1:0\n", "127.0.0.1:0\n    http:\n      middlewares: [hi@file]\n", 1))
	e.eventually("the middleware of the entry point runs", func() bool { return header() == "there" })

	// Another file of routes replaces the first.
	other := filepath.Join(filepath.Dir(e.static), "other.yml")
	write(t, other, routes("b.test", one))
	write(t, e.static, strings.Replace(plain, "DYNAMIC", other, 1))
	e.eventually("the other file is read", func() bool { return e.get("web", "b.test/") == "200 one" })
	if got := e.get("web", "a.test/"); !strings.HasPrefix(got, "404") {
		t.Errorf("the first file is still read: %s", got)
	}
	write(t, e.static, strings.Replace(plain, "providers:\n  file:\n    filename: DYNAMIC\n", "", 1))
	e.eventually("without a provider there are no routes", func() bool { return strings.HasPrefix(e.get("web", "b.test/"), "404") })
}

func TestStaticReloadKeepsTheOldOnErrors(t *testing.T) {
	one, _ := backend(t, "one")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	e := start(t, "auto", plain, routes("a.test", one))
	for _, c := range []struct{ text, problem string }{
		{strings.Replace(plain, "log:", "lgo:", 1) + "entrypoint: x\n", ""}, // warnings only, or refused: either is said
		{strings.Replace(plain, "address:", "adress:", 1), ":4:5: entryPoints.web.adress: unknown key \"adress\"; did you mean entryPoints.web.address?"},
		{"entryPoints: [", "sluice.yml:"},
		{strings.Replace(plain, "providers:", "  more:\n    address: "+busy.Addr().String()+"\nproviders:", 1), ":6:5: entryPoints.more.address: "},
		{plain + "accessLog:\n  filePath: " + e.static + "/x\n", "access log"},
	} {
		write(t, e.static, c.text)
		if c.problem == "" {
			time.Sleep(3 * staticWatch)
		} else {
			e.eventually("problem "+c.problem, func() bool { return e.problem(c.problem) != nil })
		}
		if got := e.get("web", "a.test/"); got != "200 one" {
			t.Errorf("%s: %s", c.problem, got)
		}
		if names := e.points.Load().names(); len(names) != 1 {
			t.Errorf("entry points %v", names)
		}
	}
	write(t, e.static, plain)
	e.eventually("a good file clears the problems", func() bool { return len(e.runtime().Problems) == 0 })

	// What a start alone can change is named.
	write(t, e.static, strings.Replace(plain, "loops: 1", "loops: 2", 1)+"metrics:\n  prometheus: {entryPoint: web}\n")
	e.eventually("the rest is named", func() bool {
		return e.problem("sluice.loops: changed, and takes effect with the next start") != nil && e.problem("metrics.prometheus") != nil
	})
	if p := e.problem("sluice.loops"); p.Severity != config.Warning || !strings.Contains(p.Source, "sluice.yml:12:3") {
		t.Errorf("%+v", p)
	}
	write(t, e.static, plain)
	e.eventually("and not any more", func() bool { return len(e.runtime().Problems) == 0 })
}

// SIGHUP reads it again at once.
func TestReloadOnRequest(t *testing.T) {
	e := start(t, "handler", plain, "")
	write(t, e.static, strings.Replace(plain, "127.0.0.1:0\n", "127.0.0.1:0\n  more:\n    address: 127.0.0.1:0/udp\n", 1))
	begin := time.Now()
	e.Reload()
	e.eventually("the UDP entry point is open", func() bool { return len(e.points.Load().udp) == 1 })
	if d := time.Since(begin); d > 2*staticWatch {
		t.Errorf("took %v", d)
	}
	write(t, e.static, plain)
	e.Reload()
	e.eventually("and closed", func() bool { return len(e.points.Load().udp) == 0 })
}

func TestReloadStormEndsWithTheLast(t *testing.T) {
	one, _ := backend(t, "one")
	e := start(t, "auto", plain, routes("a.test", one))
	for i := range 10 {
		text := plain
		if i%2 == 0 {
			text = strings.Replace(plain, "127.0.0.1:0\n", "127.0.0.1:0\n  more:\n    address: 127.0.0.1:0\n", 1)
		}
		write(t, e.static, text)
		e.Reload()
		time.Sleep(10 * time.Millisecond)
	}
	e.eventually("one entry point is left", func() bool { return len(e.points.Load().tcp) == 1 })
	if got := e.get("web", "a.test/"); got != "200 one" {
		t.Error(got)
	}
}
