package file

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/seal"
	"github.com/sluice-edge/sluice/store/storetest"
)

func TestContract(t *testing.T) {
	for name, openAt := range map[string]func(string) (*Store, error){
		"plain": Open,
		"sealed": func() func(string) (*Store, error) {
			ring, err := seal.New(seal.Generate())
			if err != nil {
				t.Fatal(err)
			}
			return func(dir string) (*Store, error) { return OpenSealed(dir, ring) }
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "store")
			storetest.Run(t, storetest.Options{Open: func(t *testing.T) store.Store {
				s, err := openAt(dir)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}})
			if left, _ := filepath.Glob(filepath.Join(dir, locksDir, "new.*")); len(left) != 0 {
				t.Errorf("temporary files left: %v", left)
			}
		})
	}
}

const chain = `-----BEGIN CERTIFICATE-----
MIIBaDCCAQ6gAwIBAgIUWE7jJDEhaZsQmwP9dDlZ0sM4WyIwCgYIKoZIzj0EAwIw
-----END CERTIFICATE-----
`

const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg
-----END PRIVATE KEY-----
`

// A certificate is one PEM file that any program reads, and comes back as it was.
func TestCertificateIsAPEMFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	value, _ := json.Marshal(map[string]any{
		"domain": map[string]any{"main": "*.a.test", "sans": []string{"a.test"}}, "certificate": []byte(chain), "key": []byte(key), "Store": "default",
	})
	if err := s.Put(t.Context(), "le/certificates/*.a.test,a.test", value); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "le", "certificates", "*.a.test,a.test.pem")
	if b, err := os.ReadFile(path); err != nil || string(b) != chain+key {
		t.Fatalf("%s: %v", b, err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Fatalf("mode %o", st.Mode().Perm())
	}
	if got, err := s.Get(t.Context(), "le/certificates/*.a.test,a.test"); err != nil || !sameJSON(got, value) {
		t.Fatalf("%s: %v", got, err)
	}
	if _, err := tls.LoadX509KeyPair(path, path); err == nil || strings.Contains(err.Error(), "failed to find") {
		t.Fatalf("other programs must find both blocks in the file: %v", err) // the blocks themselves are cut short here
	}
}

func TestSealedShowsNothingAndRotates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	old, now := seal.Generate(), seal.Generate()
	ring := func(keys ...string) *seal.Keyring {
		r, err := seal.New(keys...)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	s, err := OpenSealed(dir, ring(old))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "le/certificates/secret.test", []byte("private")); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"+sealedSuffix))
	if len(files) != 1 || strings.Contains(files[0], "secret") {
		t.Fatalf("files %v", files)
	}
	if b, _ := os.ReadFile(files[0]); bytes.Contains(b, []byte("private")) || bytes.Contains(b, []byte("secret")) {
		t.Fatalf("readable: %s", b)
	}
	if _, err := OpenSealed(dir, ring(now)); !errors.Is(err, seal.ErrKey) {
		t.Fatalf("with the wrong key: %v", err)
	}
	if _, err := OpenSealed(dir, ring(now, old)); err != nil {
		t.Fatal(err)
	}
	again, err := OpenSealed(dir, ring(now))
	if err != nil {
		t.Fatalf("after rotation: %v", err)
	}
	if b, err := again.Get(t.Context(), "le/certificates/secret.test"); err != nil || string(b) != "private" {
		t.Fatalf("%q %v", b, err)
	}
	// A file put in the place of another does not open.
	if err := again.Put(t.Context(), "le/certificates/other.test", []byte("other")); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(files[0])
	if err := os.WriteFile(again.file("le/certificates/other.test"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := again.Get(t.Context(), "le/certificates/other.test"); err == nil {
		t.Fatalf("a file in the place of another gave %q", b)
	}
}

func TestDirectoryOfOthersIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the case
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Fatalf("a directory that others can read: %v", err)
	}
}

func FuzzPath(f *testing.F) {
	for _, k := range []string{"a/b", "le/certificates/*.a.test,a.test", "../..", "x/.hidden", "x/" + strings.Repeat("%", 500), "a+/b", "x.pem/y"} {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, k string) {
		if checkKey(k) != nil {
			return
		}
		p := plain{}.path(k)
		back, ok := plain{}.key(p, nil)
		if !ok || back != k {
			t.Fatalf("%q became %q and then %q %v", k, p, back, ok)
		}
		for part := range strings.SplitSeq(p, "/") {
			if part == "" || part[0] == '.' || len(part) > 255 {
				t.Fatalf("%q became %q", k, p)
			}
		}
	})
}
