package api

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// shown is what lists and items add to an object of the runtime configuration.
type shown struct {
	Name     string `json:"name,omitempty"`
	Provider string `json:"provider,omitempty"`
	// Type is the kind in lower case.
	Type string `json:"type,omitempty"`
}

func show(name, kind string) shown { return shown{Name: name, Provider: providerOf(name), Type: kind} }

func (s *server) httpRouters() []row { return rowsOf(s.runtime().Routers, showRouter) }

func (s *server) httpRouter(id string) (any, bool) {
	return find(s.runtime().Routers, id, showRouter)
}

func showRouter(name string, info *config.RouterInfo) row {
	router := config.Router{}
	if info.Router != nil {
		router = *info.Router
	}
	if router.TLS != nil && router.TLS.Options == "" {
		tls := *router.TLS
		tls.Options = "default"
		router.TLS = &tls
	}
	view := *info
	view.Router = &router
	return row{
		status: string(info.Status), rule: router.Rule, service: router.Service, priority: router.Priority,
		entryPoints: len(router.EntryPoints), middlewares: router.Middlewares,
		search: []string{name, router.Rule},
		body:   routerView{view, strconv.Itoa(router.Priority), show(name, "")},
	}
}

// routerView is a router as lists show it.
type routerView struct {
	config.RouterInfo
	// PriorityStr is exact where a reader keeps numbers as floats.
	PriorityStr string `json:"priorityStr,omitempty"`
	shown
}

func (s *server) httpServices() []row { return rowsOf(s.runtime().Services, s.showService) }

func (s *server) httpService(id string) (any, bool) {
	return find(s.runtime().Services, id, s.showService)
}

// serviceView is a service with the live state of its servers.
type serviceView struct {
	*config.ServiceInfo
	ServerStatus map[string]string `json:"serverStatus,omitempty"`
}

func (s *server) viewService(name string, info *config.ServiceInfo) serviceView {
	v := serviceView{ServiceInfo: info}
	if s.ServerStatus != nil && info.Service != nil && info.LoadBalancer != nil {
		v.ServerStatus = s.ServerStatus(name)
	}
	return v
}

func (s *server) showService(name string, info *config.ServiceInfo) row {
	kind, servers := serviceKind(info.Service)
	return row{
		status: string(info.Status), kind: kind, servers: servers,
		body: struct {
			serviceView
			shown
		}{s.viewService(name, info), show(name, kind)},
	}
}

// serviceKind returns the kind in lower case and the number of servers, which balancers
// alone have; internal services have no kind.
func serviceKind(c *config.Service) (kind string, servers int) {
	switch {
	case c == nil:
	case c.LoadBalancer != nil:
		return "loadbalancer", len(c.LoadBalancer.Servers)
	case c.Weighted != nil:
		return "weighted", 0
	case c.HighestRandomWeight != nil:
		return "highestrandomweight", 0
	case c.Mirroring != nil:
		return "mirroring", 0
	case c.Failover != nil:
		return "failover", 0
	}
	return "", 0
}

func (s *server) httpMiddlewares() []row { return rowsOf(s.runtime().Middlewares, showMiddleware) }

func (s *server) httpMiddleware(id string) (any, bool) {
	return find(s.runtime().Middlewares, id, showMiddleware)
}

func showMiddleware(name string, info *config.MiddlewareInfo) row {
	kind := middlewareKind(info.Middleware)
	return row{
		status: string(info.Status), kind: kind,
		body: struct {
			*config.MiddlewareInfo
			shown
		}{withoutKeys(info), show(name, kind)},
	}
}

// pluginName is the name of a plugin, which the reference shows as its kind.
func pluginName(p map[string]map[string]any) string {
	for _, name := range slices.Sorted(maps.Keys(p)) {
		return strings.ToLower(name)
	}
	return "plugin"
}

// middlewareKind returns the kind in lower case; "" if none is set.
func middlewareKind(c *config.Middleware) string {
	if c == nil {
		return ""
	}
	for _, k := range [...]struct {
		set  bool
		name string
	}{
		{c.AddPrefix != nil, "addprefix"},
		{c.StripPrefix != nil, "stripprefix"},
		{c.StripPrefixRegex != nil, "stripprefixregex"},
		{c.ReplacePath != nil, "replacepath"},
		{c.ReplacePathRegex != nil, "replacepathregex"},
		{c.Chain != nil, "chain"},
		{c.IPWhiteList != nil, "ipwhitelist"},
		{c.IPAllowList != nil, "ipallowlist"},
		{c.Headers != nil, "headers"},
		{c.EncodedCharacters != nil, "encodedcharacters"},
		{c.Errors != nil, "errors"},
		{c.RateLimit != nil, "ratelimit"},
		{c.RedirectRegex != nil, "redirectregex"},
		{c.RedirectScheme != nil, "redirectscheme"},
		{c.BasicAuth != nil, "basicauth"},
		{c.DigestAuth != nil, "digestauth"},
		{c.ForwardAuth != nil, "forwardauth"},
		{c.InFlightReq != nil, "inflightreq"},
		{c.Buffering != nil, "buffering"},
		{c.CircuitBreaker != nil, "circuitbreaker"},
		{c.Compress != nil, "compress"},
		{c.PassTLSClientCert != nil, "passtlsclientcert"},
		{c.Retry != nil, "retry"},
		{c.ContentType != nil, "contenttype"},
		{c.GRPCWeb != nil, "grpcweb"},
		{c.Plugin != nil, pluginName(c.Plugin)},
		{c.IPDenyList != nil, "ipdenylist"},
		{c.Respond != nil, "respond"},
		{c.Maintenance != nil, "maintenance"},
		{c.RewriteLocation != nil, "rewritelocation"},
	} {
		if k.set {
			return k.name
		}
	}
	return ""
}
