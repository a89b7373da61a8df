package acme

import (
	"crypto/tls"
	"strings"
	"sync"

	"github.com/go-acme/lego/v4/challenge/tlsalpn01"
)

// challenges holds the answers to challenges under way.
type challenges struct {
	mu    sync.RWMutex
	certs map[string]*tls.Certificate // TLS-ALPN-01, by name
	keys  map[string]string           // HTTP-01: key authorization by token
}

func newChallenges() *challenges {
	return &challenges{certs: map[string]*tls.Certificate{}, keys: map[string]string{}}
}

// tlsProvider is lego's challenge.Provider for TLS-ALPN-01 (RFC 8737).
type tlsProvider struct{ *challenges }

// Present makes the challenge certificate of a name ready.
func (p tlsProvider) Present(domain, _, keyAuth string) error {
	c, err := tlsalpn01.ChallengeCert(domain, keyAuth)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.certs[strings.ToLower(domain)] = c
	return nil
}

// CleanUp forgets it.
func (p tlsProvider) CleanUp(domain, _, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.certs, strings.ToLower(domain))
	return nil
}

// httpProvider is lego's challenge.Provider for HTTP-01 (RFC 8555 §8.3).
type httpProvider struct{ *challenges }

// Present makes the answer for a token ready.
func (p httpProvider) Present(_, token, keyAuth string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[token] = keyAuth
	return nil
}

// CleanUp forgets it.
func (p httpProvider) CleanUp(_, token, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.keys, token)
	return nil
}

// ChallengeCert returns the certificate that answers a TLS-ALPN-01 challenge for name, or nil.
func (m *Manager) ChallengeCert(name string) *tls.Certificate {
	m.challenges.mu.RLock()
	defer m.challenges.mu.RUnlock()
	return m.challenges.certs[strings.ToLower(name)]
}

// HTTPToken returns the answer to an HTTP-01 challenge, and whether there is one.
func (m *Manager) HTTPToken(token string) (string, bool) {
	m.challenges.mu.RLock()
	defer m.challenges.mu.RUnlock()
	k, ok := m.challenges.keys[token]
	return k, ok
}
