package server

import (
	"crypto/x509"
	"net/http"
	"slices"
	"time"

	"github.com/sluice-edge/sluice/acme"
	"github.com/sluice-edge/sluice/api"
	"github.com/sluice-edge/sluice/cert"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/dashboard"
	"github.com/sluice-edge/sluice/middleware"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/serve"
	"github.com/sluice-edge/sluice/proxy/upstream"
	"github.com/sluice-edge/sluice/router"
	"github.com/sluice-edge/sluice/telemetry"
)

// publish compiles the merged configuration and makes it live: a retained set of
// endpoints first, then the tables, then the release of what is not named any more.
func (s *Server) publish(m *provider.Merged) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	s.publishLocked(m)
}

func (s *Server) publishLocked(m *provider.Merged) {
	s.merged = m
	began := time.Now()
	t := router.Compile(s.input(m))
	t.Commit()
	gen := uint64(1)
	if old := s.table.Load(); old != nil {
		gen = old.Runtime.Generation + 1
	}
	t.Runtime.Generation, t.Runtime.At = gen, time.Now()
	problems := s.certs.Update(tlsOf(m.Config), t.HostOptions(), t.Runtime.At)
	t.Runtime.Problems = slices.Concat(t.Runtime.Problems, problems, s.unreadyProblems(), s.keeper.Problems(), s.notices)
	s.table.Store(t)
	s.points.Load().publish(t, s.hub, s.traced)
	s.lane.sweep()
	s.client.Sweep()
	if rebuilt := t.Rebuilt(); rebuilt != nil {
		s.state.CommitPart(rebuilt)
	} else {
		s.state.Commit()
	}
	s.hub.Reloaded(t.Runtime)
	s.wantCertificates(t, m.Config)
	s.forget(t.Runtime.Problems)
	s.report(t.Runtime.Problems)
	e := s.log.Debug().Uint64(telemetry.Generation, gen).Int("routers", len(t.Runtime.Routers)).Bool("patched", t.Rebuilt() != nil).Dur("compiled", time.Since(began))
	if !m.At.IsZero() {
		e = e.Dur("sinceChange", time.Since(m.At))
	}
	e.Msg("configuration live")
}

func tlsOf(c *config.Dynamic) *config.TLS {
	if c == nil {
		return nil
	}
	return c.TLS
}

// inForce is what tables depend on beside the configuration of providers.
type inForce struct {
	static *config.Static
	acme   *acme.Manager
}

func (s *Server) input(m *provider.Merged) router.Input {
	in := router.Input{
		Config:              m.Config,
		Problems:            slices.Concat(s.warnings, s.acme.Load().Problems(), m.Problems),
		EntryPoints:         s.static.Load().EntryPoints,
		DefaultEntryPoints:  s.static.Load().DefaultEntryPoints(),
		Compat404:           s.sluice().Compat404,
		Internal:            s.internalHandlers(),
		Resolvers:           s.resolvers(),
		OnDemand:            s.acme.Load().OnDemand(),
		DefaultTransport:    s.defaultTransport(),
		DefaultTCPTransport: s.defaultTCPTransport(),
		Previous:            s.table.Load(),
		Same:                inForce{s.static.Load(), s.acme.Load()},
		Book:                s.book,
		Streams:             s.streams,
		Log:                 s.component("router"),
		Parts: router.Parts{
			Begin:        s.state.Begin,
			Middleware:   s.buildMiddleware,
			OpHandler:    serve.OpHandler,
			Forward:      s.forward,
			Transport:    upstream.NewTransport,
			TransportKey: upstream.TransportKey,
			Terminate:    s.terminate,
			TLSOptions:   func(_ string, o *config.TLSOptions) error { return cert.Check(o) },
		},
	}
	if s.tracer != nil {
		in.Parts.Trace = s.tracer.Service
	}
	if s.static.Load().Core != nil && s.static.Load().Core.DefaultRuleSyntax != "v3" { // the default needs no telling
		in.DefaultRuleSyntax = s.static.Load().Core.DefaultRuleSyntax
	}
	if s.static.Load().Providers != nil {
		in.Precedence = s.static.Load().Providers.Precedence
	}
	return in
}

func (s *Server) buildMiddleware(name string, cfg *config.Middleware, d router.MiddlewareDeps) (exchange.Op, exchange.Stage, error) {
	b, err := middleware.Build(name, cfg, middleware.Deps{
		State: s.state.For(d.Router), Router: d.Router, Service: d.Service, Warn: d.Warn, Log: s.component("middleware"),
	})
	if s.tracer != nil && err == nil {
		kind := spanName(middleware.Kind(cfg))
		if b.Op != nil {
			b.Op = s.tracer.Op(kind, name, b.Op)
		}
		if b.Stage != nil {
			b.Stage = s.tracer.Stage(kind, name, b.Stage)
		}
	}
	return b.Op, b.Stage, err
}

// defaultTransport is the static serversTransport as a dynamic one.
func (s *Server) defaultTransport() *config.ServersTransport {
	t := &config.ServersTransport{}
	if st := s.static.Load().ServersTransport; st != nil {
		t.InsecureSkipVerify, t.RootCAs, t.MaxIdleConnsPerHost = st.InsecureSkipVerify, st.RootCAs, st.MaxIdleConnsPerHost
		t.ForwardingTimeouts, t.Spiffe = st.ForwardingTimeouts, st.Spiffe
	}
	return t
}

func (s *Server) defaultTCPTransport() *config.TCPServersTransport {
	st := s.static.Load().TCPServersTransport
	if st == nil {
		return nil
	}
	return &config.TCPServersTransport{DialKeepAlive: st.DialKeepAlive, DialTimeout: st.DialTimeout, TerminationDelay: st.TerminationDelay, TLS: st.TLS}
}

// internalHandlers are the services that the program itself offers.
func (s *Server) internalHandlers() map[string]http.Handler {
	h := map[string]http.Handler{}
	if s.static.Load().API != nil {
		a := api.New(api.Options{
			Static: s.static.Load(), Runtime: s.runtime, ServerStatus: s.book.Status, TCPServerStatus: s.streams.Status, Certificates: s.leaves, Issued: s.issued,
			Counters: s.hub.Counters, Explain: s.explain, Version: s.opts.Version, Codename: s.opts.Codename, Start: s.start,
		})
		h["api@internal"] = a
		if s.static.Load().API.Dashboard {
			h["dashboard@internal"] = dashboard.Handler()
		}
	}
	if s.static.Load().Ping != nil {
		h["ping@internal"] = api.Ping(s.static.Load().Ping, s.draining.Load)
	}
	if s.static.Load().Metrics != nil && s.static.Load().Metrics.Prometheus != nil {
		h["prometheus@internal"] = s.hub.Metrics()
	}
	if m, ok := s.made["rest"]; ok {
		h["rest@internal"] = m.Provider.(http.Handler)
	}
	if s.usesHTTPChallenge() {
		h["acme-http@internal"] = http.HandlerFunc(s.serveHTTPChallenge)
	}
	return h
}

func (s *Server) runtime() *config.Runtime {
	t := s.table.Load()
	if t == nil {
		return &config.Runtime{}
	}
	ending := s.acme.Load().Ending(time.Now())
	if len(ending) == 0 {
		return t.Runtime
	}
	now := *t.Runtime // what changes with time is not part of the table
	now.Problems = slices.Concat(now.Problems, ending)
	return &now
}

func (s *Server) leaves() []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range s.certs.All() {
		out = append(out, c.Leaf)
	}
	return out
}

func (s *Server) serversUp() []telemetry.ServerUp {
	var out []telemetry.ServerUp
	for _, st := range s.book.Servers() {
		if st.Checked {
			out = append(out, telemetry.ServerUp{Service: st.Service, URL: st.URL, Up: st.Up})
		}
	}
	return out
}
