package swarm

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/swarm"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider/docker"
	"github.com/sluice-edge/sluice/provider/labels"
)

// stackNamespace is the label by which a stack names its services.
const stackNamespace = "com.docker.stack.namespace"

// placer finds the addresses of one service. It implements labels.Placer.
type placer struct {
	p *Provider
	s *service
}

// Place gives an address for each task, or the virtual one.
func (l placer) Place(w labels.Where) ([]labels.Address, []config.Problem) {
	if w.Port == "" {
		return nil, []config.Problem{{Code: config.CodeMissingPort, Severity: config.Error,
			Text:       "no port is known: Swarm does not tell what a service exposes",
			Suggestion: "add the label traefik.http.services.NAME.loadbalancer.server.port below deploy.labels"}}
	}
	if w.VIP {
		return l.virtual(w)
	}
	var live, leaving []labels.Address
	var problems []config.Problem
	for _, t := range l.s.tasks {
		a, problem := l.task(t, w)
		if problem != nil && !slices.Contains(problems, *problem) {
			problems = append(problems, *problem)
		}
		switch {
		case a.Host == "":
		case t.leaving:
			leaving = append(leaving, a)
		default:
			live = append(live, a)
		}
	}
	if len(live) > 0 {
		return live, problems
	}
	return leaving, problems
}

// virtual is the virtual address, in the network that counts.
func (l placer) virtual(w labels.Where) ([]labels.Address, []config.Problem) {
	var nets []docker.Network
	for _, v := range l.s.Endpoint.VirtualIPs {
		n := docker.Network{ID: v.NetworkID, Name: cmp.Or(l.p.networks[v.NetworkID], v.NetworkID)}
		n.IP, n.IP6 = pick(v.Addr, "", "")
		nets = append(nets, n)
	}
	slices.SortFunc(nets, func(a, b docker.Network) int { return cmp.Compare(a.Name, b.Name) })
	n, problem := l.network(nets, w)
	if n == nil {
		text := "has no virtual address"
		if l.s.Endpoint.Spec.Mode == swarm.ResolutionModeDNSRR {
			text += ": its endpoint mode is dnsrr"
		}
		return nil, []config.Problem{{Code: config.CodeMissingIP, Severity: config.Error, Text: text,
			Suggestion: "remove the label lbswarm, so that its tasks are used"}}
	}
	var problems []config.Problem
	if problem != nil {
		problems = append(problems, *problem)
	}
	return []labels.Address{{Host: cmp.Or(n.IP, n.IP6), Port: w.Port, Origin: "service " + l.s.Spec.Name}}, problems
}

// task is the address of one task. A Problem beside an address is a warning.
func (l placer) task(t task, w labels.Where) (labels.Address, *config.Problem) {
	a := labels.Address{Port: w.Port, Started: t.started, Fresh: t.fresh, Fenced: t.leaving, Origin: "task " + l.s.Spec.Name + "." + t.name}
	if t.host {
		if t.node == "" {
			return labels.Address{}, &config.Problem{Code: config.CodeMissingIP, Severity: config.Error, Text: "the address of its node is not known"}
		}
		a.Host = t.node
		return a, nil
	}
	if l.p.cfg.UseBindPortIP && t.node != "" {
		for _, port := range t.ports {
			if port.PublishMode == swarm.PortConfigPublishModeHost && strconv.Itoa(int(port.TargetPort)) == w.Port &&
				(port.Protocol == swarm.PortConfigProtocolUDP) == w.UDP && port.PublishedPort != 0 {
				a.Host, a.Port = t.node, strconv.Itoa(int(port.PublishedPort))
				return a, nil
			}
		}
	}
	n, problem := l.network(t.networks, w)
	if n == nil {
		return labels.Address{}, &config.Problem{Code: config.CodeMissingIP, Severity: config.Error,
			Text: "has a task without an address in any network", Suggestion: "connect the service to an overlay network that this program is in too"}
	}
	a.Host = cmp.Or(n.IP, n.IP6)
	return a, problem
}

// network picks the network that counts, never the one of the ingress.
func (l placer) network(nets []docker.Network, w labels.Where) (*docker.Network, *config.Problem) {
	nets = slices.DeleteFunc(slices.Clone(nets), func(n docker.Network) bool { return n.Name == "ingress" })
	n, missing := docker.ChooseNetwork(nets, []string{w.Network, l.p.cfg.Network}, l.s.Spec.Labels[stackNamespace], l.p.self.Networks)
	if n == nil || missing == "" {
		return n, nil
	}
	var have []string
	for _, o := range nets {
		have = append(have, o.Name)
	}
	return n, &config.Problem{Code: config.CodeUnknownNetwork, Severity: config.Warning,
		Text:       fmt.Sprintf("is not in the network %q; its address in %q is used", missing, n.Name),
		Suggestion: "its networks are " + strings.Join(have, ", ") + "; in a stack the name begins with the stack's"}
}

// pick reads an address with or without a prefix length, and puts it where it belongs.
func pick(addr, ip4, ip6 string) (string, string) {
	host, _, _ := strings.Cut(addr, "/")
	a, err := netip.ParseAddr(host)
	switch {
	case err != nil || a.IsUnspecified():
		return ip4, ip6
	case a.Is4() || a.Is4In6():
		return cmp.Or(ip4, a.Unmap().String()), ip6
	}
	return ip4, cmp.Or(ip6, a.String())
}
