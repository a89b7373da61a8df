package acme

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/cert"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testpostgres"
	"github.com/sluice-edge/sluice/internal/testredis"
	"github.com/sluice-edge/sluice/store/seal"
)

// Replicas end with the same secrets whoever makes them, each makes the next in time, and
// none of them stands in storage for others to read.
func TestSessionTicketsAreShared(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(t *testing.T) string{
		"redis":    func(t *testing.T) string { return testredis.Start(t).URL },
		"postgres": func(t *testing.T) string { return testpostgres.Start(t) },
		"sealed":   func(t *testing.T) string { return "sealed:" + filepath.Join(t.TempDir(), "certs") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := &config.ACME{}
			cfg.SetDefaults()
			cfg.Storage, cfg.StorageKey, cfg.ShareSessions = address(t), config.FileOrContent(seal.Generate()), true
			var mu sync.Mutex
			got := make([][]cert.TicketSecret, 3)
			all := make([]*Manager, len(got))
			for i := range all {
				own := *cfg
				all[i] = New(t.Context(), Options{Resolvers: map[string]*config.ACME{"le": &own}, Open: openAny, Lease: lease, Log: zerolog.Nop(), Tickets: func(s []cert.TicketSecret) {
					mu.Lock()
					defer mu.Unlock()
					got[i] = s
				}})
			}
			now := time.Now()
			look := func(at time.Time) {
				t.Helper()
				var wg sync.WaitGroup
				for _, m := range all {
					wg.Go(func() { m.shareTickets(t.Context(), *m.ticketStore, at) })
				}
				wg.Wait()
				for _, m := range all {
					m.shareTickets(t.Context(), *m.ticketStore, at)
				}
			}
			same := func(n int) {
				t.Helper()
				for i, s := range got {
					if len(s) != n || !slices.EqualFunc(s, got[0], func(a, b cert.TicketSecret) bool { return a.Key == b.Key && a.From.Equal(b.From) }) {
						t.Fatalf("replica %d has %d secrets, want the same %d", i, len(s), n)
					}
				}
			}
			look(now)
			same(1)
			look(now.Add(22 * time.Hour))
			same(1)
			look(now.Add(cert.TicketRotation - ticketsAhead/2))
			same(2)
			if next := got[0][1].From; !next.Equal(got[0][0].From.Add(cert.TicketRotation)) {
				t.Errorf("the second secret begins at %s, the first at %s", next, got[0][0].From)
			}
			look(now.Add(30 * 24 * time.Hour))
			same(1) // the old ones are gone
			b, err := all[0].ticketStore.Get(t.Context(), ticketsKey)
			if err != nil || !seal.Sealed(keysOf(t, b)[0]) {
				t.Errorf("in storage: %s %v", b, err)
			}
		})
	}
}

func keysOf(t *testing.T, b []byte) (out [][]byte) {
	t.Helper()
	var list []sharedTicket
	if err := json.Unmarshal(b, &list); err != nil || len(list) == 0 {
		t.Fatalf("%s: %v", b, err)
	}
	for _, s := range list {
		out = append(out, s.Key)
	}
	return out
}

func TestSessionTicketsNeedASharedStorage(t *testing.T) {
	cfg := &config.ACME{}
	cfg.SetDefaults()
	cfg.Storage, cfg.ShareSessions = filepath.Join(t.TempDir(), "acme.json"), true
	m := New(t.Context(), Options{Resolvers: map[string]*config.ACME{"le": cfg}, Open: openAny, Log: zerolog.Nop()})
	if p := m.Problems(); len(p) != 1 || p[0].Field != "shareSessions" || p[0].Severity != config.Warning || len(m.Usable()) != 1 {
		t.Errorf("problems %v, usable %v", p, m.Usable())
	}
}
