//go:build unix

package file

import (
	"os"
	"path/filepath"
	"syscall"
)

// guarded runs f while no other process of any machine that shares the directory does.
func (s *Store) guarded(f func() error) error {
	g, err := os.OpenFile(filepath.Join(s.dir, locksDir, "guard"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = g.Close() }() // which also unlocks
	for {
		err := syscall.Flock(int(g.Fd()), syscall.LOCK_EX) //nolint:gosec // a file descriptor
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		return f()
	}
}
