package api

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-edge/sluice/config"
)

const (
	expired = "expired"
	// warnBefore is how long before its end a certificate gets a warning.
	warnBefore = 30 * 24 * time.Hour
)

// certificateView is a certificate as the reference shows it. Name is its fingerprint.
type certificateView struct {
	Name                 string    `json:"name"`
	SANs                 []string  `json:"sans"`
	NotAfter             time.Time `json:"notAfter"`
	NotBefore            time.Time `json:"notBefore"`
	SerialNumber         string    `json:"serialNumber"`
	CommonName           string    `json:"commonName"`
	IssuerOrg            string    `json:"issuerOrg,omitempty"`
	IssuerCN             string    `json:"issuerCN,omitempty"`
	IssuerCountry        string    `json:"issuerCountry,omitempty"`
	Organization         string    `json:"organization,omitempty"`
	Country              string    `json:"country,omitempty"`
	Version              string    `json:"version"`
	KeyType              string    `json:"keyType"`
	KeySize              int       `json:"keySize,omitempty"`
	SignatureAlgorithm   string    `json:"signatureAlgorithm"`
	CertFingerprint      string    `json:"certFingerprint"`
	PublicKeyFingerprint string    `json:"publicKeyFingerprint"`
	Status               string    `json:"status"`
	// Sluice is what its resolver knows of an issued certificate.
	Sluice *Issued `json:"sluice,omitempty"`
}

// leaves are the offered certificates, each once.
func (s *server) leaves() []*x509.Certificate {
	if s.Certificates == nil {
		return nil
	}
	seen := make(map[[sha256.Size]byte]bool)
	return slices.DeleteFunc(slices.Clone(s.Certificates()), func(c *x509.Certificate) bool {
		if c == nil {
			return true
		}
		sum := sha256.Sum256(c.Raw)
		again := seen[sum]
		seen[sum] = true
		return again
	})
}

func (s *server) certificates() []row {
	var rows []row
	issued := s.issuedAs()
	for _, c := range s.leaves() {
		rows = append(rows, showCertificate(c, issued))
	}
	return rows
}

func (s *server) certificate(id string) (any, bool) {
	for _, c := range s.leaves() {
		if fingerprint(c.Raw) == id {
			return showCertificate(c, s.issuedAs()).body, true
		}
	}
	return nil, false
}

func showCertificate(c *x509.Certificate, issued map[string]*Issued) row {
	v := certificateView{
		Name: fingerprint(c.Raw), CertFingerprint: fingerprint(c.Raw),
		PublicKeyFingerprint: fingerprint(c.RawSubjectPublicKeyInfo),
		SANs:                 slices.Clone(c.DNSNames), NotAfter: c.NotAfter, NotBefore: c.NotBefore,
		SerialNumber: c.SerialNumber.String(), CommonName: c.Subject.CommonName,
		IssuerOrg: first(c.Issuer.Organization), IssuerCN: c.Issuer.CommonName, IssuerCountry: first(c.Issuer.Country),
		Organization: first(c.Subject.Organization), Country: first(c.Subject.Country),
		Version: "v" + strconv.Itoa(c.Version), SignatureAlgorithm: c.SignatureAlgorithm.String(),
		Status: certificateStatus(c, time.Now()), Sluice: issued[fingerprint(c.Raw)],
	}
	for _, ip := range c.IPAddresses {
		v.SANs = append(v.SANs, ip.String())
	}
	slices.Sort(v.SANs)
	if v.SANs == nil {
		v.SANs = []string{}
	}
	v.KeyType, v.KeySize = keyOf(c)
	issuer := v.IssuerOrg
	if issuer == "" {
		issuer = v.IssuerCN
	}
	return row{
		name: v.CommonName, status: v.Status, issuer: issuer, validUntil: c.NotAfter.Unix(),
		search: append([]string{v.CommonName, v.IssuerOrg, v.IssuerCN}, v.SANs...), body: v,
	}
}

func keyOf(c *x509.Certificate) (kind string, bits int) {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return "RSA", key.N.BitLen()
	case *ecdsa.PublicKey:
		return "ECDSA", key.Curve.Params().BitSize
	case ed25519.PublicKey:
		return "Ed25519", 256
	}
	return "Unknown", 0
}

func certificateStatus(c *x509.Certificate, now time.Time) string {
	switch left := c.NotAfter.Sub(now); {
	case left < 0:
		return expired
	case left < warnBefore:
		return string(config.StatusWarning)
	}
	return string(config.StatusEnabled)
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
