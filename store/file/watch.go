package file

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// watchEvery is how often directories are looked at. Notifications of the system would
	// not tell what another machine does on a network file system.
	watchEvery = 250 * time.Millisecond
	// settle is how long after a change a directory is read again: a second change may carry the
	// same time of change.
	settle = 2 * time.Second
)

type fileState struct {
	size    int64
	changed time.Time
	key     string
}

// Watch implements store.Shared.
func (s *Store) Watch(ctx context.Context, changed func(keys []string)) {
	known, dirs := s.scan(nil)
	changed(nil)
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if !s.touched(dirs) {
			continue
		}
		next, d := s.scan(known)
		var keys []string
		for path, st := range next {
			if old, ok := known[path]; !ok || old != st {
				keys = append(keys, st.key)
			}
		}
		for path, st := range known {
			if _, ok := next[path]; !ok {
				keys = append(keys, st.key)
			}
		}
		known, dirs = next, d
		if len(keys) > 0 {
			slices.Sort(keys)
			changed(keys)
		}
	}
}

// touched reports whether a directory changed since it was read, or shortly before.
func (s *Store) touched(dirs map[string]time.Time) bool {
	now := time.Now()
	for path, at := range dirs {
		fi, err := os.Stat(path)
		if err != nil || !fi.ModTime().Equal(at) || now.Sub(at) < settle {
			return true
		}
	}
	return false
}

// scan reads every directory; keys of unchanged files are taken from known.
func (s *Store) scan(known map[string]fileState) (map[string]fileState, map[string]time.Time) {
	out, dirs := map[string]fileState{}, map[string]time.Time{}
	_ = filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // gone meanwhile, or seen at the next look
		case e.IsDir() && e.Name() == locksDir:
			return fs.SkipDir
		}
		fi, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // gone meanwhile
		}
		if e.IsDir() {
			dirs[path] = fi.ModTime()
			return nil
		}
		rel, err := filepath.Rel(s.dir, path)
		if err != nil || !e.Type().IsRegular() {
			return nil //nolint:nilerr // not ours
		}
		rel = filepath.ToSlash(rel)
		st := fileState{size: fi.Size(), changed: fi.ModTime()}
		if old, ok := known[rel]; ok {
			st.key = old.key
		} else if k, ok := s.format.key(rel, func() ([]byte, error) { return os.ReadFile(path) }); ok {
			st.key = k
		} else {
			return nil
		}
		out[rel] = st
		return nil
	})
	if len(out) == 0 && len(known) > 0 {
		if _, err := os.Stat(s.dir); err != nil {
			return known, maps.Clone(map[string]time.Time{}) // the directory is away: nothing was deleted
		}
	}
	return out, dirs
}
