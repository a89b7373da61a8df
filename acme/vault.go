package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/seal"
)

// errSealed means that the storage holds encrypted keys and no key was given.
var errSealed = errors.New("the private key is encrypted; set storageKey")

// vault is a storage with the private keys in it encrypted, where a ring is given. What is
// known to everybody (names, chains, times) stays readable.
type vault struct {
	store.Store
	ring *seal.Keyring
}

// Keyring reads the storage keys of a resolver: nil where it has none.
func Keyring(cfg *config.ACME) (*seal.Keyring, error) {
	if cfg.StorageKey == "" {
		if len(cfg.StorageOldKeys) > 0 {
			return nil, errors.New("storageOldKeys need a storageKey")
		}
		return nil, nil
	}
	var texts []string
	for i, f := range append([]config.FileOrContent{cfg.StorageKey}, cfg.StorageOldKeys...) {
		text, err := keyText(string(f))
		if err != nil {
			return nil, fmt.Errorf("storage key %d: %w", i+1, err)
		}
		texts = append(texts, text)
	}
	return seal.New(texts...)
}

// keyText is the key itself, or the content of the file of that name. An error never shows the text.
func keyText(s string) (string, error) {
	if _, err := seal.Parse(s); err == nil {
		return s, nil
	}
	b, err := os.ReadFile(s)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) && strings.ContainsAny(s, `/\.`) {
			return "", err
		}
		return "", errors.New("is neither 32 random bytes as hex or base64 nor a file that holds them; make one with: sluice certs key")
	}
	if _, err := seal.Parse(string(b)); err != nil {
		return "", fmt.Errorf("%s: %w", s, err)
	}
	return string(b), nil
}

// hide encrypts a private key for its place in storage.
func (v vault) hide(key string, private []byte) []byte {
	if v.ring == nil || len(private) == 0 {
		return private
	}
	return v.ring.Seal(private, key)
}

// reveal is the opposite of hide. stale is true where the value should be written again:
// it is readable, or sealed with an old key.
func (v vault) reveal(key string, stored []byte) (private []byte, stale bool, err error) {
	if !seal.Sealed(stored) {
		return stored, v.ring != nil, nil
	}
	if v.ring == nil {
		return nil, false, errSealed
	}
	private, current, err := v.ring.Open(stored, key)
	return private, !current, err
}

// getCertificate reads a certificate, and writes it anew where its key is stale.
func (v vault) getCertificate(ctx context.Context, key string) (*stored, error) {
	b, err := v.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	s := &stored{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	private, stale, err := v.reveal(key, s.Key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	s.Key = private
	if stale {
		err = v.putCertificate(ctx, key, s)
	}
	return s, err
}

func (v vault) putCertificate(ctx context.Context, key string, s *stored) error {
	hidden := *s
	hidden.Key = v.hide(key, s.Key)
	b, err := json.Marshal(&hidden)
	if err != nil {
		return err
	}
	return v.Put(ctx, key, b)
}

// shared is the storage as one that others may change, or nil.
func (v vault) shared() store.Shared {
	s, _ := v.Store.(store.Shared)
	return s
}

// getJSON reads a value; one that is not there leaves into as it is.
func (v vault) getJSON(ctx context.Context, key string, into any) error {
	b, err := v.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func (v vault) putJSON(ctx context.Context, key string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return v.Put(ctx, key, b)
}
