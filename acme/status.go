package acme

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// Status is what is known of one set of names.
type Status struct {
	Resolver string   `json:"resolver"`
	Names    []string `json:"names"`
	Issuer   string   `json:"issuer,omitempty"`
	Serial   string   `json:"serial,omitempty"`
	// Fingerprint is the certificate's SHA-256 as hex.
	Fingerprint string `json:"fingerprint,omitempty"`
	// State is "valid", "due" (renewal is), "ended", "ordering" or "not obtained".
	State     string    `json:"state"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	NotAfter  time.Time `json:"notAfter,omitzero"`
	Renew     time.Time `json:"renew,omitzero"`
	// Used is false where no router names the certificate any more.
	Used    bool    `json:"used"`
	Attempt Attempt `json:"attempt,omitzero"`
}

// Statuses lists certificates in hand and names that are waited for.
func (m *Manager) Statuses() []Status {
	var out []Status
	for _, n := range m.Usable() {
		out = append(out, m.resolvers[n].statuses()...)
	}
	return out
}

func (r *resolver) statuses() []Status {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Status
	wants := r.wanting()
	for k, h := range r.certs.all {
		leaf := h.pair.Leaf
		s := Status{
			Resolver: r.name, Names: h.names, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
			Issuer: leaf.Issuer.CommonName, Serial: fmt.Sprintf("%x", leaf.SerialNumber), Used: wants.use(h.names),
		}
		if at, ask := r.renewAt(k, h, now); !ask {
			s.Renew = at
		} else {
			s.Renew = r.renewByTable(h)
		}
		if t := r.tries[k]; t != nil {
			s.Attempt = *t
		}
		sum := sha256.Sum256(leaf.Raw)
		s.Fingerprint = hex.EncodeToString(sum[:])
		s.State = r.stateOf(&s, now)
		out = append(out, s)
	}
	for i, w := range wants.sets {
		if !r.certs.holds(w) && !r.pending(wants, i) {
			s := Status{Resolver: r.name, Names: w, Used: true}
			if t := r.tries[id(w)]; t != nil {
				s.Attempt = *t
			}
			s.State = r.stateOf(&s, now)
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(id(a.Names), id(b.Names)) })
	return out
}

// The states of a set of names.
const (
	stateValid    = "valid"
	stateDue      = "due"
	stateEnded    = "ended"
	stateOrdering = "ordering"
	stateMissing  = "not obtained"
)

// stateOf names the state of a set of names. The caller holds r.mu.
func (r *resolver) stateOf(s *Status, now time.Time) string {
	due := !s.Renew.IsZero() && !now.Before(s.Renew)
	switch {
	case r.busy[id(s.Names)] && (s.NotAfter.IsZero() || due): // renewal information is asked for at other times
		return stateOrdering
	case s.NotAfter.IsZero():
		return stateMissing
	case now.After(s.NotAfter):
		return stateEnded
	case due && (s.Used || !r.wanted): // a command does not know what routers name
		return stateDue
	}
	return stateValid
}

// ending finds certificates that are used, in their last third and past their renewal.
func (r *resolver) ending(now time.Time) []config.Problem {
	var out []config.Problem
	for _, s := range r.statuses() {
		left := s.NotAfter.Sub(now)
		if s.NotAfter.IsZero() || !s.Used || left > s.NotAfter.Sub(s.NotBefore)/3 || s.Renew.After(now) {
			continue
		}
		// A renewal that was not tried yet, or that just began, is no problem.
		if s.Attempt.Failures == 0 && s.Attempt.Network == 0 && s.Attempt.Error == "" && now.Sub(s.Renew) < left/2 {
			continue
		}
		p := config.Problem{
			Source: "certificates resolver " + r.name, Object: "certificate " + id(s.Names), Code: config.CodeCertificateEnding, Severity: config.Warning,
			Text: fmt.Sprintf("ends %s and is not renewed", s.NotAfter.UTC().Format(time.RFC3339)),
		}
		if s.Attempt.Error != "" {
			p.Text += ": " + s.Attempt.Error
		}
		if left <= 0 {
			p.Severity = config.Error
		}
		out = append(out, p)
	}
	return out
}
