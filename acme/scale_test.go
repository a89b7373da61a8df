package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/store/acmejson"
)

// manyCertificates writes an acme.json with n certificates, each with a chain of two as authorities
// give them and a P-256 key of its own file's size.
func manyCertificates(t testing.TB, path string, n int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	top, err := x509.CreateCertificate(rand.Reader, issuer, issuer, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	list := make([]*stored, n)
	for i := range list {
		name := fmt.Sprintf("h%d.many.test", i)
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour)}
		leaf, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		s := &stored{Certificate: append(block("CERTIFICATE", leaf), block("CERTIFICATE", top)...), Key: block("PRIVATE KEY", der), Store: "default"}
		s.Domain.Main = name
		list[i] = s
	}
	b, err := json.MarshalIndent(map[string]any{"le": map[string]any{"Account": nil, "Certificates": list}}, "", "  ")
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// With ten thousand certificates in an acme.json nothing grows with the square of them. The
// bounds are far above the figures; only the wrong order of growth breaks them.
func TestTenThousandCertificates(t *testing.T) {
	n := 10_000
	if testnet.RaceDetector {
		n /= 10
	}
	path := filepath.Join(t.TempDir(), "acme.json")
	manyCertificates(t, path, n)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	cfg := &config.ACME{TLSChallenge: &config.TLSChallenge{}}
	cfg.SetDefaults()
	cfg.Storage = path
	var m *Manager
	var file *acmejson.Store
	step := func(what string, limit time.Duration, f func()) {
		t.Helper()
		began := time.Now()
		f()
		d := time.Since(began)
		t.Logf("figure: %s: %v", what, d.Round(100*time.Microsecond))
		if d > limit {
			t.Errorf("%s took %v", what, d)
		}
	}
	published := 0
	step("opened", 30*time.Second, func() {
		m = New(t.Context(), Options{Resolvers: map[string]*config.ACME{"le": cfg}, Open: openAny, Log: zerolog.Nop(), Publish: func(c []*tls.Certificate) { published = len(c) }})
	})
	r := m.resolvers["le"]
	file = r.vault.Store.(*acmejson.Store)
	t.Logf("figure: %.1f MiB of file, %.1f MiB of memory", float64(st.Size())/(1<<20), heap()-before)
	reqs := make([]Request, n)
	for i := range reqs {
		reqs[i] = want(fmt.Sprintf("h%d.many.test", i))
	}
	step("wanted", 5*time.Second, func() { m.Want(reqs) })
	step("looked at", 5*time.Second, func() {
		for k := range r.certs.all { // renewal information was had: nothing is asked
			r.tries[k] = &Attempt{Checked: time.Now().Add(time.Hour)}
		}
		if jobs, _ := r.due(time.Now()); len(jobs) != 0 {
			t.Errorf("%d orders though all is there", len(jobs))
		}
	})
	step("listed", 5*time.Second, func() {
		if s := m.Statuses(); len(s) != n || !s[0].Used {
			t.Errorf("%d of %d are listed", len(s), n)
		}
	})
	step("published", 5*time.Second, m.publish)
	if published != n {
		t.Errorf("%d of %d are published", published, n)
	}
	step("one stored", 10*time.Second, func() {
		if err := r.vault.putCertificate(t.Context(), r.certificateKey("h5.many.test"), r.certs.get("h5.many.test").text); err != nil {
			t.Error(err)
		}
	})
	runtime.KeepAlive(file)
}
