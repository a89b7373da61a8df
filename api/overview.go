package api

import (
	"net/http"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// tally counts objects: all, those with a warning, those that do not work.
type tally struct {
	Total    int `json:"total"`
	Warnings int `json:"warnings"`
	Errors   int `json:"errors"`
}

type section struct {
	Routers     *tally `json:"routers,omitempty"`
	Services    *tally `json:"services,omitempty"`
	Middlewares *tally `json:"middlewares,omitempty"`
}

type features struct {
	Tracing   string `json:"tracing"`
	Metrics   string `json:"metrics"`
	AccessLog bool   `json:"accessLog"`
}

// Overview is the answer of /api/overview: how many objects there are and how many work.
type Overview struct {
	HTTP         section  `json:"http"`
	TCP          section  `json:"tcp"`
	UDP          section  `json:"udp"`
	Certificates tally    `json:"certificates"`
	Features     features `json:"features"`
	Providers    []string `json:"providers,omitempty"`
}

func (s *server) overview(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.count()) }

func (s *server) count() Overview {
	rt := s.runtime()
	o := Overview{
		HTTP: section{
			Routers:     count(rt.Routers, func(i *config.RouterInfo) config.Status { return i.Status }),
			Services:    count(rt.Services, func(i *config.ServiceInfo) config.Status { return i.Status }),
			Middlewares: count(rt.Middlewares, func(i *config.MiddlewareInfo) config.Status { return i.Status }),
		},
		TCP: section{
			Routers:     count(rt.TCPRouters, func(i *config.TCPRouterInfo) config.Status { return i.Status }),
			Services:    count(rt.TCPServices, func(i *config.TCPServiceInfo) config.Status { return i.Status }),
			Middlewares: count(rt.TCPMiddlewares, func(i *config.TCPMiddlewareInfo) config.Status { return i.Status }),
		},
		UDP: section{
			Routers:  count(rt.UDPRouters, func(i *config.UDPRouterInfo) config.Status { return i.Status }),
			Services: count(rt.UDPServices, func(i *config.UDPServiceInfo) config.Status { return i.Status }),
		},
		Features:  featuresOf(s.Static),
		Providers: providersOf(s.Static.Providers),
	}
	for _, c := range s.leaves() {
		switch o.Certificates.Total++; certificateStatus(c, time.Now()) {
		case expired:
			o.Certificates.Errors++
		case string(config.StatusWarning):
			o.Certificates.Warnings++
		}
	}
	return o
}

func count[T any](objects map[string]T, status func(T) config.Status) *tally {
	t := tally{Total: len(objects)}
	for _, object := range objects {
		switch status(object) {
		case config.StatusDisabled:
			t.Errors++
		case config.StatusWarning:
			t.Warnings++
		}
	}
	return &t
}

// featuresOf names them as the reference's settings are named; of several metrics the first.
func featuresOf(c *config.Static) features {
	f := features{AccessLog: c.AccessLog != nil}
	if c.Tracing != nil {
		f.Tracing = "OTLP"
	}
	if m := c.Metrics; m != nil {
		switch {
		case m.Prometheus != nil:
			f.Metrics = "Prometheus"
		case m.Datadog != nil:
			f.Metrics = "Datadog"
		case m.StatsD != nil:
			f.Metrics = "StatsD"
		case m.InfluxDB2 != nil:
			f.Metrics = "InfluxDB2"
		case m.OTLP != nil:
			f.Metrics = "OTLP"
		}
	}
	return f
}

// providersOf names the providers that are on, as the reference spells and orders them.
func providersOf(p *config.Providers) []string {
	if p == nil {
		return nil
	}
	var names []string
	for _, one := range [...]struct {
		on   bool
		name string
	}{
		{p.Docker != nil, "Docker"},
		{p.Swarm != nil, "Swarm"},
		{p.File != nil, "File"},
		{p.Rest != nil, "Rest"},
		{p.HTTP != nil, "HTTP"},
	} {
		if one.on {
			names = append(names, one.name)
		}
	}
	return names
}

// rawdata is the answer of /api/rawdata.
type rawdata struct {
	Routers        map[string]*config.RouterInfo        `json:"routers,omitempty"`
	Middlewares    map[string]*config.MiddlewareInfo    `json:"middlewares,omitempty"`
	Services       map[string]serviceView               `json:"services,omitempty"`
	TCPRouters     map[string]*config.TCPRouterInfo     `json:"tcpRouters,omitempty"`
	TCPMiddlewares map[string]*config.TCPMiddlewareInfo `json:"tcpMiddlewares,omitempty"`
	TCPServices    map[string]tcpServiceView            `json:"tcpServices,omitempty"`
	UDPRouters     map[string]*config.UDPRouterInfo     `json:"udpRouters,omitempty"`
	UDPServices    map[string]*config.UDPServiceInfo    `json:"udpServices,omitempty"`
}

func (s *server) rawdata(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.everything()) }

func (s *server) everything() rawdata {
	rt := s.runtime()
	d := rawdata{
		Routers: rt.Routers, Middlewares: make(map[string]*config.MiddlewareInfo, len(rt.Middlewares)),
		TCPRouters: rt.TCPRouters, TCPMiddlewares: rt.TCPMiddlewares,
		UDPRouters: rt.UDPRouters, UDPServices: rt.UDPServices,
		Services:    make(map[string]serviceView, len(rt.Services)),
		TCPServices: make(map[string]tcpServiceView, len(rt.TCPServices)),
	}
	for name, info := range rt.Middlewares {
		d.Middlewares[name] = withoutKeys(info)
	}
	for name, info := range rt.Services {
		d.Services[name] = s.viewService(name, info)
	}
	for name, info := range rt.TCPServices {
		d.TCPServices[name] = s.viewTCPService(name, info)
	}
	return d
}

// entryPointView is an entry point as the reference shows it.
type entryPointView struct {
	config.EntryPoint
	Name string `json:"name,omitempty"`
}

func (s *server) entryPoints() []row { return rowsOf(s.Static.EntryPoints, showEntryPoint) }

func (s *server) entryPoint(id string) (any, bool) {
	return find(s.Static.EntryPoints, id, showEntryPoint)
}

func showEntryPoint(name string, ep *config.EntryPoint) row {
	view := entryPointView{EntryPoint: *ep, Name: name}
	if view.HTTP.UnderscoreHeadersStrategy == "" {
		view.HTTP.UnderscoreHeadersStrategy = "keep"
	}
	return row{body: view, search: []string{name, ep.Address}}
}
