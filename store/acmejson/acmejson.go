// Package acmejson keeps ACME accounts and certificates in the reference's acme.json, so
// that either program can take over the other's file.
//
// Keys are "RESOLVER/account" and "RESOLVER/certificates/NAMES", whose values are the JSON of
// that part of the file, and "RESOLVER/state/NAME" for what the reference does not know,
// which goes to a second file beside it. Files are written whole: to a temporary file, synced,
// renamed. The file must be readable by its owner only.
package acmejson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-edge/sluice/store"
)

// StateSuffix is appended to the file's name for the file with our own state.
const StateSuffix = ".state"

// Store is an acme.json. It belongs to one process.
type Store struct {
	path string

	mu        sync.Mutex
	resolvers map[string]*resolver
	state     map[string]json.RawMessage
	locks     map[string]chan struct{}
}

// resolver is one resolver's part of the file. Unknown parts of a certificate are kept.
type resolver struct {
	Account      json.RawMessage   `json:"Account"`
	Certificates []json.RawMessage `json:"Certificates"`

	place map[string]int // of each certificate by its names
}

// index finds the certificates by their names. Of two with the same names the first counts.
func (r *resolver) index() {
	r.place = make(map[string]int, len(r.Certificates))
	for i, c := range r.Certificates {
		if n := nameOf(c); n != "" {
			if _, twice := r.place[n]; !twice {
				r.place[n] = i
			}
		}
	}
}

// names is what identifies a certificate in the file.
type names struct {
	Domain struct {
		Main string   `json:"main"`
		SANs []string `json:"sans"`
	} `json:"domain"`
}

var _ store.Store = (*Store)(nil)

// Open reads the file, or makes an empty one of mode 0600. A file that others can read, or
// that is not JSON, is an error, and is left as it is.
func Open(path string) (*Store, error) {
	s := &Store{path: path, resolvers: map[string]*resolver{}, state: map[string]json.RawMessage{}, locks: map[string]chan struct{}{}}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s holds private keys and has mode %o; run: chmod 600 %s", path, st.Mode().Perm(), path)
	}
	sweep(path)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(b)) > 0 {
		if err := json.Unmarshal(b, &s.resolvers); err != nil {
			return nil, fmt.Errorf("%s is not an acme.json: %w; it is left as it is%s", path, err, hint(b))
		}
	}
	if s.resolvers == nil { // the file says null
		s.resolvers = map[string]*resolver{}
	}
	for n, r := range s.resolvers {
		if r == nil {
			r = &resolver{}
			s.resolvers[n] = r
		}
		r.index()
	}
	if b, err := os.ReadFile(path + StateSuffix); err == nil {
		if json.Unmarshal(b, &s.state) != nil {
			s.state = map[string]json.RawMessage{} // back-off times only: start afresh
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return s, nil
}

// hint tells what another form of the file is.
func hint(b []byte) string {
	var v1 struct{ Account, Certificates json.RawMessage }
	if json.Unmarshal(b, &v1) == nil && len(v1.Certificates) > 0 {
		return ". It has the form of the reference's version 1: move it away, and the certificates are ordered anew"
	}
	return ""
}

// leftover is the age from which a temporary file is one that a killed process left behind.
const leftover = 10 * time.Minute

func sweep(path string) {
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".*")) // the pattern is right
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && time.Since(st.ModTime()) > leftover {
			_ = os.Remove(f) // the next start tries again
		}
	}
}

// Name is the part of a certificate's key that stands for its names.
func Name(main string, sans []string) string {
	all := append([]string{main}, sans...)
	return strings.Join(all, ",")
}

func split(key string) (res, kind, rest string, err error) {
	p := strings.SplitN(key, "/", 3)
	switch {
	case len(p) == 2 && p[0] != "" && p[1] == "account":
		return p[0], p[1], "", nil
	case len(p) == 3 && p[0] != "" && p[2] != "" && (p[1] == "certificates" || p[1] == "state"):
		return p[0], p[1], p[2], nil
	}
	return "", "", "", fmt.Errorf("key %q is not RESOLVER/account, RESOLVER/certificates/NAMES or RESOLVER/state/NAME", key)
}

func nameOf(raw json.RawMessage) string {
	var n names
	if json.Unmarshal(raw, &n) != nil {
		return ""
	}
	return Name(n.Domain.Main, n.Domain.SANs)
}

// Get implements store.Store.
func (s *Store) Get(_ context.Context, key string) ([]byte, error) {
	res, kind, rest, err := split(key)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var v json.RawMessage
	switch r := s.resolvers[res]; {
	case kind == "state":
		v = s.state[key]
	case r == nil:
	case kind == "account":
		v = r.Account
	default:
		if i := r.find(rest); i >= 0 {
			v = r.Certificates[i]
		}
	}
	if len(v) == 0 || string(v) == "null" {
		return nil, store.ErrNotFound
	}
	return bytes.Clone(v), nil
}

func (r *resolver) find(name string) int {
	if i, ok := r.place[name]; ok {
		return i
	}
	return -1
}

// Put implements store.Store. The value must be JSON; a certificate's names must be those of its key.
func (s *Store) Put(_ context.Context, key string, value []byte) error {
	res, kind, rest, err := split(key)
	if err != nil {
		return err
	}
	if !json.Valid(value) {
		return fmt.Errorf("value of %s is not JSON", key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := json.RawMessage(bytes.Clone(value))
	if kind == "state" {
		s.state[key] = v
		return s.writeState()
	}
	old := s.resolvers[res]
	next := &resolver{}
	if old != nil {
		next.Account, next.Certificates, next.place = old.Account, slices.Clone(old.Certificates), maps.Clone(old.place)
	}
	if kind == "account" {
		next.Account = v
	} else {
		if nameOf(v) != rest {
			return fmt.Errorf("the names of the certificate differ from its key %s", key)
		}
		if i := next.find(rest); i >= 0 {
			next.Certificates[i] = v
		} else {
			if next.place == nil {
				next.place = map[string]int{}
			}
			next.place[rest] = len(next.Certificates)
			next.Certificates = append(next.Certificates, v)
		}
	}
	return s.replace(res, old, next)
}

// replace writes the file with next in place of old, and keeps old where that fails.
func (s *Store) replace(res string, old, next *resolver) error {
	s.resolvers[res] = next
	if err := s.write(); err != nil {
		if s.resolvers[res] = old; old == nil {
			delete(s.resolvers, res)
		}
		return err
	}
	return nil
}

// Delete implements store.Store.
func (s *Store) Delete(_ context.Context, key string) error {
	res, kind, rest, err := split(key)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == "state" {
		if _, ok := s.state[key]; !ok {
			return nil
		}
		delete(s.state, key)
		return s.writeState()
	}
	old := s.resolvers[res]
	if old == nil {
		return nil
	}
	next := &resolver{Account: old.Account, Certificates: slices.Clone(old.Certificates), place: old.place}
	if kind == "account" {
		next.Account = nil
	} else if i := next.find(rest); i >= 0 {
		next.Certificates = slices.Delete(next.Certificates, i, i+1)
		next.index()
	} else {
		return nil
	}
	return s.replace(res, old, next)
}

// List implements store.Store.
func (s *Store) List(_ context.Context, prefix string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	add := func(k string) {
		if strings.HasPrefix(k, strings.TrimSuffix(prefix, "/")+"/") || prefix == "" {
			out = append(out, k)
		}
	}
	for n, r := range s.resolvers {
		if len(r.Account) > 0 && string(r.Account) != "null" {
			add(n + "/account")
		}
		for c := range r.place {
			add(n + "/certificates/" + c)
		}
	}
	for k := range s.state {
		add(k)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Lock implements store.Store: the file has one owner, so locks are the process's own.
func (s *Store) Lock(ctx context.Context, name string, _ time.Duration) (store.Lease, error) {
	s.mu.Lock()
	l := s.locks[name]
	if l == nil {
		l = make(chan struct{}, 1)
		s.locks[name] = l
	}
	s.mu.Unlock()
	select {
	case l <- struct{}{}:
		return &lease{l: l}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type lease struct {
	l    chan struct{}
	once sync.Once
}

// Extend implements store.Lease: a lock of this process does not expire.
func (*lease) Extend(context.Context, time.Duration) error { return nil }

// Release implements store.Lease.
func (l *lease) Release() error {
	l.once.Do(func() { <-l.l })
	return nil
}

func (s *Store) write() error {
	b, err := json.MarshalIndent(s.resolvers, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(s.path, b)
}

func (s *Store) writeState() error {
	b, err := json.MarshalIndent(s.state, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(s.path+StateSuffix, b)
}

// replaceFile writes b to a temporary file beside path, syncs it and renames it. Where the
// file itself is a mount point and cannot be renamed over, a copy is kept beside it while it
// is written in place.
func replaceFile(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return inPlace(path, b)
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
		return inPlace(path, b)
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
	return nil
}

func inPlace(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		_ = f.Close()
		return err
	}
	return errors.Join(f.Truncate(int64(len(b))), f.Sync(), f.Close())
}
