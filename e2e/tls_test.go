package e2e

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
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

// authority signs certificates of a test and writes them as files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: dir}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.write(name+".crt", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		a.t.Fatal(err)
	}
}

// issue writes FILE.crt and FILE.key for names; the common name is the file's.
func (a *authority) issue(file string, key crypto.Signer, ends time.Time, names ...string) tls.Certificate {
	a.t.Helper()
	a.n++
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(a.n + 1), Subject: pkix.Name{CommonName: file}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: ends}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	kb, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(file+".crt", "CERTIFICATE", der)
	a.write(file+".key", "PRIVATE KEY", kb)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// ask is one handshake with a request, and what must come of it.
type ask struct {
	what   string
	sni    string // "" sends none
	host   string // of the request; sni if empty
	tune   func(*tls.Config)
	cn     string // common name of the certificate; "" does not matter
	status int    // 0: the handshake, or the first use of the connection, fails
	then   func(t *testing.T, st tls.ConnectionState)
}

const generated = "TRAEFIK DEFAULT CERT"

func (k ask) run(t *testing.T, addr string) error {
	t.Helper()
	cfg := &tls.Config{ServerName: k.sni, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, NextProtos: []string{"http/1.1"}} //nolint:gosec // looked at below
	if k.tune != nil {
		k.tune(cfg)
	}
	status, st, err := first(addr, cfg, k)
	switch {
	case k.status == 0 && err == nil:
		return fmt.Errorf("%s: status %d, want a failed handshake", k.what, status)
	case k.status == 0:
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", k.what, err)
	case status != k.status:
		return fmt.Errorf("%s: status %d, want %d", k.what, status, k.status)
	case k.cn != "" && st.PeerCertificates[0].Subject.CommonName != k.cn:
		return fmt.Errorf("%s: the certificate of %q, want %q", k.what, st.PeerCertificates[0].Subject.CommonName, k.cn)
	}
	if k.then != nil {
		k.then(t, st)
	}
	return nil
}

func first(addr string, cfg *tls.Config, k ask) (int, tls.ConnectionState, error) {
	raw, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return 0, tls.ConnectionState{}, err
	}
	defer func() { _ = raw.Close() }()
	_ = raw.SetDeadline(time.Now().Add(time.Minute)) // ends a failing test, or a wait for an order
	c := tls.Client(raw, cfg)
	host := k.host
	if host == "" {
		host = k.sni
	}
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		return 0, tls.ConnectionState{}, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, tls.ConnectionState{}, err
	}
	_ = resp.Body.Close()
	return resp.StatusCode, c.ConnectionState(), nil
}

func version(v uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }
}

// The settings of TLS as a user of Traefik writes them, black-box.
func TestTLSSettings(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(backend.Close)
	dir := t.TempDir()
	ca, other := newAuthority(t, dir, "ca"), newAuthority(t, dir, "other")
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ends := time.Now().Add(time.Hour)
	ca.issue("plain", ec, ends, "plain.test", "www.plain.test", "127.0.0.9")
	ca.issue("wild", ec, ends, "*.wild.test")
	ca.issue("exact", ec, ends, "x.wild.test")
	ca.issue("ended", ec, time.Now().Add(-time.Hour), "both.test")
	ca.issue("valid", ec, ends, "both.test")
	ca.issue("pair-ec", ec, ends, "pair.test")
	ca.issue("pair-rsa", rsaKey, ends, "pair.test")
	ca.issue("idn", ec, ends, "xn--bcher-kva.test")
	ca.issue("dflt", ec, ends, "dflt.test")
	client, stranger := ca.issue("client", ec, ends, "client"), other.issue("stranger", ec, ends, "stranger")
	with := func(c tls.Certificate) func(*tls.Config) {
		return func(cfg *tls.Config) {
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
		}
	}

	var y strings.Builder
	router := func(name, rule, options string) {
		tlsPart := "{}"
		if options != "" {
			tlsPart = "{options: " + options + "}"
		}
		fmt.Fprintf(&y, "    %s: {rule: '%s', service: s, tls: %s}\n", name, rule, tlsPart)
	}
	y.WriteString("http:\n  services: {s: {loadBalancer: {servers: [{url: '" + backend.URL + "'}]}}}\n  routers:\n")
	for _, h := range []string{"plain", "both", "pair", "other"} {
		router(h, "Host(`"+h+".test`)", "")
	}
	router("wild", "HostRegexp(`^.+\\.wild\\.test$`)", "")
	router("idn", "Host(`bücher.test`)", "")
	for _, o := range []string{"min10", "min13", "max12", "ciphers", "curves", "curvesOld", "alpn", "tickets", "require", "ifgiven", "any", "request", "none", "inline", "two", "prefer", "strict"} {
		router(o, "Host(`"+strings.ToLower(o)+".opt.test`)", o)
	}
	router("same", "Host(`same.opt.test`)", "require")
	router("crossed", "Host(`crossed.opt.test`)", "require@file")
	router("not", "!Host(`min13.opt.test`) && Host(`not.opt.test`)", "min13")
	router("several", "Host(`s1.opt.test`) || Host(`S2.opt.test`)", "min13")
	router("re", "HostRegexp(`^re\\.opt\\.test$`)", "min13")
	y.WriteString("tls:\n  certificates:\n")
	for _, c := range []string{"plain", "wild", "exact", "ended", "valid", "pair-ec", "pair-rsa", "idn"} {
		fmt.Fprintf(&y, "  - {certFile: %s/%s.crt, keyFile: %s/%s.key}\n", dir, c, dir, c)
	}
	fmt.Fprintf(&y, "  - {certFile: %s/none.crt, keyFile: %s/none.key}\n", dir, dir)      // costs itself
	fmt.Fprintf(&y, "  - {certFile: %s/plain.crt, keyFile: %s/pair-rsa.key}\n", dir, dir) // not a pair
	inline, _ := os.ReadFile(filepath.Join(dir, "ca.crt"))
	fmt.Fprintf(&y, `  stores: {default: {defaultCertificate: {certFile: %[1]s/dflt.crt, keyFile: %[1]s/dflt.key}}}
  options:
    min10: {minVersion: VersionTLS10}
    min13: {minVersion: VersionTLS13}
    max12: {maxVersion: VersionTLS12}
    ciphers: {maxVersion: VersionTLS12, cipherSuites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]}
    curves: {curvePreferences: [X25519MLKEM768, CurveP384]}
    curvesOld: {curvePreferences: [secp521r1]}
    alpn: {alpnProtocols: [http/1.1, imap]}
    tickets: {disableSessionTickets: true}
    prefer: {preferServerCipherSuites: true}
    strict: {sniStrict: true}
    require: {clientAuth: {clientAuthType: RequireAndVerifyClientCert, caFiles: [%[1]s/ca.crt]}}
    ifgiven: {clientAuth: {clientAuthType: VerifyClientCertIfGiven, caFiles: [%[1]s/ca.crt]}}
    any: {clientAuth: {clientAuthType: RequireAnyClientCert}}
    request: {clientAuth: {clientAuthType: RequestClientCert}}
    none: {clientAuth: {clientAuthType: NoClientCert, caFiles: [%[1]s/ca.crt]}}
    two: {clientAuth: {clientAuthType: RequireAndVerifyClientCert, caFiles: [%[1]s/ca.crt, %[1]s/other.crt]}}
    inline:
      clientAuth:
        clientAuthType: RequireAndVerifyClientCert
        caFiles:
        - |
          %[2]s
`, dir, strings.ReplaceAll(strings.TrimSpace(string(inline)), "\n", "\n          "))
	file := filepath.Join(dir, "dynamic.yml")
	if err := os.WriteFile(file, []byte(y.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := testnet.FreeAddr(t)
	r := startRouter(t, nil, "--entrypoints.websecure.address="+addr, "--providers.file.filename="+file)
	_ = r

	leaf := func(check func(*x509.Certificate) bool) func(*testing.T, tls.ConnectionState) {
		return func(t *testing.T, st tls.ConnectionState) {
			t.Helper()
			if !check(st.PeerCertificates[0]) {
				t.Errorf("another certificate: %v", st.PeerCertificates[0].Subject)
			}
		}
	}
	asks := []ask{
		{what: "exact", sni: "plain.test", cn: "plain", status: 200},
		{what: "second name", sni: "www.plain.test", host: "plain.test", cn: "plain", status: 200},
		{what: "upper case", sni: "PLAIN.test", cn: "plain", status: 200},
		{what: "wildcard", sni: "y.wild.test", cn: "wild", status: 200},
		{what: "exact before wildcard", sni: "x.wild.test", cn: "exact", status: 200},
		{what: "wildcard stands for one label", sni: "a.b.wild.test", cn: "dflt", status: 200},
		{what: "valid before ended", sni: "both.test", cn: "valid", status: 200},
		{what: "IDN", sni: "xn--bcher-kva.test", cn: "idn", status: 200},
		{what: "no certificate", sni: "other.test", cn: "dflt", status: 200},
		{what: "no router", sni: "stranger.test", cn: "dflt", status: 404},
		{what: "no SNI", host: "other.test", cn: "dflt", status: 200},
		{what: "pair, ECDSA", sni: "pair.test", status: 200, tune: func(c *tls.Config) {
			version(tls.VersionTLS12)(c)
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		}, then: leaf(func(c *x509.Certificate) bool { return c.PublicKeyAlgorithm == x509.ECDSA })},
		{what: "pair, RSA", sni: "pair.test", status: 200, tune: func(c *tls.Config) {
			version(tls.VersionTLS12)(c)
			c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		}, then: leaf(func(c *x509.Certificate) bool { return c.PublicKeyAlgorithm == x509.RSA })},

		{what: "TLS 1.1 by default", sni: "plain.test", tune: version(tls.VersionTLS11)},
		{what: "TLS 1.2 by default", sni: "plain.test", tune: version(tls.VersionTLS12), status: 200},
		{what: "minVersion 1.0", sni: "min10.opt.test", tune: version(tls.VersionTLS10), status: 200},
		{what: "minVersion 1.3", sni: "min13.opt.test", tune: version(tls.VersionTLS12)},
		{what: "minVersion 1.3 with it", sni: "min13.opt.test", tune: version(tls.VersionTLS13), status: 200},
		{what: "maxVersion 1.2", sni: "max12.opt.test", tune: version(tls.VersionTLS13)},
		{what: "maxVersion 1.2 with it", sni: "max12.opt.test", status: 200, then: func(t *testing.T, st tls.ConnectionState) {
			if st.Version != tls.VersionTLS12 {
				t.Errorf("version %x", st.Version)
			}
		}},
		{what: "cipherSuites", sni: "ciphers.opt.test", status: 200, then: func(t *testing.T, st tls.ConnectionState) {
			if st.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 {
				t.Errorf("suite %x", st.CipherSuite)
			}
		}},
		{what: "another cipher suite", sni: "ciphers.opt.test", tune: func(c *tls.Config) { c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256} }},
		{what: "curves", sni: "curves.opt.test", status: 200, then: func(t *testing.T, st tls.ConnectionState) {
			if st.CurveID != tls.X25519MLKEM768 {
				t.Errorf("curve %v", st.CurveID)
			}
		}},
		{what: "a curve of the list", sni: "curves.opt.test", tune: func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, status: 200},
		{what: "a curve not in the list", sni: "curves.opt.test", tune: func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }},
		{what: "a curve by its other name", sni: "curvesold.opt.test", status: 200, then: func(t *testing.T, st tls.ConnectionState) {
			if st.CurveID != tls.CurveP521 {
				t.Errorf("curve %v", st.CurveID)
			}
		}},
		{what: "ALPN", sni: "alpn.opt.test", tune: func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, status: 200, then: func(t *testing.T, st tls.ConnectionState) {
			if st.NegotiatedProtocol != "http/1.1" {
				t.Errorf("protocol %q", st.NegotiatedProtocol)
			}
		}},
		{what: "ALPN without a common one", sni: "alpn.opt.test", tune: func(c *tls.Config) { c.NextProtos = []string{"spdy/9"} }},
		{what: "no ALPN", sni: "alpn.opt.test", tune: func(c *tls.Config) { c.NextProtos = nil }, status: 200},
		{what: "preferServerCipherSuites", sni: "prefer.opt.test", status: 200},
		{what: "strict without a certificate", sni: "strict.opt.test"},

		{what: "require, none", sni: "require.opt.test"},
		{what: "require, a stranger's", sni: "require.opt.test", tune: with(stranger)},
		{what: "require, ours", sni: "require.opt.test", tune: with(client), status: 200},
		{what: "require over TLS 1.2, ours", sni: "require.opt.test", tune: func(c *tls.Config) { with(client)(c); version(tls.VersionTLS12)(c) }, status: 200},
		{what: "if given, none", sni: "ifgiven.opt.test", status: 200},
		{what: "if given, a stranger's", sni: "ifgiven.opt.test", tune: with(stranger)},
		{what: "if given, ours", sni: "ifgiven.opt.test", tune: with(client), status: 200},
		{what: "any, none", sni: "any.opt.test"},
		{what: "any, a stranger's", sni: "any.opt.test", tune: with(stranger), status: 200},
		{what: "request, none", sni: "request.opt.test", status: 200},
		{what: "request, a stranger's", sni: "request.opt.test", tune: with(stranger), status: 200},
		{what: "no client certificate", sni: "none.opt.test", status: 200},
		{what: "two CAs, the second's", sni: "two.opt.test", tune: with(stranger), status: 200},
		{what: "inline CA, ours", sni: "inline.opt.test", tune: with(client), status: 200},
		{what: "inline CA, a stranger's", sni: "inline.opt.test", tune: with(stranger)},
		{what: "options of the same provider by their full name", sni: "crossed.opt.test"},

		{what: "fronting", sni: "plain.test", host: "require.opt.test", status: 421},
		{what: "fronting with a port", sni: "plain.test", host: "REQUIRE.opt.test.:443", status: 421},
		{what: "fronting without SNI", host: "require.opt.test", status: 421},
		{what: "another host of the same options", sni: "require.opt.test", host: "same.opt.test", tune: with(client), status: 200},
		{what: "the other way", sni: "require.opt.test", host: "plain.test", tune: with(client), status: 421},
		{what: "options of two hosts", sni: "s1.opt.test", tune: version(tls.VersionTLS12)},
		{what: "options of two hosts, the second", sni: "s2.opt.test", tune: version(tls.VersionTLS12)},
		{what: "options on a pattern: the default's", sni: "re.opt.test", tune: version(tls.VersionTLS12), status: 200},
	}
	testnet.Eventually(t, 20*time.Second, func() error { return asks[0].run(t, addr) })
	for _, k := range asks {
		if err := k.run(t, addr); err != nil {
			t.Error(err)
		}
	}

	t.Run("files that change", func(t *testing.T) {
		ca.issue("plain", ec, ends, "plain.test", "fresh.plain.test")
		testnet.Eventually(t, 20*time.Second, func() error {
			return ask{what: "new name", sni: "fresh.plain.test", host: "plain.test", cn: "plain", status: 200}.run(t, addr)
		})
		if err := os.WriteFile(filepath.Join(dir, "wild.crt"), []byte("not a certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
		other.issue("exact", ec, ends, "x.wild.test") // seen after the broken one was
		testnet.Eventually(t, 20*time.Second, func() error {
			var issuer string
			err := ask{what: "replaced", sni: "x.wild.test", cn: "exact", status: 200, then: func(_ *testing.T, st tls.ConnectionState) { issuer = st.PeerCertificates[0].Issuer.CommonName }}.run(t, addr)
			if err == nil && issuer != "other" {
				err = fmt.Errorf("issued by %s", issuer)
			}
			return err
		})
		if err := (ask{what: "a broken file: the old certificate", sni: "y.wild.test", cn: "wild", status: 200}).run(t, addr); err != nil {
			t.Error(err)
		}
	})
}
