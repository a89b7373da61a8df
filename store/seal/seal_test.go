package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
)

func ring(t testing.TB, keys ...string) *Keyring {
	t.Helper()
	k, err := New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealedTextOpensOnlyWhereItBelongs(t *testing.T) {
	old, now := Generate(), Generate()
	sealed := ring(t, old).Seal([]byte("private"), "le/a.test")
	if bytes.Contains(sealed, []byte("private")) || !Sealed(sealed) || Sealed([]byte("private")) {
		t.Fatalf("sealed: %s", sealed)
	}
	both := ring(t, now, old)
	if b, current, err := both.Open(sealed, "le/a.test"); err != nil || string(b) != "private" || current {
		t.Fatalf("with the old key: %q %v %v", b, current, err)
	}
	again := both.Seal([]byte("private"), "le/a.test")
	if b, current, err := ring(t, now).Open(again, "le/a.test"); err != nil || string(b) != "private" || !current {
		t.Fatalf("after rotation: %q %v %v", b, current, err)
	}
	if _, _, err := ring(t, now).Open(sealed, "le/a.test"); !errors.Is(err, ErrKey) {
		t.Fatalf("without the old key: %v", err)
	}
	if _, _, err := both.Open(sealed, "le/b.test"); err == nil {
		t.Fatal("it opened in another place")
	}
	p, _ := pem.Decode(sealed)
	for i := range p.Bytes {
		p.Bytes[i] ^= 1
		if _, _, err := both.Open(pem.EncodeToMemory(p), "le/a.test"); err == nil {
			t.Fatalf("it opened with byte %d changed", i)
		}
		p.Bytes[i] ^= 1
	}
}

func TestKeys(t *testing.T) {
	good := Generate()
	b, err := Parse(good + "\n")
	if err != nil {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{
		"": false, "password": false, strings.Repeat("a", 64): false, strings.Repeat("00", 32): false, good[:62]: false,
		base64.StdEncoding.EncodeToString(b): true, base64.RawURLEncoding.EncodeToString(b): true, strings.ToUpper(good): true,
	} {
		if _, err := Parse(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := New(); err == nil {
		t.Error("a ring without keys")
	}
}

func FuzzOpen(f *testing.F) {
	k, err := New("b3f1c9a05d7e42861f0a9bd2e4c7835566a1d0ef9273b48c5e1f6a7d8c90b2e3")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.Seal([]byte("x"), "c"), "c")
	f.Add([]byte("-----BEGIN SLUICE SEALED-----\n-----END SLUICE SEALED-----\n"), "")
	f.Fuzz(func(t *testing.T, b []byte, context string) {
		if plain, _, err := k.Open(b, context); err == nil {
			if again, _, err := k.Open(k.Seal(plain, context), context); err != nil || !bytes.Equal(plain, again) {
				t.Fatalf("%q became %q: %v", plain, again, err)
			}
		}
	})
}
