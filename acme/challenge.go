package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"strings"
	"sync"
	"time"
)

const (
	// lookups bounds the questions to shared storage for challenges of other replicas: anybody
	// may ask for any token.
	lookups = 8
	// lookupTime bounds one of them.
	lookupTime = 2 * time.Second
	// tokenLife is how long a challenge in storage may be answered; what a replica that died
	// left behind is deleted after it.
	tokenLife = time.Hour
	// maxToken is the longest token or name that is looked for.
	maxToken = 253

	httpTokens = "challenges/http-01/"
	tlsTokens  = "challenges/tls-alpn-01/"
	tlsTries   = "challenges/tls-alpn-01-try/"
)

// challenges holds the answers to challenges under way.
type challenges struct {
	mu    sync.RWMutex
	certs map[string]*tls.Certificate // TLS-ALPN-01, by name
	tries map[string]*tls.Certificate // the same for looks before an order
	keys  map[string]string           // HTTP-01: key authorization by token

	asking chan struct{}
}

func newChallenges() *challenges {
	return &challenges{certs: map[string]*tls.Certificate{}, tries: map[string]*tls.Certificate{}, keys: map[string]string{}, asking: make(chan struct{}, lookups)}
}

// token is a challenge in shared storage, for the other replicas.
type token struct {
	KeyAuth string    `json:"keyAuth"`
	Made    time.Time `json:"made"`
}

// share puts a challenge where the other replicas find it.
func (r *resolver) share(key, keyAuth string) error {
	if r.vault.shared() == nil {
		return nil
	}
	return r.vault.putJSON(context.Background(), key, token{keyAuth, time.Now()})
}

func (r *resolver) unshare(key string) error {
	if r.vault.shared() == nil {
		return nil
	}
	return r.vault.Delete(context.Background(), key)
}

// tlsProvider is lego's challenge.Provider for TLS-ALPN-01 (RFC 8737).
type tlsProvider struct{ *resolver }

// Present makes the challenge certificate of a name ready.
func (p tlsProvider) Present(domain, _, keyAuth string) error {
	domain = strings.ToLower(domain)
	c, err := challengeCert(domain, keyAuth)
	if err != nil {
		return err
	}
	p.challenges.mu.Lock()
	p.challenges.certs[domain] = c
	p.challenges.mu.Unlock()
	return p.share(tlsTokens+domain, keyAuth)
}

// CleanUp forgets it.
func (p tlsProvider) CleanUp(domain, _, _ string) error {
	domain = strings.ToLower(domain)
	p.challenges.mu.Lock()
	delete(p.challenges.certs, domain)
	p.challenges.mu.Unlock()
	return p.unshare(tlsTokens + domain)
}

// acmeIdentifier is the extension of challenge certificates (RFC 8737 §6.1).
func acmeIdentifier() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31} }

// challengeCert makes the certificate of RFC 8737 §3. lego's has an RSA key, whose making
// takes a second of a small machine; replicas make theirs within the CA's handshake.
func challengeCert(name, keyAuth string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(keyAuth))
	value, err := asn1.Marshal(sum[:])
	if err != nil {
		return nil, err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "ACME challenge"}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		ExtraExtensions: []pkix.Extension{{Id: acmeIdentifier(), Critical: true, Value: value}},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// identifierOf is what a challenge certificate proves, or nil.
func identifierOf(leaf *x509.Certificate) []byte {
	for _, e := range leaf.Extensions {
		if e.Id.Equal(acmeIdentifier()) {
			return e.Value
		}
	}
	return nil
}

// rehearse answers challenges for a name as long as no order does, so that a look from here
// can tell whether they would reach us or another replica.
func (r *resolver) rehearse(name, keyAuth string) (*tls.Certificate, error) {
	c, err := challengeCert(name, keyAuth)
	if err != nil {
		return nil, err
	}
	r.challenges.mu.Lock()
	r.challenges.tries[name] = c
	r.challenges.mu.Unlock()
	return c, r.share(tlsTries+name, keyAuth)
}

func (r *resolver) endRehearsal(name string) {
	r.challenges.mu.Lock()
	delete(r.challenges.tries, name)
	r.challenges.mu.Unlock()
	_ = r.unshare(tlsTries + name) // the sweep takes what stays
}

// httpProvider is lego's challenge.Provider for HTTP-01 (RFC 8555 §8.3).
type httpProvider struct{ *resolver }

// Present makes the answer for a token ready.
func (p httpProvider) Present(_, token, keyAuth string) error {
	p.challenges.mu.Lock()
	p.challenges.keys[token] = keyAuth
	p.challenges.mu.Unlock()
	return p.share(httpTokens+token, keyAuth)
}

// CleanUp forgets it.
func (p httpProvider) CleanUp(_, token, _ string) error {
	p.challenges.mu.Lock()
	delete(p.challenges.keys, token)
	p.challenges.mu.Unlock()
	return p.unshare(httpTokens + token)
}

// ChallengeCert returns the certificate that answers a TLS-ALPN-01 challenge for name, ours
// or another replica's, or nil.
func (m *Manager) ChallengeCert(name string) *tls.Certificate {
	name = strings.ToLower(name)
	m.challenges.mu.RLock()
	c, try := m.challenges.certs[name], m.challenges.tries[name]
	m.challenges.mu.RUnlock()
	if c != nil {
		return c
	}
	for _, prefix := range []string{tlsTokens, tlsTries} {
		if prefix == tlsTries && try != nil {
			return try
		}
		if auth, ok := m.lookup(prefix, name); ok {
			if c, err := challengeCert(name, auth); err == nil {
				return c
			}
		}
	}
	return nil
}

// HTTPToken returns the answer to an HTTP-01 challenge, ours or another replica's, and
// whether there is one.
func (m *Manager) HTTPToken(token string) (string, bool) {
	m.challenges.mu.RLock()
	k, ok := m.challenges.keys[token]
	m.challenges.mu.RUnlock()
	if ok {
		return k, true
	}
	return m.lookup(httpTokens, token)
}

// lookup asks the shared storages. A challenge comes right after it was put there, so that
// waiting for the news of it would be too late.
func (m *Manager) lookup(prefix, name string) (string, bool) {
	if len(m.sharedVaults) == 0 || name == "" || len(name) > maxToken || strings.ContainsFunc(name, notToken) {
		return "", false
	}
	select {
	case m.challenges.asking <- struct{}{}:
		defer func() { <-m.challenges.asking }()
	default:
		return "", false
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	for _, v := range m.sharedVaults {
		b, err := v.Get(ctx, prefix+name)
		var t token
		if err == nil && json.Unmarshal(b, &t) == nil && time.Since(t.Made) < tokenLife {
			return t.KeyAuth, true
		}
	}
	return "", false
}

func notToken(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
}

// sweepTokens deletes what replicas that died left behind.
func sweepTokens(ctx context.Context, v vault, now time.Time) {
	keys, err := v.List(ctx, "challenges/")
	if err != nil {
		return
	}
	for _, k := range keys {
		var t token
		if v.getJSON(ctx, k, &t) == nil && now.Sub(t.Made) > tokenLife {
			_ = v.Delete(ctx, k) // the next sweep tries again
		}
	}
}
