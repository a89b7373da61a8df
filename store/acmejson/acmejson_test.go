package acmejson

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/store"
)

const reference = `{
  "le": {
    "Account": {"Email": "a@b.test", "Registration": {"uri": "https://ca/acct/1"}, "PrivateKey": "QUJD", "KeyType": "4096"},
    "Certificates": [
      {"domain": {"main": "a.test", "sans": ["www.a.test"]}, "certificate": "QQ==", "key": "Qg==", "Store": "default"}
    ]
  },
  "empty": {"Account": null, "Certificates": null}
}`

func TestReadsAndKeepsTheReferencesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.json")
	if err := os.WriteFile(path, []byte(reference), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if b, err := s.Get(ctx, "le/certificates/a.test,www.a.test"); err != nil || !strings.Contains(string(b), "www.a.test") {
		t.Fatalf("%s %v", b, err)
	}
	if _, err := s.Get(ctx, "empty/account"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("an account that is null: %v", err)
	}
	if err := s.Put(ctx, "le/certificates/b.test", []byte(`{"domain":{"main":"b.test"},"Store":"default"}`)); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, "le/state/b.test", []byte(`{"failures":2}`)); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := again.List(ctx, "le/")
	if got := strings.Join(keys, " "); got != "le/account le/certificates/a.test,www.a.test le/certificates/b.test le/state/b.test" {
		t.Fatal(got)
	}
	if b, _ := os.ReadFile(path); strings.Contains(string(b), "failures") || !strings.Contains(string(b), "https://ca/acct/1") {
		t.Fatalf("acme.json must keep the reference's content and hold nothing of ours: %s", b)
	}
	if err := again.Delete(ctx, "le/certificates/b.test"); err != nil {
		t.Fatal(err)
	}
	if keys, _ := again.List(ctx, "le/certificates"); len(keys) != 1 {
		t.Fatal(keys)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if len(left) != 0 {
		t.Fatalf("temporary files left: %v", left)
	}
}

func TestRefusesWhatItMustNotTouch(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
	}{"open": {"{}", 0o644}, "broken": {"{{{", 0o600}, "list": {"[1]", 0o600}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil {
			t.Errorf("%s was accepted", name)
		}
		if b, _ := os.ReadFile(path); string(b) != c.text {
			t.Errorf("%s was changed to %q", name, b)
		}
	}
	s, err := Open(filepath.Join(dir, "new"))
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(filepath.Join(dir, "new")); st.Mode().Perm() != 0o600 {
		t.Fatalf("mode %o", st.Mode().Perm())
	}
	for _, k := range []string{"", "le", "le/", "le/other", "le/certificates/", "/account"} {
		if err := s.Put(t.Context(), k, []byte("{}")); err == nil {
			t.Errorf("key %q was accepted", k)
		}
	}
	if err := s.Put(t.Context(), "le/account", []byte("{")); err == nil {
		t.Error("a value that is not JSON was accepted")
	}
	if err := s.Put(t.Context(), "le/certificates/a.test", []byte(`{"domain":{"main":"b.test"}}`)); err == nil {
		t.Error("a certificate under another name was accepted")
	}
}

func TestLockWaitsForItsHolder(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "a.json"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Lock(t.Context(), "x", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx, "x", time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("second holder: %v", err)
	}
	_ = l.Release()
	_ = l.Release()
	if l, err := s.Lock(t.Context(), "x", time.Minute); err != nil {
		t.Fatal(err)
	} else {
		_ = l.Release()
	}
}

func FuzzFile(f *testing.F) {
	f.Add(reference)
	f.Add("{}")
	f.Add(`{"le":{"Certificates":[null,1,{"domain":{"sans":["a"]}}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "acme.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if err != nil {
			return
		}
		if err := s.Put(t.Context(), "z/account", []byte(`{"Email":"x"}`)); err != nil {
			t.Fatal(err)
		}
		before, _ := s.List(t.Context(), "")
		again, err := Open(path)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		after, _ := again.List(t.Context(), "")
		if strings.Join(before, " ") != strings.Join(after, " ") {
			t.Fatalf("%q became %q", before, after)
		}
	})
}

func TestFormsOfTheFile(t *testing.T) {
	for text, want := range map[string]string{
		``:            "",
		`null`:        "",
		`{"le":null}`: "",
		`{"le":{"Account":null,"Certificates":[null]}}`:            "",
		`{"Account":{"Email":"a"},"Certificates":[{"Domain":{}}]}`: "version 1",
		`[]`: "is not an acme.json",
		`{`:  "is not an acme.json",
	} {
		path := filepath.Join(t.TempDir(), "acme.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if keys, err := s.List(t.Context(), "le"); err != nil || len(keys) != 0 {
			t.Errorf("%s: %v %v", text, keys, err)
		}
		if err := s.Put(t.Context(), "le/account", []byte(`{}`)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
