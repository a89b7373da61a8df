package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair writes a certificate and its key.
func pair(t *testing.T, certFile, keyFile string, days int, names ...string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: names[0]}, NotBefore: now.Add(-100 * 24 * time.Hour), NotAfter: now.Add(time.Duration(days) * 24 * time.Hour), DNSNames: names}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for path, b := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: kb}} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Certificates of certbot and Caddy are taken over into an encrypted directory, listed,
// exported, due for renewal and pruned.
func TestCerts(t *testing.T) {
	dir := t.TempDir()
	run := func(code int, args ...string) string {
		t.Helper()
		var out strings.Builder
		p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &out, read: os.ReadFile}
		if got := p.main(context.Background(), append([]string{"certs"}, args...)); got != code {
			t.Fatalf("%v: exit code %d\n%s", args, got, out.String())
		}
		return out.String()
	}
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte(run(0, "key")), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--certificatesResolvers.le.acme.storage=dir://" + filepath.Join(dir, "store"), "--certificatesResolvers.le.acme.storageKey=" + key, "--certificatesResolvers.le.acme.tlsChallenge=true"}
	with := func(args ...string) []string { return append(args, flags...) }

	bot, caddy := filepath.Join(dir, "letsencrypt", "live", "a.test"), filepath.Join(dir, "caddy", "certificates", "acme", "*.b.test")
	pair(t, filepath.Join(bot, "fullchain.pem"), filepath.Join(bot, "privkey.pem"), 60, "a.test", "www.a.test")
	pair(t, filepath.Join(caddy, "w.crt"), filepath.Join(caddy, "w.key"), -1, "*.b.test")
	for _, from := range []string{filepath.Join(dir, "letsencrypt"), filepath.Join(dir, "caddy")} {
		if out := run(0, with("import", from)...); !strings.Contains(out, "1 of 1 certificates imported") {
			t.Fatal(out)
		}
	}
	if out := run(0, with("import", bot)...); !strings.Contains(out, "0 of 1") {
		t.Errorf("again: %s", out)
	}
	out := run(0, with("list")...)
	for _, want := range []string{"NAMES", "a.test,www.a.test", "le", "1267", "valid", "*.b.test", "ended"} {
		if !strings.Contains(out, want) {
			t.Errorf("the list lacks %q:\n%s", want, out)
		}
	}
	if out := run(0, with("list", "--json")...); !strings.Contains(out, `"serial": "1267"`) || strings.Contains(out, "PRIVATE") {
		t.Errorf("as JSON: %s", out)
	}
	if out := run(0, with("why", "x.b.test")...); !strings.Contains(out, "*.b.test: resolver le: ended") {
		t.Errorf("why: %s", out)
	}
	if out := run(1, with("why", "c.test")...); !strings.Contains(out, "no resolver holds a certificate for c.test") {
		t.Errorf("why of a stranger: %s", out)
	}
	run(0, with("renew", "www.a.test")...)
	if out := run(0, with("list")...); !strings.Contains(out, "due") {
		t.Errorf("after renew: %s", out)
	}
	run(1, with("renew", "c.test")...)
	if out := run(0, with("prune")...); !strings.Contains(out, "*.b.test\n1 certificates deleted") {
		t.Errorf("prune: %s", out)
	}
	if out := run(0, with("export", filepath.Join(dir, "out"))...); !strings.Contains(out, "1 certificates exported") {
		t.Errorf("export: %s", out)
	}
	stored, _ := os.ReadFile(filepath.Join(dir, "store", "le", "certificates", "a.test,www.a.test.pem"))
	exported, _ := os.ReadFile(filepath.Join(dir, "out", "a.test", "privkey.pem"))
	if !strings.Contains(string(stored), "SLUICE SEALED") || !strings.Contains(string(exported), "PRIVATE KEY") {
		t.Errorf("stored:\n%s\nexported:\n%s", stored, exported)
	}
	if out := run(1, "list"); !strings.Contains(out, "no certificate resolver") {
		t.Errorf("without a resolver: %s", out)
	}
}
