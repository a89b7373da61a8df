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
	// deep are names of more stars than one, "*.*.x", and "*": browsers believe none of them,
	// the reference serves them.
	deep map[string]*tls.Certificate
	// second are certificates for a name of the first two, whose key is of another kind: for
	// clients that cannot use the first one. A wildcard's name begins with "*.".
	second map[string]*tls.Certificate
	all    []*tls.Certificate
}

// newSet indexes certificates. Of two with the same names the first one loaded stays,
// but an expired one never hides one that is valid at now.
func newSet(certs []*tls.Certificate, now time.Time) *set {
	s := &set{exact: make(map[string]*tls.Certificate, len(certs)), wild: map[string]*tls.Certificate{}, deep: map[string]*tls.Certificate{}, second: map[string]*tls.Certificate{}, all: certs}
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
			m, k := s.exact, n
			if rest, ok := strings.CutPrefix(n, "*."); n == "*" || ok && strings.HasPrefix(rest, "*") {
				m = s.deep
			} else if ok {
				m, k = s.wild, rest
			}
			switch old := m[k]; {
			case old == nil || (!valid(old.Leaf, now) && valid(c.Leaf, now)):
				m[k] = c.Certificate
			case s.second[n] == nil && old.Leaf.PublicKeyAlgorithm != c.Leaf.PublicKeyAlgorithm && valid(c.Leaf, now):
				s.second[n] = c.Certificate
			}
		}
	}
	return s
}

// exactly and wildly return the certificate for a lower-case name by the name itself and by a
// wildcard, with the one for clients that cannot use it, or nil.
func (s *set) exactly(name string) (c, second *tls.Certificate) {
	if s == nil || name == "" {
		return nil, nil
	}
	return s.exact[name], s.alternative(name)
}

func (s *set) wildly(name string) (c, second *tls.Certificate) {
	if s == nil || name == "" {
		return nil, nil
	}
	i := strings.IndexByte(name, '.')
	if i > 0 {
		c = s.wild[name[i+1:]]
	}
	switch {
	case c == nil && len(s.deep) > 0:
		return s.deeply(name)
	case c != nil && len(s.second) > 0:
		second = s.second["*"+name[i:]]
	}
	return c, second
}

// deeply looks for the name with one label after the other become a star.
func (s *set) deeply(name string) (c, second *tls.Certificate) {
	labels := strings.Split(name, ".")
	for i := range labels {
		labels[i] = "*"
		pattern := strings.Join(labels, ".")
		if c = s.deep[pattern]; c != nil {
			return c, s.alternative(pattern)
		}
	}
	return nil, nil
}

func (s *set) alternative(name string) *tls.Certificate {
	if len(s.second) == 0 {
		return nil
	}
	return s.second[name]
}

// find returns the certificate for a lower-case name, or nil. The exact name wins over a wildcard.
func (s *set) find(name string) *tls.Certificate {
	if c, _ := s.exactly(name); c != nil {
		return c
	}
	c, _ := s.wildly(name)
	return c
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
