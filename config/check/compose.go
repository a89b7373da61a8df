package check

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

// Compose adds a compose file: the router's flags if one of its services is a router,
// and the labels of all others. Several files are merged as compose does with several -f.
func (c *Checker) Compose(name string, data []byte) {
	f, err := decode.ParseCompose(name, data)
	if err != nil {
		c.addError(err)
		return
	}
	if c.compose == nil {
		c.compose = f
		return
	}
	if f.Name != "" {
		c.compose.Name = f.Name
	}
	maps.Copy(c.compose.Networks, f.Networks)
	maps.Copy(c.compose.Configs, f.Configs)
	for _, s := range f.Services {
		i := slices.IndexFunc(c.compose.Services, func(o decode.ComposeService) bool { return o.Name == s.Name })
		if i < 0 {
			c.compose.Services = append(c.compose.Services, s)
			continue
		}
		c.compose.Services[i] = override(c.compose.Services[i], s)
	}
}

// override merges a service of a later file over that of an earlier one.
func override(s, o decode.ComposeService) decode.ComposeService {
	if o.Image != "" {
		s.Image = o.Image
	}
	s.Built = s.Built || o.Built
	if o.NetworkMode != "" {
		s.NetworkMode = o.NetworkMode
	}
	if o.Command != nil {
		s.Command = o.Command
	}
	if o.Entrypoint != nil {
		s.Entrypoint = o.Entrypoint
	}
	if o.Health != nil {
		s.Health = o.Health
	}
	s.Swarm = s.Swarm || o.Swarm
	s.Labels = slices.Concat(s.Labels, o.Labels)
	s.Env = slices.Concat(s.Env, o.Env)
	s.Networks = slices.Concat(s.Networks, o.Networks)
	s.Ports = slices.Concat(s.Ports, o.Ports)
	s.Expose = slices.Concat(s.Expose, o.Expose)
	s.Volumes = slices.Concat(s.Volumes, o.Volumes)
	maps.Copy(s.Sources, o.Sources)
	return s
}

// services checks the merged compose files.
func (c *Checker) services() {
	f := c.compose
	if f == nil {
		return
	}
	edge := slices.IndexFunc(f.Services, isRouter)
	c.model.others = edge < 0
	if edge >= 0 {
		c.routerService(f.Services[edge])
	}
	for i := range f.Services {
		c.workload(f, i, edge)
	}
}

var routerImage = regexp.MustCompile(`(^|/)(traefik|sluice)(:|@|$)`)

// isRouter guesses by image and flags; the built-in whoami has the same image.
func isRouter(s decode.ComposeService) bool {
	args := flags(s)
	if len(args) > 0 && !strings.HasPrefix(args[0].Value, "-") {
		return false
	}
	for _, a := range args {
		if strings.HasPrefix(strings.ToLower(strings.TrimLeft(a.Value, "-")), "providers.") {
			return true
		}
	}
	return routerImage.MatchString(s.Image)
}

// flags are the words of a service's command without the program's name, which may stand in
// front of them as in the reference's image.
func flags(s decode.ComposeService) []decode.ComposeValue {
	all := slices.Concat(s.Entrypoint, s.Command)
	if len(all) > 0 {
		switch path.Base(all[0].Value) {
		case "traefik", "sluice":
			all = all[1:]
		}
	}
	if len(all) > 0 && all[0].Value == "run" {
		all = all[1:]
	}
	return all
}

func (c *Checker) routerService(s decode.ComposeService) {
	c.health(s)
	if c.ownFile(s) {
		c.settled(s)
		return
	}
	where := map[string]string{}
	var args, env []string
	for _, a := range flags(s) {
		c.unset = nil
		v := c.interpolate(a.Value)
		args = append(args, v)
		key, _, _ := strings.Cut(v, "=")
		where["flag --"+strings.TrimLeft(key, "-")] = a.Where
		_, written, _ := strings.Cut(a.Value, "=")
		c.guessAt(a.Where, written)
	}
	for _, e := range s.Env {
		c.unset = nil
		env = append(env, e.Key+"="+c.interpolate(e.Value))
		c.guessAt(e.Where, e.Value)
		where["environment "+e.Key] = e.Where
	}
	at := func(source string) string {
		if w := where[source]; w != "" {
			return w
		}
		return s.Where
	}
	nothing := func(string) ([]byte, error) { return nil, fs.ErrNotExist }
	st, src, err := decode.Static(args, env, nothing)
	if err != nil {
		if e := (*decode.Error)(nil); errors.As(err, &e) {
			for _, p := range e.Problems {
				c.add(at(p.Source), p)
			}
		}
		return
	}
	for _, p := range src.Warnings {
		c.add(at(p.Source), p)
	}
	if len(src.Used) == 0 && c.model.static != nil {
		c.settled(s)
		return
	}
	c.model.static = st
	c.model.staticAt = func(key string) string { return at(nearestPlace(src.Values, key, "")) }
	c.settled(s)
}

// shellTools are programs that health checks of the reference's image use, which has a shell.
var shellTools = regexp.MustCompile(`^(CMD-SHELL|.*\b(wget|curl|nc|sh|ash|bash)\b.*)$`)

// health finds health checks that need a program which the image has not.
func (c *Checker) health(s decode.ComposeService) {
	if len(s.Health) == 0 || s.Built || overlay(s) {
		return
	}
	first := s.Health[0].Value
	alone := first != "CMD" && first != "CMD-SHELL" && first != "NONE" // a text is run by a shell
	if !alone && !slices.ContainsFunc(s.Health[:min(2, len(s.Health))], func(v decode.ComposeValue) bool { return shellTools.MatchString(v.Value) }) {
		return
	}
	c.add(s.Health[0].Where, config.Problem{Source: "service " + s.Name, Object: "service " + s.Name, Field: "healthcheck.test", Code: config.CodeUnsupported,
		Severity: config.Warning, Text: "the image has no shell and no programs of its own, so this health check fails there",
		Suggestion: `write test: ["CMD", "sluice", "healthcheck"] and switch --ping on`})
}

// overlay reports whether a service can only be a part of one that another file defines, so
// that what is missing may stand there.
func overlay(s decode.ComposeService) bool { return s.Image == "" && !s.Built }

// workload checks a service's labels.
func (c *Checker) workload(f *decode.Compose, i, edge int) {
	s := f.Services[i]
	labels, where := map[string]string{}, map[string]string{}
	for _, l := range s.Labels {
		c.dollars(s, l)
		key := l.Key
		if l.Listed {
			key = c.interpolate(key)
		}
		c.unset = nil
		labels[key], where[key] = c.interpolate(l.Value), l.Where
		if k := strings.ToLower(key); len(c.unset) > 0 && (k == "traefik.enable" || k == "sluice.enable") {
			labels[key] = "true" // so that the others are judged
		}
		c.guessAt(l.Where, l.Value)
		if parts := strings.Split(key, "."); len(c.unset) > 0 && len(parts) > 4 {
			c.model.guessed[parts[3]+"@docker"], c.model.guessed[parts[3]+"@swarm"] = true, true
		}
	}
	source := "service " + s.Name
	dyn, extra, places, problems := decode.TraceLabels(labels, source)
	for _, p := range problems {
		w := where[p.Field]
		if w == "" {
			w = s.Where
		}
		c.add(w, p)
	}
	enabled := c.exposed(s)
	if extra.Enable != nil {
		enabled = *extra.Enable
	}
	mentioned := len(places) > 0
	if !enabled {
		if mentioned && extra.Enable == nil && !overlay(s) {
			c.add(s.Where, config.Problem{Source: source, Object: source, Code: config.CodeInvalidValue, Severity: config.Warning,
				Text: "has labels for routing, and is not exposed", Suggestion: "add traefik.enable=true"})
		}
		return
	}
	provider := "docker"
	if s.Swarm {
		provider = "swarm"
	}
	at := func(key string) string {
		if w := where[nearestPlace(places, key, "")]; w != "" {
			return w
		}
		return s.Where
	}
	c.defaults(f, s, dyn, at)
	c.model.add(c, provider, dyn, at)
	if mentioned || extra.Enable != nil {
		c.networks(f, s, extra, where, edge)
		if i != edge { // the router's own ports are no service
			c.port(s, dyn, provider, source)
		}
	}
}

// exposed reports whether the service's provider takes what has no label about it.
func (c *Checker) exposed(s decode.ComposeService) bool {
	if c.model.static == nil || c.model.static.Providers == nil {
		return true
	}
	switch p := c.model.static.Providers; {
	case s.Swarm && p.Swarm != nil:
		return p.Swarm.ExposedByDefault
	case !s.Swarm && p.Docker != nil:
		return p.Docker.ExposedByDefault
	}
	return true
}

// defaults adds the service that the provider makes for a container without one.
func (c *Checker) defaults(f *decode.Compose, s decode.ComposeService, dyn *config.Dynamic, at func(string) string) {
	if dyn.HTTP == nil || len(dyn.HTTP.Routers) == 0 {
		return
	}
	names := sortedKeys(dyn.HTTP.Services)
	for _, n := range sortedKeys(dyn.HTTP.Routers) {
		r := dyn.HTTP.Routers[n]
		if r.Service == "" && len(names) > 1 {
			c.add(at("http.routers."+n), config.Problem{Source: "service " + s.Name, Object: "router " + n, Field: "http.routers." + n, Code: config.CodeAmbiguousService,
				Text: "the container has several services and the router names none", Suggestion: "add service=" + strings.Join(names, " or "), Severity: config.Error})
		}
	}
	if len(names) == 0 {
		if dyn.HTTP.Services == nil {
			dyn.HTTP.Services = map[string]*config.Service{}
		}
		project := c.interpolate(f.Name)
		if project == "" {
			project = "project"
			c.model.automatic[s.Name] = true
		}
		dyn.HTTP.Services[s.Name+"-"+project] = &config.Service{LoadBalancer: &config.LoadBalancer{Servers: []config.Server{{}}}}
	}
}

func (c *Checker) networks(f *decode.Compose, s decode.ComposeService, extra decode.Extra, where map[string]string, edge int) {
	mine := nets(s)
	source := "service " + s.Name
	wanted, label := extra.Docker.Network, "traefik.docker.network"
	if extra.Swarm.Network != "" {
		wanted, label = extra.Swarm.Network, "traefik.swarm.network"
	}
	if wanted != "" {
		w := s.Where
		for k, place := range where {
			if strings.HasSuffix(strings.ToLower(k), label[len("traefik"):]) {
				w = place
			}
		}
		ok := false
		for _, n := range mine {
			real := c.interpolate(f.Networks[n])
			ok = ok || wanted == n || wanted == real || strings.HasSuffix(wanted, "_"+n)
		}
		if !ok {
			c.add(w, config.Problem{Source: source, Object: source, Field: label, Code: config.CodeUnknownNetwork, Severity: config.Error,
				Text: fmt.Sprintf("the service is not in the network %q", wanted), Suggestion: "it is in " + strings.Join(mine, ", ")})
		}
	}
	if edge < 0 || f.Services[edge].Name == s.Name {
		return
	}
	router := f.Services[edge]
	if router.NetworkMode != "" || s.NetworkMode != "" {
		return
	}
	for _, n := range nets(router) {
		if slices.Contains(mine, n) {
			return
		}
	}
	c.add(s.Where, config.Problem{Source: source, Object: source, Code: CodeNetwork, Severity: config.Error,
		Text:       fmt.Sprintf("shares no network with the router %q", router.Name),
		Suggestion: "add it to one of " + strings.Join(nets(router), ", ")})
}

func nets(s decode.ComposeService) []string {
	if len(s.Networks) == 0 {
		return []string{"default"}
	}
	out := make([]string, len(s.Networks))
	for i, n := range s.Networks {
		out[i] = n.Value
	}
	return out
}

// port warns where the provider has to guess the port, or cannot.
func (c *Checker) port(s decode.ComposeService, dyn *config.Dynamic, provider, source string) {
	if dyn.HTTP == nil {
		return
	}
	for _, n := range sortedKeys(dyn.HTTP.Services) {
		lb := dyn.HTTP.Services[n].LoadBalancer
		if lb == nil || len(lb.Servers) > 0 && (lb.Servers[0].Port != "" || lb.Servers[0].URL != "") {
			continue
		}
		onlyInternal := len(dyn.HTTP.Routers) > 0
		for _, r := range dyn.HTTP.Routers {
			onlyInternal = onlyInternal && strings.Contains(r.Service, "@")
		}
		if onlyInternal {
			continue
		}
		seen := append(slices.Clone(s.Expose), s.Ports...)
		p := config.Problem{Source: source, Object: source, Code: config.CodeMissingPort, Severity: config.Warning,
			Suggestion: "add traefik.http.services." + s.Name + ".loadbalancer.server.port"}
		switch {
		case provider == "swarm":
			p.Severity, p.Text = config.Error, "Swarm does not tell the port of a service"
		case len(seen) == 0:
			p.Text = "the port is known only if the image exposes one"
		case len(seen) > 1:
			p.Text = "exposes several ports; the lowest is taken: " + strings.Join(seen, ", ")
		default:
			continue
		}
		c.add(s.Where, p)
	}
}
