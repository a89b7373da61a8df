package cert

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// Manager answers TLS handshakes from snapshots. It is safe for concurrent use.
type Manager struct {
	snap    atomic.Pointer[snapshot]
	managed atomic.Pointer[set]
	// challenge answers TLS-ALPN-01 (RFC 8737); nil where no resolver uses it.
	challenge atomic.Pointer[func(name string) *tls.Certificate]
	// demand makes certificates at the first handshake; nil where no resolver does.
	demand atomic.Pointer[func(ctx context.Context, name string) *tls.Certificate]

	stapler atomic.Pointer[stapler]
	changed chan struct{} // the certificates did

	mu       sync.Mutex // one Update at a time
	fallback *tls.Certificate
	configs  map[string]*tls.Config // by options name and fingerprint: tickets survive updates
	loaded   map[pairFiles]*tls.Certificate
	last     *config.TLS
	hosts    map[string]map[string]string
	files    map[string]fileState

	ownTickets, sharedTickets, tickets []TicketSecret // the last are those in use
}

type pairFiles struct{ cert, key config.FileOrContent }

type snapshot struct {
	certs      *set
	def        *tls.Certificate
	ownDefault bool                   // def is configured
	strict     bool                   // some options do without def
	generated  []string               // names of the issued certificate that is the default, if any
	options    map[string]*tls.Config // nil value: broken, handshakes are refused
	at         map[string]hostOptions // by entry point
}

// hostOptions are names of TLS options by host.
type hostOptions struct {
	exact, wild map[string]string // the latter by the part behind "*."
}

// NewManager returns a Manager that serves a generated certificate until Update.
func NewManager(now time.Time) (*Manager, error) {
	c, err := SelfSigned(now)
	if err != nil {
		return nil, fmt.Errorf("default certificate: %w", err)
	}
	m := &Manager{fallback: c, configs: map[string]*tls.Config{}, changed: make(chan struct{}, 1)}
	m.Rotate(now)
	m.Update(nil, nil, now)
	return m, nil
}

// Update publishes the TLS part of a configuration. hosts names the options of hosts, by
// entry point, from their routers; a host "*.x" stands for one label. What cannot be used
// is left out and returned as Problems.
func (m *Manager) Update(cfg *config.TLS, hosts map[string]map[string]string, now time.Time) []config.Problem {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.update(cfg, hosts, now)
}

func (m *Manager) update(cfg *config.TLS, hosts map[string]map[string]string, now time.Time) []config.Problem {
	if cfg == nil {
		cfg = &config.TLS{}
	}
	m.last, m.hosts, m.files = cfg, hosts, states(cfg)
	loaded := map[pairFiles]*tls.Certificate{}
	var problems []config.Problem
	s := &snapshot{def: m.fallback, options: map[string]*tls.Config{}, at: map[string]hostOptions{}}
	var certs []*tls.Certificate
	for i, c := range cfg.Certificates {
		if len(c.Stores) > 0 && !slices.Contains(c.Stores, Default) {
			problems = append(problems, problem(fmt.Sprintf("certificate %d", i), "stores", fmt.Sprintf("only the store %q is used", Default), config.Warning))
			continue
		}
		pair, err := m.load(loaded, c.CertFile, c.KeyFile)
		if err != nil {
			field, text := fieldOf(err)
			problems = append(problems, problem(fmt.Sprintf("certificate %d (%s)", i, short(c.CertFile)), field, text, config.Error))
		}
		if pair != nil {
			certs = append(certs, pair)
		}
	}
	s.certs = newSet(certs, now)
	if st := cfg.Stores[Default]; st != nil && st.DefaultCertificate != nil {
		pair, err := m.load(loaded, st.DefaultCertificate.CertFile, st.DefaultCertificate.KeyFile)
		if err != nil {
			problems = append(problems, problem("store default", "defaultCertificate", err.Error(), config.Error))
		}
		if pair != nil {
			s.def, s.ownDefault = pair, true
		}
		if st.DefaultGeneratedCert != nil {
			problems = append(problems, problem("store default", "defaultGeneratedCert", "defaultCertificate is set too and is used", config.Warning))
		}
	} else if st != nil && st.DefaultGeneratedCert != nil && (st.DefaultGeneratedCert.Resolver == "" || st.DefaultGeneratedCert.Domain == nil) {
		problems = append(problems, problem("store default", "defaultGeneratedCert", "resolver and domain must both be set", config.Error))
	} else if st != nil && st.DefaultGeneratedCert != nil {
		d := st.DefaultGeneratedCert.Domain
		for _, n := range append([]string{d.Main}, d.SANs...) {
			if n != "" {
				s.generated = append(s.generated, canonical(n))
			}
		}
	}
	problems = append(problems, m.buildOptions(cfg, s)...)
	for ep, names := range hosts {
		s.at[ep] = newHostOptions(names)
	}
	m.loaded = loaded
	m.snap.Store(s)
	m.note()
	return problems
}

func newHostOptions(names map[string]string) hostOptions {
	h := hostOptions{exact: make(map[string]string, len(names)), wild: map[string]string{}}
	for host, name := range names {
		if rest, ok := strings.CutPrefix(host, "*."); ok {
			h.wild[rest] = name
		} else {
			h.exact[host] = name
		}
	}
	return h
}

// load reads a pair. Where it cannot be read any more, the one in use stays, beside the error.
func (m *Manager) load(loaded map[pairFiles]*tls.Certificate, certFile, keyFile config.FileOrContent) (*tls.Certificate, error) {
	k := pairFiles{certFile, keyFile}
	pair, err := Load(certFile, keyFile)
	if err != nil {
		if pair = m.loaded[k]; pair == nil {
			return nil, err
		}
		err = fmt.Errorf("%w; the one read before stays in use", err)
	}
	loaded[k] = pair
	return pair, err
}

// Refresh reads the files again where any certificate, key or CA file changed on disk, and
// reports whether it did.
func (m *Manager) Refresh(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil || len(m.files) == 0 || maps.Equal(states(m.last), m.files) {
		return false
	}
	m.update(m.last, m.hosts, now)
	return true
}

// Covers reports whether configured, valid certificates are good for all names, the default
// one among them.
func (m *Manager) Covers(names []string) bool {
	s, now := m.snap.Load(), time.Now()
	for _, n := range names {
		if s.byDefault(n) && valid(s.def.Leaf, now) {
			continue
		}
		c := s.certs.exact[n]
		if c == nil {
			c = s.certs.find(n)
		}
		if rest, ok := strings.CutPrefix(n, "*."); ok {
			c = s.certs.wild[rest]
		}
		if c == nil || !valid(c.Leaf, now) {
			return false
		}
	}
	return true
}

// byDefault reports whether the configured default certificate is served for a name and good
// for it.
func (s *snapshot) byDefault(name string) bool {
	if !s.ownDefault || s.strict {
		return false
	}
	_, rest, _ := strings.Cut(name, ".")
	names := Names(s.def.Leaf)
	return slices.Contains(names, name) || rest != "" && slices.Contains(names, "*."+rest)
}

func (m *Manager) buildOptions(cfg *config.TLS, s *snapshot) []config.Problem {
	var problems []config.Problem
	all := map[string]*config.TLSOptions{Default: {}}
	for n, o := range cfg.Options {
		// "default" of any provider is the default; others keep their provider.
		if base, _, _ := strings.Cut(n, "@"); base == Default {
			n = Default
		}
		all[n] = o
	}
	live := map[string]*tls.Config{}
	for n, o := range all {
		k := n + "\x00" + fingerprint(o)
		t := m.configs[k]
		if t == nil {
			var err error
			if t, err = build(o, m.certificate); err != nil {
				problems = append(problems, problem("tls options "+n, "", err.Error(), config.Error))
				s.options[n] = nil
				continue
			}
			m.seal(k, t)
		}
		live[k] = t
		s.options[n] = t
		s.strict = s.strict || o.SNIStrict
		for field, text := range Doubts(o) {
			problems = append(problems, problem("tls options "+n, field, text, config.Error))
		}
	}
	m.configs = live
	return problems
}

// fingerprint covers the options and the content of the files they name.
func fingerprint(o *config.TLSOptions) string {
	h := sha256.New()
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // plain structs always encode
	}
	h.Write(b)
	for _, f := range o.ClientAuth.CAFiles {
		if b, err := Read(f); err == nil {
			h.Write(b)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func problem(object, field, text string, sev config.Severity) config.Problem {
	return config.Problem{Source: "tls", Object: object, Field: field, Code: config.CodeInvalidCertificate, Text: text, Severity: sev}
}

// fieldOf says which of a pair's fields an error of Load speaks of, and the rest of its text.
func fieldOf(err error) (field, text string) {
	for _, f := range []string{"certFile", "keyFile"} {
		if rest, ok := strings.CutPrefix(err.Error(), f+": "); ok {
			return f, rest
		}
	}
	return "certFile", err.Error()
}

// SetManaged publishes the issued certificates. No route is touched.
func (m *Manager) SetManaged(certs []*tls.Certificate, now time.Time) {
	m.managed.Store(newSet(certs, now))
	m.note()
}

// SetChallenge installs the answer to TLS-ALPN-01 challenges.
func (m *Manager) SetChallenge(f func(name string) *tls.Certificate) { m.challenge.Store(&f) }

// SetDemand installs what makes certificates for names that have none, during their
// handshake; nil takes it away.
func (m *Manager) SetDemand(f func(ctx context.Context, name string) *tls.Certificate) {
	if f == nil {
		m.demand.Store(nil)
		return
	}
	m.demand.Store(&f)
}

// ConfigFor returns what chooses the settings of an entry point's handshakes, for
// tls.Config.GetConfigForClient: the options of the host asked for.
func (m *Manager) ConfigFor(entryPoint string) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		s := m.snap.Load()
		name := s.at[entryPoint].of(canonical(h.ServerName))
		t := s.options[name]
		if t == nil { // broken, or not there: never weaker ones in their place
			return nil, fmt.Errorf("tls options %s cannot be used", name)
		}
		return t, nil
	}
}

// of names the options of a host, "default" where none is set.
func (o hostOptions) of(host string) string {
	if n, ok := o.exact[host]; ok {
		return n
	}
	if i := strings.IndexByte(host, '.'); i > 0 {
		if n, ok := o.wild[host[i+1:]]; ok {
			return n
		}
	}
	return Default
}

// Config returns the tls.Config of named options, or nil.
func (m *Manager) Config(name string) *tls.Config { return m.snap.Load().options[name] }

// certificate chooses the certificate of a handshake. Nil without an error makes crypto/tls
// answer with the alert unrecognized_name (RFC 6066 §3), as the reference does: no
// certificate for the name under sniStrict, or no challenge under way. An error would be
// told as internal_error.
func (m *Manager) certificate(h *tls.ClientHelloInfo, strict bool) (*tls.Certificate, error) {
	c := m.pick(h, strict)
	if s := m.stapler.Load(); s != nil && c != nil {
		c = s.stapled(c)
	}
	return c, nil
}

// pick is certificate without what is stapled to it.
func (m *Manager) pick(h *tls.ClientHelloInfo, strict bool) *tls.Certificate {
	name := canonical(h.ServerName)
	if slices.Contains(h.SupportedProtos, "acme-tls/1") {
		// RFC 8737 §3: only the CA offers this protocol; a stranger learns nothing by it.
		if f := m.challenge.Load(); f != nil {
			return (*f)(name)
		}
		return nil
	}
	s := m.snap.Load()
	if name == "" && h.Conn != nil {
		// No SNI: a certificate for the address that was called, then the default.
		if a, ok := h.Conn.LocalAddr().(*net.TCPAddr); ok {
			name = a.IP.String()
		}
	}
	now := time.Now()
	c := choose(h, name, s.certs, m.managed.Load(), now)
	if c != nil && valid(c.Leaf, now) {
		return c
	}
	if f := m.demand.Load(); f != nil && h.ServerName != "" {
		if c := (*f)(h.Context(), name); c != nil {
			return c
		}
	}
	switch {
	case c != nil:
		return c // ended, and there is no other
	case strict:
		return nil
	}
	if c := m.generatedDefault(s); c != nil {
		return c
	}
	return s.def
}

// choose takes the exact name before a wildcard, configured certificates before issued ones,
// and one that is valid before one that ended.
func choose(h *tls.ClientHelloInfo, name string, configured, issued *set, now time.Time) *tls.Certificate {
	var ended *tls.Certificate
	for i := range 4 {
		from, by := configured, (*set).exactly
		if i%2 == 1 {
			from = issued
		}
		if i >= 2 {
			by = (*set).wildly
		}
		c, second := by(from, name)
		switch {
		case c == nil:
		case !valid(c.Leaf, now):
			if ended == nil {
				ended = c
			}
		case second != nil && h.SupportsCertificate(c) != nil && h.SupportsCertificate(second) == nil:
			return second
		default:
			return c
		}
	}
	return ended
}

// generatedDefault is the issued certificate that is the store's default, or nil as long as
// it was not obtained.
func (m *Manager) generatedDefault(s *snapshot) *tls.Certificate {
	var c *tls.Certificate
	for _, n := range s.generated {
		set := m.managed.Load()
		if set == nil {
			return nil
		}
		got := set.find(n)
		if rest, ok := strings.CutPrefix(n, "*."); ok {
			got = set.wild[rest]
		}
		if got == nil || c != nil && got != c {
			return nil
		}
		c = got
	}
	return c
}

// All returns every certificate that may be served but for the generated default one.
func (m *Manager) All() []*tls.Certificate {
	out := slices.Clone(m.snap.Load().certs.all)
	if s := m.managed.Load(); s != nil {
		out = append(out, s.all...)
	}
	return out
}

// canonical is the form in which names are compared: lower case, no trailing dot.
func canonical(s string) string { return strings.TrimSuffix(strings.ToLower(s), ".") }
