package redis

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testredis"
	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/storetest"
)

func TestContract(t *testing.T) {
	r := testredis.Start(t)
	storetest.Run(t, storetest.Options{Open: func(t *testing.T) store.Store { return open(t, r.URL+"?prefix=%7Bedge%7D:") }})
}

func open(t *testing.T, address string) *Store {
	t.Helper()
	s, err := Open(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// After a restart of the server the watcher is told that it may have missed something.
func TestWatchSurvivesARestart(t *testing.T) {
	r := testredis.Start(t)
	s := open(t, r.URL)
	events := make(chan []string, 100)
	done := make(chan struct{})
	go func() { defer close(done); s.Watch(t.Context(), func(k []string) { events <- k }) }()
	next := func() []string {
		t.Helper()
		select {
		case k := <-events:
			return k
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is told")
			return nil
		}
	}
	if k := next(); k != nil {
		t.Fatalf("at first: %v", k)
	}
	r.Stop()
	if _, err := s.Get(t.Context(), "a/account"); err == nil || err == store.ErrNotFound {
		t.Fatalf("a server that is away: %v", err)
	}
	r.Start()
	if k := next(); k != nil {
		t.Fatalf("after the restart: %v", k)
	}
	if err := s.Put(t.Context(), "a/account", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if k := next(); len(k) != 1 || k[0] != "a/account" {
		t.Fatalf("after a change: %v", k)
	}
}

func TestAddresses(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("pw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, "redis://edge@db.test:1234/3?passwordFile="+secret)
	if o := s.c.Options(); o.Addr != "db.test:1234" || o.DB != 3 || o.Username != "edge" || o.Password != "pw" || s.values != "{sluice}:values" {
		t.Fatalf("%+v", o)
	}
	for _, bad := range []string{"redis://h/x", "http://h", "redis://h?nonsense=1", "redis://h?passwordFile=/nowhere"} {
		if _, err := Open(bad); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
