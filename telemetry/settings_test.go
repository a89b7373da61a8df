package telemetry

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// The access log is switched on, moved, given another format and switched off while
// requests come; no line is lost and none is in the wrong file.
func TestAccessLogChangesLive(t *testing.T) {
	dir := t.TempDir()
	var stdout strings.Builder
	h, err := New(Options{Static: &config.Static{}, Stdout: &stdout, Location: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.Run(ctx) }()
	one := func(path string) {
		r := sample()
		r.Target = path
		h.Request(&r)
	}
	apply := func(c *config.AccessLog, eps map[string]*config.EntryPoint) {
		t.Helper()
		apply, _, err := h.Prepare(&config.Static{AccessLog: c, EntryPoints: eps})
		if err != nil {
			t.Fatal(err)
		}
		apply()
	}
	if one("/off"); h.Wants().RequestHeader("User-Agent") {
		t.Error("without a log nothing is wanted")
	}
	first, second := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
	keep := &config.AccessLogFields{Headers: &config.AccessLogFieldHeaders{DefaultMode: "keep"}}
	apply(&config.AccessLog{FilePath: first, Fields: keep}, nil)
	if one("/first"); !h.Wants().RequestHeader("User-Agent") {
		t.Error("the log's fields are wanted once it is on")
	}
	apply(&config.AccessLog{FilePath: second, Format: "json"}, nil)
	one("/second")
	if _, _, err := h.Prepare(&config.Static{AccessLog: &config.AccessLog{FilePath: filepath.Join(first, "x")}}); err == nil {
		t.Error("a path that cannot be made is an error")
	}
	_, discard, err := h.Prepare(&config.Static{AccessLog: &config.AccessLog{FilePath: filepath.Join(dir, "c.log")}})
	if err != nil {
		t.Fatal(err)
	}
	discard()
	one("/still")
	apply(nil, nil)
	one("/gone")
	cancel()
	<-done
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{first: {"/first"}, second: {"/second", "/still"}} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(data), "\n"); n != len(want) {
			t.Errorf("%s has %d lines, want %d:\n%s", filepath.Base(name), n, len(want), data)
		}
		for _, w := range want {
			if !strings.Contains(string(data), w) {
				t.Errorf("%s lacks %s:\n%s", filepath.Base(name), w, data)
			}
		}
	}
	if stdout.Len() > 0 {
		t.Errorf("stdout has %s", &stdout)
	}
}
