package cert

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"slices"
	"time"
)

const (
	// TicketRotation is how long session tickets are sealed with one key, and TicketLife how
	// long it opens them after that; TLS 1.3 allows tickets of 7 days (RFC 8446 §4.6.1).
	TicketRotation = 24 * time.Hour
	TicketLife     = 7 * 24 * time.Hour
)

// TicketSecret is what the keys of session tickets are made of from a time on.
type TicketSecret struct {
	From time.Time
	Key  [32]byte
}

// NewTicketSecret makes a secret.
func NewTicketSecret(from time.Time) TicketSecret {
	s := TicketSecret{From: from}
	_, _ = rand.Read(s.Key[:]) // never fails
	return s
}

// SetTickets replaces the secrets by those that replicas share; they are not rotated here.
// Nil goes back to own ones.
func (m *Manager) SetTickets(shared []TicketSecret, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sharedTickets = slices.Clone(shared)
	m.rotate(now)
}

// Rotate changes the keys of session tickets when their time has come; call it often.
func (m *Manager) Rotate(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rotate(now)
}

func (m *Manager) rotate(now time.Time) {
	next := m.sharedTickets
	if len(next) == 0 {
		if len(m.ownTickets) == 0 || now.Sub(m.ownTickets[0].From) >= TicketRotation {
			m.ownTickets = slices.Insert(m.ownTickets, 0, NewTicketSecret(now))
		}
		m.ownTickets = slices.DeleteFunc(m.ownTickets, func(s TicketSecret) bool { return now.Sub(s.From) >= TicketRotation+TicketLife })
		next = m.ownTickets
	}
	next = inUse(next, now)
	if slices.Equal(next, m.tickets) {
		return
	}
	m.tickets = next
	for k, t := range m.configs {
		m.seal(k, t)
	}
}

// inUse sorts secrets: the one that seals first, then those that only open, among them
// one that another replica may seal with already.
func inUse(all []TicketSecret, now time.Time) []TicketSecret {
	all = slices.SortedFunc(slices.Values(all), func(a, b TicketSecret) int { return b.From.Compare(a.From) })
	if i := slices.IndexFunc(all, func(s TicketSecret) bool { return !s.From.After(now) }); i > 0 {
		s := all[i]
		all = slices.Insert(slices.Delete(all, i, i+1), 0, s)
	}
	return all
}

// seal gives options their keys. They are bound to the options' name and content: a session
// that began under other demands on the client is never resumed under these, and one that
// began before the options changed is not either. Entry points and lanes share them.
func (m *Manager) seal(fingerprint string, t *tls.Config) {
	if t.SessionTicketsDisabled || len(m.tickets) == 0 {
		return
	}
	keys := make([][32]byte, len(m.tickets))
	for i, s := range m.tickets {
		h := hmac.New(sha256.New, s.Key[:])
		h.Write([]byte("session tickets\x00" + fingerprint))
		h.Sum(keys[i][:0])
	}
	t.SetSessionTicketKeys(keys)
}
