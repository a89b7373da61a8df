// Package cert chooses certificates and TLS settings by server name. It issues nothing
// and knows no routes.
//
// A Manager holds two snapshots behind atomic pointers: the configured certificates with
// the TLS options, and the managed (issued) certificates. A renewal swaps the second and
// touches nothing else. Choice is by hash: its cost does not grow with the certificates.
package cert

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"time"
)

// set is certificates by name, immutable.
type set struct {
	exact map[string]*tls.Certificate
	wild  map[string]*tls.Certificate // by the part behind "*."
	all   []*tls.Certificate
}

// newSet indexes certificates. Of two with the same names the first one loaded stays,
// but an expired one never hides one that is valid at now.
func newSet(certs []*tls.Certificate, now time.Time) *set {
	s := &set{exact: map[string]*tls.Certificate{}, wild: map[string]*tls.Certificate{}, all: certs}
	// The reference walks the joined name lists in reverse alphabetical order and takes the
	// first match; the same order here decides between certificates that share a name.
	type keyed struct {
		*tls.Certificate
		names []string
		key   string
	}
	order := make([]keyed, len(certs))
	for i, c := range certs {
		names := Names(c.Leaf)
		order[i] = keyed{c, names, key(names)}
	}
	slices.SortStableFunc(order, func(a, b keyed) int { return strings.Compare(b.key, a.key) })
	for _, c := range order {
		for _, n := range c.names {
			m := s.exact
			if rest, ok := strings.CutPrefix(n, "*."); ok {
				m, n = s.wild, rest
			}
			if old := m[n]; old == nil || (!valid(old.Leaf, now) && valid(c.Leaf, now)) {
				m[n] = c.Certificate
			}
		}
	}
	return s
}

// find returns the certificate for a lower-case name, or nil. The exact name wins over a wildcard.
func (s *set) find(name string) *tls.Certificate {
	if s == nil || name == "" {
		return nil
	}
	if c := s.exact[name]; c != nil {
		return c
	}
	if i := strings.IndexByte(name, '.'); i > 0 {
		return s.wild[name[i+1:]]
	}
	return nil
}

// Names returns the lower-case names a certificate is good for: its DNS names and IP
// addresses, or its common name where it has neither.
func Names(leaf *x509.Certificate) []string {
	var out []string
	for _, n := range leaf.DNSNames {
		out = append(out, strings.ToLower(n))
	}
	for _, ip := range leaf.IPAddresses {
		out = append(out, ip.String())
	}
	if len(out) == 0 && leaf.Subject.CommonName != "" {
		out = append(out, strings.ToLower(leaf.Subject.CommonName))
	}
	if cn := strings.ToLower(leaf.Subject.CommonName); cn != "" && !slices.Contains(out, cn) {
		out = append(out, cn)
	}
	return out
}

func key(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return strings.Join(slices.Sorted(slices.Values(names)), ",")
}

func valid(leaf *x509.Certificate, now time.Time) bool {
	return !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter)
}
