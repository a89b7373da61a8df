// Package file keeps values in a directory that several processes may share: certificates as
// PEM files that other programs can read (Open), or everything encrypted (OpenSealed).
//
// Files are written to a temporary file, synced and renamed. Locks are files with an expiry,
// changed under an advisory lock of the system, which must work on the file system.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/seal"
)

// locksDir holds the locks and what is being written; it holds no values.
const locksDir = ".sluice"

// format says how keys become file names and values the contents of files.
type format interface {
	path(key string) string
	// key of the file at path; ok is false for what is no value of ours.
	key(path string, content func() ([]byte, error)) (key string, ok bool)
	encode(key string, value []byte) ([]byte, error)
	decode(key string, content []byte) ([]byte, error)
}

// Store is a directory. It is safe for concurrent use, also by several processes.
type Store struct {
	dir    string
	format format
}

var _ store.Shared = (*Store)(nil)

// Open opens a directory of readable files, and makes it where it is not there.
func Open(dir string) (*Store, error) { return open(dir, plain{}) }

// OpenSealed opens a directory in which every value is encrypted and every file name is a
// hash. Values sealed with an old key are sealed anew with the first of the ring.
func OpenSealed(dir string, ring *seal.Keyring) (*Store, error) {
	f := sealed{ring}
	s, err := open(dir, f)
	if err != nil {
		return nil, err
	}
	return s, f.rotate(s)
}

func open(dir string, f format) (*Store, error) {
	if dir == "" {
		return nil, errors.New("the directory has no name")
	}
	if err := os.MkdirAll(filepath.Join(dir, locksDir), 0o700); err != nil {
		return nil, err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s holds private keys and has mode %o; run: chmod 700 %s", dir, st.Mode().Perm(), dir)
	}
	files, _ := filepath.Glob(filepath.Join(dir, locksDir, "new.*")) // the pattern is right
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && time.Since(st.ModTime()) > leftover {
			_ = os.Remove(f) // the next start tries again
		}
	}
	return &Store{dir: dir, format: f}, nil
}

// leftover is the age from which a temporary file is one that a killed process left behind.
const leftover = 10 * time.Minute

func (s *Store) file(key string) string { return filepath.Join(s.dir, s.format.path(key)) }

// checkKey refuses keys outside the contract.
func checkKey(key string) error {
	if slices.Contains(strings.Split(key, "/"), "") {
		return fmt.Errorf("key %q has an empty part", key)
	}
	return nil
}

// Get implements store.Store.
func (s *Store) Get(_ context.Context, key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(s.file(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return s.format.decode(key, b)
}

// Put implements store.Store.
func (s *Store) Put(_ context.Context, key string, value []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	b, err := s.format.encode(key, value)
	if err != nil {
		return err
	}
	path := s.file(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return s.replace(path, b)
}

// replace puts the file in place as a whole. The temporary file is in a directory that no
// one lists, on the same file system.
func (s *Store) replace(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Join(s.dir, locksDir), "new.*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if _, err := tmp.Write(b); err != nil {
		_ = tmp.Close()
		return err
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
	return nil
}

// Delete implements store.Store.
func (s *Store) Delete(_ context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := os.Remove(s.file(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List implements store.Store.
func (s *Store) List(_ context.Context, prefix string) ([]string, error) {
	var out []string
	err := s.walk(func(path string, _ fs.DirEntry) {
		content := func() ([]byte, error) { return os.ReadFile(filepath.Join(s.dir, path)) }
		if k, ok := s.format.key(path, content); ok && (prefix == "" || strings.HasPrefix(k, strings.TrimSuffix(prefix, "/")+"/")) {
			out = append(out, k)
		}
	})
	slices.Sort(out)
	return out, err
}

// walk visits the files of values; what vanishes meanwhile is left out.
func (s *Store) walk(visit func(path string, e fs.DirEntry)) error {
	return filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != s.dir:
			return nil
		case err != nil:
			return err
		case e.IsDir() && e.Name() == locksDir:
			return fs.SkipDir
		case e.IsDir() || !e.Type().IsRegular():
			return nil
		}
		rel, err := filepath.Rel(s.dir, path)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(rel), e)
		return nil
	})
}
