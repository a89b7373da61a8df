package storetest

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/store"
)

// crashVariable names the storage that a child process writes to until it is killed.
const crashVariable = "SLUICE_TEST_STORE"

// Main is for TestMain of a driver: in a child process it writes without end.
func Main(m *testing.M, open func(path string) (store.Store, error)) {
	path := os.Getenv(crashVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	s, err := open(path)
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		if err := s.Put(context.Background(), "le/certificates/a.test", Certificate("a.test", byte('a'+i%26), 100000)); err != nil {
			panic(err)
		}
		if i == 0 {
			_, _ = os.Stdout.WriteString("writing\n")
		}
	}
}

// Crash kills a process that writes, again and again: what is read afterwards is whole,
// and what was there before is still there.
func Crash(t *testing.T, path string, open func(path string) (store.Store, error)) {
	s, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	before := Certificate("before.test", 'x', 1000)
	if err := s.Put(t.Context(), "le/certificates/before.test", before); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		c := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test itself
		c.Env = append(os.Environ(), crashVariable+"="+path)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = out.Read(make([]byte, 8))
		time.Sleep(time.Duration(i*7) * time.Millisecond)
		_ = c.Process.Kill()
		_ = c.Wait()
		again, err := open(path)
		if err != nil {
			t.Fatalf("after kill %d: %v", i, err)
		}
		var v struct{ Certificate, Key []byte }
		b, err := again.Get(t.Context(), "le/certificates/a.test")
		if err == nil {
			err = json.Unmarshal(b, &v)
		}
		if err != nil || len(v.Key) != 100000 || strings.Trim(string(v.Key), string(v.Key[0])) != "" {
			t.Fatalf("after kill %d half a value is there: %d bytes, %v", i, len(v.Key), err)
		}
		if b, err := again.Get(t.Context(), "le/certificates/before.test"); err != nil || !same(b, before) {
			t.Fatalf("after kill %d what was there before is gone: %v", i, err)
		}
	}
}
