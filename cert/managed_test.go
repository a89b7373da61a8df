package cert

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// The issued certificate becomes the default once it is there with all its names; one that
// is configured wins.
func TestGeneratedDefault(t *testing.T) {
	now := time.Now()
	m, err := NewManager(now)
	if err != nil {
		t.Fatal(err)
	}
	stores := func(d *config.Certificate) *config.TLS {
		return &config.TLS{Stores: map[string]*config.TLSStore{Default: {DefaultCertificate: d, DefaultGeneratedCert: &config.GeneratedCert{
			Resolver: "le", Domain: &config.Domain{Main: "Dflt.test", SANs: []string{"*.dflt.test"}},
		}}}}
	}
	served := func() string {
		t.Helper()
		st, err := handshake(t, m, "other.test", nil)
		if err != nil {
			t.Fatal(err)
		}
		return st.PeerCertificates[0].Subject.CommonName
	}
	issued := func(names ...string) *tls.Certificate {
		c, k := pair(t, now.Add(-time.Hour), now.Add(time.Hour), names...)
		p, err := Load(c, k)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := m.Update(stores(nil), nil, now); len(p) != 0 {
		t.Fatal(p)
	}
	if got := served(); got != "TRAEFIK DEFAULT CERT" {
		t.Fatalf("before the order: %s", got)
	}
	m.SetManaged([]*tls.Certificate{issued("dflt.test")}, now)
	if got := served(); got != "TRAEFIK DEFAULT CERT" {
		t.Fatalf("a certificate with some of the names: %s", got)
	}
	m.SetManaged([]*tls.Certificate{issued("dflt.test", "*.dflt.test")}, now)
	if got := served(); got != "dflt.test" {
		t.Fatalf("after the order: %s", got)
	}
	c, k := pair(t, now.Add(-time.Hour), now.Add(time.Hour), "own.test")
	if p := m.Update(stores(&config.Certificate{CertFile: c, KeyFile: k}), nil, now); len(p) != 1 || p[0].Severity != config.Warning {
		t.Fatalf("both defaults: %v", p)
	}
	if got := served(); got != "own.test" {
		t.Fatalf("with a configured default: %s", got)
	}
}

func TestStrangersLearnNothingFromTheChallengeProtocol(t *testing.T) {
	now := time.Now()
	m, err := NewManager(now)
	if err != nil {
		t.Fatal(err)
	}
	m.SetChallenge(func(string) *tls.Certificate { return nil })
	if _, err := handshake(t, m, "a.test", func(c *tls.Config) { c.NextProtos = []string{"acme-tls/1"} }); err == nil {
		t.Fatal("a handshake without a challenge under way succeeded")
	}
	if _, err := handshake(t, m, "a.test", func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }); err != nil {
		t.Fatal(err)
	}
}

// Configured and issued certificates are chosen from as one: exact before wildcard, valid
// before ended, and configured before issued only where both are as good.
func TestChoiceAmongConfiguredAndIssued(t *testing.T) {
	now := time.Now()
	live, past := [2]time.Time{now.Add(-time.Hour), now.Add(time.Hour)}, [2]time.Time{now.Add(-2 * time.Hour), now.Add(-time.Hour)}
	for name, c := range map[string]struct {
		configured, issued string // names; the common name is theirs
		ends               [2][2]time.Time
		want               string
	}{
		"exact issued":       {"*.a.test", "x.a.test", [2][2]time.Time{live, live}, "x.a.test"},
		"exact configured":   {"x.a.test", "*.a.test", [2][2]time.Time{live, live}, "x.a.test"},
		"configured ended":   {"x.a.test", "*.a.test", [2][2]time.Time{past, live}, "*.a.test"},
		"issued ended":       {"*.a.test", "x.a.test", [2][2]time.Time{live, past}, "*.a.test"},
		"all ended":          {"*.a.test", "x.a.test", [2][2]time.Time{past, past}, "x.a.test"},
		"another name":       {"*.b.test", "y.a.test", [2][2]time.Time{live, live}, "TRAEFIK DEFAULT CERT"},
		"a wildcard's depth": {"*.x.a.test", "*.test", [2][2]time.Time{live, live}, "TRAEFIK DEFAULT CERT"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := NewManager(now)
			if err != nil {
				t.Fatal(err)
			}
			cf, kf := pair(t, c.ends[0][0], c.ends[0][1], c.configured)
			m.Update(&config.TLS{Certificates: []config.StoreCertificate{{CertFile: cf, KeyFile: kf}}}, nil, now)
			ci, ki := pair(t, c.ends[1][0], c.ends[1][1], c.issued)
			p, err := Load(ci, ki)
			if err != nil {
				t.Fatal(err)
			}
			m.SetManaged([]*tls.Certificate{p}, now)
			st, err := handshake(t, m, "x.a.test", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := st.PeerCertificates[0].Subject.CommonName; got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
