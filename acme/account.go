package acme

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/go-acme/lego/v4/registration"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/store"
)

// accountKeyBits is the size of an account key. It is RSA in PKCS #1, the only kind that
// the reference reads from acme.json.
const accountKeyBits = 3072

// account is an account at a CA, in the reference's JSON form.
type account struct {
	Email        string                 `json:"Email"`
	Registration *registration.Resource `json:"Registration"`
	PrivateKey   []byte                 `json:"PrivateKey"`
	KeyType      string                 `json:"KeyType,omitempty"`

	key   crypto.PrivateKey
	moved bool // the CA knows another e-mail address
}

// GetEmail implements registration.User.
func (a *account) GetEmail() string { return a.Email }

// GetRegistration implements registration.User.
func (a *account) GetRegistration() *registration.Resource { return a.Registration }

// GetPrivateKey implements registration.User.
func (a *account) GetPrivateKey() crypto.PrivateKey { return a.key }

// loadAccount reads the account of a resolver, or makes a new key. An account of another
// CA is not used again; one with another e-mail address is, and gets the new one.
func loadAccount(ctx context.Context, v vault, resolver string, cfg *config.ACME, bits int) (*account, error) {
	b, err := v.Get(ctx, resolver+"/account")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		a := &account{}
		if err := json.Unmarshal(b, a); err != nil {
			return nil, fmt.Errorf("account in storage: %w", err)
		}
		private, stale, err := v.reveal(resolver+"/account", a.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("account in storage: %w", err)
		}
		a.PrivateKey = private
		key, err := x509.ParsePKCS1PrivateKey(a.PrivateKey)
		if err == nil && sameCA(a.Registration, cfg.CAServer) {
			a.key, a.moved = key, a.Email != cfg.Email
			a.Email = cfg.Email
			if stale {
				err = a.save(ctx, v, resolver)
			}
			return a, err
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, err
	}
	return &account{Email: cfg.Email, PrivateKey: x509.MarshalPKCS1PrivateKey(key), key: key}, nil
}

// sameCA compares the hosts of an account's URL and the CA's directory.
func sameCA(r *registration.Resource, server string) bool {
	if r == nil || r.URI == "" {
		return true
	}
	a, err1 := url.Parse(r.URI)
	b, err2 := url.Parse(server)
	return err1 == nil && err2 == nil && a.Hostname() == b.Hostname()
}

func (a *account) save(ctx context.Context, v vault, resolver string) error {
	hidden := *a
	hidden.PrivateKey = v.hide(resolver+"/account", a.PrivateKey)
	return v.putJSON(ctx, resolver+"/account", &hidden)
}

// restoreAccount puts the account that was in storage back where storage lost it. The
// caller holds the lock of the account, or does not mind that another puts back the same.
func (r *resolver) restoreAccount(ctx context.Context) error {
	r.mu.Lock()
	text := r.accountText
	r.mu.Unlock()
	if text == nil {
		return nil
	}
	key := r.name + "/account"
	if _, err := r.vault.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return r.vault.Put(ctx, key, text)
}
