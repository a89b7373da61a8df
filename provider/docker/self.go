package docker

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/docker/docker/client"
)

// containerID finds a container's ID in the paths of /proc: 64 hexadecimal digits.
var containerID = regexp.MustCompile(`(?:/containers/|/docker/|/docker-|libpod-)([0-9a-f]{64})`)

// ownID guesses the ID or its beginning of the container this program runs in; empty
// outside a container.
func ownID() string {
	for _, name := range []string{"/proc/self/mountinfo", "/proc/self/cgroup"} {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			// Of the mounts only the files the engine itself puts in tell: a program that
			// mounts the engine's directory sees other containers' paths.
			if strings.HasSuffix(name, "mountinfo") && !strings.Contains(line, " /etc/hostname ") && !strings.Contains(line, " /etc/hosts ") {
				continue
			}
			if m := containerID.FindStringSubmatch(line); m != nil {
				return m[1]
			}
		}
	}
	if host, err := os.Hostname(); err == nil && regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(host) {
		return host
	}
	return ""
}

// Self is the container this program runs in, as one engine sees it.
type Self struct {
	// ID is empty outside a container, or with an engine elsewhere.
	ID string
	// Networks are the IDs of its networks.
	Networks map[string]bool
	// Host reports that it uses the host's network.
	Host bool
	// Gateway leads to the host.
	Gateway string
	// Gateways are those of all its networks, and Ingress is the range of Swarm's ingress
	// network if it is in there.
	Gateways []netip.Addr
	Ingress  netip.Prefix
}

// FindSelf asks an engine for the own container, so that networks in common can be
// preferred. It gives nothing where there is none.
func FindSelf(ctx context.Context, cli *client.Client, timeout time.Duration) Self {
	id := ownID()
	if id == "" {
		return Self{}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := cli.ContainerInspect(ctx, id)
	if err != nil {
		return Self{}
	}
	c := fromInspect(&r)
	self := Self{ID: c.id, Networks: map[string]bool{}, Host: c.mode == "host"}
	for _, n := range c.networks {
		if g, err := netip.ParseAddr(n.Gateway); err == nil {
			self.Gateways = append(self.Gateways, g)
		}
		if n.ID != "" {
			self.Networks[n.ID] = true
		}
		if self.Gateway == "" {
			self.Gateway = n.Gateway
		}
	}
	if r.NetworkSettings != nil && r.NetworkSettings.Networks["ingress"] != nil {
		n := r.NetworkSettings.Networks["ingress"]
		if ip, err := netip.ParseAddr(n.IPAddress); err == nil {
			self.Ingress, _ = ip.Prefix(n.IPPrefixLen)
		}
	}
	return self
}

// hostAddress is where containers in host mode are to be reached: the engine's host for a
// further engine, the loopback address if this program shares the host's network, else the name that Docker Desktop, Podman
// or "extra_hosts" give the host, else the gateway of the own network.
func (p *Provider) hostAddress() string {
	if p.hostAddr != "" {
		return p.hostAddr
	}
	// The first engine may be asked through a proxy of this machine; a further one is elsewhere.
	if host := remoteHost(p.engine.Endpoint); host != "" && p.opts.Name != "" && p.self.ID == "" {
		p.hostAddr = host
		return host
	}
	p.hostAddr = "127.0.0.1"
	if p.self.ID == "" || p.self.Host {
		return p.hostAddr
	}
	for _, name := range []string{"host.docker.internal", "host.containers.internal"} {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		ips, err := net.DefaultResolver.LookupHost(ctx, name)
		cancel()
		if err == nil && len(ips) > 0 {
			p.hostAddr = ips[0]
			return p.hostAddr
		}
	}
	if p.self.Gateway != "" {
		p.hostAddr = p.self.Gateway
	}
	return p.hostAddr
}

// remoteHost is the machine of an engine that is reached over the network; empty for sockets, and for the loopback address.
func remoteHost(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme == "unix" || u.Scheme == "npipe" {
		return ""
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); host == "localhost" || (ip != nil && ip.IsLoopback()) {
		return ""
	}
	return host
}
