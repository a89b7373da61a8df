package file

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// writer tells whether somebody has the file open for writing.
type writer int

const (
	unknownWriter writer = iota
	noWriter
	someWriter
)

// writerOf asks for a read lease, which the kernel refuses while the file is open for
// writing anywhere on this machine, and gives it back at once. File systems without
// leases and files of other users leave the question open.
func writerOf(f *os.File) writer {
	conn, err := f.SyscallConn()
	if err != nil {
		return unknownWriter
	}
	state := unknownWriter
	_ = conn.Control(func(fd uintptr) {
		_, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK)
		switch {
		case err == nil:
			_, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
			state = noWriter
		case errors.Is(err, unix.EAGAIN):
			state = someWriter
		}
	})
	return state
}
