package docker

import (
	"context"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
)

const (
	// peersEvery is how often the kernel's table of connections is looked at, peersRounds how
	// many times: what has not shown by then is left alone.
	peersEvery  = 10 * time.Second
	peersRounds = 360
	// peersEnough is how many connections must have been seen before anything is said.
	peersEnough = 50
	// peersTable bounds what is read of the table, in bytes: some 10,000 connections.
	peersTable = 2 << 20
)

// peers counts the connections to this process's container by where they seem to come from.
type peers struct {
	seen             map[netip.AddrPort]bool
	gateway, ingress int
}

// watchPeers tells notice once if nearly all clients arrive with the address of the bridge's gateway
// or of the ingress network, so that rules on addresses cannot work. It samples the kernel's
// table of connections, which costs requests nothing, and returns when it has told, when
// there was time enough, or when ctx ends. Outside a container that e knows it does nothing.
func watchPeers(ctx context.Context, e *config.Engine, notice func(config.Problem)) {
	if notice == nil || ownID() == "" {
		return
	}
	var self Self
	p := peers{seen: map[netip.AddrPort]bool{}}
	tick := time.NewTicker(peersEvery)
	defer tick.Stop()
	for round := range peersRounds {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if self.ID == "" {
			self = askSelf(ctx, e)
			if self.Host || (self.ID == "" && round > 5) {
				return // addresses are true there; or this is the engine of another machine
			}
		}
		for _, name := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
			if data, err := os.ReadFile(name); err == nil {
				p.add(inbound(string(data[:min(len(data), peersTable)])), self)
			}
		}
		if text, fix := p.verdict(); text != "" {
			notice(config.Problem{Source: "clients", Code: config.CodeLostAddress, Severity: config.Warning, Text: text, Suggestion: fix})
			return
		}
	}
}

func askSelf(ctx context.Context, e *config.Engine) Self {
	cli, _, err := NewClient(e)
	if err != nil {
		return Self{}
	}
	defer func() { _ = cli.Close() }()
	return FindSelf(ctx, cli, dialTimeout)
}

// add counts connections that were not seen before.
func (p *peers) add(found []netip.AddrPort, self Self) {
	for _, a := range found {
		if p.seen[a] || a.Addr().IsLoopback() || len(p.seen) >= 20*peersEnough {
			continue
		}
		p.seen[a] = true
		switch {
		case slices.Contains(self.Gateways, a.Addr()):
			p.gateway++
		case self.Ingress.IsValid() && self.Ingress.Contains(a.Addr()):
			p.ingress++
		}
	}
}

// verdict says what is wrong and what to change, once 19 of 20 connections show it.
func (p *peers) verdict() (text, fix string) {
	if n := len(p.seen); n < peersEnough || (p.gateway+p.ingress)*20 < n*19 {
		return "", ""
	}
	if p.ingress > p.gateway {
		return "clients arrive with addresses of Swarm's ingress network: their own are lost, and ipAllowList and rateLimit take all for one",
			"publish the ports of the router's service with mode host: ports: [{target: 80, published: 80, mode: host}, {target: 443, published: 443, mode: host}]"
	}
	return "clients arrive with the address of the bridge's gateway: their own are lost, and ipAllowList and rateLimit take all for one",
		"if they are not all on this machine: write network_mode: host for the router and remove its ports and networks; or, if they come by IPv6, enable_ipv6: true for its network"
}

// inbound reads a table in the form of /proc/net/tcp and gives the far ends of the connections
// that were accepted: those to a port that is listened on.
func inbound(table string) []netip.AddrPort {
	type line struct{ local, far netip.AddrPort }
	var open []line
	listening := map[uint16]bool{}
	for text := range strings.Lines(table) {
		f := strings.Fields(text)
		if len(f) < 4 {
			continue
		}
		local, ok1 := kernelAddr(f[1])
		far, ok2 := kernelAddr(f[2])
		switch {
		case !ok1 || !ok2:
		case f[3] == "0A": // listening
			listening[local.Port()] = true
		case f[3] == "01" || f[3] == "06": // established, or closed just now
			open = append(open, line{local, far})
		}
	}
	var out []netip.AddrPort
	for _, l := range open {
		if listening[l.local.Port()] {
			out = append(out, l.far)
		}
	}
	return out
}

// kernelAddr reads an address such as 0100007F:0050: words of four bytes in the order of a
// little-endian machine, then the port.
func kernelAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || perr != nil {
		return netip.AddrPort{}, false
	}
	for i := 0; i+4 <= len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	a, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok
}
