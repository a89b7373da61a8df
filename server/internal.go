package server

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider"
)

// internalName is the provider of what the program itself offers: API, dashboard, ping, metrics.
const internalName = "internal"

// internalProvider says once what the static configuration makes the program offer.
type internalProvider struct{ cfg *config.Dynamic }

// Name implements provider.Provider.
func (*internalProvider) Name() string { return internalName }

// Run sends the one state there is and waits for the end.
func (p *internalProvider) Run(ctx context.Context, out chan<- provider.Update) error {
	select {
	case out <- provider.Update{Provider: internalName, Config: p.cfg, At: time.Now()}:
	case <-ctx.Done():
		return nil
	}
	<-ctx.Done()
	return nil
}

// internalConfig derives the built-in routers and services from the static configuration.
// Names, rules and priorities are the reference's: its API shows them and users' routers
// are ordered against them.
func internalConfig(s *config.Static) *config.Dynamic {
	h := &config.HTTP{
		Routers:     map[string]*config.Router{},
		Services:    map[string]*config.Service{"noop": {}},
		Middlewares: map[string]*config.Middleware{},
	}
	router := func(name, entryPoint, rule, service string, below int, mw ...string) {
		h.Routers[name] = &config.Router{
			EntryPoints: []string{entryPoint}, Rule: rule, RuleSyntax: "default",
			Service: service, Priority: math.MaxInt - below, Middlewares: mw,
		}
	}
	if s.API != nil {
		apiConfig(s.API, h, router)
	}
	if p := s.Ping; p != nil {
		h.Services["ping"] = &config.Service{}
		if !p.ManualRouting {
			router("ping", p.EntryPoint, "PathPrefix(`/ping`)", "ping@internal", 0)
		}
	}
	if s.Metrics != nil && s.Metrics.Prometheus != nil {
		h.Services["prometheus"] = &config.Service{}
		if p := s.Metrics.Prometheus; !p.ManualRouting {
			router("prometheus", p.EntryPoint, "PathPrefix(`/metrics`)", "prometheus@internal", 0)
		}
	}
	if s.Providers != nil && s.Providers.Rest != nil {
		h.Services["rest"] = &config.Service{}
		if s.Providers.Rest.Insecure {
			router("rest", "traefik", "PathPrefix(`/api/providers`)", "rest@internal", 0)
		}
	}
	challengeConfig(s, h)
	return &config.Dynamic{HTTP: h}
}

func apiConfig(a *config.API, h *config.HTTP, router func(name, entryPoint, rule, service string, below int, mw ...string)) {
	h.Services["api"] = &config.Service{}
	base := strings.TrimSuffix(a.BasePath, "/")
	if a.Dashboard {
		h.Services["dashboard"] = &config.Service{}
	}
	if !a.Insecure {
		return
	}
	router("api", "traefik", "PathPrefix(`"+base+"/api`)", "api@internal", 1)
	if a.Debug {
		router("debug", "traefik", "PathPrefix(`"+base+"/debug`)", "api@internal", 1)
	}
	if !a.Dashboard {
		return
	}
	h.Middlewares["dashboard_redirect"] = &config.Middleware{RedirectRegex: &config.RedirectRegex{
		Regex:       `^(http:\/\/(\[[\w:.]+\]|[\w\._-]+)(:\d+)?)` + strings.ReplaceAll(base, "/", `\/`) + `\/$`,
		Replacement: "${1}" + base + "/dashboard/",
		Permanent:   true,
	}}
	h.Middlewares["dashboard_stripprefix"] = &config.Middleware{StripPrefix: &config.StripPrefix{
		Prefixes: []string{base + "/dashboard/", base + "/dashboard"},
	}}
	router("dashboard", "traefik", "PathPrefix(`"+base+"/`)", "dashboard@internal", 2,
		"dashboard_redirect@internal", "dashboard_stripprefix@internal")
}
