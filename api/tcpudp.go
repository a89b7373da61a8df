package api

import (
	"strconv"

	"github.com/sluice-edge/sluice/config"
)

func (s *server) tcpRouters() []row { return rowsOf(s.runtime().TCPRouters, showTCPRouter) }

func (s *server) tcpRouter(id string) (any, bool) {
	return find(s.runtime().TCPRouters, id, showTCPRouter)
}

func showTCPRouter(name string, info *config.TCPRouterInfo) row {
	router := config.TCPRouter{}
	if info.TCPRouter != nil {
		router = *info.TCPRouter
	}
	if router.TLS != nil && router.TLS.Options == "" && !router.TLS.Passthrough {
		tls := *router.TLS
		tls.Options = "default"
		router.TLS = &tls
	}
	view := *info
	view.TCPRouter = &router
	return row{
		status: string(info.Status), rule: router.Rule, service: router.Service, priority: router.Priority,
		entryPoints: len(router.EntryPoints), middlewares: router.Middlewares,
		search: []string{name, router.Rule},
		body:   tcpRouterView{view, strconv.Itoa(router.Priority), show(name, "")},
	}
}

// tcpRouterView is a TCP router as lists show it.
type tcpRouterView struct {
	config.TCPRouterInfo
	PriorityStr string `json:"priorityStr,omitempty"`
	shown
}

func (s *server) tcpServices() []row { return rowsOf(s.runtime().TCPServices, s.showTCPService) }

func (s *server) tcpService(id string) (any, bool) {
	return find(s.runtime().TCPServices, id, s.showTCPService)
}

// tcpServiceView is a TCP service with the live state of its servers.
type tcpServiceView struct {
	*config.TCPServiceInfo
	ServerStatus map[string]string `json:"serverStatus,omitempty"`
}

func (s *server) viewTCPService(name string, info *config.TCPServiceInfo) tcpServiceView {
	v := tcpServiceView{TCPServiceInfo: info}
	if info.TCPService == nil || info.LoadBalancer == nil {
		return v
	}
	if s.TCPServerStatus != nil {
		v.ServerStatus = s.TCPServerStatus(name)
		return v
	}
	// Nobody checks: each counts as up, as in the reference.
	v.ServerStatus = make(map[string]string, len(info.LoadBalancer.Servers))
	for _, one := range info.LoadBalancer.Servers {
		v.ServerStatus[one.Address] = "UP"
	}
	return v
}

func (s *server) showTCPService(name string, info *config.TCPServiceInfo) row {
	kind, servers := "", 0
	switch c := info.TCPService; {
	case c == nil:
	case c.LoadBalancer != nil:
		kind, servers = "loadbalancer", len(c.LoadBalancer.Servers)
	case c.Weighted != nil:
		kind = "weighted"
	}
	return row{
		status: string(info.Status), kind: kind, servers: servers,
		body: struct {
			tcpServiceView
			shown
		}{s.viewTCPService(name, info), show(name, kind)},
	}
}

func (s *server) tcpMiddlewares() []row { return rowsOf(s.runtime().TCPMiddlewares, showTCPMiddleware) }

func (s *server) tcpMiddleware(id string) (any, bool) {
	return find(s.runtime().TCPMiddlewares, id, showTCPMiddleware)
}

func showTCPMiddleware(name string, info *config.TCPMiddlewareInfo) row {
	kind := ""
	switch c := info.TCPMiddleware; {
	case c == nil:
	case c.InFlightConn != nil:
		kind = "inflightconn"
	case c.IPAllowList != nil:
		kind = "ipallowlist"
	case c.IPWhiteList != nil:
		kind = "ipwhitelist"
	}
	return row{
		status: string(info.Status), kind: kind,
		body: struct {
			*config.TCPMiddlewareInfo
			shown
		}{info, show(name, kind)},
	}
}

func (s *server) udpRouters() []row { return rowsOf(s.runtime().UDPRouters, showUDPRouter) }

func (s *server) udpRouter(id string) (any, bool) {
	return find(s.runtime().UDPRouters, id, showUDPRouter)
}

func showUDPRouter(name string, info *config.UDPRouterInfo) row {
	r := row{
		status: string(info.Status),
		body: struct {
			*config.UDPRouterInfo
			shown
		}{info, show(name, "")},
	}
	if c := info.UDPRouter; c != nil {
		r.service, r.entryPoints = c.Service, len(c.EntryPoints)
	}
	return r
}

func (s *server) udpServices() []row { return rowsOf(s.runtime().UDPServices, showUDPService) }

func (s *server) udpService(id string) (any, bool) {
	return find(s.runtime().UDPServices, id, showUDPService)
}

func showUDPService(name string, info *config.UDPServiceInfo) row {
	kind, servers := "", 0
	switch c := info.UDPService; {
	case c == nil:
	case c.LoadBalancer != nil:
		kind, servers = "loadbalancer", len(c.LoadBalancer.Servers)
	case c.Weighted != nil:
		kind = "weighted"
	}
	return row{
		status: string(info.Status), kind: kind, servers: servers,
		body: struct {
			*config.UDPServiceInfo
			shown
		}{info, show(name, kind)},
	}
}
