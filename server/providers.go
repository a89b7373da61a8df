package server

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/provider/docker"
	"github.com/sluice-edge/sluice/provider/file"
	"github.com/sluice-edge/sluice/provider/http"
	"github.com/sluice-edge/sluice/provider/rest"
	"github.com/sluice-edge/sluice/provider/swarm"
)

// Render gives what a file of the file provider becomes as a template, with env for the
// environment of the process that will read it.
func Render(name string, data []byte, env func(name string) string) ([]byte, *config.Problem) {
	return file.Preview(name, data, env)
}

func (s *Server) newProviders() {
	throttle := time.Duration(-1)
	if p := s.static.Load().Providers; p != nil {
		throttle = time.Duration(p.ProvidersThrottleDuration)
	}
	s.providers = provider.NewManager(provider.Options{Log: s.component("providers"), Throttle: throttle}, s.makeProviders()...)
}

// madeProvider is a provider and what it was made of.
type madeProvider struct {
	provider.Provider
	key string
}

// makeProviders makes the providers of the static configuration. One that is made of the
// same settings as before is the same.
func (s *Server) makeProviders() []provider.Provider {
	var out []provider.Provider
	made := map[string]madeProvider{}
	add := func(name string, settings any, build func() provider.Provider) {
		key, _ := json.Marshal(settings) //nolint:errchkjson // structs of the configuration
		m, ok := s.made[name]
		if !ok || m.key != string(key) {
			m = madeProvider{build(), string(key)}
		}
		made[name] = m
		out = append(out, m.Provider)
	}
	builtIn := internalConfig(s.static.Load())
	add(internalName, builtIn, func() provider.Provider { return &internalProvider{builtIn} })
	compat, hold, ready := s.sluice().Compat404, s.sluice().HoldTime(), cmp.Or(s.sluice().Ready, config.ReadyTCP)
	if p := s.static.Load().Providers; p != nil {
		if p.File != nil {
			add("file", p.File, func() provider.Provider { return file.New(p.File, file.Options{Log: s.component("file")}) })
		}
		if p.HTTP != nil {
			add("http", p.HTTP, func() provider.Provider { return http.New(p.HTTP, http.Options{Log: s.component("http")}) })
		}
		if p.Rest != nil {
			add("rest", true, func() provider.Provider { return rest.New(rest.Options{Log: s.component("rest")}) })
		}
		if p.Swarm != nil {
			add("swarm", []any{p.Swarm, p.Docker, compat, hold, ready}, func() provider.Provider {
				return swarm.New(p.Swarm, swarm.Options{Log: s.component("swarm"), Compat404: compat, Beside: p.Docker, Stopping: s.stopping, Hold: hold, Ready: ready, Notice: s.notice})
			})
		}
		if p.Docker != nil {
			add("docker", []any{p.Docker, compat, hold, ready}, func() provider.Provider {
				return docker.New(p.Docker, docker.Options{Log: s.component("docker"), Compat404: compat, Stopping: s.stopping, Hold: hold, Ready: ready, Notice: s.notice})
			})
			for name, cfg := range p.Docker.Further() {
				add(name, []any{cfg, compat, hold, ready}, func() provider.Provider {
					return docker.New(cfg, docker.Options{Name: name, Log: s.component(name), Compat404: compat, Stopping: s.stopping, Hold: hold, Ready: ready, Notice: s.notice})
				})
			}
		}
	}
	s.made = made
	return out
}

// stopping takes the servers of a container that got its stop signal out of rotation,
// ahead of the next table.
func (s *Server) stopping(urls []string) { s.book.Fence(urls, true) }

func (s *Server) sluice() *config.Sluice {
	if s.static.Load().Sluice != nil {
		return s.static.Load().Sluice
	}
	return &config.Sluice{}
}

// issue runs the certificate resolvers, and those that replace them. Those before finish their
// orders first, and answer challenges until then: storages are opened when nobody else writes
// to them any more, so that no certificate is overwritten that came in the meantime.
func (s *Server) issue(ctx context.Context) {
	for ctx.Err() == nil {
		m := s.acme.Load()
		now, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Run(now)
		}()
		select {
		case <-ctx.Done():
		case <-s.issuing:
		}
		cancel()
		<-done
		if ctx.Err() == nil {
			s.replaceACME(ctx)
		}
	}
}

// replaceACME opens the resolvers that are configured now, and publishes what they can do.
func (s *Server) replaceACME(ctx context.Context) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	select {
	case <-s.issuing: // replaced once more meanwhile; it is the last that counts
	default:
	}
	s.newACME(ctx)
	s.replacing.Store(false)
	if s.merged != nil {
		s.publishLocked(s.merged)
	}
}

// resolvers are those that routers may name: while others replace them, those as well.
func (s *Server) resolvers() []string {
	names := s.acme.Load().Usable()
	if s.replacing.Load() {
		names = slices.AppendSeq(names, maps.Keys(s.static.Load().CertificatesResolvers))
		slices.Sort(names)
		names = slices.Compact(names)
	}
	return names
}
