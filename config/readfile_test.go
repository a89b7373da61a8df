//go:build unix

package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("small"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(path("big"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(big.Truncate(maxNamedFile+1), big.Close(), syscall.Mkfifo(path("pipe"), 0o600), os.Symlink("/dev/zero", path("link"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		path("small"): nil, path("big"): ErrNotAFile, path("pipe"): ErrNotAFile, path("link"): ErrNotAFile,
		dir: ErrNotAFile, "/dev/zero": ErrNotAFile, path("none"): fs.ErrNotExist,
	} {
		done := make(chan error, 1)
		go func() {
			_, err := ReadFile(name)
			done <- err
		}()
		select {
		case err := <-done:
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s is still being read", name)
		}
	}
}
