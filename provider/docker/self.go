package docker

import (
	"context"
	"net"
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

// findSelf inspects the own container, so that networks in common are preferred. It
// reports whether the set of networks changed. Outside a container, or with an engine
// elsewhere, there is none.
func (p *Provider) findSelf(ctx context.Context, cli *client.Client) bool {
	if p.ownID == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout())
	defer cancel()
	r, err := cli.ContainerInspect(ctx, p.ownID)
	if err != nil {
		p.log.Debug().Err(err).Msg("own container not found at this engine")
		return false
	}
	c := fromInspect(&r)
	self := map[string]bool{}
	p.selfGateway, p.selfHost = "", c.mode == "host"
	for _, n := range c.networks {
		if n.id != "" {
			self[n.id] = true
		}
		if p.selfGateway == "" {
			p.selfGateway = n.gateway
		}
	}
	p.ownID = c.id
	changed := len(self) != len(p.self)
	for id := range self {
		changed = changed || !p.self[id]
	}
	p.self = self
	return changed
}

// hostAddress is where containers in host mode are to be reached: the loopback address
// if this program shares the host's network, else the name that Docker Desktop, Podman
// or "extra_hosts" give the host, else the gateway of the own network.
func (p *Provider) hostAddress() string {
	if p.hostAddr != "" {
		return p.hostAddr
	}
	p.hostAddr = "127.0.0.1"
	if p.ownID == "" || p.selfHost {
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
	if p.selfGateway != "" {
		p.hostAddr = p.selfGateway
	}
	return p.hostAddr
}
