// Package dns makes lego's DNS providers, each with the variables of its own resolver.
//
// Built with the tag "alldns" it has every provider of lego, at the price of some 50 MB of
// binary; without the tag it has those that need no further module: httpreq, rfc2136 and exec.
package dns

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/go-acme/lego/v4/challenge"

	"github.com/sluice-edge/sluice/config"
)

// Maker makes providers. lego reads the variables of the process, so that one provider is
// made at a time. The zero value is ready to use, and safe for concurrent use; a process
// has one.
type Maker struct{ mu sync.Mutex }

// New makes the provider of a challenge. The variables of cfg hold while it is made and no
// longer; they go before those of the process. NAME_FILE takes the value of NAME from a file.
func (m *Maker) New(cfg *config.DNSChallenge) (challenge.Provider, error) {
	vars, err := Variables(cfg)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	restore, err := set(vars)
	defer restore()
	if err != nil {
		return nil, err
	}
	return provider(strings.ToLower(strings.TrimSpace(cfg.Provider)))
}

// Variables reads the variables of a resolver: those of the file, and over them the values.
// NAME_FILE is resolved here, as not every provider does it; a value wins over a file.
func Variables(cfg *config.DNSChallenge) (map[string]string, error) {
	vars := map[string]string{}
	if cfg.EnvFile != "" {
		b, err := os.ReadFile(cfg.EnvFile)
		if err != nil {
			return nil, fmt.Errorf("envFile: %w", err)
		}
		if vars, err = parse(b); err != nil {
			return nil, fmt.Errorf("envFile %s: %w", cfg.EnvFile, err)
		}
	}
	for n, v := range cfg.Env {
		vars[strings.ToUpper(n)] = v // names of settings do not know small letters from big ones
	}
	for _, n := range slices.Sorted(maps.Keys(vars)) {
		base, ok := strings.CutSuffix(n, "_FILE")
		if !ok || vars[base] != "" {
			continue
		}
		b, err := os.ReadFile(vars[n])
		if errors.Is(err, os.ErrNotExist) {
			continue // the variable may be the provider's own and mean another file
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		vars[base] = strings.TrimSpace(string(b))
	}
	return vars, nil
}

// parse reads lines NAME=value. Empty lines and comments are passed over; "export " and
// quotes around the value are taken off.
func parse(b []byte) (map[string]string, error) {
	vars := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || strings.ContainsAny(name, " \t\x00") || strings.Contains(value, "\x00") {
			return nil, fmt.Errorf("line %d is not NAME=value", n) // the line may be a secret
		}
		if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		vars[name] = value
	}
	return vars, lines.Err()
}

// set sets variables of the process and returns what puts the old ones back.
func set(vars map[string]string) (restore func(), err error) {
	type old struct {
		value string
		set   bool
	}
	before := map[string]old{}
	restore = func() {
		for n, o := range before {
			if o.set {
				_ = os.Setenv(n, o.value) // it was set before, so it can be set
			} else {
				_ = os.Unsetenv(n)
			}
		}
	}
	for n, v := range vars {
		value, ok := os.LookupEnv(n)
		before[n] = old{value, ok}
		if err := os.Setenv(n, v); err != nil {
			return restore, fmt.Errorf("variable %s: %w", n, err)
		}
	}
	return restore, nil
}
