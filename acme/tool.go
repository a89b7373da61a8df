package acme

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/certcrypto"
)

// Renew makes certificates that hold the name due now, whatever their back-off, and reports
// how many there are. A Manager that does not run leaves it in storage for the one that does.
func (m *Manager) Renew(ctx context.Context, name string) (int, error) {
	n := 0
	for _, r := range m.resolvers {
		r.mu.Lock()
		var due []string
		for h := range r.certs.covering([]string{name}) {
			due = append(due, id(h.names))
		}
		for k := range r.tries { // names whose order failed
			if r.certs.get(k) == nil && covers(strings.Split(k, ","), []string{name}) {
				due = append(due, k)
			}
		}
		r.mu.Unlock()
		for _, k := range due {
			now := time.Now()
			if err := r.vault.putJSON(ctx, r.stateKey(k), Attempt{ARI: now, Checked: now}); err != nil {
				return n, err
			}
			r.mu.Lock()
			r.tries[k] = &Attempt{ARI: now, Checked: now}
			r.mu.Unlock()
			n++
		}
		r.nudge()
	}
	return n, nil
}

// Certificates are all that are in hand, with their keys.
func (m *Manager) Certificates() []Certificate {
	var out []Certificate
	for _, n := range m.Usable() {
		r := m.resolvers[n]
		r.mu.Lock()
		for _, h := range r.certs.all {
			out = append(out, Certificate{n, h.names, h.text.Certificate, h.text.Key})
		}
		r.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b Certificate) int { return strings.Compare(a.Resolver+id(a.Names), b.Resolver+id(b.Names)) })
	return out
}

// Prune deletes certificates that ended, or that no router named for the resolver's
// pruneAfter, and returns them. Of the resolvers it looks at those that only holds for.
func (m *Manager) Prune(ctx context.Context, now time.Time, only func(resolver string) bool) ([]Certificate, error) {
	var out []Certificate
	defer m.publish()
	for _, c := range m.Certificates() {
		if !only(c.Resolver) {
			continue
		}
		r, k := m.resolvers[c.Resolver], id(c.Names)
		last := usage{}
		if err := r.vault.getJSON(ctx, r.stateKey("@used"), &last); err != nil {
			return out, err
		}
		r.mu.Lock()
		ended := now.After(r.certs.get(k).pair.Leaf.NotAfter)
		r.mu.Unlock()
		seen, known := last[k]
		if unused := known && r.cfg.PruneAfter > 0 && now.Sub(seen) >= time.Duration(r.cfg.PruneAfter); !ended && !unused {
			continue
		}
		if err := r.forget(ctx, k); err != nil {
			return out, err
		}
		out = append(out, c)
	}
	return out, nil
}

// Import stores a certificate under a resolver, which renews it from then on. One that is
// there already and ends later stays; it reports whether the certificate was taken.
func (m *Manager) Import(ctx context.Context, c Certificate) (bool, error) {
	r := m.resolvers[c.Resolver]
	if r == nil {
		return false, fmt.Errorf("there is no usable certificate resolver %q", c.Resolver)
	}
	s := &stored{Certificate: c.Chain, Key: pkcs8(c.Key), Store: "default"}
	s.Domain.Main = c.Names[0]
	if len(c.Names) > 1 {
		s.Domain.SANs = c.Names[1:]
	}
	h, err := newHeld(s)
	if err != nil {
		return false, fmt.Errorf("%s: %w", id(c.Names), err)
	}
	r.mu.Lock()
	old := r.certs.get(id(h.names))
	r.mu.Unlock()
	if old != nil && !h.pair.Leaf.NotAfter.After(old.pair.Leaf.NotAfter) {
		return false, nil
	}
	s.Domain.Main, s.Domain.SANs = h.names[0], h.names[1:]
	if err := r.vault.putCertificate(ctx, r.certificateKey(id(h.names)), s); err != nil {
		return false, err
	}
	r.mu.Lock()
	err = r.keep(s)
	r.mu.Unlock()
	r.changed()
	r.nudge()
	return true, err
}

// Collect reads certificates with their keys from a file or directory of another program:
// an acme.json of the reference, or a directory with pairs as certbot (fullchain.pem and
// privkey.pem), Caddy (NAME.crt and NAME.key) or this program (NAME.pem with both) keep
// them, at any depth. Resolver is set where the source names one.
func Collect(path string) ([]Certificate, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return collectJSON(path)
	}
	var out []Certificate
	err = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		key := p
		switch base := filepath.Base(p); {
		case e.IsDir():
			return nil
		case base == "fullchain.pem":
			key = filepath.Join(filepath.Dir(p), "privkey.pem")
		case strings.HasSuffix(base, ".crt"):
			key = strings.TrimSuffix(p, ".crt") + ".key"
		case base == "cert.pem" || base == "chain.pem" || base == "privkey.pem" || !strings.HasSuffix(base, ".pem"):
			return nil
		}
		c, err := collectPair(p, key)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoPair) {
			return nil // a certificate without its key, such as that of an authority
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		out = append(out, c)
		return nil
	})
	return out, err
}

var errNoPair = errors.New("no certificate with its key")

func collectPair(certFile, keyFile string) (Certificate, error) {
	b, err := os.ReadFile(certFile)
	if err != nil {
		return Certificate{}, err
	}
	k := b
	if keyFile != certFile {
		if k, err = os.ReadFile(keyFile); err != nil {
			return Certificate{}, err
		}
	}
	var c Certificate
	for p, rest := pem.Decode(b); p != nil; p, rest = pem.Decode(rest) {
		if p.Type == "CERTIFICATE" {
			c.Chain = append(c.Chain, pem.EncodeToMemory(p)...)
		}
	}
	for p, rest := pem.Decode(k); p != nil; p, rest = pem.Decode(rest) {
		if strings.HasSuffix(p.Type, "PRIVATE KEY") {
			c.Key = pem.EncodeToMemory(p)
		}
	}
	if c.Chain == nil || c.Key == nil {
		return Certificate{}, errNoPair
	}
	leaf, err := certcrypto.ParsePEMCertificate(c.Chain)
	if err != nil {
		return Certificate{}, err
	}
	c.Names = namesOf(leaf)
	if len(c.Names) == 0 {
		return Certificate{}, errNoPair
	}
	return c, nil
}

func namesOf(leaf *x509.Certificate) []string {
	var out []string
	for _, n := range append([]string{leaf.Subject.CommonName}, leaf.DNSNames...) {
		if n = strings.ToLower(n); slices.Contains(leaf.DNSNames, n) && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func collectJSON(path string) ([]Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var resolvers map[string]*struct{ Certificates []*stored }
	if err := json.Unmarshal(b, &resolvers); err != nil {
		return nil, fmt.Errorf("%s is not an acme.json: %w", path, err)
	}
	var out []Certificate
	for name, r := range resolvers {
		if r == nil {
			continue
		}
		for _, s := range r.Certificates {
			if s != nil && s.Domain.Main != "" {
				out = append(out, Certificate{name, append([]string{s.Domain.Main}, s.Domain.SANs...), s.Certificate, s.Key})
			}
		}
	}
	return out, nil
}

// Covers reports whether a certificate for these names is good for a host.
func Covers(names []string, host string) bool { return covers(names, []string{host}) }

// Failed are the orders that failed, of names that cover the host and have no certificate.
func (m *Manager) Failed(host string) []Status {
	var out []Status
	for _, n := range m.Usable() {
		r := m.resolvers[n]
		r.mu.Lock()
		for k, t := range r.tries {
			if names := strings.Split(k, ","); r.certs.get(k) == nil && t.Error != "" && Covers(names, host) {
				out = append(out, Status{Resolver: n, Names: names, Attempt: *t})
			}
		}
		r.mu.Unlock()
	}
	return out
}
