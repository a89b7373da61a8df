package telemetry

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

func TestProcessLogFormats(t *testing.T) {
	var out bytes.Buffer
	p := NewProcessLog(&config.Log{Level: "INFO", NoColor: true}, &out)
	p.Logger.Debug().Msg("hidden")
	p.Logger.Info().Str(Router, "a@file").Msg("router added")
	stamp, rest, _ := strings.Cut(out.String(), " ")
	if _, err := time.Parse(time.RFC3339, stamp); err != nil || rest != "INF router added routerName=a@file\n" {
		t.Errorf("%q, %v", out.String(), err)
	}

	out.Reset()
	p = NewProcessLog(&config.Log{Level: "warn", Format: "json"}, &out)
	log := p.Logger // handed out before the level changes
	log.Info().Msg("hidden")
	if err := p.SetLevel("DEBUG"); err != nil {
		t.Fatal(err)
	}
	log.Debug().Msg("shown")
	var event map[string]any
	if err := json.Unmarshal(out.Bytes(), &event); err != nil || event["level"] != "debug" || event["message"] != "shown" {
		t.Errorf("%s: %v", out.String(), err)
	}
}

func TestProcessLogDefaultsAndErrors(t *testing.T) {
	var out bytes.Buffer
	p := NewProcessLog(nil, &out)
	p.Logger.Warn().Msg("hidden")
	if out.Len() != 0 {
		t.Errorf("a warning at the default level: %s", &out)
	}
	if p.SetLevel("loud") == nil {
		t.Error("level loud was taken")
	}
	p = NewProcessLog(&config.Log{Level: "loud"}, &out)
	p.Logger.Warn().Msg("hidden")
	if out.Len() != 0 {
		t.Errorf("the default level was not taken: %s", &out)
	}
	NewProcessLog(&config.Log{Format: "xml"}, &out).Logger.Error().Msg("said")
	if !strings.Contains(out.String(), "ERR") {
		t.Errorf("a wrong format is not the default one: %s", &out)
	}
	out.Reset()
	p = NewProcessLog(&config.Log{FilePath: "/dev/null/x"}, &out)
	p.Logger.Error().Msg("goes on")
	if said := out.String(); !strings.Contains(said, "/dev/null/x") || !strings.Contains(said, "goes on") {
		t.Errorf("a file that cannot be: %s", said)
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	f, err := openRotating(&config.Log{FilePath: filepath.Join(dir, "sluice.log"), MaxBackups: 2, MaxAge: 1, Compress: true})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	f.now = func() time.Time { now = now.Add(time.Hour); return now }
	f.maxSize = 10
	for _, line := range []string{"first\n", "second\n", "third\n", "fourth\n", "fifth\n"} {
		if _, err := io.WriteString(f, line); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "sluice-other.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"sluice.log": "fifth\n", "sluice-other.log": ""}
	var backups []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if text, ok := want[e.Name()]; ok {
			if b, err := os.ReadFile(path); err != nil || string(b) != text {
				t.Errorf("%s: %q, %v", e.Name(), b, err)
			}
			continue
		}
		backups = append(backups, gunzip(t, path))
	}
	if got := strings.Join(backups, ""); got != "third\nfourth\n" {
		t.Errorf("backups hold %q", got)
	}

	now = now.Add(48 * time.Hour) // everything but the newest is too old now
	if _, err := io.WriteString(f, "sixth\n"); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.gz")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "x"); err == nil {
		t.Error("a closed log was written")
	}
	if info, err := os.Stat(filepath.Join(dir, "sluice.log")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func gunzip(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(path, err)
	}
	b, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
