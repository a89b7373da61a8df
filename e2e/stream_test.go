package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
)

// A host may have other TLS options on another entry point: one for everybody, and one that
// demands client certificates.
func TestTLSOptionsByEntryPoint(t *testing.T) {
	dir := t.TempDir()
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(backend.Close)
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	client := newAuthority(t, dir, "ca").issue("client", key, time.Now().Add(time.Hour))
	with := func(c *tls.Config) { c.Certificates = []tls.Certificate{client} }
	file := filepath.Join(dir, "dynamic.yml")
	y := fmt.Sprintf(`http:
  services: {s: {loadBalancer: {servers: [{url: '%s'}]}}}
  routers:
    both: {rule: 'Host(`+"`both.test`"+`)', service: s}
    open: {rule: 'Host(`+"`own.test`"+`)', service: s, entryPoints: [websecure], tls: {}}
    closed: {rule: 'Host(`+"`own.test`"+`)', service: s, entryPoints: [admin], tls: {options: mtls}}
tls: {options: {mtls: {clientAuth: {clientAuthType: RequireAndVerifyClientCert, caFiles: [%s/ca.crt]}}}}
`, backend.URL, dir)
	if err := os.WriteFile(file, []byte(y), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, lane := range []string{"auto", "handler"} {
		web, admin := testnet.FreeAddr(t), testnet.FreeAddr(t)
		startRouter(t, nil, "--entrypoints.websecure.address="+web, "--entrypoints.websecure.http.tls", "--entrypoints.admin.address="+admin,
			"--entrypoints.admin.http.tls.options=mtls@file", "--providers.file.filename="+file, "--sluice.lane="+lane)
		for _, host := range []string{"both.test", "own.test"} {
			open := ask{what: lane + ", everybody's", sni: host, status: 200}
			testnet.Eventually(t, 20*time.Second, func() error { return open.run(t, web) })
			for _, k := range []ask{{what: lane + ", none", sni: host}, {what: lane + ", ours", sni: host, tune: with, status: 200}, {what: lane + ", fronting", sni: "other.test", host: host, status: 421}} {
				if err := k.run(t, admin); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// passed answers TLS that was passed through: with the server name and the protocol.
func passed(t *testing.T, postgres bool) string {
	t.Helper()
	c, k := testnet.Certificate(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "behind.test")
	pair, err := tls.X509KeyPair(c, k)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"acme-tls/1"}, MinVersion: tls.VersionTLS12}
	return testnet.Accept(t, 20*time.Second, func(nc net.Conn) {
		if postgres {
			b := make([]byte, 8)
			if _, err := io.ReadFull(nc, b); err != nil || string(b) != "\x00\x00\x00\x08\x04\xd2\x16\x2f" {
				return
			}
			_, _ = nc.Write([]byte("S"))
		}
		tc := tls.Server(nc, cfg)
		if tc.Handshake() == nil {
			_, _ = fmt.Fprintf(tc, "behind %s %s\n", tc.ConnectionState().ServerName, tc.ConnectionState().NegotiatedProtocol)
		}
	})
}

// TCP routers beside HTTPS ones: PostgreSQL's clients are for TCP whatever name they give,
// and handshakes of ACME are for servers that make them where no resolver here does.
func TestTLSThatIsNotForHTTPS(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(backend.Close)
	file := filepath.Join(t.TempDir(), "dynamic.yml")
	y := fmt.Sprintf(`http:
  services: {s: {loadBalancer: {servers: [{url: '%s'}]}}}
  routers: {db: {rule: 'Host(`+"`db.test`"+`)', service: s, tls: {}}}
tcp:
  services:
    pg: {loadBalancer: {servers: [{address: '%s'}]}}
    own: {loadBalancer: {servers: [{address: '%s'}]}}
  routers:
    pg: {rule: 'HostSNI(`+"`*`"+`)', service: pg, tls: {passthrough: true}}
    own: {rule: 'HostSNI(`+"`own.test`"+`)', service: own, tls: {passthrough: true}}
`, backend.URL, passed(t, true), passed(t, false))
	if err := os.WriteFile(file, []byte(y), 0o600); err != nil {
		t.Fatal(err)
	}
	hear := func(addr, name, proto string, postgres bool) (string, error) {
		nc, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			return "", err
		}
		defer func() { _ = nc.Close() }()
		_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
		if postgres {
			_, _ = io.WriteString(nc, "\x00\x00\x00\x08\x04\xd2\x16\x2f")
			if b := make([]byte, 1); func() bool { _, err := io.ReadFull(nc, b); return err != nil || b[0] != 'S' }() {
				return "", fmt.Errorf("answered %q", b)
			}
		}
		cfg := &tls.Config{ServerName: name, InsecureSkipVerify: true} //nolint:gosec // who answers is what is asked
		if proto != "" {
			cfg.NextProtos = []string{proto}
		}
		return bufio.NewReader(tls.Client(nc, cfg)).ReadString('\n')
	}
	resolver := []string{"--certificatesresolvers.le.acme.storage=" + filepath.Join(t.TempDir(), "acme.json"), "--certificatesresolvers.le.acme.tlschallenge"}
	for _, lane := range []string{"auto", "handler"} {
		for challenge, more := range map[bool][]string{false: nil, true: resolver} {
			addr := testnet.FreeAddr(t)
			startRouter(t, nil, append(more, "--entrypoints.websecure.address="+addr, "--providers.file.filename="+file, "--sluice.lane="+lane)...)
			testnet.Eventually(t, 20*time.Second, func() error { return ask{what: "HTTPS", sni: "db.test", status: 200}.run(t, addr) })
			for _, name := range []string{"db.test", "else.test"} {
				if got, err := hear(addr, name, "", true); got != "behind "+name+" \n" {
					t.Errorf("%s, PostgreSQL for %s: %q %v", lane, name, got, err)
				}
			}
			got, err := hear(addr, "own.test", "acme-tls/1", false)
			if through := strings.HasPrefix(got, "behind own.test acme"); through == challenge {
				t.Errorf("%s, challenges here %v: %q %v", lane, challenge, got, err)
			}
		}
	}
}
