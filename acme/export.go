package acme

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// hookTime bounds a hook.
const hookTime = time.Minute

// Certificate is an issued certificate as it leaves the program.
type Certificate struct {
	Resolver string
	Names    []string
	// Chain and Key are PEM; the chain begins with the certificate itself.
	Chain, Key []byte
}

// obtained exports a new certificate and calls the hook.
func (m *Manager) obtained(r *resolver, h *held) {
	c := Certificate{Resolver: r.name, Names: h.names, Chain: h.text.Certificate, Key: h.text.Key}
	if m.opts.Obtained != nil {
		m.opts.Obtained(c)
	}
	dir := ""
	if r.cfg.ExportDir != "" {
		var err error
		if dir, err = Export(r.cfg.ExportDir, c); err != nil {
			r.log.Error().Err(err).Strs("names", c.Names).Msg("certificate not exported")
		}
	}
	if r.cfg.OnRenew == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), hookTime)
	defer cancel()
	if err := hook(ctx, r.cfg.OnRenew, c, dir); err != nil {
		r.log.Error().Err(err).Strs("names", c.Names).Msg("hook of a renewal failed")
	}
}

// exportAll writes what is in hand, at the start: the directory may be new.
func (r *resolver) exportAll() {
	if r.cfg.ExportDir == "" {
		return
	}
	r.mu.Lock()
	var all []Certificate
	for _, h := range r.certs.all {
		all = append(all, Certificate{r.name, h.names, h.text.Certificate, h.text.Key})
	}
	r.mu.Unlock()
	for _, c := range all {
		if _, err := Export(r.cfg.ExportDir, c); err != nil {
			r.log.Error().Err(err).Strs("names", c.Names).Msg("certificate not exported")
		}
	}
}

// Export writes a certificate below dir as certbot lays it out, NAME/fullchain.pem,
// cert.pem, chain.pem and privkey.pem, and returns its directory. A wildcard's name begins
// with "_". Files that are right already are left alone; each is replaced as a whole, the
// key first.
func Export(dir string, c Certificate) (string, error) {
	name := strings.Replace(c.Names[0], "*", "_", 1)
	if name == "" || strings.ContainsAny(name, `/\`) || name[0] == '.' {
		return "", fmt.Errorf("%q is no name for a directory", c.Names[0])
	}
	sub := filepath.Join(dir, name)
	if err := os.MkdirAll(sub, 0o755); err != nil { //nolint:gosec // other programs read the chain
		return "", err
	}
	leaf, rest := splitChain(c.Chain)
	for _, f := range []struct {
		name string
		text []byte
		mode os.FileMode
	}{{"privkey.pem", c.Key, 0o600}, {"chain.pem", rest, 0o644}, {"cert.pem", leaf, 0o644}, {"fullchain.pem", c.Chain, 0o644}} {
		if err := writeFile(filepath.Join(sub, f.name), f.text, f.mode); err != nil {
			return "", err
		}
	}
	return sub, nil
}

func splitChain(chain []byte) (leaf, rest []byte) {
	p, rest := pem.Decode(chain)
	if p == nil {
		return chain, nil
	}
	return pem.EncodeToMemory(p), bytes.TrimLeft(rest, "\r\n")
}

func writeFile(path string, text []byte, mode os.FileMode) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new.*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(text)
	if err := errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// hook tells somebody of a new certificate: an address gets a POST, anything else is a
// command, run without a shell. Neither gets the private key.
func hook(ctx context.Context, target string, c Certificate, dir string) error {
	if strings.HasPrefix(target, "http://") || strings.HasPrefix(target, "https://") {
		body, err := json.Marshal(map[string]any{"resolver": c.Resolver, "names": c.Names, "dir": dir})
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
		if err != nil {
			return errors.New("the address cannot be read") // it may hold a secret
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return errors.New("the address does not answer")
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode >= 300 {
			return fmt.Errorf("the address answers %d", resp.StatusCode)
		}
		return nil
	}
	words := strings.Fields(target)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // the operator's command
	cmd.Env = append(os.Environ(), "SLUICE_RESOLVER="+c.Resolver, "SLUICE_NAMES="+strings.Join(c.Names, ","), "SLUICE_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %.200s", words[0], err, out)
	}
	return nil
}
