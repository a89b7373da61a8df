package server

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

func TestFileMappings(t *testing.T) {
	maps := `00400000-00f00000 r-xp 00000000 fe:00 1 /usr/bin/sluice
00f00000-01900000 r--p 00b00000 fe:00 1 /usr/bin/sluice
01900000-01a00000 rw-p 01500000 fe:00 1 /usr/bin/sluice
01b00000-01c00000 r--s 00000000 fe:00 1 /usr/bin/sluice
7f00-8000 r-xp 00000000 fe:00 2 /usr/lib/libc.so
c000000000-c000400000 rw-p 00000000 00:00 0
zz-8000 r-xp 00000000 fe:00 1 /usr/bin/sluice
`
	want := [][2]uintptr{{0x400000, 0xf00000}, {0xf00000, 0x1900000}}
	if got := fileMappings(maps, "/usr/bin/sluice"); !slices.Equal(got, want) {
		t.Errorf("%x", got)
	}
}

// TestSettle: less of the program is mapped afterwards, and it still runs.
func TestSettle(t *testing.T) {
	mapped := func() int {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(string(regexp.MustCompile(`RssFile:\s+(\d+)`).FindSubmatch(text)[1]))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := mapped()
	settle(t.Context())
	if after := mapped(); after > before/2 {
		t.Errorf("%d KiB of files mapped, %d before", after, before)
	}
}
