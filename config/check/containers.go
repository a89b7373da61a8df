package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

// Container is a running container as the engine tells of it.
type Container struct {
	Name     string
	Image    string
	Labels   map[string]string
	Networks []string
	// Ports the container exposes by TCP.
	Ports []int
	// Router reports that it is the router itself.
	Router bool
}

// Containers checks the labels of running containers, one engine's.
func (c *Checker) Containers(list []Container) {
	edge := slices.IndexFunc(list, func(x Container) bool { return x.Router })
	for i, x := range list {
		source := "container " + x.Name
		dyn, extra, _, problems := decode.TraceLabels(x.Labels, source)
		for _, p := range problems {
			c.add("", p)
		}
		routed := dyn.HTTP != nil && len(dyn.HTTP.Routers) > 0
		if extra.Enable != nil && !*extra.Enable || extra.Enable == nil && !routed {
			continue
		}
		at := func(string) string { return source }
		s := decode.ComposeService{Name: x.Name, Where: source}
		c.defaults(&decode.Compose{}, s, dyn, at)
		c.model.add(c, "docker", dyn, at)
		c.containerNetwork(list, i, edge, extra, source)
		c.containerPort(x, dyn, source)
	}
}

func (c *Checker) containerNetwork(list []Container, i, edge int, extra decode.Extra, source string) {
	x := list[i]
	if n := extra.Docker.Network; n != "" && !slices.Contains(x.Networks, n) {
		c.add(source, config.Problem{Source: source, Object: source, Field: "traefik.docker.network", Code: config.CodeUnknownNetwork, Severity: config.Error,
			Text: fmt.Sprintf("the container is not in the network %q", n), Suggestion: "it is in " + strings.Join(x.Networks, ", ")})
	}
	if edge < 0 || edge == i || slices.Contains(list[edge].Networks, "host") || slices.Contains(x.Networks, "host") {
		return
	}
	for _, n := range list[edge].Networks {
		if slices.Contains(x.Networks, n) {
			return
		}
	}
	c.add(source, config.Problem{Source: source, Object: source, Code: CodeNetwork, Severity: config.Error,
		Text:       fmt.Sprintf("shares no network with the router %q", list[edge].Name),
		Suggestion: "connect it to one of " + strings.Join(list[edge].Networks, ", ")})
}

func (c *Checker) containerPort(x Container, dyn *config.Dynamic, source string) {
	if dyn.HTTP == nil {
		return
	}
	for _, n := range sortedKeys(dyn.HTTP.Services) {
		lb := dyn.HTTP.Services[n].LoadBalancer
		if lb == nil {
			continue
		}
		want := ""
		if len(lb.Servers) > 0 {
			if lb.Servers[0].URL != "" {
				continue
			}
			want = lb.Servers[0].Port
		}
		p := config.Problem{Source: source, Object: "service " + n, Code: config.CodeMissingPort,
			Suggestion: "add traefik.http.services." + n + ".loadbalancer.server.port"}
		port, err := strconv.Atoi(want)
		switch {
		case want != "" && (err != nil || port < 1 || port > 65535):
			p.Severity, p.Code, p.Text, p.Suggestion = config.Error, config.CodeInvalidValue, fmt.Sprintf("%q is no port", want), ""
		case want == "" && len(x.Ports) == 0:
			p.Severity, p.Text = config.Error, "the container exposes no port"
		case want == "" && len(x.Ports) > 1:
			p.Severity, p.Text = config.Warning, fmt.Sprintf("the container exposes several ports; the lowest of %v is taken", x.Ports)
		default:
			continue
		}
		c.add(source, p)
	}
}
