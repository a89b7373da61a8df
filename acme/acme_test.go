package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/challenge"
	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testacme"
	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/acmejson"
	"github.com/sluice-edge/sluice/store/seal"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		child(text)
		return
	}
	testacme.Environ(15)
	flag.Parse()
	_ = flag.Set("test.parallel", "12") // the tests wait more than they work
	os.Exit(m.Run())
}

// edge is a Manager with the listeners that answer its challenges.
type edge struct {
	*Manager
	mu    sync.Mutex
	certs []*tls.Certificate
	stop  func()
}

func (e *edge) leaf(name string) *x509.Certificate {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.certs {
		if c.Leaf.VerifyHostname(name) == nil {
			return c.Leaf
		}
	}
	return nil
}

// ports opens the listeners before the CA starts, so that it knows where to look.
func ports(t *testing.T) (h, s net.Listener, hp, sp int) {
	t.Helper()
	h, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return h, s, h.Addr().(*net.TCPAddr).Port, s.Addr().(*net.TCPAddr).Port
}

// current lets the listeners of a test serve whichever edge runs now.
type current struct {
	mu sync.Mutex
	e  *edge
}

func (c *current) get() *edge  { c.mu.Lock(); defer c.mu.Unlock(); return c.e }
func (c *current) set(e *edge) { c.mu.Lock(); defer c.mu.Unlock(); c.e = e }

func listen(t *testing.T, h, s net.Listener) *current {
	t.Helper()
	cur := &current{}
	hs := &httptest.Server{Listener: h, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e := cur.get(); e != nil {
			if k, ok := e.HTTPToken(strings.TrimPrefix(r.URL.Path, "/.well-known/acme-challenge/")); ok {
				_, _ = w.Write([]byte(k))
				return
			}
		}
		http.NotFound(w, r)
	})}}
	hs.Start()
	t.Cleanup(hs.Close)
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			go func() {
				tc := tls.Server(c, &tls.Config{NextProtos: []string{"acme-tls/1"}, MinVersion: tls.VersionTLS12, GetCertificate: func(hi *tls.ClientHelloInfo) (*tls.Certificate, error) {
					if e := cur.get(); e != nil {
						if c := e.ChallengeCert(hi.ServerName); c != nil {
							return c, nil
						}
					}
					return nil, fmt.Errorf("no challenge for %s", hi.ServerName)
				}})
				_ = tc.Handshake()
				_ = tc.Close()
			}()
		}
	}()
	t.Cleanup(func() { _ = s.Close() })
	return cur
}

func start(t *testing.T, cur *current, cfgs map[string]*config.ACME, dns func(*config.DNSChallenge) (challenge.Provider, error)) *edge {
	t.Helper()
	e := &edge{}
	ctx, cancel := context.WithCancel(context.Background())
	e.Manager = New(ctx, Options{
		Resolvers: cfgs,
		Open:      openAny, Lease: lease, AccountKeyBits: 2048, Lookup: func(context.Context, string) ([]string, error) { return nil, errors.New("nobody knows it") },
		Publish: func(c []*tls.Certificate) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.certs = c
		},
		DNS: dns, UserAgent: "sluice-test", Log: zerolog.New(zerolog.NewTestWriter(t)),
	})
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	e.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(e.stop)
	cur.set(e)
	return e
}

func resolverConfig(t *testing.T, ca *testacme.CA, tune func(*config.ACME)) *config.ACME {
	c := &config.ACME{}
	c.SetDefaults()
	c.Email, c.KeyType, c.Storage = "ops@lab.test", "EC256", filepath.Join(t.TempDir(), "acme.json")
	c.CAServer, c.CACertificates, c.CAServerName = ca.URL, []string{ca.TrustFile}, ca.ServerName()
	tune(c)
	return c
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within 40 s", what)
}

func want(names ...string) Request {
	return Request{Resolver: "le", Domain: config.Domain{Main: names[0], SANs: names[1:]}}
}

func TestTLSChallengeRestartAndStorage(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	cfg := resolverConfig(t, ca, func(c *config.ACME) { c.TLSChallenge = &config.TLSChallenge{} })
	cfgs := map[string]*config.ACME{"le": cfg}
	e := start(t, cur, cfgs, nil)
	e.Want([]Request{want("a.test", "www.a.test"), want("b.test"), {Resolver: "other", Domain: config.Domain{Main: "c.test"}}})
	eventually(t, "two certificates", func() bool { return e.leaf("www.a.test") != nil && e.leaf("b.test") != nil })
	if n := ca.Orders(); n != 2 {
		t.Fatalf("%d orders for two certificates", n)
	}
	e.stop()
	if st, err := os.Stat(cfg.Storage); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("acme.json: %v %v", st, err)
	}
	var file map[string]struct {
		Account      map[string]any
		Certificates []map[string]any
	}
	b, _ := os.ReadFile(cfg.Storage)
	if err := json.Unmarshal(b, &file); err != nil || len(file["le"].Certificates) != 2 || file["le"].Account["Email"] != "ops@lab.test" || file["le"].Certificates[0]["Store"] != "default" {
		t.Fatalf("acme.json %s: %v", b, err)
	}
	again := start(t, cur, cfgs, nil)
	again.Want([]Request{want("a.test", "www.a.test"), want("b.test"), want("new.test")})
	eventually(t, "the new certificate", func() bool { return again.leaf("new.test") != nil })
	if again.leaf("a.test") == nil || ca.Orders() != 3 || ca.Accounts() != 1 {
		t.Fatalf("after a restart: %d orders, %d accounts", ca.Orders(), ca.Accounts())
	}
}

func TestHTTPChallenge(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	cfg := resolverConfig(t, ca, func(c *config.ACME) { c.HTTPChallenge = &config.HTTPChallenge{EntryPoint: "web"} })
	e := start(t, cur, map[string]*config.ACME{"le": cfg}, nil)
	e.Want([]Request{want("a.test")})
	eventually(t, "the certificate", func() bool { return e.leaf("a.test") != nil })
}

// txt is a DNS provider that writes to the CA's DNS server.
type txt struct{ ca *testacme.CA }

func (p txt) Present(domain, _, keyAuth string) error {
	i := dns01.GetChallengeInfo(domain, keyAuth)
	p.ca.DNS.AddDNSTXTRecord(i.EffectiveFQDN, i.Value)
	return nil
}

func (p txt) CleanUp(domain, _, keyAuth string) error {
	p.ca.DNS.DeleteDNSTXTRecord(dns01.GetChallengeInfo(domain, keyAuth).EffectiveFQDN)
	return nil
}

// It does not run beside others: the DNS servers of a process share their records.
func TestDNSChallengeAndWildcardInHandIsUsed(t *testing.T) {
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	cfg := resolverConfig(t, ca, func(c *config.ACME) {
		c.DNSChallenge = &config.DNSChallenge{Provider: "lab", Resolvers: []string{ca.DNSAddr}, Propagation: &config.DNSPropagation{DisableChecks: true}}
	})
	e := start(t, cur, map[string]*config.ACME{"le": cfg}, func(*config.DNSChallenge) (challenge.Provider, error) { return txt{ca}, nil })
	e.Want([]Request{want("app.a.test"), want("a.test", "*.a.test"), want("api.a.test")})
	eventually(t, "the wildcard", func() bool { return e.leaf("app.a.test") != nil })
	e.Want([]Request{want("app.a.test"), want("late.a.test"), want("a.test", "*.a.test")})
	time.Sleep(300 * time.Millisecond)
	if n := ca.Orders(); n != 1 {
		t.Fatalf("%d orders though the wildcard covers all", n)
	}
}

func TestAccountBinding(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	const key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp, EAB: map[string]string{"kid-1": key}})
	cur := listen(t, h, s)
	with := func(kid string) *config.ACME {
		return resolverConfig(t, ca, func(c *config.ACME) {
			c.TLSChallenge = &config.TLSChallenge{}
			c.EAB = &config.EAB{KID: kid, HMACEncoded: key}
		})
	}
	e := start(t, cur, map[string]*config.ACME{"le": with("kid-1"), "wrong": with("kid-2")}, nil)
	e.Want([]Request{want("a.test"), {Resolver: "wrong", Domain: config.Domain{Main: "w.test"}}})
	eventually(t, "the certificate", func() bool { return e.leaf("a.test") != nil })
	eventually(t, "the failure", func() bool {
		return slices.ContainsFunc(e.Statuses(), func(s Status) bool { return s.Resolver == "wrong" && s.Attempt.Error != "" })
	})
	if e.leaf("w.test") != nil {
		t.Fatal("a certificate with the wrong key")
	}
}

func TestUnreachableChallengeBacksOffAcrossRestarts(t *testing.T) {
	t.Parallel()
	ca := testacme.Start(t, testacme.Options{HTTPPort: 1, TLSPort: 1})
	cfg := resolverConfig(t, ca, func(c *config.ACME) { c.TLSChallenge = &config.TLSChallenge{} })
	cur := &current{}
	cfgs := map[string]*config.ACME{"le": cfg}
	e := start(t, cur, cfgs, nil)
	e.Want([]Request{want("a.test")})
	failed := func(e *edge) func() bool {
		return func() bool { st := e.Statuses(); return len(st) == 1 && st[0].Attempt.Failures == 1 }
	}
	eventually(t, "one failure", failed(e))
	for range 10 {
		e.Want([]Request{want("a.test")}) // routes change meanwhile
		time.Sleep(20 * time.Millisecond)
	}
	e.stop()
	again := start(t, cur, cfgs, nil)
	again.Want([]Request{want("a.test")})
	eventually(t, "the failure from storage", failed(again))
	time.Sleep(300 * time.Millisecond)
	if n := ca.Orders(); n != 1 {
		t.Fatalf("%d orders within a second", n)
	}
	if d := time.Until(again.Statuses()[0].Attempt.Next); d < 30*time.Second || d > 2*time.Minute {
		t.Fatalf("next attempt in %s", d)
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	ca := testacme.Start(t, testacme.Options{HTTPPort: 1, TLSPort: 1})
	cfg := resolverConfig(t, ca, func(c *config.ACME) { c.TLSChallenge = &config.TLSChallenge{} })
	ca.Front(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/order-plz" {
			return false
		}
		w.Header().Set("Retry-After", "7200")
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many","status":429}`))
		return true
	})
	e := start(t, &current{}, map[string]*config.ACME{"le": cfg}, nil)
	e.Want([]Request{want("a.test")})
	eventually(t, "a failure", func() bool { st := e.Statuses(); return len(st) == 1 && st[0].Attempt.Failures == 1 })
	if d := time.Until(e.Statuses()[0].Attempt.Next); d < 110*time.Minute {
		t.Fatalf("next attempt in %s though the CA said 2 h", d)
	}
}

func TestCAComesBackLater(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	cfg := resolverConfig(t, ca, func(c *config.ACME) { c.TLSChallenge = &config.TLSChallenge{} })
	var mu sync.Mutex
	down := true
	ca.Front(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if down {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		return false
	})
	e := start(t, cur, map[string]*config.ACME{"le": cfg}, nil)
	e.Want([]Request{want("a.test")})
	eventually(t, "a network failure", func() bool { st := e.Statuses(); return len(st) == 1 && st[0].Attempt.Network > 0 })
	mu.Lock()
	down = false
	mu.Unlock()
	eventually(t, "the certificate", func() bool { return e.leaf("a.test") != nil })
}

func TestShortLivedCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp, Validity: 6})
	cur := listen(t, h, s)
	cfg := resolverConfig(t, ca, func(c *config.ACME) { c.TLSChallenge = &config.TLSChallenge{} })
	e := start(t, cur, map[string]*config.ACME{"le": cfg}, nil)
	e.Want([]Request{want("a.test")})
	eventually(t, "the first", func() bool { return e.leaf("a.test") != nil })
	first := e.leaf("a.test").SerialNumber.String()
	eventually(t, "the second", func() bool { return e.leaf("a.test").SerialNumber.String() != first })
}

func TestStorageThatCannotBeUsedCostsItsResolver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := filepath.Join(dir, "open.json")
	broken := filepath.Join(dir, "broken.json")
	_ = os.WriteFile(open, []byte("{}"), 0o644) //nolint:gosec // the case
	_ = os.WriteFile(broken, []byte("{{{ not json"), 0o600)
	cfg := func(path string) *config.ACME {
		c := &config.ACME{}
		c.SetDefaults()
		c.Storage = path
		return c
	}
	m := New(t.Context(), Options{
		Resolvers: map[string]*config.ACME{"open": cfg(open), "broken": cfg(broken), "good": cfg(filepath.Join(dir, "new.json"))},
		Open:      func(path string, _ *seal.Keyring) (store.Store, error) { return acmejson.Open(path) },
		Log:       zerolog.Nop(),
	})
	if got := fmt.Sprint(m.Usable()); got != "[good]" || len(m.Problems()) != 2 {
		t.Fatalf("usable %s, problems %v", got, m.Problems())
	}
	if b, _ := os.ReadFile(broken); string(b) != "{{{ not json" {
		t.Fatalf("the broken file was changed: %q", b)
	}
}

// What the reference does without a resolver for, and what it replaces.
func TestSettingsThatCannotBeMeant(t *testing.T) {
	for name, c := range map[string]struct {
		tune   func(*config.ACME)
		usable bool
		key    certcrypto.KeyType
	}{
		"no duration":       {tune: func(c *config.ACME) { c.CertificatesDuration = 0 }},
		"short client time": {tune: func(c *config.ACME) { c.ClientTimeout = c.ClientResponseHeaderTimeout - 1 }},
		"a key type":        {tune: func(c *config.ACME) { c.KeyType = "ec384" }, usable: true, key: certcrypto.EC384},
		"no key type":       {tune: func(c *config.ACME) { c.KeyType = "" }, usable: true, key: certcrypto.RSA4096},
		"unknown key type":  {tune: func(c *config.ACME) { c.KeyType = "EC521" }, usable: true, key: certcrypto.RSA4096},
	} {
		cfg := &config.ACME{}
		cfg.SetDefaults()
		cfg.Storage = filepath.Join(t.TempDir(), "acme.json")
		c.tune(cfg)
		m := New(t.Context(), Options{Resolvers: map[string]*config.ACME{"le": cfg}, Open: openAny, Log: zerolog.Nop()})
		r := m.resolvers["le"]
		if (r != nil) != c.usable || r != nil && r.keyType != c.key {
			t.Errorf("%s: usable %v", name, r != nil)
		}
		if want := !c.usable || name == "unknown key type"; want != (len(m.Problems()) == 1) {
			t.Errorf("%s: problems %v", name, m.Problems())
		}
	}
}
