package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a Provider that sends what the test gives it.
type script struct {
	name    string
	in      chan Update
	err     error
	reloads int
}

func (s *script) Name() string { return s.name }
func (s *script) Reload()      { s.reloads++ }
func (s *script) Run(ctx context.Context, out chan<- Update) error {
	if s.err != nil {
		return s.err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case u := <-s.in:
			u.Provider = s.name
			select {
			case out <- u:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

func routers(names ...string) *config.Dynamic {
	h := &config.HTTP{Routers: map[string]*config.Router{}}
	for _, n := range names {
		h.Routers[n] = &config.Router{Rule: "Host(`" + n + "`)", Service: "s", Middlewares: []string{"m"}}
	}
	return &config.Dynamic{HTTP: h}
}

func names(m *Merged) string {
	var out []string
	for n := range m.Config.HTTP.Routers {
		out = append(out, n)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// run starts a Manager in a bubble and gives its publications.
func run(t *testing.T, throttle time.Duration, cost time.Duration, ps ...Provider) <-chan *Merged {
	t.Helper()
	got := make(chan *Merged, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	m := NewManager(Options{Log: zerolog.Nop(), Throttle: throttle}, ps...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx, func(m *Merged) { time.Sleep(cost); got <- m })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return got
}

func TestFirstChangeGoesAtOnceAndABurstIsMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &script{name: "docker", in: make(chan Update)}
		got := run(t, -1, 0, p)
		start := time.Now()
		p.in <- Update{Config: routers("a"), At: start}
		if m := <-got; names(m) != "a@docker" || time.Since(start) != 0 || !m.At.Equal(start) {
			t.Fatalf("first change: %s after %v, at %v", names(m), time.Since(start), m.At)
		}
		time.Sleep(time.Minute)

		start = time.Now()
		var all []string
		for i := range 50 { // 50 changes, 1 ms apart
			all = append(all, fmt.Sprint("r", i))
			p.in <- Update{Config: routers(all...), At: time.Now()}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		close(p.in)
		n := len(got)
		first := <-got
		if first.At != start || len(first.Config.HTTP.Routers) != 1 {
			t.Errorf("first of the burst: %d routers, %v late", len(first.Config.HTTP.Routers), first.At.Sub(start))
		}
		if n != 4 { // 0, 20, 40 and 60 ms
			t.Errorf("%d publications for a burst of 50 ms, want 4", n)
		}
		var last *Merged
		for range n - 1 {
			last = <-got
		}
		if len(last.Config.HTTP.Routers) != 50 {
			t.Errorf("last publication has %d routers, want 50", len(last.Config.HTTP.Routers))
		}
	})
}

func TestPauseFollowsCostAndThrottle(t *testing.T) {
	for _, c := range []struct{ throttle, took, want time.Duration }{
		{-1, 0, 20 * time.Millisecond},
		{-1, 15 * time.Millisecond, 30 * time.Millisecond},
		{-1, time.Second, 50 * time.Millisecond},
		{2 * time.Second, time.Second, 50 * time.Millisecond}, // the reference's default delays nothing
		{10 * time.Millisecond, time.Second, 10 * time.Millisecond},
		{0, time.Second, 0},
	} {
		m := NewManager(Options{Throttle: c.throttle})
		if got := m.pause(c.took); got != c.want {
			t.Errorf("throttle %v, publishing took %v: pause %v, want %v", c.throttle, c.took, got, c.want)
		}
	}
}

func TestNothingNewIsNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &script{name: "file", in: make(chan Update)}
		got := run(t, -1, 0, p)
		problem := []config.Problem{{Source: "x", Code: config.CodeUnknownKey}}
		p.in <- Update{Config: routers("a"), Problems: problem}
		<-got
		p.in <- Update{Config: routers("a"), Problems: slices.Clone(problem)} // equal, other pointers
		time.Sleep(time.Second)
		if len(got) != 0 {
			t.Errorf("an equal state was published: %v", <-got)
		}
		p.in <- Update{Config: routers("a")} // the problem is gone
		if m := <-got; len(m.Problems) != 0 {
			t.Errorf("problems kept: %v", m.Problems)
		}
	})
}

func TestTroubleKeepsTheLastGoodState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &script{name: "docker", in: make(chan Update)}
		got := run(t, -1, 0, p)
		p.in <- Update{Config: routers("a"), Problems: []config.Problem{{Code: config.CodeMissingPort}}}
		<-got
		p.in <- Update{Problems: []config.Problem{{Code: config.CodeUnreachable}}}
		m := <-got
		if names(m) != "a@docker" || len(m.Problems) != 2 {
			t.Fatalf("while the engine is away: %s, %v", names(m), m.Problems)
		}
		if m.Problems[1].Provider != "docker" {
			t.Errorf("problem without its provider: %+v", m.Problems[1])
		}
		p.in <- Update{Config: routers("a"), Problems: []config.Problem{{Code: config.CodeMissingPort}}}
		if m := <-got; len(m.Problems) != 1 {
			t.Errorf("after its return: %v", m.Problems)
		}
	})
}

func TestStartWaitsForAllProvidersButNotForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &script{name: "docker", in: make(chan Update)}, &script{name: "file", in: make(chan Update)}
		got := run(t, -1, 0, a, b)
		start := time.Now()
		a.in <- Update{Config: routers("a")}
		time.Sleep(100 * time.Millisecond)
		b.in <- Update{Config: routers("b")}
		m := <-got
		if names(m) != "a@docker b@file" || time.Since(start) != 100*time.Millisecond || m.Pending != nil {
			t.Errorf("first state %q after %v, pending %v", names(m), time.Since(start), m.Pending)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a, b := &script{name: "docker", in: make(chan Update)}, &script{name: "file", in: make(chan Update)}
		got := run(t, -1, 0, a, b)
		start := time.Now()
		m := <-got
		if d := time.Since(start); d != startGrace || len(m.Pending) != 2 {
			t.Errorf("silent providers: published after %v, pending %v", d, m.Pending)
		}
		time.Sleep(time.Second)
		start = time.Now()
		b.in <- Update{Config: routers("b")}
		if m = <-got; time.Since(start) != 0 || !slices.Equal(m.Pending, []string{"docker"}) {
			t.Errorf("published after %v, pending %v", time.Since(start), m.Pending)
		}
	})
}

func TestSlowPublicationDoesNotBlockProviders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &script{name: "docker", in: make(chan Update)}
		got := run(t, -1, time.Second, p)
		start := time.Now()
		for i := range 20 {
			p.in <- Update{Config: routers(fmt.Sprint(i))}
		}
		if time.Since(start) != 0 {
			t.Errorf("provider waited %v", time.Since(start))
		}
		<-got
		if m := <-got; names(m) != "19@docker" {
			t.Errorf("second publication %s, want the newest state", names(m))
		}
	})
}

func TestFailedProviderIsAProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := &script{name: "bad", err: errors.New("endpoint \"x\" is no address")}
		good := &script{name: "good", in: make(chan Update)}
		got := run(t, -1, 0, bad, good)
		good.in <- Update{Config: routers("a")}
		m := <-got
		if names(m) != "a@good" || len(m.Problems) != 1 || m.Problems[0].Provider != "bad" {
			t.Errorf("%s, %v", names(m), m.Problems)
		}
	})
}

func TestUnchangedMapsAreTakenOver(t *testing.T) {
	m := NewManager(Options{}, &script{name: "docker"})
	c := routers("a", "b")
	c.HTTP.Services = map[string]*config.Service{"s": {}}
	m.take(Update{Provider: "docker", Config: c})
	one := m.merged()
	d := &config.Dynamic{HTTP: &config.HTTP{
		Routers:  c.HTTP.Routers,
		Services: map[string]*config.Service{"s": {LoadBalancer: &config.LoadBalancer{}}},
	}}
	m.take(Update{Provider: "docker", Config: d})
	two := m.merged()
	if one.Config.HTTP.Routers["a@docker"] != two.Config.HTTP.Routers["a@docker"] {
		t.Error("an unchanged router was copied")
	}
	if two.Config.HTTP.Services["s@docker"].LoadBalancer == nil {
		t.Error("the changed service was not taken")
	}
}

func TestSharedTLSObjects(t *testing.T) {
	m := NewManager(Options{}, &script{name: "b"}, &script{name: "a"})
	tls := func(min string) *config.Dynamic {
		return &config.Dynamic{TLS: &config.TLS{
			Certificates: []config.StoreCertificate{{CertFile: config.FileOrContent(min)}},
			Options:      map[string]*config.TLSOptions{"default": {MinVersion: min}, "own": {}},
			Stores:       map[string]*config.TLSStore{"default": {}},
		}}
	}
	m.take(Update{Provider: "b", Config: tls("VersionTLS12")})
	m.take(Update{Provider: "a", Config: tls("VersionTLS13")})
	got := m.merged()
	if o := got.Config.TLS.Options; o["default"].MinVersion != "VersionTLS13" || o["own@a"] == nil || o["own@b"] == nil || len(o) != 3 {
		t.Errorf("options: %v", o)
	}
	if len(got.Config.TLS.Certificates) != 2 {
		t.Errorf("certificates: %v", got.Config.TLS.Certificates)
	}
	if len(got.Problems) != 2 || got.Problems[0].Code != config.CodeConflict || got.Problems[0].Object != "tls options default" {
		t.Errorf("problems: %v", got.Problems)
	}
}

// What labels say of the shared objects comes after what files say, whatever their names.
func TestFilesDecideBeforeLabels(t *testing.T) {
	m := NewManager(Options{}, &script{name: "docker"}, &script{name: "file"})
	tls := func(main string) *config.Dynamic {
		return &config.Dynamic{TLS: &config.TLS{Stores: map[string]*config.TLSStore{
			"default": {DefaultGeneratedCert: &config.GeneratedCert{Resolver: "le", Domain: &config.Domain{Main: main}}},
		}}}
	}
	m.take(Update{Provider: "docker", Config: tls("label.test")})
	m.take(Update{Provider: "file", Config: tls("file.test")})
	if got := m.merged().Config.TLS.Stores["default"].DefaultGeneratedCert.Domain.Main; got != "file.test" {
		t.Errorf("the default certificate is for %s", got)
	}
}

func TestReload(t *testing.T) {
	p := &script{name: "file"}
	NewManager(Options{}, p).Reload()
	if p.reloads != 1 {
		t.Error("the provider was not told")
	}
}

func BenchmarkOneChangeOf10000(b *testing.B) {
	m := NewManager(Options{}, &script{name: "docker"})
	c := routers()
	c.HTTP.Services = map[string]*config.Service{}
	for i := range 10000 {
		n := fmt.Sprint("app-", i)
		c.HTTP.Routers[n] = &config.Router{Rule: "Host(`x`)"}
		c.HTTP.Services[n] = &config.Service{LoadBalancer: &config.LoadBalancer{}}
	}
	m.take(Update{Provider: "docker", Config: c})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d := routers()
		d.HTTP.Services = c.HTTP.Services
		for k, v := range c.HTTP.Routers {
			d.HTTP.Routers[k] = v
		}
		d.HTTP.Routers["app-77"] = &config.Router{Priority: i}
		m.take(Update{Provider: "docker", Config: d})
		m.merged()
	}
}

// TestQualifyIsTheSameInSteps holds that the incremental way gives what the plain one gives.
func TestQualifyIsTheSameInSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	objects := []*config.Router{nil, {Rule: "a"}, {Rule: "b"}, {Rule: "c"}}
	var was, done map[string]*config.Router
	for step := range 2000 {
		in := maps.Clone(was)
		if in == nil {
			in = map[string]*config.Router{}
		}
		for range r.IntN(4) {
			k := fmt.Sprint("r", r.IntN(6))
			if r.IntN(3) == 0 {
				delete(in, k)
			} else {
				in[k] = objects[r.IntN(len(objects))]
			}
		}
		before := maps.Clone(done)
		got := qualifyMap(in, was, done, "docker")
		if want := qualifyMap(in, nil, nil, "docker"); !maps.Equal(got, want) {
			t.Fatalf("step %d: %v, want %v", step, got, want)
		}
		if !maps.Equal(before, done) {
			t.Fatalf("step %d: a published map changed", step)
		}
		was, done = in, got
	}
}

func TestReplaceKeepsWhatWasSaidUntilTheNextSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &script{name: "a", in: make(chan Update)}, &script{name: "b", in: make(chan Update)}
		m := NewManager(Options{Log: zerolog.Nop()}, a, b)
		got := make(chan *Merged, 100)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.Run(ctx, func(m *Merged) { got <- m }) }()
		defer func() { cancel(); <-done }()
		a.in <- Update{Config: routers("one")}
		b.in <- Update{Config: routers("two")}
		time.Sleep(time.Second)
		last := func() string {
			t.Helper()
			time.Sleep(time.Second)
			out := "nothing"
			for len(got) > 0 {
				out = names(<-got)
			}
			return out
		}
		if n := last(); n != "one@a two@b" {
			t.Fatal(n)
		}
		a2 := &script{name: "a", in: make(chan Update)}
		m.Replace(b, a2)
		if n := last(); n != "nothing" {
			t.Errorf("a provider that begins anew changes nothing: %s", n)
		}
		a2.in <- Update{Config: routers("three")}
		if n := last(); n != "three@a two@b" {
			t.Error(n)
		}
		c := &script{name: "c", in: make(chan Update)}
		m.Replace(a2, c)
		if n := last(); n != "three@a" {
			t.Errorf("a provider that is taken away takes its routers along: %s", n)
		}
		c.in <- Update{Config: routers("four")}
		if n := last(); n != "four@c three@a" {
			t.Error(n)
		}
	})
}
