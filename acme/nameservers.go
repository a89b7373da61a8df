package acme

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/go-acme/lego/v4/challenge/dns01"
)

// nameservers lets resolvers with a dnsChallenge.resolvers of their own work beside each
// other. lego keeps the servers in one variable of the process, which it and its providers
// read at many places of an order. So orders that ask the same servers run together, and
// those that ask others wait until these have ended: in turn, so that nobody waits for ever.
// The zero value is ready to use.
type nameservers struct {
	mu    sync.Mutex
	now   string // the servers in force; "" are the system's
	users int    // orders under way
	queue []*turn
}

// turn is an order that waits for its servers.
type turn struct {
	servers string
	ready   chan struct{}
}

// enter waits until the servers are those that lego asks, and keeps them until leave.
func (n *nameservers) enter(ctx context.Context, servers []string) (leave func(), err error) {
	t := &turn{strings.Join(servers, " "), make(chan struct{})}
	n.mu.Lock()
	n.queue = append(n.queue, t)
	n.admit()
	n.mu.Unlock()
	select {
	case <-t.ready:
		return n.leave, nil
	case <-ctx.Done():
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.Index(n.queue, t); i >= 0 {
		n.queue = slices.Delete(n.queue, i, i+1)
	} else {
		n.users-- // its turn came at this moment
	}
	n.admit()
	return nil, ctx.Err()
}

func (n *nameservers) leave() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.users--
	n.admit()
}

// admit begins the turns that can be. The caller holds n.mu.
func (n *nameservers) admit() {
	for len(n.queue) > 0 {
		t := n.queue[0]
		if t.servers != n.now {
			if n.users > 0 {
				return
			}
			ask(strings.Fields(t.servers))
			n.now = t.servers
		}
		n.queue = n.queue[1:]
		n.users++
		close(t.ready)
	}
}

// ask makes lego ask these servers, none meaning the system's. Zones that the others told
// are forgotten: each may see zones of its own.
func ask(servers []string) {
	if len(servers) == 0 {
		b, _ := os.ReadFile("/etc/resolv.conf") // without it there are the public ones
		servers = systemServers(b)
	}
	_ = dns01.AddRecursiveNameservers(servers)(nil) // it looks at no challenge, and cannot fail
	dns01.ClearFqdnCache()
}

// systemServers reads the servers of a resolv.conf; without any they are those that lego
// takes then.
func systemServers(conf []byte) (out []string) {
	lines := bufio.NewScanner(bytes.NewReader(conf))
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) > 1 && f[0] == "nameserver" {
			out = append(out, f[1])
		}
	}
	if len(out) == 0 {
		return []string{"google-public-dns-a.google.com:53", "google-public-dns-b.google.com:53"}
	}
	return out
}

// askOwnServers makes lego ask the resolver's servers until leave, where its orders may
// prove names by DNS.
func (r *resolver) askOwnServers(ctx context.Context) (leave func(), err error) {
	if !r.provesWildcards() {
		return func() {}, nil
	}
	return r.dnsServers.enter(ctx, r.cfg.DNSChallenge.Resolvers)
}
