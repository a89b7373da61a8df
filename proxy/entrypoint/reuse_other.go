//go:build !unix

package entrypoint

import (
	"errors"
	"syscall"
)

func reuse(_, _ string, _ syscall.RawConn) error {
	return errors.New("reusePort is not available on this system")
}
