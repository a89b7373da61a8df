package acme

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-edge/sluice/cert"
	"github.com/sluice-edge/sluice/config"
)

const (
	ticketsKey = "tickets/secrets"
	// ticketsEvery is how often it is looked whether the next secret is due.
	ticketsEvery = 10 * time.Minute
	// ticketsAhead is how long before its time the next secret is there for every replica.
	ticketsAhead = time.Hour
)

// sharedTicket is a secret in storage; its key is sealed.
type sharedTicket struct {
	From time.Time `json:"from"`
	Key  []byte    `json:"key"`
}

// ticketVault is the storage by which replicas share secrets of session tickets, or nil. A
// resolver that asks for it and whose storage is not fit for it is a Problem.
func (m *Manager) ticketVault() *vault {
	var found *vault
	for _, n := range m.Usable() {
		r := m.resolvers[n]
		switch {
		case !r.cfg.ShareSessions:
		case r.vault.shared() == nil || r.vault.ring == nil:
			m.problems = append(m.problems, config.Problem{
				Source: "certificates resolver " + n, Object: "resolver " + n, Field: "shareSessions", Code: config.CodeUnknownResolver,
				Text: "sessions are not shared: it needs a storage that replicas share, and a storageKey", Severity: config.Warning,
			})
		case found == nil:
			found = &r.vault
		}
	}
	return found
}

// shareTickets reads the secrets of session tickets that the replicas share, and adds the
// next one when it is due. If the storage is away, what was read last stays in use.
func (m *Manager) shareTickets(ctx context.Context, v vault, now time.Time) {
	list, err := v.tickets(ctx)
	if err == nil && ticketDue(list, now) {
		list, err = m.addTicket(ctx, v, now)
	}
	if err != nil {
		if ctx.Err() == nil {
			m.opts.Log.Warn().Err(err).Msg("shared secrets of session tickets not read")
		}
		return
	}
	m.opts.Tickets(list)
}

func ticketDue(list []cert.TicketSecret, now time.Time) bool {
	return !slices.ContainsFunc(list, func(s cert.TicketSecret) bool { return now.Sub(s.From) < cert.TicketRotation-ticketsAhead })
}

// addTicket adds a secret for the time after the last one. Of several replicas one does.
func (m *Manager) addTicket(ctx context.Context, v vault, now time.Time) ([]cert.TicketSecret, error) {
	l, err := v.Lock(ctx, ticketsKey, lockLease)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Release() }() // it expires anyhow
	list, err := v.tickets(ctx)
	if err != nil || !ticketDue(list, now) {
		return list, err
	}
	from := now
	for _, s := range list {
		if next := s.From.Add(cert.TicketRotation); next.After(from) {
			from = next
		}
	}
	list = slices.DeleteFunc(list, func(s cert.TicketSecret) bool { return now.Sub(s.From) >= cert.TicketRotation+cert.TicketLife })
	list = append(list, cert.NewTicketSecret(from))
	stored := make([]sharedTicket, len(list))
	for i, s := range list {
		stored[i] = sharedTicket{s.From, v.hide(ticketsKey, s.Key[:])}
	}
	return list, v.putJSON(ctx, ticketsKey, stored)
}

func (v vault) tickets(ctx context.Context) ([]cert.TicketSecret, error) {
	var stored []sharedTicket
	if err := v.getJSON(ctx, ticketsKey, &stored); err != nil {
		return nil, fmt.Errorf("%s: %w", ticketsKey, err)
	}
	var out []cert.TicketSecret
	for _, t := range stored {
		key, _, err := v.reveal(ticketsKey, t.Key)
		if err != nil || len(key) != 32 {
			continue // sealed by a storage key that is gone: a new one comes in its place
		}
		out = append(out, cert.TicketSecret{From: t.From, Key: [32]byte(key)})
	}
	return out, nil
}
