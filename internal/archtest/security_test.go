package archtest

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestSecurityIsTested holds the statements of docs/security.md to the tests they name.
func TestSecurityIsTested(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`(Test[A-Z]\\w+)`").FindAllSubmatch(page, -1) {
		named[string(m[1])] = false
	}
	if len(named) < 20 {
		t.Fatalf("only %d tests are named", len(named))
	}
	err = filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if n := d.Name(); n == "node_modules" || n == ".git" {
			return filepath.SkipDir
		}
		files, err := filepath.Glob(filepath.Join(path, "*_test.go"))
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				continue // somebody removed it meanwhile
			}
			for name := range named {
				named[name] = named[name] || bytes.Contains(text, []byte("\nfunc "+name+"("))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, there := range named {
		if !there {
			t.Errorf("docs/security.md names %s, which does not exist", name)
		}
	}
}
