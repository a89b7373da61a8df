// Package testacme runs a real ACME server (Pebble) with a DNS server of its own inside a
// test. Every name resolves to 127.0.0.1 and challenges are made to the ports given.
package testacme

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/sluice-edge/sluice/cert"
)

// Options of a CA. The zero value asks no account binding and issues for 90 days.
type Options struct {
	// HTTPPort and TLSPort are where challenges are made.
	HTTPPort, TLSPort int
	// EAB maps key identifiers to keys; if set, accounts need one.
	EAB map[string]string
	// Validity of certificates in seconds; zero leaves the CA's own.
	Validity uint64
	// Host is the address at which the CA is reached, such as the gateway of a Docker
	// network; "" means 127.0.0.1.
	Host string
}

// CA is a running ACME server.
type CA struct {
	// URL of the directory.
	URL string
	// TrustFile holds the certificate of the server itself as PEM.
	TrustFile string
	// DNS answers every name; tests add TXT records to it.
	DNS *challtestsrv.ChallSrv
	// DNSAddr is where it listens.
	DNSAddr string
	// Roots holds the root of the certificates it issues.
	Roots *x509.CertPool

	mu    sync.Mutex
	calls map[string]int
	front func(w http.ResponseWriter, r *http.Request) bool
}

// Environ readies the process for Pebble, which takes some settings from the environment
// only; call it from TestMain, so that tests may run side by side. badNonces is the share of
// good nonces that are refused, in percent.
func Environ(badNonces int) {
	for k, v := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0", "PEBBLE_WFE_NONCEREJECT": strconv.Itoa(badNonces)} {
		if err := os.Setenv(k, v); err != nil {
			panic(err)
		}
	}
}

// Start starts a CA that ends with the test.
func Start(t testing.TB, o Options) *CA {
	t.Helper()
	c := &CA{calls: map[string]int{}}
	c.startDNS(t)
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	for id, key := range o.EAB {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			t.Fatal(err)
		}
	}
	profiles := map[string]ca.Profile{"default": {Description: "the default", ValidityPeriod: o.Validity}}
	authority := ca.New(quiet, store, "", "ecdsa", 0, 1, profiles)
	validator := va.New(quiet, o.HTTPPort, o.TLSPort, false, c.DNSAddr, store)
	front := wfe.New(quiet, store, validator, authority, []string{"pebble.letsencrypt.org"}, false, len(o.EAB) > 0, 1, 1)
	h := front.Handler()

	c.Roots = x509.NewCertPool()
	c.Roots.AppendCertsFromPEM(authority.GetRootCert(0).PEM())
	host := cmp.Or(o.Host, "127.0.0.1")
	own := serverCertificate(t, host)
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		front := c.front
		c.mu.Unlock()
		if front != nil && front(w, r) {
			return
		}
		rec := &statusWriter{ResponseWriter: w}
		h.ServeHTTP(rec, r)
		if rec.status < 300 { // a refused nonce is repeated and is no second order
			c.mu.Lock()
			c.calls[r.URL.Path]++
			c.mu.Unlock()
		}
	}))
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{*own}, MinVersion: tls.VersionTLS12}
	srv.Config.ErrorLog = quiet
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c.URL = srv.URL + wfe.DirectoryPath
	c.TrustFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(c.TrustFile, cert.EncodePEM(own), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// serverCertificate makes the certificate of the CA's own address.
func serverCertificate(t testing.TB, host string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "test CA"}, DNSNames: []string{serverName},
		IPAddresses: []net.IP{net.ParseIP(host)}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// serverName is another name than the address in the server's own certificate.
const serverName = "ca.lab.test"

// ServerName is a name in the server's own certificate, for caServerName.
func (c *CA) ServerName() string { return serverName }

// Orders is how many orders were made.
func (c *CA) Orders() int { return c.count("/order-plz") }

// Accounts is how many accounts were asked for.
func (c *CA) Accounts() int { return c.count("/sign-me-up") }

func (c *CA) count(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[path]
}

// Front puts f before the CA: where it returns true it has answered itself. Nil takes it away.
func (c *CA) Front(f func(w http.ResponseWriter, r *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.front = f
}

// startDNS starts the DNS server on a port that is free for UDP and TCP, and waits until
// it answers: the server says neither whether it could listen nor when.
func (c *CA) startDNS(t testing.TB) {
	t.Helper()
	for range 10 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c.DNSAddr = tcp.Addr().String()
		udp, err := net.ListenPacket("udp", c.DNSAddr)
		_ = tcp.Close()
		if err != nil {
			continue
		}
		_ = udp.Close()
		srv, err := challtestsrv.New(challtestsrv.Config{DNSAddrs: []string{c.DNSAddr}, Log: log.New(io.Discard, "", 0)})
		if err != nil {
			t.Fatal(err)
		}
		srv.SetDefaultDNSIPv4("127.0.0.1")
		srv.SetDefaultDNSIPv6("")
		srv.Run()
		if answers(c.DNSAddr) {
			c.DNS = srv
			t.Cleanup(srv.Shutdown)
			return
		}
		srv.Shutdown()
	}
	t.Fatal("no DNS server")
}

func answers(addr string) bool {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		a, err := r.LookupHost(ctx, "ready.test")
		cancel()
		if err == nil && len(a) > 0 {
			return true
		}
	}
	return false
}
