package provider

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// qualify returns c with "@name" behind every object's name. was and done are the
// provider's configuration before and what qualify made of it: a map that holds the
// same objects as before is taken over.
func qualify(c, was, done *config.Dynamic, name string) *config.Dynamic {
	if was == nil || done == nil {
		was, done = &config.Dynamic{}, &config.Dynamic{}
	}
	ch, wh, ct, wt, cu, wu := parts(c, was)
	dh, _, dt, _, du, _ := parts(done, done)
	out := &config.Dynamic{
		HTTP: &config.HTTP{
			Routers:           qualifyMap(ch.Routers, wh.Routers, dh.Routers, name),
			Services:          qualifyMap(ch.Services, wh.Services, dh.Services, name),
			Middlewares:       qualifyMap(ch.Middlewares, wh.Middlewares, dh.Middlewares, name),
			ServersTransports: qualifyMap(ch.ServersTransports, wh.ServersTransports, dh.ServersTransports, name),
		},
		TCP: &config.TCP{
			Routers:           qualifyMap(ct.Routers, wt.Routers, dt.Routers, name),
			Services:          qualifyMap(ct.Services, wt.Services, dt.Services, name),
			Middlewares:       qualifyMap(ct.Middlewares, wt.Middlewares, dt.Middlewares, name),
			ServersTransports: qualifyMap(ct.ServersTransports, wt.ServersTransports, dt.ServersTransports, name),
		},
		UDP: &config.UDP{
			Routers:  qualifyMap(cu.Routers, wu.Routers, du.Routers, name),
			Services: qualifyMap(cu.Services, wu.Services, du.Services, name),
		},
	}
	if c.TLS != nil {
		out.TLS = &config.TLS{Certificates: c.TLS.Certificates, Stores: c.TLS.Stores,
			Options: make(map[string]*config.TLSOptions, len(c.TLS.Options))}
		for k, o := range c.TLS.Options {
			out.TLS.Options[qualifiedOption(k, name)] = o
		}
	}
	return out
}

// qualifiedOption leaves the options "default" without a provider: they apply wherever
// none are named, whoever defines them.
func qualifiedOption(name, provider string) string {
	if name == "default" {
		return name
	}
	return qualified(name, provider)
}

func qualified(name, provider string) string {
	if strings.HasSuffix(name, "@"+provider) {
		return name // the user wrote the suffix in the name
	}
	return name + "@" + provider
}

// qualifyMap is incremental: names are joined only for objects that changed.
func qualifyMap[T any](in, was, done map[string]*T, provider string) map[string]*T {
	if isSame(in, was) && done != nil {
		return done
	}
	if len(was) == 0 || len(was) != len(done) {
		out := make(map[string]*T, len(in))
		for k, v := range in {
			if v != nil {
				out[qualified(k, provider)] = v
			}
		}
		return out
	}
	var out map[string]*T // a copy of done, once there is a difference
	own := func() map[string]*T {
		if out == nil {
			out = maps.Clone(done)
		}
		return out
	}
	same := 0
	for k, v := range in {
		w, known := was[k]
		switch {
		case known && w == v:
			same++
		case v == nil:
			delete(own(), qualified(k, provider))
		default:
			own()[qualified(k, provider)] = v
		}
	}
	if same < len(was) {
		for k := range was {
			if _, still := in[k]; !still {
				delete(own(), qualified(k, provider))
			}
		}
	}
	if out == nil {
		return done
	}
	return out
}

// join puts the states of all providers into one configuration. Names cannot collide,
// but for the TLS options and store "default".
func join(states []state) (*config.Dynamic, []config.Problem) {
	out := &config.Dynamic{HTTP: &config.HTTP{}, TCP: &config.TCP{}, UDP: &config.UDP{}, TLS: &config.TLS{}}
	var problems []config.Problem
	options, stores := map[string]string{}, map[string]string{} // who defines the shared ones
	// What labels say is the word of a container's owner: it comes after that of files.
	states = slices.SortedStableFunc(slices.Values(states), func(a, b state) int { return cmp.Compare(fromLabels(a.name), fromLabels(b.name)) })
	for _, s := range states {
		c := s.config
		if c == nil {
			continue
		}
		joinMap(&out.HTTP.Routers, c.HTTP.Routers)
		joinMap(&out.HTTP.Services, c.HTTP.Services)
		joinMap(&out.HTTP.Middlewares, c.HTTP.Middlewares)
		joinMap(&out.HTTP.ServersTransports, c.HTTP.ServersTransports)
		joinMap(&out.TCP.Routers, c.TCP.Routers)
		joinMap(&out.TCP.Services, c.TCP.Services)
		joinMap(&out.TCP.Middlewares, c.TCP.Middlewares)
		joinMap(&out.TCP.ServersTransports, c.TCP.ServersTransports)
		joinMap(&out.UDP.Routers, c.UDP.Routers)
		joinMap(&out.UDP.Services, c.UDP.Services)
		if c.TLS == nil {
			continue
		}
		out.TLS.Certificates = append(out.TLS.Certificates, c.TLS.Certificates...)
		problems = append(problems, joinShared(&out.TLS.Options, c.TLS.Options, options, s.name, "tls options")...)
		problems = append(problems, joinShared(&out.TLS.Stores, c.TLS.Stores, stores, s.name, "tls store")...)
	}
	return out, problems
}

// fromLabels is 1 for the providers that read labels.
func fromLabels(provider string) int {
	if provider == "docker" || provider == "swarm" {
		return 1
	}
	return 0
}

// joinMap adds what in holds. A single provider's map is taken as it is: both are immutable.
func joinMap[T any](out *map[string]*T, in map[string]*T) {
	switch {
	case len(in) == 0:
	case len(*out) == 0:
		*out = in
	default:
		all := make(map[string]*T, len(*out)+len(in))
		maps.Copy(all, *out)
		maps.Copy(all, in)
		*out = all
	}
}

// joinShared adds objects that providers may define with one name; the first provider
// wins, so that one does not switch off the TLS of the others,
// and the other is reported.
func joinShared[T any](out *map[string]*T, in map[string]*T, owner map[string]string, provider, kind string) []config.Problem {
	var problems []config.Problem
	all := maps.Clone(*out)
	if all == nil {
		all = make(map[string]*T, len(in))
	}
	for _, k := range slices.Sorted(maps.Keys(in)) {
		if in[k] == nil {
			continue
		}
		if first, ok := owner[k]; ok {
			problems = append(problems, config.Problem{
				Source: "provider " + provider, Provider: provider, Object: kind + " " + k,
				Code: config.CodeConflict, Severity: config.Error,
				Text:       "defined by the providers " + first + " and " + provider + "; that of " + first + " is used",
				Suggestion: "define it in one place",
			})
			continue
		}
		owner[k] = provider
		all[k] = in[k]
	}
	*out = all
	return problems
}
