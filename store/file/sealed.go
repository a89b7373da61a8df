package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluice-edge/sluice/store/seal"
)

const sealedSuffix = ".sealed"

// sealed keeps key and value encrypted in a file named by a hash of the key.
type sealed struct{ ring *seal.Keyring }

// entry is what a file holds.
type entry struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

func (sealed) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:]) + sealedSuffix
}

func (f sealed) open(path string, content []byte) (entry, bool, error) {
	var e entry
	b, current, err := f.ring.Open(content, path)
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err != nil {
		return e, false, fmt.Errorf("%s: %w", path, err)
	}
	return e, current, nil
}

func (f sealed) key(path string, content func() ([]byte, error)) (string, bool) {
	if !strings.HasSuffix(path, sealedSuffix) {
		return "", false
	}
	b, err := content()
	if err != nil {
		return "", false
	}
	e, _, err := f.open(path, b)
	return e.Key, err == nil && f.path(e.Key) == path
}

func (f sealed) encode(key string, value []byte) ([]byte, error) {
	b, err := json.Marshal(entry{key, value})
	if err != nil {
		return nil, err
	}
	return f.ring.Seal(b, f.path(key)), nil
}

func (f sealed) decode(key string, content []byte) ([]byte, error) {
	e, _, err := f.open(f.path(key), content)
	return e.Value, err
}

// rotate seals with the current key what an old one sealed. A file that none of the keys
// opens is an error: with the wrong key the store would look empty and all be ordered anew.
func (f sealed) rotate(s *Store) error {
	var failed error
	err := s.walk(func(path string, _ fs.DirEntry) {
		if !strings.HasSuffix(path, sealedSuffix) || failed != nil {
			return
		}
		b, err := os.ReadFile(filepath.Join(s.dir, path))
		if err != nil {
			return // gone meanwhile
		}
		e, current, err := f.open(path, b)
		if err == nil && !current {
			err = s.Put(context.Background(), e.Key, e.Value)
		}
		failed = err
	})
	if failed != nil {
		return failed
	}
	return err
}
