package file

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sluice-edge/sluice/store"
)

// lockPoll is how often a lock that is taken is tried again.
const lockPoll = 50 * time.Millisecond

// held is the content of a lock file.
type held struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
}

type lease struct {
	s      *Store
	path   string
	holder string
}

// Lock implements store.Store. The clocks of machines that share the directory must agree
// to a fraction of ttl.
func (s *Store) Lock(ctx context.Context, name string, ttl time.Duration) (store.Lease, error) {
	l := &lease{s: s, path: filepath.Join(s.dir, locksDir, lockName(name)), holder: rand.Text()}
	err := store.Await(ctx, lockPoll, func() (got bool, err error) {
		err = s.guarded(func() error {
			h, err := l.read()
			if err != nil || h.Holder != "" && time.Now().Before(h.Until) {
				return err
			}
			got = true
			return l.write(ttl)
		})
		return got, err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func lockName(name string) string { return "lock." + sealed{}.path(name)[:40] }

func (l *lease) read() (h held, err error) {
	b, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	if json.Unmarshal(b, &h) != nil {
		return held{}, nil //nolint:nilerr // written half by one that died: nobody's
	}
	return h, nil
}

func (l *lease) write(ttl time.Duration) error {
	b, err := json.Marshal(held{l.holder, time.Now().Add(ttl)})
	if err != nil {
		return err
	}
	return os.WriteFile(l.path, b, 0o600)
}

// Extend implements store.Lease.
func (l *lease) Extend(_ context.Context, ttl time.Duration) error {
	return l.s.guarded(func() error {
		h, err := l.read()
		if err != nil {
			return err
		}
		if h.Holder != l.holder || time.Now().After(h.Until) {
			return store.ErrLost
		}
		return l.write(ttl)
	})
}

// Release implements store.Lease.
func (l *lease) Release() error {
	return l.s.guarded(func() error {
		h, err := l.read()
		if err != nil || h.Holder != l.holder {
			return err
		}
		return os.Remove(l.path)
	})
}
