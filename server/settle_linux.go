package server

import (
	"context"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settleAfter is how long after the first table what only the start needed is given back.
const settleAfter = 500 * time.Millisecond

// settle gives back what only the start needed, once: garbage, and the pages of the program file
// that were mapped on the way. The kernel maps 64 KiB around every page that is touched, so that
// half of a large program is resident after its start; what is used later is mapped again from
// the page cache, a page fault of a microsecond each. The collection comes last: what it needs of
// the file is then there again (4 MiB), as it would be after the first traffic.
func settle(ctx context.Context) {
	t := time.NewTimer(settleAfter)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return
	case <-t.C:
	}
	dropFile()
	debug.FreeOSMemory()
}

// dropFile unmaps the program file where it was not written to.
func dropFile() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for _, m := range fileMappings(string(maps), exe) {
		// Advice: whether it is taken does not matter.
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m[0], m[1]-m[0], syscall.MADV_DONTNEED)
	}
}

// fileMappings returns begin and end of the mappings of file in the text of /proc/PID/maps that
// cannot be written: what is dropped of those is read again from the file.
func fileMappings(maps, file string) (list [][2]uintptr) {
	for line := range strings.Lines(maps) {
		f := strings.Fields(line)
		if len(f) < 6 || f[5] != file || len(f[1]) < 4 || f[1][1] != '-' || f[1][3] != 'p' {
			continue
		}
		from, to, _ := strings.Cut(f[0], "-")
		a, err := strconv.ParseUint(from, 16, 64)
		b, err2 := strconv.ParseUint(to, 16, 64)
		if err == nil && err2 == nil && a < b {
			list = append(list, [2]uintptr{uintptr(a), uintptr(b)})
		}
	}
	return list
}
