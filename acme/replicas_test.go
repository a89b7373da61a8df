package acme

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testacme"
	"github.com/sluice-edge/sluice/internal/testpostgres"
	"github.com/sluice-edge/sluice/internal/testredis"
	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/acmejson"
	"github.com/sluice-edge/sluice/store/file"
	"github.com/sluice-edge/sluice/store/postgres"
	"github.com/sluice-edge/sluice/store/redis"
	"github.com/sluice-edge/sluice/store/seal"
)

func openAny(storage string, ring *seal.Keyring) (store.Store, error) {
	scheme, path, _ := strings.Cut(storage, ":")
	switch scheme {
	case "redis":
		return redis.Open(storage)
	case "postgres":
		return postgres.Open(storage)
	case "dir":
		return file.Open(path)
	case "sealed":
		return file.OpenSealed(path, ring)
	}
	return acmejson.Open(storage)
}

// childVariable holds the configuration of a Manager in a process of its own, which is killed.
const childVariable = "SLUICE_TEST_ACME"

func child(text string) {
	var cfg config.ACME
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		panic(err)
	}
	m := New(context.Background(), Options{Resolvers: map[string]*config.ACME{"le": &cfg}, Open: openAny, Lease: lease, AccountKeyBits: 2048, Log: zerolog.New(os.Stderr)})
	m.Want([]Request{want("a.test")})
	m.Run(context.Background())
}

// lease is short, so that the lock of a dead replica ends while the test waits.
const lease = 4 * time.Second

// replicas are Managers with the same storage and the same configuration.
func replicas(t *testing.T, n int, cur *current, cfg *config.ACME) []*edge {
	t.Helper()
	var out []*edge
	for range n {
		own := *cfg
		out = append(out, start(t, cur, map[string]*config.ACME{"le": &own}, nil))
	}
	return out
}

func shared(t *testing.T, ca *testacme.CA, storage string, tune func(*config.ACME)) *config.ACME {
	return resolverConfig(t, ca, func(c *config.ACME) {
		c.Storage, c.StorageKey = storage, config.FileOrContent(seal.Generate())
		tune(c)
	})
}

// Three replicas want the same names: each is ordered once, and a fourth that orders
// nothing answers the challenges.
func TestReplicasOrderOnce(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(t *testing.T) string{
		"redis":    func(t *testing.T) string { return testredis.Start(t).URL },
		"postgres": func(t *testing.T) string { return testpostgres.Start(t) },
		"dir":      func(t *testing.T) string { return "dir:" + filepath.Join(t.TempDir(), "certs") },
		"sealed":   func(t *testing.T) string { return "sealed:" + filepath.Join(t.TempDir(), "certs") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, s, hp, sp := ports(t)
			ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
			cur := listen(t, h, s)
			cfg := shared(t, ca, address(t), func(c *config.ACME) {
				if name == "redis" || name == "dir" {
					c.HTTPChallenge = &config.HTTPChallenge{EntryPoint: "web"}
				} else {
					c.TLSChallenge = &config.TLSChallenge{}
				}
			})
			all := replicas(t, 4, cur, cfg) // the listener asks the last one, which wants nothing
			for _, e := range all[:3] {
				e.Want([]Request{want("a.test"), want("b.test")})
			}
			missing := func(name string) int {
				n := 0
				for _, e := range all {
					if e.leaf(name) == nil {
						n++
					}
				}
				return n
			}
			for _, n := range []string{"a.test", "b.test"} {
				eventually(t, "the first with "+n, func() bool { return missing(n) < 4 })
				began := time.Now()
				eventually(t, "all with "+n, func() bool { return missing(n) == 0 })
				if d := time.Since(began); d > 1500*time.Millisecond { // a second, and the load of a test machine
					t.Errorf("all serve %s after %s", n, d)
				}
			}
			if ca.Orders() != 2 || ca.Accounts() != 1 {
				t.Errorf("%d orders and %d accounts for two names", ca.Orders(), ca.Accounts())
			}
			checkSealed(t, cfg)
			late := replicas(t, 1, cur, cfg)[0]
			late.Want([]Request{want("a.test")})
			eventually(t, "a replica that comes later", func() bool { return late.leaf("a.test") != nil })
			if ca.Orders() != 2 {
				t.Errorf("the late replica ordered")
			}
		})
	}
}

// checkSealed looks for private keys in storage.
func checkSealed(t *testing.T, cfg *config.ACME) {
	t.Helper()
	ring, err := Keyring(cfg)
	if err != nil {
		t.Fatal(err)
	}
	st, err := openAny(cfg.Storage, ring)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := st.List(t.Context(), "le/")
	if err != nil || len(keys) < 3 {
		t.Fatalf("%v %v", keys, err)
	}
	for _, k := range keys {
		b, err := st.Get(t.Context(), k)
		var c struct{ Key, PrivateKey []byte }
		if err != nil || json.Unmarshal(b, &c) != nil {
			t.Fatalf("%s: %v", k, err)
		}
		if private := append(c.Key, c.PrivateKey...); len(private) > 0 && !seal.Sealed(private) {
			t.Errorf("%s holds a readable private key", k)
		}
	}
}

// The replica that orders is killed in the middle: another one takes over once its lock
// has run out, and the name gets one certificate.
func TestLeaderIsKilledMidOrder(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	cfg := shared(t, ca, testredis.Start(t).URL, func(c *config.ACME) { c.TLSChallenge = &config.TLSChallenge{} })
	second := replicas(t, 1, cur, cfg)[0]
	var finalized atomic.Int32
	reached, gone := make(chan struct{}, 10), make(chan struct{})
	ca.Front(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/finalize-order/") && finalized.Add(1) == 1 {
			reached <- struct{}{}
			<-gone
			panic(http.ErrAbortHandler)
		}
		return false
	})
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	leader := exec.Command(os.Args[0]) //nolint:gosec // this test itself
	leader.Env = append(os.Environ(), childVariable+"="+string(text))
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = leader.Process.Kill(); _ = leader.Wait() }()
	select {
	case <-reached:
	case <-time.After(20 * time.Second):
		t.Fatal("the leader does not get so far")
	}
	second.Want([]Request{want("a.test")})
	time.Sleep(lease + lease/2) // the leader lives and extends its lock: the second waits
	if ca.Orders() != 1 {
		t.Fatalf("%d orders while the leader works", ca.Orders())
	}
	_ = leader.Process.Kill()
	_ = leader.Wait()
	close(gone)
	eventually(t, "the certificate by the second", func() bool { return second.leaf("a.test") != nil })
	if n := finalized.Load(); n > 3 { // one of the dead, one of ours, and perhaps one for a bad nonce
		t.Errorf("%d orders were finished", n)
	}
	if ca.Orders() != 2 || ca.Accounts() != 1 {
		t.Errorf("%d orders and %d accounts", ca.Orders(), ca.Accounts())
	}
}

// Redis restarts and has lost everything: the certificates stay in use and go back to it.
func TestStorageRestarts(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	server := testredis.Start(t)
	cfg := shared(t, ca, server.URL, func(c *config.ACME) { c.TLSChallenge = &config.TLSChallenge{} })
	all := replicas(t, 2, cur, cfg)
	for _, e := range all {
		e.Want([]Request{want("a.test")})
	}
	eventually(t, "both serve", func() bool { return all[0].leaf("a.test") != nil && all[1].leaf("a.test") != nil })
	server.Stop()
	for _, e := range all {
		e.Want([]Request{want("a.test"), want("b.test")})
	}
	time.Sleep(300 * time.Millisecond)
	if all[0].leaf("a.test") == nil || ca.Orders() != 1 {
		t.Fatalf("without storage: %d orders", ca.Orders())
	}
	server.Start()
	eventually(t, "the new certificate", func() bool { return all[0].leaf("b.test") != nil && all[1].leaf("b.test") != nil })
	st, err := redis.Open(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	eventually(t, "everything in storage again", func() bool {
		keys, _ := st.List(t.Context(), "le/")
		return slices.Contains(keys, "le/certificates/a.test") && slices.Contains(keys, "le/certificates/b.test") && slices.Contains(keys, "le/account")
	})
	if ca.Orders() != 2 || ca.Accounts() != 1 {
		t.Errorf("%d orders, %d accounts", ca.Orders(), ca.Accounts())
	}
}

// A storage that is away at the start does not stop the start; it is read later.
func TestStorageComesLater(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	server := testredis.Start(t)
	server.Stop()
	e := replicas(t, 1, cur, shared(t, ca, server.URL, func(c *config.ACME) { c.TLSChallenge = &config.TLSChallenge{} }))[0]
	if len(e.Usable()) != 1 {
		t.Fatalf("problems: %v", e.Problems())
	}
	e.Want([]Request{want("a.test")})
	time.Sleep(200 * time.Millisecond)
	if ca.Orders() != 0 {
		t.Fatal("an order before storage was read")
	}
	server.Start()
	eventually(t, "the certificate", func() bool { return e.leaf("a.test") != nil })
}

// acme.json with a storage key: what was readable is encrypted at the next start, and a new
// key takes over from an old one.
func TestStorageKeyRotates(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	cfg := resolverConfig(t, ca, func(c *config.ACME) { c.TLSChallenge = &config.TLSChallenge{} })
	run := func(key string, old ...string) *edge {
		c := *cfg
		c.StorageKey = config.FileOrContent(key)
		for _, k := range old {
			c.StorageOldKeys = append(c.StorageOldKeys, config.FileOrContent(k))
		}
		e := start(t, cur, map[string]*config.ACME{"le": &c}, nil)
		e.Want([]Request{want("a.test")})
		return e
	}
	e := run("")
	eventually(t, "the certificate", func() bool { return e.leaf("a.test") != nil })
	e.stop()
	one, two := seal.Generate(), seal.Generate()
	for i, keys := range [][]string{{one}, {two, one}, {two}} {
		e = run(keys[0], keys[1:]...)
		eventually(t, "the certificate again", func() bool { return e.leaf("a.test") != nil })
		e.stop()
		if i == 0 {
			e.Want([]Request{want("a.test"), want("b.test")})
		}
	}
	if e := run(""); len(e.Usable()) != 0 || len(e.Problems()) != 1 {
		t.Errorf("without its key the resolver is used: %v", e.Problems())
	}
	if e := run(one); e.leaf("a.test") != nil || len(e.Usable()) != 0 {
		t.Error("with the old key the resolver is used")
	}
	b, err := os.ReadFile(cfg.Storage)
	if err != nil || !strings.Contains(string(b), "LS0tLS1CRUdJTiBTTFVJQ0UgU0VBTEVE") { // "-----BEGIN SLUICE SEALED"
		t.Errorf("%v", err)
	}
	if ca.Orders() != 1 {
		t.Errorf("%d orders", ca.Orders())
	}
}
