package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/provider"
)

// replay is an engine's API played back from what a real one said, for what a real one
// cannot be made to do here: many containers, silence, refusals, lost connections.
type replay struct {
	mu      sync.Mutex
	version string // API version
	inspect map[string]json.RawMessage
	list    []map[string]any
	asked   map[string]int // by path
	subs    map[chan string]string
	status  int // answered to everything, if set
	hang    bool
	listing func() // called while the list is made
	auth    string
}

// template is a recorded container.
func template(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/plain.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func newReplay(t testing.TB, n int) *replay {
	t.Helper()
	r := &replay{version: "1.41", inspect: map[string]json.RawMessage{}, asked: map[string]int{}, subs: map[chan string]string{}}
	tpl := template(t)
	for i := range n {
		r.add(tpl, i)
	}
	return r
}

func (r *replay) id(i int) string { return fmt.Sprintf("%064x", i+1) }

func (r *replay) add(tpl string, i int) string {
	id, name := r.id(i), fmt.Sprintf("app-%d", i)
	old := regexp.MustCompile(`"Id": "([0-9a-f]{64})"`).FindStringSubmatch(tpl)[1]
	text := strings.NewReplacer(old, id, "rec-plain", name, `"my_shop"`, `"shop"`, `"web"`, `"`+name+`"`,
		"172.17.0.2", fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)).Replace(tpl)
	var v struct {
		Config struct{ Labels map[string]string }
	}
	_ = json.Unmarshal([]byte(text), &v)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inspect[id] = json.RawMessage(text)
	r.list = append(r.list, map[string]any{"Id": id, "Names": []string{"/" + name}, "State": "running", "Status": "Up", "Labels": v.Config.Labels,
		"HostConfig": map[string]string{"NetworkMode": "default"}})
	return id
}

func (r *replay) emit(id, action string, attrs map[string]string) {
	typ := "container"
	if action == "connect" || action == "disconnect" {
		typ = "network"
	}
	m := map[string]any{"Type": typ, "Action": action, "Actor": map[string]any{"ID": id, "Attributes": attrs}, "time": time.Now().Unix()}
	b, _ := json.Marshal(m)
	r.mu.Lock()
	defer r.mu.Unlock()
	for c, filter := range r.subs {
		if strings.Contains(filter, typ) {
			c <- string(b)
		}
	}
}

func (r *replay) count(path string) int { r.mu.Lock(); defer r.mu.Unlock(); return r.asked[path] }

func (r *replay) set(f func()) { r.mu.Lock(); defer r.mu.Unlock(); f() }

var versionPrefix = regexp.MustCompile(`^/v([0-9.]+)`)

func (r *replay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	path := versionPrefix.ReplaceAllString(q.URL.Path, "")
	r.mu.Lock()
	r.asked[path]++
	status, hang, listing, version := r.status, r.hang, r.listing, r.version
	r.auth = q.Header.Get("Authorization")
	body, known := r.inspect[strings.TrimSuffix(strings.TrimPrefix(path, "/containers/"), "/json")]
	r.mu.Unlock()
	if hang {
		<-q.Context().Done()
		return
	}
	if status != 0 {
		http.Error(w, `{"message":"no"}`, status)
		return
	}
	if m := versionPrefix.FindStringSubmatch(q.URL.Path); m != nil && m[1] != version {
		http.Error(w, fmt.Sprintf(`{"message":"client version %s is too new. Maximum supported API version is %s"}`, m[1], version), http.StatusBadRequest)
		return
	}
	w.Header().Set("Api-Version", version)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case path == "/_ping":
		fmt.Fprint(w, "OK")
	case path == "/events":
		r.events(w, q)
	case path == "/containers/json":
		if listing != nil {
			listing()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		_ = json.NewEncoder(w).Encode(r.list)
	case known:
		_, _ = w.Write(body)
	default:
		http.Error(w, `{"message":"No such container"}`, http.StatusNotFound)
	}
}

func (r *replay) events(w http.ResponseWriter, q *http.Request) {
	c := make(chan string, 10000)
	r.mu.Lock()
	r.subs[c] = q.URL.Query().Get("filters")
	r.mu.Unlock()
	defer func() { r.mu.Lock(); delete(r.subs, c); r.mu.Unlock() }()
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case m, ok := <-c:
			if !ok {
				return
			}
			fmt.Fprintln(w, m)
			w.(http.Flusher).Flush()
		case <-q.Context().Done():
			return
		}
	}
}

// cut ends all streams of events.
func (r *replay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.subs {
		close(c)
		delete(r.subs, c)
	}
}

// serve serves until the providers that the test starts afterwards have ended.
func serve(t testing.TB, r *replay) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	return srv
}

// follow runs a Provider on an address.
func follow(t testing.TB, endpoint string, change func(*config.DockerProvider, *Options)) <-chan provider.Update {
	t.Helper()
	cfg := &config.DockerProvider{}
	cfg.SetDefaults()
	cfg.Endpoint = endpoint
	opts := Options{Log: zerolog.Nop()}
	if change != nil {
		change(cfg, &opts)
	}
	out := make(chan provider.Update)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- New(cfg, opts).Run(ctx, out) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return out
}

// next takes updates until ok says yes.
func next(t testing.TB, out <-chan provider.Update, what string, ok func(provider.Update) bool) provider.Update {
	t.Helper()
	limit := time.After(40 * time.Second)
	for {
		select {
		case u := <-out:
			if ok(u) {
				return u
			}
		case <-limit:
			t.Fatalf("no update with %s", what)
		}
	}
}

func has(n int) func(provider.Update) bool {
	return func(u provider.Update) bool { return u.Config != nil && len(u.Config.HTTP.Routers) == n }
}

func trouble(u provider.Update) bool {
	return u.Config == nil && codes(u.Problems) == config.CodeUnreachable
}

func TestOneEventAsksForOneContainer(t *testing.T) {
	r := newReplay(t, 100)
	srv := serve(t, r)
	out := follow(t, srv.URL, nil)
	next(t, out, "all", has(100))
	r.set(func() { clear(r.asked) })
	id := r.add(template(t), 100)
	r.emit(id, "start", map[string]string{"name": "app-100"})
	next(t, out, "the new one", has(101))
	if n := r.count("/containers/" + id + "/json"); n != 1 || len(r.asked) != 1 {
		t.Errorf("asked %v", r.asked)
	}
	// What events say by themselves asks nothing.
	r.set(func() { clear(r.asked) })
	r.emit(id, "kill", map[string]string{"signal": "15"})
	r.emit(id, "die", nil)
	r.emit(r.id(3), "pause", nil)
	r.emit(r.id(4), "health_status: unhealthy", nil)
	r.emit(r.id(5), "rename", map[string]string{"name": "/other"})
	r.emit(r.id(6), "exec_start: sh", nil)
	next(t, out, "a pause", func(u provider.Update) bool {
		s := u.Config.HTTP.Services
		return s["app-100-shop"].LoadBalancer.Servers == nil && s["app-3-shop"].LoadBalancer.Servers[0].Fenced && s["app-4-shop"].LoadBalancer.Servers[0].Fenced &&
			s["app-4-shop"].LoadBalancer.Sick && !s["app-3-shop"].LoadBalancer.Sick
	})
	if len(r.asked) != 0 {
		t.Errorf("asked %v", r.asked)
	}
}

func TestNothingFallsBetweenSubscriptionAndList(t *testing.T) {
	r := newReplay(t, 1)
	srv := serve(t, r)
	tpl := template(t)
	r.listing = func() {
		// A container starts right after the engine made the list.
		r.mu.Lock()
		r.listing = nil
		old := r.list
		r.mu.Unlock()
		id := r.add(tpl, 1)
		r.set(func() { r.list = old })
		r.emit(id, "start", nil)
	}
	next(t, follow(t, srv.URL, nil), "the one that the list lacks", has(2))
}

func TestEngineGoesAndComesBack(t *testing.T) {
	r := newReplay(t, 2)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	srv := httptest.NewUnstartedServer(r)
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	var log logLines
	out := follow(t, "tcp://"+addr, func(_ *config.DockerProvider, o *Options) { o.Log = zerolog.New(&log).Level(zerolog.WarnLevel) })
	next(t, out, "both", has(2))
	r.cut()
	srv.CloseClientConnections()
	srv.Close()
	u := next(t, out, "the trouble", trouble)
	if u.Problems[0].Suggestion == "" || !strings.Contains(u.Problems[0].Source, addr) {
		t.Errorf("%+v", u.Problems[0])
	}
	stop := time.After(1200 * time.Millisecond)
	for more := true; more; {
		select {
		case <-out:
		case <-stop:
			more = false
		}
	}
	r.add(template(t), 2)
	r.version = "1.47" // upgraded meanwhile
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Skip(err)
	}
	srv = httptest.NewUnstartedServer(r)
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	defer func() { srv.CloseClientConnections(); srv.Close() }()
	next(t, out, "all three", has(3))
	if n := log.count(); n < 2 || n > 8 {
		t.Errorf("%d lines of log for a second of trouble, want one for each pause", n)
	}
}

type logLines struct {
	mu sync.Mutex
	n  int
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	return len(p), nil
}
func (l *logLines) count() int { l.mu.Lock(); defer l.mu.Unlock(); return l.n }

func TestRefusalsSayWhatToDo(t *testing.T) {
	r := newReplay(t, 1)
	srv := serve(t, r)
	r.status = 403
	u := next(t, follow(t, srv.URL, nil), "a refusal", trouble)
	if !strings.Contains(u.Problems[0].Suggestion, "socket proxy") {
		t.Errorf("403: %+v", u.Problems[0])
	}
	u = next(t, follow(t, "unix://"+t.TempDir()+"/none.sock", nil), "no socket", trouble)
	if !strings.Contains(u.Problems[0].Suggestion, "mount the socket") {
		t.Errorf("no socket: %+v", u.Problems[0])
	}
	u = next(t, follow(t, "tcp://127.0.0.1:1", nil), "nobody", trouble)
	if !strings.Contains(u.Problems[0].Suggestion, "start the engine") {
		t.Errorf("nobody there: %+v", u.Problems[0])
	}
}

func TestSilentEngineIsGivenUp(t *testing.T) {
	r := newReplay(t, 1)
	srv := serve(t, r)
	r.hang = true
	start := time.Now()
	out := follow(t, srv.URL, func(c *config.DockerProvider, _ *Options) {
		c.HTTPClientTimeout = config.Duration(200 * time.Millisecond)
	})
	next(t, out, "trouble", trouble)
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("given up after %v", d)
	}
	r.set(func() { r.hang = false })
	next(t, out, "the container", has(1))
}

func TestAPIVersionAndCredentials(t *testing.T) {
	r := newReplay(t, 1)
	srv := serve(t, r)
	for _, version := range []string{"1.40", "1.41", "1.44", "1.51"} {
		r.set(func() { r.version = version })
		out := follow(t, srv.URL, func(c *config.DockerProvider, _ *Options) { c.Username, c.Password = "u", "p" })
		next(t, out, "the container at "+version, has(1))
	}
	r.set(func() {
		if r.auth != "Basic dTpw" {
			t.Errorf("Authorization: %q", r.auth)
		}
	})
	t.Setenv("DOCKER_API_VERSION", "1.44")
	r.set(func() { r.version = "1.44" })
	next(t, follow(t, srv.URL, nil), "the container by a fixed version", has(1))
	t.Setenv("DOCKER_API_VERSION", "1.51")
	u := next(t, follow(t, srv.URL, nil), "trouble", trouble)
	if !strings.Contains(u.Problems[0].Suggestion, "DOCKER_API_VERSION") {
		t.Errorf("%+v", u.Problems[0])
	}
}

func TestFailedInspectionIsRepeated(t *testing.T) {
	r := newReplay(t, 1)
	srv := serve(t, r)
	out := follow(t, srv.URL, nil)
	next(t, out, "one", has(1))
	id := r.add(template(t), 1)
	r.set(func() { r.status = 500 })
	r.emit(id, "start", nil)
	u := next(t, out, "a problem", func(u provider.Update) bool { return len(u.Problems) == 1 })
	if !has(1)(u) || u.Problems[0].Code != config.CodeUnreachable {
		t.Errorf("%v", u.Problems)
	}
	r.set(func() { r.status = 0 })
	u = next(t, out, "both", has(2))
	if len(u.Problems) != 0 {
		t.Errorf("%v", u.Problems)
	}
}

func TestBadEndpoints(t *testing.T) {
	for _, e := range []string{"ftp://x", "tcp://", "://", "ssh://"} {
		cfg := &config.DockerProvider{}
		cfg.SetDefaults()
		cfg.Endpoint = e
		if err := New(cfg, Options{}).Run(t.Context(), nil); err == nil {
			t.Errorf("%s: no error", e)
		}
	}
}

func TestEnvironmentNamesTheEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
	e := &config.Engine{}
	e.SetDefaults()
	if cli, endpoint, err := NewClient(e); err != nil || endpoint != "tcp://192.0.2.1:2375" || cli.DaemonHost() != endpoint {
		t.Error(endpoint, err)
	}
	e.Endpoint = "unix:///x.sock"
	if _, endpoint, _ := NewClient(e); endpoint != "unix:///x.sock" {
		t.Error("DOCKER_HOST beats the configured endpoint")
	}
}

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestTenThousand prints how long 10,000 containers take, and one event among them.
func TestTenThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	n := 10000
	if testnet.RaceDetector {
		n /= 10
	}
	r := newReplay(t, n)
	srv := serve(t, r)
	start, used := time.Now(), cpu()
	out := follow(t, srv.URL, nil)
	next(t, out, "all", has(n))
	t.Logf("first update of %d containers after %v (%v of CPU, the replaying engine's included)", n, time.Since(start).Round(time.Millisecond), (cpu() - used).Round(time.Millisecond))
	var took []time.Duration
	tpl := template(t)
	for i := range 20 {
		id := r.add(tpl, n+i)
		start := time.Now()
		r.emit(id, "start", nil)
		next(t, out, "the new one", has(n+i+1))
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("from an event to the update: median %v, worst %v", took[len(took)/2], took[len(took)-1])
}
