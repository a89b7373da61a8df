package config

import (
	"sort"
	"strings"
)

// DockerSluice is what the reference's Docker provider does not have.
type DockerSluice struct {
	// Hosts are further engines by name. Each is a provider of its own, called docker.NAME.
	Hosts map[string]*DockerHost `json:"hosts,omitempty"`
}

// DockerHost is a further engine. What it does not say is as it is for the first one.
type DockerHost struct {
	// Endpoint is unix://, tcp://, http:// or ssh://.
	Endpoint string `json:"endpoint,omitempty"`
	// Username for an engine behind a proxy; those of the first engine are not used.
	Username string     `json:"username,omitempty"`
	Password string     `json:"password,omitempty" cfg:"secret"`
	TLS      *ClientTLS `json:"tls,omitempty" cfg:"empty"`
	// HTTPClientTimeout of questions to the engine.
	HTTPClientTimeout *Duration `json:"httpClientTimeout,omitempty"`
	// ExposedByDefault exposes containers without traefik.enable.
	ExposedByDefault *bool `json:"exposedByDefault,omitempty"`
	// DefaultRule of routers without a rule.
	DefaultRule *string `json:"defaultRule,omitempty"`
	// Constraints that containers must meet; an empty one lifts those of the first engine.
	Constraints *string `json:"constraints,omitempty"`
	// Network containers are reached on, unless a label names another.
	Network *string `json:"network,omitempty"`
	// UseBindPortIP reaches containers by their published address and port.
	UseBindPortIP *bool `json:"useBindPortIP,omitempty"`
	// Watch follows the engine's events.
	Watch *bool `json:"watch,omitempty"`
	// AllowEmptyServices keeps routers of unhealthy containers; they answer 503.
	AllowEmptyServices *bool `json:"allowEmptyServices,omitempty"`
}

// Further gives the further engines by the names of their providers, complete.
func (d *DockerProvider) Further() map[string]*DockerProvider {
	if d.Sluice == nil {
		return nil
	}
	out := make(map[string]*DockerProvider, len(d.Sluice.Hosts))
	for name, h := range d.Sluice.Hosts {
		if h == nil {
			h = &DockerHost{}
		}
		// Never the first engine's credentials: they would go to another machine.
		e := d.Engine
		e.Endpoint, e.Username, e.Password, e.TLS = h.Endpoint, h.Username, h.Password, h.TLS
		inherit(&e.HTTPClientTimeout, h.HTTPClientTimeout)
		inherit(&e.ExposedByDefault, h.ExposedByDefault)
		inherit(&e.DefaultRule, h.DefaultRule)
		inherit(&e.Constraints, h.Constraints)
		inherit(&e.Network, h.Network)
		inherit(&e.UseBindPortIP, h.UseBindPortIP)
		inherit(&e.Watch, h.Watch)
		inherit(&e.AllowEmptyServices, h.AllowEmptyServices)
		out["docker."+name] = &DockerProvider{Engine: e}
	}
	return out
}

// inherit replaces what is set.
func inherit[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// hosts checks the further engines. Their names become part of the names of objects.
func (c *checker) hosts(d *DockerProvider) {
	further := d.Further()
	names := make([]string, 0, len(further))
	for name := range further {
		names = append(names, name)
	}
	sort.Strings(names)
	seen := map[string]string{}
	for _, full := range names {
		name, endpoint := strings.TrimPrefix(full, "docker."), further[full].Endpoint
		field := "providers.docker.sluice.hosts." + name
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			c.add(Error, field, CodeInvalidValue, "use letters, digits, - and _", "%q is no name of a host", name)
		}
		if endpoint == "" {
			c.add(Error, field+".endpoint", CodeInvalidValue, "write --"+field+".endpoint=ssh://user@host", "the host has no endpoint")
			continue
		}
		c.engine(field+".endpoint", endpoint)
		if other := seen[endpoint]; other != "" {
			c.add(Warning, field+".endpoint", CodeConflict, "name each engine once", "host %q has the same endpoint", other)
		}
		if endpoint == d.Endpoint {
			c.add(Warning, field+".endpoint", CodeConflict, "name each engine once", "providers.docker has the same endpoint: every route is there twice")
		}
		seen[endpoint] = name
	}
}
