package acme

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testacme"
	"github.com/sluice-edge/sluice/store/acmejson"
)

func TestLedgerRefusesBeforeTheCA(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	lim := config.ACMELimits{NewOrders: 3, CertificatesPerDomain: 2, DuplicateCertificates: 2, FailedValidations: 2}
	times := func(ages ...time.Duration) (out []time.Time) {
		for _, a := range ages {
			out = append(out, now.Add(-a))
		}
		return out
	}
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		l       ledger
		renewal bool
		until   time.Duration // from now; zero: allowed
	}{
		"empty":             {},
		"orders":            {l: ledger{Orders: times(2*time.Hour, time.Hour, time.Minute)}, until: time.Hour},
		"old orders":        {l: ledger{Orders: times(4*time.Hour, time.Hour, time.Minute)}},
		"one too many":      {l: ledger{Orders: times(150*time.Minute, 2*time.Hour, time.Hour, time.Minute)}, until: time.Hour},
		"domain":            {l: ledger{Domains: map[string][]time.Time{"example.co.uk": times(6*day, day)}}, until: day},
		"domain, renewal":   {l: ledger{Domains: map[string][]time.Time{"example.co.uk": times(6*day, day)}}, renewal: true},
		"other domain":      {l: ledger{Domains: map[string][]time.Time{"co.uk": times(6*day, day)}}},
		"same names":        {l: ledger{Sets: map[string][]time.Time{"a.example.co.uk,b.example.co.uk": times(5*day, time.Hour)}}, renewal: true, until: 2 * day},
		"failures":          {l: ledger{Failures: map[string][]time.Time{"b.example.co.uk": times(40*time.Minute, time.Minute)}}, until: 20 * time.Minute},
		"the longest holds": {l: ledger{Orders: times(2*time.Hour, time.Hour, 0), Failures: map[string][]time.Time{"b.example.co.uk": times(0, 0)}}, until: time.Hour},
	} {
		err := c.l.check([]string{"b.example.co.uk", "a.example.co.uk"}, c.renewal, lim, now)
		var r *refused
		switch {
		case c.until == 0 && err == nil:
		case !errors.As(err, &r) || r.until.Sub(now) != c.until:
			t.Errorf("%s: %v, want %s", name, err, c.until)
		}
	}
	if l := limitsOf(&config.ACME{CAServer: "https://acme-v02.api.letsencrypt.org/directory", Limits: &config.ACMELimits{NewOrders: -1}}); l.NewOrders != 0 || l.FailedValidations != 5 {
		t.Errorf("limits of Let's Encrypt: %+v", l)
	}
	if l := limitsOf(&config.ACME{CAServer: "https://ca.test/dir"}); l != (config.ACMELimits{}) {
		t.Errorf("limits of another authority: %+v", l)
	}
}

func TestLedgerHoldsAcrossRestarts(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	cfg := resolverConfig(t, ca, func(c *config.ACME) {
		c.TLSChallenge, c.Limits = &config.TLSChallenge{}, &config.ACMELimits{NewOrders: 1}
	})
	cfgs := map[string]*config.ACME{"le": cfg}
	e := start(t, cur, cfgs, nil)
	e.Want([]Request{want("a.test")})
	eventually(t, "the certificate", func() bool { return e.leaf("a.test") != nil })
	e.stop()
	e = start(t, cur, cfgs, nil)
	e.Want([]Request{want("a.test"), want("b.test")})
	eventually(t, "the refusal", func() bool {
		return slices.ContainsFunc(e.Statuses(), func(s Status) bool { return strings.Contains(s.Attempt.Error, "limit of 1 orders") })
	})
	if st := e.Statuses(); ca.Orders() != 1 || len(st) != 2 || st[1].Attempt.Failures != 0 || time.Until(st[1].Attempt.Next) < 2*time.Hour {
		t.Errorf("%d orders, %+v", ca.Orders(), e.Statuses())
	}
	if n := e.Counts()[Count{"le", "ledger"}]; n != 1 {
		t.Errorf("%v", e.Counts())
	}
}

// The first CA refuses; the fallback gives the certificate, also after a restart.
func TestFallbackOrders(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	bad := testacme.Start(t, testacme.Options{HTTPPort: 1, TLSPort: 1})
	good := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	cfgs := map[string]*config.ACME{
		"le":    resolverConfig(t, bad, func(c *config.ACME) { c.TLSChallenge, c.Fallback = &config.TLSChallenge{}, "other" }),
		"other": resolverConfig(t, good, func(c *config.ACME) { c.TLSChallenge = &config.TLSChallenge{} }),
	}
	e := start(t, cur, cfgs, nil)
	r := e.resolvers["le"]
	r.note(t.Context(), "a.test", &Attempt{Failures: failuresBeforeFallback - 1}) // it failed before
	e.Want([]Request{want("a.test")})
	eventually(t, "the certificate of the fallback", func() bool { return e.leaf("a.test") != nil })
	if bad.Orders() != 1 || good.Orders() != 1 {
		t.Errorf("%d and %d orders", bad.Orders(), good.Orders())
	}
	e.stop()
	e = start(t, cur, cfgs, nil)
	e.Want([]Request{want("a.test")})
	for _, st := range e.Statuses() {
		if st.Resolver == "other" && !st.Used {
			t.Error("after a restart the fallback does not keep its certificate")
		}
	}
}

func bare(t *testing.T, tune func(*config.ACME, *Options)) *Manager {
	t.Helper()
	cfg := &config.ACME{}
	cfg.SetDefaults()
	cfg.Storage = filepath.Join(t.TempDir(), "acme.json")
	o := Options{Resolvers: map[string]*config.ACME{"le": cfg}, Open: openAny, Log: zerolog.Nop()}
	tune(cfg, &o)
	m := New(t.Context(), o)
	if len(m.Problems()) > 0 {
		t.Fatal(m.Problems())
	}
	return m
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	var m *Manager
	ours := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if k, ok := m.HTTPToken(strings.TrimPrefix(r.URL.Path, "/.well-known/acme-challenge/")); ok {
			_, _ = io.WriteString(w, k)
		}
	}))
	t.Cleanup(ours.Close)
	port := ours.Listener.Addr().(*net.TCPAddr).Port
	m = bare(t, func(c *config.ACME, o *Options) {
		c.HTTPChallenge = &config.HTTPChallenge{EntryPoint: "web"}
		o.HTTPPort = port
		o.Lookup = func(_ context.Context, name string) ([]string, error) {
			switch name {
			case "here.test":
				return []string{"127.0.0.1"}, nil
			case "dead.test":
				return []string{"127.255.255.1"}, nil
			}
			return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		}
	})
	r := m.resolvers["le"]
	if err := r.preflight(t.Context(), []string{"here.test", "*.here.test"}); err != nil {
		t.Error(err)
	}
	for name, text := range map[string]string{"gone.test": "gone.test does not resolve", "dead.test": "port 80 of dead.test (127.255.255.1) does not answer"} {
		if err := r.preflight(t.Context(), []string{"here.test", name}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	r.httpPort = other.Listener.Addr().(*net.TCPAddr).Port
	if err := r.preflight(t.Context(), []string{"here.test"}); err == nil || !strings.Contains(err.Error(), "not this router: status 404") {
		t.Errorf("another server: %v", err)
	}
	r.cfg.Preflight = "off"
	if err := r.preflight(t.Context(), []string{"gone.test"}); err != nil {
		t.Error(err)
	}
}

// The TLS challenge's own handshake tells this router from any other that answers on the port.
func TestPreflightTLS(t *testing.T) {
	t.Parallel()
	h, s, _, port := ports(t)
	cur := listen(t, h, s)
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.TLS = &tls.Config{NextProtos: []string{"acme-tls/1", "http/1.1"}} //nolint:gosec // a server that is not ours
	other.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	other.StartTLS()
	t.Cleanup(other.Close)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plain.Close() })
	go func() {
		for c, err := plain.Accept(); err == nil; c, err = plain.Accept() {
			_, _ = c.Write([]byte("220 mail.test ESMTP\r\n"))
			_ = c.Close()
		}
	}()
	m := bare(t, func(c *config.ACME, o *Options) {
		c.TLSChallenge = &config.TLSChallenge{}
		o.Lookup = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	})
	cur.set(&edge{Manager: m})
	r := m.resolvers["le"]
	for _, c := range []struct {
		port int
		text string
	}{
		{port, ""},
		{other.Listener.Addr().(*net.TCPAddr).Port, "it is not this router: its certificate is"},
		{plain.Addr().(*net.TCPAddr).Port, "it is not this router, or something before it ends TLS"},
		{1, "does not answer"},
	} {
		r.tlsPort = c.port
		if err := r.preflight(t.Context(), []string{"a.test"}); (err == nil) != (c.text == "") || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%q: %v", c.text, err)
		}
	}
	// While an order's own challenge is under way it goes first, and is recognised too.
	r.tlsPort = port
	p := tlsProvider{r}
	if err := p.Present("a.test", "", "key"); err != nil {
		t.Fatal(err)
	}
	if err := r.preflight(t.Context(), []string{"a.test"}); err != nil {
		t.Error(err)
	}
	if err := p.CleanUp("a.test", "", "key"); err != nil {
		t.Fatal(err)
	}
	if m.ChallengeCert("a.test") != nil {
		t.Error("the look left its certificate behind")
	}
}

// strict: a name that does not lead here is not ordered at all.
func TestStrictPreflight(t *testing.T) {
	t.Parallel()
	ca := testacme.Start(t, testacme.Options{HTTPPort: 1, TLSPort: 1})
	cfg := resolverConfig(t, ca, func(c *config.ACME) { c.TLSChallenge, c.Preflight = &config.TLSChallenge{}, "strict" })
	e := start(t, &current{}, map[string]*config.ACME{"le": cfg}, nil)
	e.Want([]Request{want("a.test")})
	eventually(t, "the failure", func() bool { st := e.Statuses(); return len(st) == 1 && st[0].Attempt.Failures == 1 })
	if st := e.Statuses()[0]; ca.Orders() != 0 || !strings.Contains(st.Attempt.Error, "a.test does not resolve") || e.Counts()[Count{"le", "preflight"}] != 1 {
		t.Errorf("%d orders, %+v, %v", ca.Orders(), st, e.Counts())
	}
}

// put stores a certificate that another program could have obtained.
func put(t *testing.T, m *Manager, from, to time.Time, names ...string) {
	t.Helper()
	r := m.resolvers["le"]
	s := issue(t, from, to, names...)
	if err := r.vault.putCertificate(t.Context(), r.certificateKey(id(names)), s); err != nil {
		t.Fatal(err)
	}
	r.sync(t.Context(), []string{r.certificateKey(id(names))})
}

func TestUnusedCertificatesArePruned(t *testing.T) {
	t.Parallel()
	m := bare(t, func(c *config.ACME, _ *Options) {})
	r := m.resolvers["le"]
	now := time.Now()
	put(t, m, now.Add(-time.Hour), now.Add(80*24*time.Hour), "used.test")
	put(t, m, now.Add(-time.Hour), now.Add(80*24*time.Hour), "unused.test")
	const day = 24 * time.Hour
	r.noteUse(t.Context(), now) // the routers are not known yet
	m.Want([]Request{want("used.test")})
	for d := range 31 {
		r.noteUse(t.Context(), now.Add(time.Duration(d)*day))
		if n := len(m.Statuses()); d < 30 && n != 2 || d == 30 && n != 1 {
			t.Fatalf("after %d days %d certificates are there", d, n)
		}
	}
	again, err := acmejson.Open(r.cfg.Storage)
	if err != nil {
		t.Fatal(err)
	}
	if keys, _ := again.List(t.Context(), "le/certificates/"); len(keys) != 1 || keys[0] != "le/certificates/used.test" {
		t.Fatalf("in storage: %v", keys)
	}
}

func TestEndingCertificateIsAProblem(t *testing.T) {
	t.Parallel()
	m := bare(t, func(c *config.ACME, _ *Options) {})
	now := time.Now()
	const day = 24 * time.Hour
	put(t, m, now.Add(-60*day), now.Add(30*day+time.Hour), "fine.test")
	put(t, m, now.Add(-85*day), now.Add(5*day), "ending.test")
	put(t, m, now.Add(-85*day), now.Add(5*day), "nobodys.test")
	m.Want([]Request{want("fine.test"), want("ending.test")})
	m.resolvers["le"].note(t.Context(), "ending.test", &Attempt{Failures: 4, Error: "the CA says no", Next: now.Add(time.Hour)})
	p := m.Ending(now)
	if len(p) != 1 || p[0].Object != "certificate ending.test" || p[0].Code != config.CodeCertificateEnding || !strings.Contains(p[0].Text, "the CA says no") {
		t.Fatalf("%v", p)
	}
}

func TestExportAndHook(t *testing.T) {
	t.Parallel()
	posted := make(chan string, 5)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		posted <- string(b)
	}))
	t.Cleanup(s.Close)
	dir := filepath.Join(t.TempDir(), "out")
	now := time.Now()
	m := bare(t, func(c *config.ACME, _ *Options) { c.ExportDir, c.OnRenew = dir, s.URL })
	put(t, m, now, now.Add(time.Hour), "*.a.test", "a.test")
	r := m.resolvers["le"]
	m.obtained(r, r.certs.get("*.a.test,a.test"))
	var body struct {
		Names    []string
		Resolver string
		Dir      string
	}
	if text := <-posted; json.Unmarshal([]byte(text), &body) != nil || body.Resolver != "le" || body.Names[0] != "*.a.test" || strings.Contains(text, "PRIVATE") {
		t.Fatalf("posted %s", text)
	}
	for name, mode := range map[string]os.FileMode{"privkey.pem": 0o600, "cert.pem": 0o644, "chain.pem": 0o644, "fullchain.pem": 0o644} {
		st, err := os.Stat(filepath.Join(body.Dir, name))
		if err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
	if body.Dir != filepath.Join(dir, "_.a.test") {
		t.Errorf("directory %s", body.Dir)
	}
	mark := filepath.Join(t.TempDir(), "mark")
	if err := hook(t.Context(), "cp "+filepath.Join(body.Dir, "cert.pem")+" "+mark, Certificate{Names: []string{"a"}}, body.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error(err)
	}
	if err := hook(t.Context(), "false", Certificate{}, ""); err == nil {
		t.Error("a command that fails")
	}
	if _, err := Export(dir, Certificate{Names: []string{"../x"}}); err == nil {
		t.Error("a name that leaves the directory")
	}
}

func ExampleExport() {
	dir, _ := os.MkdirTemp("", "export")
	defer func() { _ = os.RemoveAll(dir) }()
	sub, err := Export(dir, Certificate{Names: []string{"*.example.com"}, Chain: []byte("chain"), Key: []byte("key")})
	fmt.Println(filepath.Base(sub), err)
	// Output: _.example.com <nil>
}
