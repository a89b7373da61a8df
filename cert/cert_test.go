package cert

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// pair writes a certificate for names and returns it as PEM texts.
func pair(t testing.TB, from, to time.Time, names ...string) (config.FileOrContent, config.FileOrContent) {
	t.Helper()
	c, k := testnet.Certificate(t, from, to, names...)
	return config.FileOrContent(c), config.FileOrContent(k)
}

func store(t testing.TB, now time.Time, sets ...[]string) []config.StoreCertificate {
	var out []config.StoreCertificate
	for _, names := range sets {
		c, k := pair(t, now.Add(-time.Hour), now.Add(time.Hour), names...)
		out = append(out, config.StoreCertificate{CertFile: c, KeyFile: k})
	}
	return out
}

// handshake returns the leaf and state a client of that name meets.
func handshake(t testing.TB, m *Manager, name string, tune func(*tls.Config)) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	srv := tls.Server(b, &tls.Config{GetConfigForClient: m.ConfigFor("websecure"), MinVersion: tls.VersionTLS12})
	go func() { _ = srv.Handshake() }()
	cfg := &tls.Config{ServerName: name, InsecureSkipVerify: true} //nolint:gosec // the test looks at the certificate itself
	if tune != nil {
		tune(cfg)
	}
	c := tls.Client(a, cfg)
	_ = a.SetDeadline(time.Now().Add(5 * time.Second))
	err := c.Handshake()
	return c.ConnectionState(), err
}

func TestChoiceByName(t *testing.T) {
	now := time.Now()
	m, err := NewManager(now)
	if err != nil {
		t.Fatal(err)
	}
	certs := store(t, now, []string{"a.test", "www.a.test"}, []string{"*.b.test"}, []string{"x.b.test"}, []string{"*"}, []string{"*.*.d.test"}, []string{"*.e.d.test"})
	oldC, oldK := pair(t, now.Add(-48*time.Hour), now.Add(-24*time.Hour), "c.test")
	certs = append(certs, config.StoreCertificate{CertFile: oldC, KeyFile: oldK})
	certs = append(certs, store(t, now, []string{"c.test"})...)
	if p := m.Update(&config.TLS{Certificates: certs}, nil, now); len(p) > 0 {
		t.Fatal(p)
	}
	for name, want := range map[string]string{
		"a.test": "a.test", "WWW.A.test": "a.test", "y.b.test": "*.b.test", "x.b.test": "x.b.test",
		"host": "*", "x.y.d.test": "*.*.d.test", "x.e.d.test": "*.e.d.test", "x.d.test": "TRAEFIK DEFAULT CERT", "w.x.y.d.test": "TRAEFIK DEFAULT CERT",
		"z.y.b.test": "TRAEFIK DEFAULT CERT", "other.test": "TRAEFIK DEFAULT CERT", "": "TRAEFIK DEFAULT CERT",
	} {
		st, err := handshake(t, m, name, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := st.PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("%q got the certificate of %s, want %s", name, got, want)
		}
	}
	st, err := handshake(t, m, "c.test", nil)
	if err != nil || st.PeerCertificates[0].NotAfter.Before(now) {
		t.Fatalf("an expired certificate hid a valid one: %v", err)
	}
}

func TestOptionsByHost(t *testing.T) {
	now := time.Now()
	m, _ := NewManager(now)
	cfg := &config.TLS{
		Certificates: store(t, now, []string{"a.test"}),
		Options: map[string]*config.TLSOptions{
			"old@file":    {MaxVersion: "VersionTLS12"},
			"strict@file": {SNIStrict: true},
			"bad@file":    {CipherSuites: []string{"NULL"}},
			"odd@file":    {MinVersion: "VersionTLS14"},
			"none@file":   {MaxVersion: "VersionTLS11"},
		},
	}
	problems := m.Update(cfg, map[string]map[string]string{
		"websecure": {
			"a.test": "old@file", "*.s.test": "strict@file", "bad.test": "bad@file", "gone.test": "gone@file", "odd.test": "odd@file", "none.test": "none@file",
		},
		"admin": {"x.s.test": "old@file"},
	}, now)
	var about []string
	for _, p := range problems {
		about = append(about, p.Object+" "+p.Field)
	}
	slices.Sort(about)
	if got := strings.Join(about, ", "); got != "tls options bad@file , tls options none@file maxVersion, tls options odd@file minVersion" {
		t.Fatalf("problems with %s", got)
	}
	if st, err := handshake(t, m, "a.test", nil); err != nil || st.Version != tls.VersionTLS12 {
		t.Fatalf("version %x, %v", st.Version, err)
	}
	for _, name := range []string{"q.s.test", "X.s.test"} {
		if _, err := handshake(t, m, name, nil); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Fatalf("sniStrict and the unknown name %s: %v", name, err)
		}
	}
	if st, err := handshake(t, m, "odd.test", nil); err != nil || st.Version != tls.VersionTLS13 {
		t.Fatalf("an unknown version: %x, %v", st.Version, err)
	}
	if _, err := handshake(t, m, "none.test", nil); err == nil {
		t.Fatal("TLS below the lowest version")
	}
	for _, host := range []string{"bad.test", "gone.test"} {
		if _, err := handshake(t, m, host, nil); err == nil {
			t.Fatalf("%s: options that cannot be used were replaced by weaker ones", host)
		}
	}
	// The same host may have other options on another entry point.
	info := &tls.ClientHelloInfo{ServerName: "x.s.test"}
	elsewhere, err := m.ConfigFor("admin")(info)
	here, err2 := m.ConfigFor("websecure")(info)
	if err != nil || err2 != nil || elsewhere != m.Config("old@file") || here != m.Config("strict@file") {
		t.Fatalf("options by entry point: %v, %v", err, err2)
	}
}

func TestConfigsSurviveUpdates(t *testing.T) {
	now := time.Now()
	m, _ := NewManager(now)
	opts := map[string]*config.TLSOptions{"o@file": {MinVersion: "VersionTLS13"}}
	m.Update(&config.TLS{Options: opts}, nil, now)
	before := m.Config("o@file")
	m.Update(&config.TLS{Options: opts, Certificates: store(t, now, []string{"a.test"})}, nil, now)
	if before == nil || m.Config("o@file") != before {
		t.Fatal("a new certificate replaced the tls.Config, which would end session resumption")
	}
}

func TestBadCertificatesCostThemselvesOnly(t *testing.T) {
	now := time.Now()
	m, _ := NewManager(now)
	good := store(t, now, []string{"a.test"})[0]
	other := store(t, now, []string{"b.test"})[0]
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.crt")
	if err := os.WriteFile(bad, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	problems := m.Update(&config.TLS{Certificates: []config.StoreCertificate{
		{CertFile: config.FileOrContent(bad), KeyFile: good.KeyFile},
		{CertFile: good.CertFile, KeyFile: other.KeyFile},
		{CertFile: "/no/such/file", KeyFile: good.KeyFile},
		good,
	}}, nil, now)
	if len(problems) != 3 {
		t.Fatalf("problems %v", problems)
	}
	if st, err := handshake(t, m, "a.test", nil); err != nil || st.PeerCertificates[0].Subject.CommonName != "a.test" {
		t.Fatalf("the good one is not served: %v", err)
	}
}

func TestChangedFilesAreSwappedAndBrokenOnesAreNot(t *testing.T) {
	now := time.Now()
	m, _ := NewManager(now)
	dir := t.TempDir()
	crt, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	write := func(serial int, c, k config.FileOrContent) {
		stamp := now.Add(time.Duration(serial) * time.Minute)
		for p, text := range map[string]config.FileOrContent{crt: c, key: k} {
			if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_ = os.Chtimes(p, stamp, stamp)
		}
	}
	serial := func() string {
		st, err := handshake(t, m, "a.test", nil)
		if err != nil {
			t.Fatal(err)
		}
		return st.PeerCertificates[0].SerialNumber.String()
	}
	c1, k1 := pair(t, now, now.Add(time.Hour), "a.test")
	write(1, c1, k1)
	cfg := &config.TLS{Certificates: []config.StoreCertificate{{CertFile: config.FileOrContent(crt), KeyFile: config.FileOrContent(key)}}}
	m.Update(cfg, nil, now)
	first := serial()
	if m.Refresh(now) {
		t.Fatal("reloaded without a change")
	}
	c2, k2 := pair(t, now, now.Add(time.Hour), "a.test")
	write(2, c2, k1) // half of the change has come
	if !m.Refresh(now) || serial() != first {
		t.Fatal("a pair that does not fit was taken")
	}
	write(3, c2, k2)
	if !m.Refresh(now) || serial() == first {
		t.Fatal("the new pair was not taken")
	}
	if !m.Covers([]string{"a.test"}) || m.Covers([]string{"a.test", "b.test"}) {
		t.Fatal("Covers")
	}
}

func TestManagedCertificatesAndChallenge(t *testing.T) {
	now := time.Now()
	m, _ := NewManager(now)
	c, k := pair(t, now.Add(-time.Hour), now.Add(time.Hour), "m.test")
	p, err := Load(c, k)
	if err != nil {
		t.Fatal(err)
	}
	m.SetManaged([]*tls.Certificate{p}, now)
	if st, err := handshake(t, m, "m.test", nil); err != nil || st.PeerCertificates[0].Subject.CommonName != "m.test" {
		t.Fatalf("%v", err)
	}
	cc, ck := pair(t, now, now.Add(time.Hour), "challenge")
	ch, _ := Load(cc, ck)
	m.SetChallenge(func(name string) *tls.Certificate {
		if name == "m.test" {
			return ch
		}
		return nil
	})
	st, err := handshake(t, m, "m.test", func(c *tls.Config) { c.NextProtos = []string{"acme-tls/1"} })
	if err != nil || st.NegotiatedProtocol != "acme-tls/1" || st.PeerCertificates[0].Subject.CommonName != "challenge" {
		t.Fatalf("challenge: %v %q", err, st.NegotiatedProtocol)
	}
}

// A name that the default certificate is good for needs no other one, unless it is not
// served for it.
func TestCoverByTheDefaultCertificate(t *testing.T) {
	now := time.Now()
	m, err := NewManager(now)
	if err != nil {
		t.Fatal(err)
	}
	cf, kf := pair(t, now.Add(-time.Hour), now.Add(time.Hour), "d.test", "*.w.test")
	stores := map[string]*config.TLSStore{Default: {DefaultCertificate: &config.Certificate{CertFile: cf, KeyFile: kf}}}
	certs := store(t, now, []string{"a.test"})
	for name, c := range map[string]struct {
		cfg   *config.TLS
		names []string
		want  bool
	}{
		"generated":          {&config.TLS{}, []string{"d.test"}, false},
		"exact":              {&config.TLS{Stores: stores}, []string{"d.test"}, true},
		"wildcard":           {&config.TLS{Stores: stores}, []string{"x.w.test", "*.w.test"}, true},
		"two labels":         {&config.TLS{Stores: stores}, []string{"x.y.w.test"}, false},
		"beside another":     {&config.TLS{Stores: stores, Certificates: certs}, []string{"a.test", "d.test"}, true},
		"another is missing": {&config.TLS{Stores: stores}, []string{"a.test", "d.test"}, false},
		"strict":             {&config.TLS{Stores: stores, Options: map[string]*config.TLSOptions{"s@file": {SNIStrict: true}}}, []string{"d.test"}, false},
	} {
		m.Update(c.cfg, nil, now)
		if got := m.Covers(c.names); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
