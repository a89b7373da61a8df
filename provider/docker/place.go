package docker

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider/labels"
)

// placer finds the address of one container. It implements labels.Placer.
type placer struct {
	p *Provider
	c *item
	// base is the container whose network c uses, if any.
	base *item
}

// Place chooses network and port, always the same ones for the same container.
func (l placer) Place(w labels.Where) ([]labels.Address, []config.Problem) {
	number, binding, problem := l.port(w)
	if problem != nil {
		return nil, []config.Problem{*problem}
	}
	addr := labels.Address{Port: number, Origin: "container " + l.c.name}
	if binding != nil {
		addr.Host, addr.Port = binding.ip, binding.port
		return []labels.Address{addr}, nil
	}
	host, problem := l.host(w.Network)
	var problems []config.Problem
	if problem != nil {
		problems = append(problems, *problem)
	}
	if host == "" {
		return nil, problems
	}
	addr.Host = host
	return []labels.Address{addr}, problems
}

// port is the port of the label, else the lowest exposed TCP port; for UDP the lowest
// exposed UDP port, else the lowest. The reference takes the lowest of either protocol
// for HTTP too, which never works. binding is set if the port's published address is
// to be used.
func (l placer) port(w labels.Where) (string, *binding, *config.Problem) {
	number := w.Port
	if number == "" {
		for _, p := range l.c.ports {
			if p.udp == w.UDP {
				number = strconv.Itoa(p.number)
				break
			}
		}
		if number == "" && w.UDP && len(l.c.ports) > 0 {
			number = strconv.Itoa(l.c.ports[0].number)
		}
	}
	if number == "" {
		return "", nil, l.noPort()
	}
	if l.p.engine.UseBindPortIP {
		for _, p := range l.c.ports {
			if strconv.Itoa(p.number) != number || p.udp != w.UDP {
				continue
			}
			for _, b := range p.bindings {
				if ip := net.ParseIP(b.ip); ip != nil && !ip.IsUnspecified() && b.port != "" {
					return number, &b, nil
				}
			}
		}
	}
	return number, nil, nil
}

// noPort is the Problem of a container whose port is not known.
func (l placer) noPort() *config.Problem {
	p := &config.Problem{Code: config.CodeMissingPort, Severity: config.Error,
		Text:       "no port is known: the container exposes none",
		Suggestion: "add the label traefik.http.services.NAME.loadbalancer.server.port, or EXPOSE the port"}
	if l.c.mode == "host" || strings.HasPrefix(l.c.mode, "container:") {
		p.Text = "no port is known: the engine lists none in the network of the host or of another container"
		p.Suggestion = "add the label traefik.http.services.NAME.loadbalancer.server.port"
	}
	return p
}

// host is the address of the container on the network that counts. A Problem beside an
// address is a warning.
func (l placer) host(label string) (string, *config.Problem) {
	c, wanted := l.c, []string{label, l.p.engine.Network}
	if l.base != nil {
		// The address is that of the container whose network is used; so is the label.
		c = l.base
		wanted = []string{networkLabel(c.labels), label, l.p.engine.Network}
	}
	switch {
	case strings.HasPrefix(l.c.mode, "container:") && l.base == nil:
		return "", &config.Problem{Code: config.CodeMissingIP, Severity: config.Error,
			Text: "uses the network of a container that is not there: " + strings.TrimPrefix(l.c.mode, "container:")}
	case c.mode == "host":
		return l.p.hostAddress(), nil
	case l.base != nil && !c.running:
		return "", &config.Problem{Code: config.CodeMissingIP, Severity: config.Error,
			Text: "uses the network of container " + c.name + ", which does not run"}
	}
	n, missing := ChooseNetwork(c.networks, wanted, c.labels[labels.ComposeProject], l.p.self.Networks)
	if n == nil {
		return "", &config.Problem{Code: config.CodeMissingIP, Severity: config.Error,
			Text: "has no address in any network", Suggestion: "connect it to a network that this program is in too"}
	}
	host := cmp.Or(n.IP, n.IP6)
	if missing == "" {
		return host, nil
	}
	var have []string
	for _, o := range c.networks {
		have = append(have, o.Name)
	}
	return host, &config.Problem{Code: config.CodeUnknownNetwork, Severity: config.Warning,
		Text:       fmt.Sprintf("is not in the network %q; its address in %q is used", missing, n.Name),
		Suggestion: "its networks are " + strings.Join(have, ", ") + "; with compose the name begins with the project's"}
}

// networkLabel is the network that a container's own labels ask for.
func networkLabel(l map[string]string) string {
	for k, v := range l {
		if strings.EqualFold(k, "traefik.docker.network") || strings.EqualFold(k, "sluice.docker.network") {
			return v
		}
	}
	return ""
}

// ChooseNetwork picks a network: the first wanted one that the container is in, else one that
// this program is in too, else the first by name. missing is the first wanted name that
// was not found. Names may lack the prefix that compose puts before them.
func ChooseNetwork(nets []Network, wanted []string, project string, self map[string]bool) (chosen *Network, missing string) {
	usable := slices.DeleteFunc(slices.Clone(nets), func(n Network) bool { return n.IP == "" && n.IP6 == "" })
	if len(usable) == 0 {
		return nil, ""
	}
	for _, w := range wanted {
		if w == "" {
			continue
		}
		if n := find(usable, w, project); n != nil {
			return n, missing
		}
		missing = cmp.Or(missing, w)
	}
	for i, n := range usable {
		if self[n.ID] {
			return &usable[i], missing
		}
	}
	for i, n := range usable {
		if n.Name != "ingress" { // Swarm's own: it does not lead to the container's port
			return &usable[i], missing
		}
	}
	return &usable[0], missing
}

// find looks for a network by name or ID, then by the name compose gives it, then as
// the only one that ends in it.
func find(nets []Network, name, project string) *Network {
	for i, n := range nets {
		if n.Name == name || (len(name) >= 12 && strings.HasPrefix(n.ID, name)) {
			return &nets[i]
		}
	}
	var hit *Network
	for i, n := range nets {
		if project != "" && n.Name == project+"_"+name {
			return &nets[i]
		}
		if strings.HasSuffix(n.Name, "_"+name) {
			if hit != nil {
				return nil
			}
			hit = &nets[i]
		}
	}
	return hit
}
