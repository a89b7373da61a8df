package acme

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-acme/lego/v4/challenge"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testacme"
)

// dnsWitness passes questions on to a DNS server and notes their names.
type dnsWitness struct {
	addr string
	mu   sync.Mutex
	seen []string
}

func newDNSWitness(t *testing.T, server string) *dnsWitness {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &dnsWitness{addr: pc.LocalAddr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			b := make([]byte, 4096)
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			w.mu.Lock()
			w.seen = append(w.seen, question(b[:n]))
			w.mu.Unlock()
			wg.Go(func() {
				up, err := net.Dial("udp", server)
				if err != nil {
					return
				}
				defer func() { _ = up.Close() }()
				_ = up.SetDeadline(time.Now().Add(5 * time.Second))
				_, _ = up.Write(b[:n])
				if k, err := up.Read(b); err == nil {
					_, _ = pc.WriteTo(b[:k], from)
				}
			})
		}
	})
	t.Cleanup(func() { _ = pc.Close(); wg.Wait() })
	return w
}

// question is the name that a DNS message asks for.
func question(b []byte) string {
	var labels []string
	for i := 12; i < len(b) && b[i] > 0 && i+1+int(b[i]) <= len(b); i += 1 + int(b[i]) {
		labels = append(labels, string(b[i+1:i+1+int(b[i])]))
	}
	return strings.ToLower(strings.Join(labels, "."))
}

// Each of two resolvers asks its own servers, and only them, for records and for zones,
// whichever was set up last and though both order at once. It does not run beside others:
// the servers are the process's.
func TestResolversAskTheirOwnServers(t *testing.T) {
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	cfgs, witnesses := map[string]*config.ACME{}, map[string]*dnsWitness{}
	for _, n := range []string{"one", "two"} {
		w := newDNSWitness(t, ca.DNSAddr)
		witnesses[n] = w
		cfgs[n] = resolverConfig(t, ca, func(c *config.ACME) {
			c.DNSChallenge = &config.DNSChallenge{
				Provider: "lab", Resolvers: []string{w.addr}, Propagation: &config.DNSPropagation{DisableANSChecks: true, RequireAllRNS: true},
			}
		})
	}
	e := start(t, cur, cfgs, func(*config.DNSChallenge) (challenge.Provider, error) {
		return slow{txt{ca}, 200 * time.Millisecond}, nil
	})
	var wants []Request
	for i := range 3 {
		for n := range cfgs {
			wants = append(wants, Request{Resolver: n, Domain: config.Domain{Main: fmt.Sprintf("*.%d.%s.test", i, n)}})
		}
	}
	e.Want(wants)
	for _, q := range wants {
		name := "x" + q.Domain.Main[1:]
		eventually(t, name, func() bool { return e.leaf(name) != nil })
	}
	for n, w := range witnesses {
		w.mu.Lock()
		if len(w.seen) == 0 {
			t.Errorf("the servers of %s were not asked", n)
		}
		for _, q := range w.seen {
			if !strings.HasSuffix(q, "."+n+".test") {
				t.Errorf("the servers of %s were asked for %s", n, q)
			}
		}
		w.mu.Unlock()
	}
}

func TestTurnsOfNameservers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n nameservers
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		together := 0
		run := func(ctx context.Context, servers string) {
			wg.Go(func() {
				leave, err := n.enter(ctx, strings.Fields(servers))
				if err != nil {
					mu.Lock()
					order = append(order, "gone")
					mu.Unlock()
					return
				}
				mu.Lock()
				order = append(order, servers)
				together = max(together, n.users)
				if n.now != servers {
					t.Errorf("%q are asked in place of %q", n.now, servers)
				}
				mu.Unlock()
				time.Sleep(time.Second)
				leave()
			})
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		run(t.Context(), "127.0.0.1:1")
		run(t.Context(), "127.0.0.1:1")
		run(ctx, "127.0.0.1:2")         // gives up
		run(t.Context(), "127.0.0.1:3") // after those of the first
		run(t.Context(), "127.0.0.1:1") // not before the one that waits
		wg.Wait()
		if want := []string{"127.0.0.1:1", "127.0.0.1:1", "gone", "127.0.0.1:3", "127.0.0.1:1"}; !slices.Equal(order, want) || together != 2 {
			t.Errorf("%q, %d together", order, together)
		}
		if n.users != 0 || len(n.queue) != 0 {
			t.Errorf("%d users, %d waiting at the end", n.users, len(n.queue))
		}
	})
}

func TestSystemServers(t *testing.T) {
	for text, want := range map[string]string{
		"# none\nsearch lan\n": "google-public-dns-a.google.com:53 google-public-dns-b.google.com:53",
		"search lan\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # two\noptions ndots:0\n": "192.0.2.1 2001:db8::1",
	} {
		if got := strings.Join(systemServers([]byte(text)), " "); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}
