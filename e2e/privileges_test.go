package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPrivileges: a router that root starts keeps three capabilities, in every thread, and programs
// that it starts cannot get more; with the switch it keeps what it had.
func TestPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has privileges to give up")
	}
	r := startRouter(t, nil)
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", r.cmd.Process.Pid))
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %d threads", err, len(files))
	}
	for _, f := range files {
		for name, want := range map[string]string{"CapInh": "0000000000000000", "CapPrm": "000000000000040a", "CapEff": "000000000000040a",
			"CapBnd": "000000000000040a", "NoNewPrivs": "1"} {
			if got := statusField(t, f, name); got != "" && got != want {
				t.Errorf("%s: %s %s, want %s", f, name, got, want)
			}
		}
	}
	r = startRouter(t, nil, "--sluice.keepPrivileges")
	was := statusField(t, "/proc/self/status", "CapEff")
	if got := statusField(t, fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid), "CapEff"); got != was {
		t.Errorf("kept %s of %s", got, was)
	}
}

// statusField is a value of a status file of proc(5), empty where its thread has ended.
func statusField(t *testing.T, file, name string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if k, v, _ := strings.Cut(strings.TrimSpace(line), ":\t"); k == name {
			return v
		}
	}
	t.Fatalf("%s has no %s", file, name)
	return ""
}
