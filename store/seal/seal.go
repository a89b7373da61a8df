// Package seal encrypts what storage must not show: AES-256-GCM under keys that the operator
// gives. There is no default key, and a key is 32 random bytes, never a word.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	// KeySize is the size of a key in bytes.
	KeySize = 32
	// blockType is the PEM type of sealed text.
	blockType = "SLUICE SEALED"
	// header names the key that sealed a text.
	header = "Key"
	// leastBytes is how many different bytes a key has at least; 32 random ones practically always have more.
	leastBytes = 12
)

// ErrKey means that none of the keys opens a text.
var ErrKey = errors.New("sealed with a key that is not given")

// Keyring seals with its first key and opens with any. It is immutable and safe for
// concurrent use.
type Keyring struct{ keys []key }

type key struct {
	id   string
	aead cipher.AEAD
}

// New makes a Keyring of keys as text: 32 bytes as hex or base64. The first seals.
func New(texts ...string) (*Keyring, error) {
	k := &Keyring{}
	for _, t := range texts {
		b, err := Parse(t)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(b)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(append([]byte("sluice key id\x00"), b...))
		k.keys = append(k.keys, key{hex.EncodeToString(sum[:6]), aead})
	}
	if len(k.keys) == 0 {
		return nil, errors.New("no key is given")
	}
	return k, nil
}

// Parse reads a key.
func Parse(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	for _, dec := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawURLEncoding.DecodeString} {
		b, err := dec(text)
		if err != nil || len(b) != KeySize {
			continue
		}
		seen := map[byte]bool{}
		for _, c := range b {
			seen[c] = true
		}
		if len(seen) < leastBytes {
			return nil, errors.New("the key is not random; make one with: openssl rand -hex 32")
		}
		return b, nil
	}
	return nil, errors.New("a key is 32 random bytes as hex or base64; make one with: openssl rand -hex 32")
}

// Generate makes a new key as text.
func Generate() string {
	b := make([]byte, KeySize)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// Seal encrypts plain as a PEM block. It opens only with the same context, so that a sealed
// text cannot be put in the place of another.
func (k *Keyring) Seal(plain []byte, context string) []byte {
	c := k.keys[0]
	nonce := make([]byte, c.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return pem.EncodeToMemory(&pem.Block{
		Type: blockType, Headers: map[string]string{header: c.id},
		Bytes: c.aead.Seal(nonce, nonce, plain, additional(c.id, context)),
	})
}

func additional(id, context string) []byte { return []byte("sluice 1\x00" + id + "\x00" + context) }

// Sealed reports whether b is a sealed text.
func Sealed(b []byte) bool {
	p, _ := pem.Decode(b)
	return p != nil && p.Type == blockType
}

// Open decrypts a sealed text. current is false where another than the first key sealed it.
func (k *Keyring) Open(sealed []byte, context string) (plain []byte, current bool, err error) {
	p, _ := pem.Decode(sealed)
	if p == nil || p.Type != blockType {
		return nil, false, errors.New("not a sealed text")
	}
	id := p.Headers[header]
	for i, c := range k.keys {
		if c.id != id {
			continue
		}
		n := c.aead.NonceSize()
		if len(p.Bytes) < n {
			return nil, false, errors.New("sealed text is cut off")
		}
		plain, err = c.aead.Open(nil, p.Bytes[:n], p.Bytes[n:], additional(id, context))
		if err != nil {
			return nil, false, fmt.Errorf("sealed text was changed or belongs elsewhere: %w", err)
		}
		return plain, i == 0, nil
	}
	return nil, false, ErrKey
}
