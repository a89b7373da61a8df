package sleep

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine writes down what it is asked for.
type engine struct {
	provider.Provider
	mu     sync.Mutex
	orders []string
	err    error
	slow   time.Duration
}

func (e *engine) order(what string) error {
	time.Sleep(e.slow)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.orders = append(e.orders, what)
	return e.err
}

func (e *engine) Sleep(_ context.Context, unit string, busy func() bool) error {
	if busy() {
		return provider.ErrBusy
	}
	return e.order("sleep " + unit)
}

func (e *engine) Wake(_ context.Context, unit string) error { return e.order("wake " + unit) }

func (e *engine) fail(err error) { e.mu.Lock(); defer e.mu.Unlock(); e.err = err }

func (e *engine) asked() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.orders, ", ")
}

// bed is a Keeper of one engine and the services a test sets.
type bed struct {
	*Keeper
	e        *engine
	mu       sync.Mutex
	services []Service
	changes  atomic.Int64
}

func (b *bed) set(s ...Service) { b.mu.Lock(); defer b.mu.Unlock(); b.services = s }

func run(t *testing.T, f func(t *testing.T, b *bed)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bed{e: &engine{}}
		b.Keeper = New(Options{Log: zerolog.Nop(), Engine: func(name string) provider.Sleeper {
			if name == "docker" {
				return b.e
			}
			return nil
		}, Services: func() []Service {
			b.mu.Lock()
			defer b.mu.Unlock()
			return slices.Clone(b.services)
		}, Changed: func() { b.changes.Add(1) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.Run(ctx); close(done) }()
		defer func() { cancel(); <-done }()
		f(t, b)
	})
}

func idle(unit string, after time.Duration) *config.Idle {
	return &config.Idle{Engine: "docker", Unit: unit, After: config.Duration(after)}
}

func asleepNow(i *config.Idle) *config.Idle {
	c := *i
	c.Asleep = true
	return &c
}

func TestSleepsOnceAllAreIdle(t *testing.T) {
	run(t, func(t *testing.T, b *bed) {
		i, now := idle("shop", time.Minute), time.Now().UnixNano()
		web, api := Service{Idle: i, Used: now, Up: true}, Service{Idle: i, Used: now, Up: true, Busy: true}
		b.set(web, api)
		time.Sleep(2 * time.Minute)
		if b.e.asked() != "" {
			t.Fatalf("asked for %s while a service is busy", b.e.asked())
		}
		api.Busy, api.Used = false, time.Now().UnixNano()
		b.set(web, api)
		time.Sleep(59 * time.Second)
		if b.e.asked() != "" {
			t.Fatalf("asked for %s too early", b.e.asked())
		}
		time.Sleep(2 * time.Second)
		if b.e.asked() != "sleep shop" {
			t.Fatalf("asked for %q", b.e.asked())
		}
		b.set(Service{Idle: asleepNow(i)}, Service{Idle: asleepNow(i)})
		time.Sleep(time.Hour)
		since := b.Wake(asleepNow(i))
		if again := b.Wake(asleepNow(i)); since != time.Now().UnixNano() || again != since {
			t.Errorf("woken since %d, then %d", since, again)
		}
		time.Sleep(time.Second)
		if b.e.asked() != "sleep shop, wake shop" {
			t.Errorf("asked for %q", b.e.asked())
		}
	})
}

func TestAwakeIsNotWoken(t *testing.T) {
	run(t, func(t *testing.T, b *bed) {
		if b.Wake(idle("web", time.Minute)) != 0 {
			t.Error("something that does not sleep is woken: it may be about to be replaced")
		}
		b.set(Service{Idle: idle("web", 0), Up: true}) // woken by requests, never put to sleep
		time.Sleep(24 * time.Hour)
		if b.e.asked() != "" {
			t.Errorf("asked for %s", b.e.asked())
		}
	})
}

func TestRequestWhileGoingToSleep(t *testing.T) {
	run(t, func(t *testing.T, b *bed) {
		b.e.slow = 10 * time.Second
		i := idle("web", time.Minute)
		b.set(Service{Idle: i, Used: time.Now().UnixNano(), Up: true})
		time.Sleep(62 * time.Second)
		b.set(Service{Idle: i}) // fenced
		if b.Wake(i) == 0 {
			t.Error("a request while it stops is not held")
		}
		time.Sleep(25 * time.Second)
		if b.e.asked() != "sleep web, wake web" {
			t.Errorf("asked for %q", b.e.asked())
		}
	})
}

func TestRefusalsAreToldAndNotRepeatedAtOnce(t *testing.T) {
	run(t, func(t *testing.T, b *bed) {
		b.e.fail(errors.New("403"))
		i := idle("web", time.Minute)
		b.set(Service{Idle: i, Used: time.Now().UnixNano(), Up: true})
		time.Sleep(90 * time.Second)
		if p := b.Problems(); b.e.asked() != "sleep web" || len(p) != 1 || p[0].Code != config.CodeRefused || b.changes.Load() != 1 {
			t.Errorf("asked for %q, problems %v, %d changes", b.e.asked(), p, b.changes.Load())
		}
		b.set(Service{Idle: asleepNow(i)}) // somebody stopped it
		if b.Wake(asleepNow(i)) == 0 {
			t.Error("not woken because it was not put to sleep")
		}
		time.Sleep(time.Second)
		if b.Wake(asleepNow(i)) != 0 {
			t.Error("requests are held though the engine has refused")
		}
		time.Sleep(wakeAgain)
		b.e.fail(nil)
		if b.Wake(asleepNow(i)) == 0 {
			t.Error("not tried again")
		}
		time.Sleep(time.Second)
		if p := b.Problems(); len(p) != 0 {
			t.Errorf("problems after a success: %v", p)
		}
	})
}
