package config

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// maxNamedFile bounds a file that dynamic configuration names, in bytes.
const maxNamedFile = 8 << 20

// ErrNotAFile says that a path leads to no regular file, or to one that is too large.
var ErrNotAFile = errors.New("is a directory, a device or larger than 8 MiB")

// ReadFile reads a file that dynamic configuration names. Whoever writes labels may name any
// path: a device or a pipe would never come to an end.
func ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxNamedFile {
		return nil, fmt.Errorf("%s %w", path, ErrNotAFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxNamedFile+1))
	if err == nil && len(b) > maxNamedFile {
		err = fmt.Errorf("%s %w", path, ErrNotAFile) // the system's own files have no size
	}
	return b, err
}
