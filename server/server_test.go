package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
)

const plain = `
entryPoints:
  web:
    address: 127.0.0.1:0
providers:
  file:
    filename: DYNAMIC
log:
  level: INFO
sluice:
  lane: LANE
  loops: 1
`

func TestServeReloadAndStop(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		one, releaseOne := backend(t, "one")
		two, _ := backend(t, "two")
		e := start(t, lane, plain, routes("a.test", one))
		if got := e.get("web", "a.test/"); got != "200 one" {
			t.Fatal(got)
		}
		if got := e.get("web", "b.test/"); got != "404 404 page not found" {
			t.Error(got)
		}
		write(t, e.dynamic, routes("a.test", one, "b.test", two))
		e.eventually("a new route is live", func() bool { return e.get("web", "b.test/") == "200 two" })

		write(t, e.dynamic, "http:\n  routers:\n    a: {rule: [\n")
		e.eventually("the broken file is a problem", func() bool { return e.problem(e.dynamic+":") != nil })
		if got := e.get("web", "b.test/"); got != "200 two" {
			t.Errorf("after a broken file: %s", got)
		}

		write(t, e.dynamic, strings.Replace(routes("a.test", one), "rule: Host(`a.test`)", "rule: Host(`a.test`", 1)+
			"    never:\n      loadBalancer:\n        servers: []\n")
		e.eventually("a broken rule costs its router only", func() bool { return e.get("web", "a.test/") == "404 404 page not found" })
		write(t, e.dynamic, routes("a.test", one))
		e.eventually("it comes back", func() bool { return e.get("web", "a.test/") == "200 one" })

		// A request that is being answered finishes; new connections are refused.
		address := e.address("web")
		slow := make(chan string)
		go func() { slow <- get(address, "a.test/slow") }()
		e.eventually("the slow request runs", func() bool { return e.points.Load().tcp[0].Open() > 0 })
		time.Sleep(50 * time.Millisecond)
		e.stop()
		e.eventually("nothing new is taken", func() bool {
			c, err := net.Dial("tcp", address)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		releaseOne()
		if got := <-slow; got != "200 one" {
			t.Errorf("the request that ran at the stop: %s", got)
		}
	})
}

func TestPortInUse(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		e, err := build(t, lane, strings.Replace(plain, "127.0.0.1:0", l.Addr().String(), 1), "")
		if err != nil {
			t.Fatal(err)
		}
		err = e.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "entry point web") || !strings.Contains(err.Error(), "address already in use") ||
			!strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "set another entryPoints.web.address") {
			t.Errorf("got %v", err)
		}
		if n := strings.Count(err.Error(), "entry point web"); n != 1 {
			t.Errorf("the entry point is named %d times: %v", n, err)
		}
	})
}

func TestSeveralAddressesAndIPv6(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here")
	} else {
		l.Close()
	}
	both(t, func(t *testing.T, lane string) {
		one, _ := backend(t, "one")
		e := start(t, lane, strings.Replace(plain, "address: 127.0.0.1:0",
			"address: 127.0.0.1:0\n    sluiceAddresses: [\"[::1]:0\", \"127.0.0.2:0\", \":0\"]", 1), routes("a.test", one))
		addrs := e.points.Load().tcp[0].Addrs()
		if len(addrs) != 4 {
			t.Fatalf("listens at %v", addrs)
		}
		for _, a := range addrs {
			if got := get(a.String(), "a.test/"); got != "200 one" {
				t.Errorf("%s: %s", a, got)
			}
		}
		_, port, _ := net.SplitHostPort(addrs[3].String())
		for _, host := range []string{"127.0.0.1", "::1"} { // both families
			if got := get(net.JoinHostPort(host, port), "a.test/"); got != "200 one" {
				t.Errorf("%s: %s", host, got)
			}
		}
	})
}

// Every server gives back what it took: descriptors too.
func TestNothingIsLeftOpen(t *testing.T) {
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(list)
	}
	both(t, func(t *testing.T, lane string) {
		one, _ := backend(t, "one")
		var before int
		for i := range 3 {
			e, err := build(t, lane, plain, routes("a.test", one))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() { e.ended <- e.Run(ctx) }()
			e.eventually("it answers", func() bool { return e.get("web", "a.test/") == "200 one" })
			cancel()
			if err := <-e.ended; err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				before = count()
			}
		}
		var after int
		e := &edge{t: t, log: &testnet.Output{}}
		e.eventually(fmt.Sprintf("no more than %d descriptors", before), func() bool { after = count(); return after <= before })
	})
}
