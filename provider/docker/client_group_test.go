package docker

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSocketOfAGroup: who may not read the socket is told how its group is given.
func TestSocketOfAGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gid := os.Getgid()
	if gid == 0 {
		gid = 4711
	}
	if err := os.Chown(path, -1, gid); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode os.FileMode
		want string
	}{
		{0o660, fmt.Sprintf("group_add: [\"%d\"]", gid)},
		{0o600, "read and write the socket"},
	} {
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		p := Unreachable("unix://"+path, syscall.EACCES)
		if !strings.Contains(p.Suggestion, tt.want) || strings.Contains(p.Suggestion, "group_add") != (tt.mode == 0o660) {
			t.Errorf("mode %o: %s", tt.mode, p.Suggestion)
		}
	}
}
