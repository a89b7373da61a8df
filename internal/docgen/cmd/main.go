// Command cmd writes the generated reference documentation. Run it at the
// root of the repository. It first writes the descriptions and then builds itself
// again, because the pages are made from descriptions that are built in.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sluice-edge/sluice/internal/docgen"
)

func main() {
	if err := run(len(os.Args) > 1 && os.Args[1] == "-pages"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(pagesOnly bool) error {
	if !pagesOnly {
		name, text, err := docgen.Descriptions(".")
		if err != nil {
			return err
		}
		if err := write(name, text); err != nil {
			return err
		}
		// Build again with the new descriptions.
		c := exec.Command("go", "run", "./internal/docgen/cmd", "-pages")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		return c.Run()
	}
	for name, text := range docgen.Pages() {
		if err := write(name, text); err != nil {
			return err
		}
	}
	return nil
}

func write(name string, text []byte) error {
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	fmt.Println(name)
	return os.WriteFile(name, text, 0o644)
}
