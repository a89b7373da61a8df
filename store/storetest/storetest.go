// Package storetest checks that a storage driver keeps the contract of package store.
package storetest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/store"
)

// Options say what a driver offers.
type Options struct {
	// Open opens the same storage each time; it closes with the test.
	Open func(t *testing.T) store.Store
	// OneProcess: the storage belongs to one Store, and locks do not expire.
	OneProcess bool
	// Layout: only the keys and values of certificate resolvers are taken.
	Layout bool
}

// Run runs every check.
func Run(t *testing.T, o Options) {
	t.Run("values", func(t *testing.T) { values(t, o) })
	t.Run("whole values", func(t *testing.T) { whole(t, o) })
	t.Run("lock", func(t *testing.T) { lock(t, o) })
	t.Run("context", func(t *testing.T) { ended(t, o) })
	if !o.OneProcess {
		t.Run("expiry", func(t *testing.T) { expiry(t, o) })
		t.Run("one holder", func(t *testing.T) { oneHolder(t, o) })
		t.Run("watch", func(t *testing.T) { watch(t, o) })
	}
}

// Certificate is a value as resolvers store it, with contents of that size.
func Certificate(names string, fill byte, size int) []byte {
	list := strings.Split(names, ",")
	body := base64.StdEncoding.EncodeToString(slices.Repeat([]byte{fill}, size))
	domain := map[string]any{"main": list[0]}
	if len(list) > 1 {
		domain["sans"] = list[1:]
	}
	b, err := json.Marshal(map[string]any{"domain": domain, "certificate": body, "key": body, "Store": "default"})
	if err != nil {
		panic(err) // plain values always encode
	}
	return b
}

// same compares JSON values: drivers may lay them out anew.
func same(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return string(a) == string(b)
	}
	return reflect.DeepEqual(x, y)
}

func values(t *testing.T, o Options) {
	s, ctx := o.Open(t), t.Context()
	many := make([]string, 60)
	for i := range many {
		many[i] = fmt.Sprintf("name-%02d.example-of-some-length.test", i)
	}
	want := map[string][]byte{
		"v/account":                                 []byte(`{"Email":"a@b.test"}`),
		"v/certificates/a.test":                     Certificate("a.test", 'a', 100),
		"v/certificates/*.a.test,a.test":            Certificate("*.a.test,a.test", 'b', 5000),
		"v/certificates/" + strings.Join(many, ","): Certificate(strings.Join(many, ","), 'c', 10),
		"v/state/a.test":                            []byte(`{"failures":1}`),
		"v/state/@ledger":                           []byte(`{}`),
		"vv/account":                                []byte(`{"Email":"other"}`),
	}
	if !o.Layout {
		want["challenges/http-01/to_ken-1"] = []byte("plain text, no JSON\x00\xff")
		want["challenges/../x"] = []byte("a part of dots")
		want["v/certificates/odd"] = []byte("no certificate")
	}
	for k, v := range want {
		if _, err := s.Get(ctx, k); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("%s before it is put: %v", k, err)
		}
		if err := s.Put(ctx, k, v); err != nil {
			t.Fatalf("put %s: %v", k, err)
		}
	}
	check := func(s store.Store) {
		t.Helper()
		for k, v := range want {
			if got, err := s.Get(ctx, k); err != nil || !same(got, v) {
				t.Fatalf("%s is %q, want %q: %v", k, got, v, err)
			}
		}
		for _, prefix := range []string{"v/", "v/certificates/", "", "vv/", "nothing/"} {
			var keys []string
			for k := range want {
				if strings.HasPrefix(k, prefix) {
					keys = append(keys, k)
				}
			}
			slices.Sort(keys)
			if got, err := s.List(ctx, prefix); err != nil || !slices.Equal(got, keys) {
				t.Fatalf("below %q are\n%q, want\n%q: %v", prefix, got, keys, err)
			}
		}
	}
	check(s)
	want["v/certificates/a.test"] = Certificate("a.test", 'z', 7000)
	if err := s.Put(ctx, "v/certificates/a.test", want["v/certificates/a.test"]); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is not there any more
		delete(want, "v/state/a.test")
		if err := s.Delete(ctx, "v/state/a.test"); err != nil {
			t.Fatal(err)
		}
	}
	check(s)
	check(o.Open(t))
	got, _ := s.Get(ctx, "v/account")
	clear(got) // the caller may keep and change it
	check(s)
}

// whole writes and reads at once: every value that is read is one that was put.
func whole(t *testing.T, o Options) {
	s := o.Open(t)
	reader := s
	if !o.OneProcess {
		reader = o.Open(t)
	}
	ctx, key := t.Context(), "w/certificates/w.test"
	put := func(i int) error { return s.Put(ctx, key, Certificate("w.test", byte('a'+i%26), 20000)) }
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer stop.Store(true)
		for i := range 15 {
			if err := put(i); err != nil {
				t.Errorf("put: %v", err)
				return
			}
		}
	})
	for !stop.Load() {
		b, err := reader.Get(ctx, key)
		var c struct{ Certificate, Key []byte }
		if err == nil {
			err = json.Unmarshal(b, &c)
		}
		if err != nil || len(c.Key) != 20000 || c.Certificate[0] != c.Key[19999] {
			t.Errorf("half a value: %.60q %v", b, err)
			break
		}
	}
	wg.Wait()
}

func lock(t *testing.T, o Options) {
	s := o.Open(t)
	l, err := s.Lock(t.Context(), "l/*.a.test,a.test", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Extend(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	other, err := s.Lock(t.Context(), "l/b.test", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_ = other.Release()
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(short, "l/*.a.test,a.test", time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second holder: %v", err)
	}
	began := time.Now()
	time.AfterFunc(100*time.Millisecond, func() { _ = l.Release(); _ = l.Release() })
	again, err := s.Lock(t.Context(), "l/*.a.test,a.test", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d < 90*time.Millisecond || d > 5*time.Second {
		t.Fatalf("the lock came after %s", d)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
}

func ended(t *testing.T, o Options) {
	s := o.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	l, err := s.Lock(ctx, "c/x", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := s.Lock(ctx, "c/x", time.Minute); !errors.Is(err, context.Canceled) {
		t.Fatalf("with an ended context: %v", err)
	}
	if err := l.Release(); err != nil { // giving back works also after the end
		t.Fatal(err)
	}
	l, err = s.Lock(t.Context(), "c/x", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Release()
}

// expiry: the lock of a holder that died goes to another, and the dead one learns it.
func expiry(t *testing.T, o Options) {
	a, b := o.Open(t), o.Open(t)
	ctx := t.Context()
	dead, err := a.Lock(ctx, "e/x", 400*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Extend(ctx, 700*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l, err := b.Lock(ctx, "e/x", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d < 500*time.Millisecond || d > 5*time.Second {
		t.Fatalf("the lock of the dead came after %s", d)
	}
	if err := dead.Extend(ctx, time.Minute); !errors.Is(err, store.ErrLost) {
		t.Fatalf("the dead extends: %v", err)
	}
	if err := dead.Release(); err != nil {
		t.Fatal(err)
	}
	if err := l.Extend(ctx, time.Minute); err != nil {
		t.Fatalf("the release of the dead took the lock from its holder: %v", err)
	}
	_ = l.Release()
}

func oneHolder(t *testing.T, o Options) {
	var in, entered atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		s := o.Open(t)
		wg.Go(func() {
			for range 3 {
				l, err := s.Lock(t.Context(), "o/x", time.Minute)
				if err != nil {
					t.Errorf("lock: %v", err)
					return
				}
				if n := in.Add(1); n != 1 {
					t.Errorf("%d holders", n)
				}
				entered.Add(1)
				time.Sleep(2 * time.Millisecond)
				in.Add(-1)
				_ = l.Release()
			}
		})
	}
	wg.Wait()
	if entered.Load() != 12 {
		t.Errorf("%d of 12 got the lock", entered.Load())
	}
}

func watch(t *testing.T, o Options) {
	writer := o.Open(t)
	watcher, ok := o.Open(t).(store.Shared)
	if !ok {
		t.Fatal("the driver is no store.Shared")
	}
	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan []string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		watcher.Watch(ctx, func(keys []string) { events <- keys })
	}()
	defer func() { cancel(); <-done }()
	sees := func(key string) {
		t.Helper()
		after := time.After(2 * time.Second)
		for {
			select {
			case keys := <-events:
				if key == "" && keys == nil || slices.Contains(keys, key) {
					return
				}
			case <-after:
				t.Fatalf("%q: not seen", key)
			}
		}
	}
	sees("")
	key := "x/certificates/a.test"
	for i := range 3 {
		if err := writer.Put(ctx, key, Certificate("a.test", byte('a'+i), 50)); err != nil {
			t.Fatal(err)
		}
		sees(key)
	}
	if err := writer.Put(ctx, "y/state/new", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	sees("y/state/new")
	if err := writer.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	sees(key)
}
