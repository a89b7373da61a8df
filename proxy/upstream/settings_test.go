package upstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// What cannot be used of a transport's TLS settings costs servers that speak TLS what it must,
// and others nothing.
func TestTransportsThatAreNotWhole(t *testing.T) {
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	secure, plain := httptest.NewTLSServer(ok), httptest.NewServer(ok)
	defer secure.Close()
	defer plain.Close()
	root := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}))
	for name, c := range map[string]struct {
		cfg     config.ServersTransport
		reached bool   // the server that speaks TLS
		tells   string // the warning, or why it is not reached
	}{
		"whole":                {config.ServersTransport{RootCAs: []string{root}, ServerName: "example.com"}, true, ""},
		"one authority less":   {config.ServersTransport{RootCAs: []string{"/no/such.pem", root}, ServerName: "example.com"}, true, "/no/such.pem"},
		"no authority left":    {config.ServersTransport{RootCAs: []string{"/no/such.pem"}, ServerName: "example.com"}, false, "/no/such.pem"},
		"unverified":           {config.ServersTransport{RootCAs: []string{"/no/such.pem"}, InsecureSkipVerify: true}, true, "/no/such.pem"},
		"a certificate less":   {config.ServersTransport{InsecureSkipVerify: true, Certificates: []config.Certificate{{CertFile: "/no.pem", KeyFile: "/no.key"}}}, true, "certificates[0]"},
		"an unknown suite":     {config.ServersTransport{InsecureSkipVerify: true, CipherSuites: []string{"TLS_NONE"}}, true, "TLS_NONE"},
		"an unknown version":   {config.ServersTransport{InsecureSkipVerify: true, MinVersion: "VersionTLS99"}, false, "VersionTLS99"},
		"versions upside down": {config.ServersTransport{InsecureSkipVerify: true, MinVersion: "VersionTLS13", MaxVersion: "VersionTLS12"}, false, "above maxVersion"},
		"one version":          {config.ServersTransport{InsecureSkipVerify: true, MinVersion: "VersionTLS12", MaxVersion: "VersionTLS12"}, true, ""},
		"an unknown kind":      {config.ServersTransport{InsecureSkipVerify: true, PeerCertSANs: []config.PeerCertSAN{{Type: "x", Value: "y"}}}, false, "peerCertSANs"},
		"spiffe":               {config.ServersTransport{InsecureSkipVerify: true, Spiffe: &config.Spiffe{}}, false, "spiffe"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := NewTransport("t", &c.cfg)
			tells := tr.Warning
			if tr.NoTLS != nil {
				tells += tr.NoTLS.Error()
			}
			if !strings.Contains(tells, c.tells) || (tells == "") != (c.tells == "") {
				t.Errorf("it tells %q", tells)
			}
			for _, s := range []*httptest.Server{secure, plain} {
				scheme, addr, _ := strings.Cut(s.URL, "://")
				ep := endpoint(1, scheme, addr)
				ep.Transport = tr
				nc, err := Dial(context.Background(), ep, nil)
				perr := Prober{}.Probe(context.Background(), ep, &config.HealthCheck{Path: "/"})
				want := c.reached || s == plain
				if (err == nil) != want || (perr == nil) != want {
					t.Errorf("%s: %v; probe %v", scheme, err, perr)
				}
				if err == nil {
					if tc, is := nc.(*tls.Conn); is && c.cfg.MaxVersion == "VersionTLS12" && tc.ConnectionState().Version != tls.VersionTLS12 {
						t.Error("another version")
					}
					_ = nc.Close()
				} else if asError(err).Reason != exchange.UpstreamTLS {
					t.Error(asError(err).Reason)
				}
			}
		})
	}
}

// peer starts a server whose certificate, of an authority of its own, is for an address, a
// name and a URI. It returns the authority's certificate too.
func peer(t *testing.T, address string) (addr, root string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, _ := url.Parse("spiffe://example.org/peer")
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, IPAddresses: []net.IP{net.ParseIP(address)},
		DNSNames: []string{"inner.test"}, URIs: []*url.URL{uri}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	rootDER, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}))
}

// A name in the certificate is asked for beside the chain, and beside the name that was dialled
// unless that is skipped.
func TestPeerCertSANs(t *testing.T) {
	right, rightRoot := peer(t, "127.0.0.1")
	wrong, wrongRoot := peer(t, "192.0.2.1") // the name that is dialled is not in its certificate
	dns, uri := config.PeerCertSAN{Type: "DNSName", Value: "inner.test"}, config.PeerCertSAN{Type: "URI", Value: "spiffe://example.org/peer"}
	other := config.PeerCertSAN{Type: "URI", Value: "spiffe://example.com/peer"}
	for name, c := range map[string]struct {
		addr, root string
		skip       bool
		sans       []config.PeerCertSAN
		uri        string
		ok         bool
	}{
		"a name":                        {right, rightRoot, false, []config.PeerCertSAN{dns}, "", true},
		"one of two":                    {right, rightRoot, false, []config.PeerCertSAN{other, uri}, "", true},
		"the older option":              {right, rightRoot, false, nil, uri.Value, true},
		"another":                       {right, rightRoot, false, []config.PeerCertSAN{other}, "", false},
		"another authority":             {right, wrongRoot, false, []config.PeerCertSAN{dns}, "", false},
		"another authority, skipped":    {right, wrongRoot, true, []config.PeerCertSAN{dns}, uri.Value, false},
		"another name dialled":          {wrong, wrongRoot, false, []config.PeerCertSAN{dns}, "", false},
		"another name dialled, skipped": {wrong, wrongRoot, true, []config.PeerCertSAN{dns}, "", true},
		"nothing left, skipped":         {wrong, wrongRoot, true, []config.PeerCertSAN{other}, "", false},
		"all skipped":                   {wrong, rightRoot, true, nil, "", true},
	} {
		ep := endpoint(1, "https", c.addr)
		ep.Transport = NewTransport("t", &config.ServersTransport{RootCAs: []string{c.root}, InsecureSkipVerify: c.skip, PeerCertSANs: c.sans, PeerCertURI: c.uri})
		nc, err := Dial(context.Background(), ep, nil)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = nc.Close()
		}
	}
}
