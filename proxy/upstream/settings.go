package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/cert"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// maxIdleDefault is how many idle connections to one server are kept where nothing is configured.
const maxIdleDefault = 200

// NewTransport builds the transport of that name.
func NewTransport(name string, c *config.ServersTransport) *exchange.Transport {
	t := &exchange.Transport{
		Name:            name,
		DialTimeout:     30 * time.Second,
		IdleConnTimeout: 90 * time.Second,
		PingTimeout:     15 * time.Second,
		MaxIdlePerHost:  c.MaxIdleConnsPerHost,
		DisableHTTP2:    c.DisableHTTP2,
	}
	if t.MaxIdlePerHost == 0 {
		t.MaxIdlePerHost = maxIdleDefault
	}
	if f := c.ForwardingTimeouts; f != nil {
		t.DialTimeout = time.Duration(f.DialTimeout)
		t.ResponseHeaderTimeout = time.Duration(f.ResponseHeaderTimeout)
		t.IdleConnTimeout = time.Duration(f.IdleConnTimeout)
		t.ReadIdleTimeout = time.Duration(f.ReadIdleTimeout)
		t.PingTimeout = time.Duration(f.PingTimeout)
	}
	// As in the reference, servers that do not speak TLS are none the worse for its settings.
	t.TLS, t.Warning, t.NoTLS = ClientTLS(c)
	return t
}

// ClientTLS builds the TLS settings towards servers. What makes them stricter by its absence is
// left out where it cannot be read, as in the reference, and warning says so: an authority, a
// certificate of ours, a choice of cipher suites. Without the rest they cannot be used.
func ClientTLS(c *config.ServersTransport) (t *tls.Config, warning string, err error) {
	if c.Spiffe != nil {
		return nil, "", errors.New("spiffe is not supported; use rootCAs and certificates")
	}
	t = &tls.Config{ServerName: c.ServerName, InsecureSkipVerify: c.InsecureSkipVerify} //nolint:gosec // the user's choice
	var left []string
	if len(c.RootCAs) > 0 {
		t.RootCAs = x509.NewCertPool()
		for _, f := range c.RootCAs {
			if err := cert.AddTo(t.RootCAs, config.FileOrContent(f)); err != nil {
				left = append(left, fmt.Sprintf("rootCAs: %v", err))
			}
		}
	}
	for i, k := range c.Certificates {
		pair, err := cert.Load(k.CertFile, k.KeyFile)
		if err != nil {
			left = append(left, fmt.Sprintf("certificates[%d]: %v", i, err))
			continue
		}
		t.Certificates = append(t.Certificates, *pair)
	}
	if t.CipherSuites, err = cert.CipherSuites(c.CipherSuites); err != nil {
		left = append(left, err.Error()+"; the default suites are used")
	}
	if len(left) > 0 {
		warning = "left out: " + strings.Join(left, "; ")
	}
	if t.MinVersion, err = cert.Version(c.MinVersion); err != nil {
		return nil, warning, fmt.Errorf("minVersion: %w", err)
	}
	if t.MaxVersion, err = cert.Version(c.MaxVersion); err != nil {
		return nil, warning, fmt.Errorf("maxVersion: %w", err)
	}
	if t.MaxVersion != 0 && t.MinVersion > t.MaxVersion {
		return nil, warning, fmt.Errorf("minVersion %s is above maxVersion %s", c.MinVersion, c.MaxVersion)
	}
	sans := slices.Clone(c.PeerCertSANs)
	if c.PeerCertURI != "" {
		sans = append(sans, config.PeerCertSAN{Type: "URI", Value: c.PeerCertURI})
	}
	if len(sans) > 0 {
		if err := verifySANs(t, sans); err != nil {
			return nil, warning, err
		}
	}
	t.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	return t, warning, nil
}

// verifySANs asks the server's certificate for one of the names, beside what is verified
// anyway. With insecureSkipVerify the name that was dialled is not, but the chain is: what a
// certificate says of itself is worth nothing without somebody who vouches for it.
func verifySANs(t *tls.Config, sans []config.PeerCertSAN) error {
	for _, s := range sans {
		if s.Type != "URI" && s.Type != "DNSName" {
			return fmt.Errorf("peerCertSANs: type %q is not URI or DNSName", s.Type)
		}
		if s.Type == "URI" {
			if _, err := url.Parse(s.Value); err != nil {
				return fmt.Errorf("peerCertSANs: %q is not a URI", s.Value)
			}
		}
	}
	roots, chain := t.RootCAs, t.InsecureSkipVerify
	t.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return errors.New("the server sent no certificate")
		}
		leaf := cs.PeerCertificates[0]
		if chain {
			opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
			for _, c := range cs.PeerCertificates[1:] {
				opts.Intermediates.AddCert(c)
			}
			if _, err := leaf.Verify(opts); err != nil {
				return err
			}
		}
		for _, s := range sans {
			if s.Type == "DNSName" && leaf.VerifyHostname(s.Value) == nil {
				return nil
			}
			if s.Type == "URI" && slices.ContainsFunc(leaf.URIs, func(u *url.URL) bool { return u.String() == s.Value }) {
				return nil
			}
		}
		return errors.New("the server's certificate carries none of peerCertSANs")
	}
	return nil
}

// TransportKey is a fingerprint of a transport's configuration and of the files it names.
func TransportKey(c *config.ServersTransport) string {
	h := sha256.New()
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // plain structs always encode
	}
	h.Write(b)
	files := slices.Clone(c.RootCAs)
	for _, k := range c.Certificates {
		files = append(files, string(k.CertFile), string(k.KeyFile))
	}
	for _, f := range files {
		if b, err := cert.Read(config.FileOrContent(f)); err == nil {
			h.Write(b)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
