package api

import (
	"slices"
	"time"
)

// Issued is what a certificate resolver knows of one set of names: its certificate, when it
// is renewed, and the trouble with it.
type Issued struct {
	Resolver string   `json:"resolver"`
	Names    []string `json:"names"`
	// State is "valid", "due" (renewal is), "ended", "ordering" or "not obtained".
	State string `json:"state"`
	// CertFingerprint is that of /api/certificates; empty without a certificate.
	CertFingerprint string    `json:"certFingerprint,omitempty"`
	Issuer          string    `json:"issuer,omitempty"`
	Serial          string    `json:"serial,omitempty"`
	NotBefore       time.Time `json:"notBefore,omitzero"`
	NotAfter        time.Time `json:"notAfter,omitzero"`
	NextRenewal     time.Time `json:"nextRenewal,omitzero"`
	// Used is false where no router names the certificate any more.
	Used bool `json:"used"`
	// Failures are the orders that failed in a row, LastError is the last one's cause, and
	// NextAttempt is when the next order is made.
	Failures    int       `json:"failures,omitempty"`
	LastError   string    `json:"lastError,omitempty"`
	NextAttempt time.Time `json:"nextAttempt,omitzero"`
}

func (s *server) issued() []row {
	if s.Issued == nil {
		return nil
	}
	var rows []row
	for _, i := range s.Issued() {
		rows = append(rows, row{
			name: first(i.Names), status: i.State, provider: i.Resolver, issuer: i.Issuer, validUntil: i.NotAfter.Unix(),
			search: append([]string{i.Resolver, i.Issuer}, i.Names...), body: i,
		})
	}
	return rows
}

// issuedAs finds what is known of a certificate by its fingerprint.
func (s *server) issuedAs() map[string]*Issued {
	out := map[string]*Issued{}
	if s.Issued == nil {
		return out
	}
	list := s.Issued()
	for i := range slices.Values(list) {
		if i.CertFingerprint != "" {
			out[i.CertFingerprint] = &i
		}
	}
	return out
}
