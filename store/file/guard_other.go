//go:build !unix

package file

import "errors"

// guarded needs the advisory locks of a Unix system.
func (s *Store) guarded(func() error) error {
	return errors.New("a directory as storage needs the file locks of a Unix system; use acme.json")
}
