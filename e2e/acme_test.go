package e2e

import (
	"archive/tar"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/sluice-edge/sluice/internal/testacme"
	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// certificateTime is how long a certificate may take: account and RSA keys are made first.
const certificateTime = 3 * time.Minute

// TestProdStackGetsItsCertificate starts a production stack as users wrote it beside a real
// certificate authority: the TLS challenge reaches the router's published port, acme.json is
// Traefik's, and a restart orders nothing again.
func TestProdStackGetsItsCertificate(t *testing.T) {
	e := engine(t)
	public(t, e)
	monitor, api := "monitor."+e.Run+".test", "api."+e.Run+".test"
	hash, err := exec.Command("openssl", "passwd", "-apr1", "-salt", "89eqM5Ro", "changethis").Output()
	if err != nil {
		t.Skipf("needs openssl: %v", err)
	}
	trust := filepath.Join(t.TempDir(), "ca.pem")
	s := newStack(t, e, "le", "MONITOR_HOST="+monitor, "API_HOST="+api, "EMAIL=ops@"+monitor, "USERNAME=admin",
		"HASHED_PASSWORD="+strings.TrimSpace(string(hash)), "TRUST_FILE="+trust)
	var port int
	_, _ = fmt.Sscan(testnet.Port(s.https), &port)
	ca := testacme.Start(t, testacme.Options{TLSPort: port, Host: gateway(t, e.Client())})
	if b, err := os.ReadFile(ca.TrustFile); err != nil || os.WriteFile(trust, b, 0o600) != nil {
		t.Fatal(err)
	}
	image := strings.TrimPrefix(find(s.env, "SLUICE_IMAGE="), "SLUICE_IMAGE=")
	dir := t.TempDir()
	base := edited(t, dir, "base.yml", "traefik:v2.8.4", image, "traefik-reverse-proxy", s.project,
		"80:80\n", testnet.Port(s.http)+":80\n", "443:443", testnet.Port(s.https)+":443", "8080:8080", testnet.Port(s.dash)+":8080")
	prod := edited(t, dir, "prod.yml", "acme.tlschallenge=true\n", "acme.tlschallenge=true\n      - --certificatesresolvers.le.acme.caserver="+ca.URL+"\n")
	s.up(s.project, base, prod, "e2e/testdata/prod/trust.yml")

	first := served(t, s.https, monitor, ca.Roots)
	acme := acmeJSON(t, e.Client(), s.project)
	if len(acme["le"].Certificates) != 1 || acme["le"].Certificates[0].Domain.Main != monitor || acme["le"].Account.Email != "ops@"+monitor {
		t.Errorf("acme.json: %+v", acme)
	}
	if n := ca.Orders(); n != 1 {
		t.Errorf("%d orders for one name", n)
	}
	web, tls := testnet.NewClient(s.http), testnet.TLS(s.https)
	defer web.Close()
	defer tls.Close()
	a := want(t, web, 301, "GET", monitor, "/")
	if got := a.Header.Get("Location"); got != "https://"+monitor+"/" {
		t.Errorf("Location %q", got)
	}
	want(t, tls, 401, "GET", monitor, "/dashboard/")

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := e.Client().ContainerRestart(ctx, s.project, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if again := served(t, s.https, monitor, ca.Roots); again.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("another certificate after the restart")
	}
	// An application that comes later gets its own, by the account that is there.
	app := edited(t, dir, "app.yml", "registry.example/helloworld-api:1.0-slim", image+"\n    command: [whoami, --port=8000]")
	s.up(s.project+"app", app)
	served(t, s.https, api, ca.Roots)
	want(t, tls, 200, "GET", api, "/")
	if o, acc := ca.Orders(), ca.Accounts(); o != 2 || acc != 1 {
		t.Errorf("%d orders and %d accounts for two names and a restart", o, acc)
	}
}

// gateway is this machine's address in the stacks' network.
func gateway(t *testing.T, cli *client.Client) string {
	t.Helper()
	n, err := cli.NetworkInspect(t.Context(), "traefik-public", network.InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(n.IPAM.Config) == 0 {
		t.Fatal("traefik-public has no gateway")
	}
	addr := n.IPAM.Config[0].Gateway
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		if os.Getenv(testdocker.RequireEnv) != "" {
			t.Fatal(err)
		}
		t.Skipf("the engine's bridge is not on this machine: %v", err)
	}
	_ = l.Close()
	return addr
}

func find(env []string, prefix string) string {
	for _, kv := range env {
		if strings.HasPrefix(kv, prefix) {
			return kv
		}
	}
	return ""
}

// edited copies a file of the stack with some words replaced, each of which must be there once.
func edited(t *testing.T, dir, name string, pairs ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/prod", name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(text, pairs[i]) != 1 {
			t.Fatalf("%s does not have %q once", name, pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// served waits until a chain that ends at the roots is served for host, and returns its leaf.
func served(t *testing.T, addr, host string, roots *x509.CertPool) *x509.Certificate {
	t.Helper()
	var leaf *x509.Certificate
	testnet.Eventually(t, certificateTime, func() error {
		time.Sleep(100 * time.Millisecond)
		d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS12}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		leaf = c.(*tls.Conn).ConnectionState().PeerCertificates[0]
		return nil
	})
	return leaf
}

// acmeFile is Traefik's acme.json.
type acmeFile map[string]struct {
	Account struct {
		Email        string
		Registration struct {
			Body map[string]any `json:"body"`
			URI  string         `json:"uri"`
		}
		PrivateKey []byte
	}
	Certificates []struct {
		Domain struct {
			Main string   `json:"main"`
			SANs []string `json:"sans"`
		} `json:"domain"`
		Certificate []byte `json:"certificate"`
		Key         []byte `json:"key"`
		Store       string
	}
}

// acmeJSON reads the file out of the container; it must be for its owner only, with keys and
// chains that can be used.
func acmeJSON(t *testing.T, cli *client.Client, name string) acmeFile {
	t.Helper()
	rc, _, err := cli.CopyFromContainer(t.Context(), name, "/certificates/acme.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rc.Close() }()
	r := tar.NewReader(rc)
	h, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if h.Mode&0o777 != 0o600 {
		t.Errorf("acme.json has mode %o", h.Mode)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var f acmeFile
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	for resolver, part := range f {
		if _, err := x509.ParsePKCS1PrivateKey(part.Account.PrivateKey); err != nil || part.Account.Registration.URI == "" {
			t.Errorf("%s: account %+v: %v", resolver, part.Account, err)
		}
		for _, c := range part.Certificates {
			if _, err := tls.X509KeyPair(c.Certificate, c.Key); err != nil || c.Store != "default" {
				t.Errorf("%s: certificate of %v in store %q: %v", resolver, c.Domain, c.Store, err)
			}
		}
	}
	return f
}
