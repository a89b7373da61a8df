package upstream

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
