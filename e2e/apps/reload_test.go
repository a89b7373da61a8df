package apps

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
)

const stateFile = `
http:
  routers:
    rate: {rule: Host("rate"), service: one, middlewares: [rate]}
    flight: {rule: Host("flight"), service: slow, middlewares: [flight]}
    breaker: {rule: Host("breaker"), service: moody, middlewares: [breaker]}
    passive: {rule: Host("passive"), service: passive}
    active: {rule: Host("active"), service: active}
    turn: {rule: Host("turn"), service: three}
    weighted: {rule: Host("weighted"), service: weighted}
    sticky: {rule: Host("sticky"), service: sticky}
    change@: {rule: Host("change@"), service: one}
  services:
    three: {loadBalancer: {servers: [{url: "@0"}, {url: "@1"}, {url: "@2"}]}}
    sticky: {loadBalancer: {servers: [{url: "@0"}, {url: "@1"}, {url: "@2"}], sticky: {cookie: {name: at}}}}
    zero: {loadBalancer: {servers: [{url: "@0"}]}}
    one: {loadBalancer: {servers: [{url: "@1"}]}}
    weighted: {weighted: {services: [{name: zero, weight: 2}, {name: one, weight: 1}]}}
    slow: {loadBalancer: {servers: [{url: "@slow"}]}}
    moody: {loadBalancer: {servers: [{url: "@moody"}]}}
    passive: {loadBalancer: {servers: [{url: "@moody"}], passiveHealthCheck: {failureWindow: 1h, maxFailedAttempts: 1}}}
    active: {loadBalancer: {servers: [{url: "@moody"}], healthCheck: {path: /health, interval: 1h}}}
  middlewares:
    rate: {rateLimit: {average: 1, period: 1h, burst: 2}}
    flight: {inFlightReq: {amount: 1}}
    breaker: {circuitBreaker: {expression: "ResponseCodeRatio(500, 600, 0, 600) > 0.2", checkPeriod: 10ms, fallbackDuration: 1h}}
tcp:
  routers:
    conn: {rule: HostSNI("*"), service: echo, entryPoints: [tcp], middlewares: [conn]}
  services:
    echo: {loadBalancer: {servers: [{address: "@echo"}]}}
  middlewares:
    conn: {inFlightConn: {amount: 1}}
`

// stateful is an edge whose file is written anew while its objects remember things.
type stateful struct {
	web, tcp, file, text string
	changes              int
	failing              atomic.Bool   // the moody server
	held                 chan struct{} // a request has reached the slow server
	release              chan struct{}
}

// TestStateSurvivesReloads changes the file by a router that has nothing to do with the
// others: what they remember stays.
func TestStateSurvivesReloads(t *testing.T) {
	inLanes(t, func(t *testing.T, env []string) {
		s := startStateful(t, env)
		s.reload(t)
		checks := map[string]func(*testing.T) func(*testing.T){
			"rateLimit": s.rate, "inFlightReq": s.flight, "circuitBreaker": s.breaker, "passive health": s.passive,
			"round robin": s.turns, "weighted": s.weighted, "sticky": s.sticky, "inFlightConn": s.conn, "active health": s.active,
		}
		var after []func(*testing.T)
		for name, before := range checks {
			then := before(t)
			after = append(after, func(t *testing.T) { t.Run(name, then) })
		}
		s.reload(t)
		for _, check := range after {
			check(t)
		}
	})
}

func startStateful(t *testing.T, env []string) *stateful {
	s := &stateful{web: testnet.FreeAddr(t), tcp: testnet.FreeAddr(t), held: make(chan struct{}, 1), release: make(chan struct{})}
	server := func(h http.HandlerFunc) string {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return srv.URL
	}
	var replace []string
	for i := range 3 {
		replace = append(replace, fmt.Sprint("@", i), server(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, i) }))
	}
	s.failing.Store(true)
	replace = append(replace, "@moody", server(func(w http.ResponseWriter, r *http.Request) {
		if s.failing.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}), "@slow", server(func(_ http.ResponseWriter, r *http.Request) {
		s.held <- struct{}{}
		<-s.release
	}), "@echo", echo(t))
	s.text = strings.NewReplacer(replace...).Replace(stateFile)
	dir := t.TempDir()
	s.file = filepath.Join(dir, "routes.yml")
	s.write(t)
	edge := start(t, dir, env, binary, "--providers.file.filename="+s.file, "--entrypoints.web.address="+s.web, "--entrypoints.tcp.address="+s.tcp)
	edge.up(t, s.tcp)
	return s
}

func (s *stateful) write(t *testing.T) {
	t.Helper()
	s.changes++
	next := s.file + ".next"
	if err := os.WriteFile(next, []byte(strings.ReplaceAll(s.text, "@", fmt.Sprint(s.changes))), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, s.file); err != nil {
		t.Fatal(err)
	}
}

// reload writes the file with another router and waits until that is live.
func (s *stateful) reload(t *testing.T) {
	t.Helper()
	s.write(t)
	testnet.Eventually(t, 20*time.Second, func() error {
		if status, _, _ := s.ask(fmt.Sprint("change", s.changes), ""); status != 200 {
			return fmt.Errorf("the change is not live: %d", status)
		}
		return nil
	})
}

// ask returns the status, the body and the cookie of an answer.
func (s *stateful) ask(host, cookie string) (status int, body, set string) {
	req, err := http.NewRequest(http.MethodGet, "http://"+s.web+"/", nil)
	if err != nil {
		return 0, err.Error(), ""
	}
	req.Host = host
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error(), ""
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	set, _, _ = strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	return resp.StatusCode, string(b), set
}

func (s *stateful) expect(t *testing.T, host string, want int) {
	t.Helper()
	if status, _, _ := s.ask(host, ""); status != want {
		t.Errorf("%s: %d, want %d", host, status, want)
	}
}

// becomes waits until host answers with a status.
func (s *stateful) becomes(t *testing.T, host string, want int) {
	t.Helper()
	testnet.Eventually(t, 20*time.Second, func() error {
		if status, _, _ := s.ask(host, ""); status != want {
			return fmt.Errorf("%s: %d, want %d", host, status, want)
		}
		return nil
	})
}

func (s *stateful) rate(t *testing.T) func(*testing.T) {
	s.expect(t, "rate", 200)
	s.expect(t, "rate", 200)
	s.expect(t, "rate", 429)
	return func(t *testing.T) { s.expect(t, "rate", 429) }
}

func (s *stateful) flight(t *testing.T) func(*testing.T) {
	first := make(chan int)
	go func() {
		status, _, _ := s.ask("flight", "")
		first <- status
	}()
	<-s.held
	s.expect(t, "flight", 429)
	return func(t *testing.T) {
		s.expect(t, "flight", 429)
		close(s.release)
		if status := <-first; status != 200 {
			t.Errorf("the request that was held: %d", status)
		}
		s.becomes(t, "flight", 200)
	}
}

func (s *stateful) breaker(t *testing.T) func(*testing.T) {
	s.becomes(t, "breaker", 503)
	return func(t *testing.T) { s.expect(t, "breaker", 503) }
}

func (s *stateful) passive(t *testing.T) func(*testing.T) {
	s.expect(t, "passive", 500)
	s.becomes(t, "passive", 503) // the failure counts once its answer has been sent
	return func(t *testing.T) { s.expect(t, "passive", 503) }
}

// active lets the server fail its first check, and work for ever after: nobody asks it again
// within the hour.
func (s *stateful) active(t *testing.T) func(*testing.T) {
	s.becomes(t, "active", 503)
	return func(t *testing.T) { s.expect(t, "active", 503) }
}

// round asks n times and returns who answered, sorted.
func (s *stateful) round(host string, n int) string {
	var all []string
	for range n {
		_, body, _ := s.ask(host, "")
		all = append(all, body)
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

func (s *stateful) turns(*testing.T) func(*testing.T) {
	begun := s.round("turn", 2)
	return func(t *testing.T) {
		got := []byte(begun + s.round("turn", 1))
		if slices.Sort(got); string(got) != "012" {
			t.Errorf("two requests before and one after went to %s", got)
		}
	}
}

func (s *stateful) weighted(*testing.T) func(*testing.T) {
	begun := s.round("weighted", 1)
	return func(t *testing.T) {
		got := []byte(begun + s.round("weighted", 2))
		if slices.Sort(got); string(got) != "001" {
			t.Errorf("one request before and two after went to %s", got)
		}
	}
}

func (s *stateful) sticky(t *testing.T) func(*testing.T) {
	_, at, cookie := s.ask("sticky", "")
	return func(t *testing.T) {
		for range 4 {
			if _, got, set := s.ask("sticky", cookie); got != at || set != "" {
				t.Errorf("stuck to %s by %s, now at %s with %q", at, cookie, got, set)
			}
		}
	}
}

// echo serves connections that give back what they get.
func echo(t *testing.T) string {
	t.Helper()
	return testnet.Accept(t, time.Minute, func(c net.Conn) { _, _ = io.Copy(c, c) })
}

// conn holds a connection where one is allowed. It may take a moment until one that was
// closed before does not count any more.
func (s *stateful) conn(t *testing.T) func(*testing.T) {
	served := func(c net.Conn) error {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			return err
		}
		_, err := bufio.NewReader(c).ReadString('\n')
		return err
	}
	open := func(t *testing.T) (c net.Conn) {
		testnet.Eventually(t, 20*time.Second, func() (err error) {
			if c, err = net.Dial("tcp", s.tcp); err != nil {
				return err
			}
			if err = served(c); err != nil {
				_ = c.Close()
			}
			return err
		})
		return c
	}
	refused := func(t *testing.T) {
		c, err := net.Dial("tcp", s.tcp)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if served(c) == nil {
			t.Error("a second connection is served")
		}
	}
	held := open(t)
	refused(t)
	return func(t *testing.T) {
		refused(t)
		if err := served(held); err != nil {
			t.Errorf("the connection that is held: %v", err)
		}
		_ = held.Close()
		_ = open(t).Close()
	}
}
