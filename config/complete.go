package config

import (
	"slices"
	"strings"
)

// InternalEntryPoint is the entry point of the API, ping and metrics unless another is named.
const InternalEntryPoint = "traefik"

// NewStatic returns the static configuration of someone who says nothing.
func NewStatic() *Static {
	s := &Static{
		Global: &Global{}, Core: &Core{}, ServersTransport: &StaticServersTransport{},
		TCPServersTransport: &StaticTCPServersTransport{}, Providers: &Providers{}, Sluice: &Sluice{},
	}
	s.Core.SetDefaults()
	s.ServersTransport.SetDefaults()
	s.TCPServersTransport.SetDefaults()
	s.Providers.SetDefaults()
	s.Sluice.SetDefaults()
	return s
}

// SetDefaults sets both lanes, and read time-outs that count time without progress.
func (s *Sluice) SetDefaults() { s.Lane, s.ReadTimeoutMode = "auto", "progress" }

// Complete adds the entry points that the reference adds: "http" on :80 if none is
// declared, and "traefik" on :8080 if something needs it.
func (s *Static) Complete() {
	if s.EntryPoints == nil {
		s.EntryPoints = map[string]*EntryPoint{}
	}
	if len(s.EntryPoints) == 0 {
		s.addEntryPoint("http", ":80")
	}
	if s.EntryPoints[InternalEntryPoint] == nil && s.needsInternal() {
		s.addEntryPoint(InternalEntryPoint, ":8080")
	}
	if s.Providers != nil && s.Providers.Swarm != nil && s.Providers.Swarm.RefreshSeconds <= 0 {
		s.Providers.Swarm.RefreshSeconds = 15e9 // as the reference takes it
	}
	if s.Global != nil && s.Global.NotAppendXForwardedFor { // the old place of the entry points' option
		for _, ep := range s.EntryPoints {
			if ep.ForwardedHeaders == nil {
				ep.ForwardedHeaders = &ForwardedHeaders{}
			}
			ep.ForwardedHeaders.NotAppendXForwardedFor = true
		}
	}
	for _, r := range s.CertificatesResolvers {
		if r != nil && r.ACME != nil {
			r.ACME.CAServer = caServer(r.ACME.CAServer)
		}
	}
	if s.Log == nil {
		s.Log = &Log{}
		s.Log.SetDefaults()
	}
}

// defaultCA is the directory of Let's Encrypt.
const defaultCA = "https://acme-v02.api.letsencrypt.org/directory"

// caServer is the authority meant: an empty one (a variable that is not set) is the default, and
// the addresses of Let's Encrypt's first protocol, which is gone, stand for those of the second.
func caServer(url string) string {
	if url == "" {
		return defaultCA
	}
	url = strings.Replace(url, "https://acme-v01.api.letsencrypt.org", "https://acme-v02.api.letsencrypt.org", 1)
	return strings.Replace(url, "https://acme-staging.api.letsencrypt.org", "https://acme-staging-v02.api.letsencrypt.org", 1)
}

func (s *Static) addEntryPoint(name, address string) {
	ep := &EntryPoint{}
	ep.SetDefaults()
	ep.Address = address
	s.EntryPoints[name] = ep
}

// needsInternal reports whether something is published on the internal entry point.
func (s *Static) needsInternal() bool {
	switch {
	case s.API != nil && s.API.Insecure:
		return true
	case s.Ping != nil && !s.Ping.ManualRouting && s.Ping.EntryPoint == InternalEntryPoint:
		return true
	case s.Metrics != nil && s.Metrics.Prometheus != nil && !s.Metrics.Prometheus.ManualRouting &&
		s.Metrics.Prometheus.EntryPoint == InternalEntryPoint:
		return true
	}
	return s.Providers != nil && s.Providers.Rest != nil && s.Providers.Rest.Insecure
}

// DefaultEntryPoints are those that serve routers which name none: the ones marked
// asDefault, or, where none is, every TCP one but the internal. They are sorted.
func (s *Static) DefaultEntryPoints() []string {
	var marked, all []string
	for name, ep := range s.EntryPoints {
		if strings.HasSuffix(strings.ToLower(ep.Address), "/udp") {
			continue
		}
		if ep.AsDefault {
			marked = append(marked, name)
		}
		if name != InternalEntryPoint {
			all = append(all, name)
		}
	}
	if marked == nil {
		marked = all
	}
	slices.Sort(marked)
	return marked
}
