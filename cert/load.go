package cert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// Read returns the content of a file, or the text itself where it is not the name of one.
// What looks like a path and cannot be read is an error.
func Read(f config.FileOrContent) ([]byte, error) {
	s := string(f)
	if strings.Contains(s, "-----BEGIN") {
		return []byte(s), nil
	}
	b, err := config.ReadFile(s)
	if err != nil {
		return nil, fmt.Errorf("%w (and it is not PEM text)", err)
	}
	return b, nil
}

// Load reads a certificate chain and its key, as files or PEM text. The Leaf is set.
func Load(certFile, keyFile config.FileOrContent) (*tls.Certificate, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("certFile and keyFile must both be set")
	}
	c, err := Read(certFile)
	if err != nil {
		return nil, fmt.Errorf("certFile: %w", err)
	}
	k, err := Read(keyFile)
	if err != nil {
		return nil, fmt.Errorf("keyFile: %w", err)
	}
	pair, err := tls.X509KeyPair(c, k)
	if err != nil {
		return nil, err
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, err
		}
	}
	return &pair, nil
}

// Pool reads CA certificates, as files or PEM text.
func Pool(files []config.FileOrContent) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, f := range files {
		if err := AddTo(pool, f); err != nil {
			return nil, err
		}
	}
	return pool, nil
}

// AddTo adds the CA certificates of a file, or of PEM text, to a pool.
func AddTo(pool *x509.CertPool, f config.FileOrContent) error {
	b, err := Read(f)
	if err != nil {
		return err
	}
	if !pool.AppendCertsFromPEM(b) {
		return fmt.Errorf("no certificate found in %s", short(f))
	}
	return nil
}

func short(f config.FileOrContent) string {
	if strings.Contains(string(f), "-----BEGIN") {
		return "the PEM text"
	}
	return string(f)
}

// SelfSigned makes the certificate that is served where no other fits. Its common name is
// the reference's, which monitoring of existing installations may look for.
func SelfSigned(now time.Time) (*tls.Certificate, error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	var id [32]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%x.%x.traefik.default", id[:16], id[16:])
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "TRAEFIK DEFAULT CERT"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{name},

		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &priv.PublicKey, priv)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv, Leaf: leaf}, nil
}

// EncodePEM writes the chain of c as PEM, leaf first.
func EncodePEM(c *tls.Certificate) []byte {
	var out []byte
	for _, der := range c.Certificate {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}
