// Package server builds everything from the static configuration, joins the rooms, and
// starts and stops it all.
package server

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/acme"
	"github.com/sluice-edge/sluice/cert"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/proxy/balance"
	"github.com/sluice-edge/sluice/proxy/entrypoint"
	"github.com/sluice-edge/sluice/proxy/upstream"
	"github.com/sluice-edge/sluice/router"
	"github.com/sluice-edge/sluice/telemetry"
)

// Options of a Server.
type Options struct {
	// Static is the complete, validated static configuration.
	Static *config.Static
	// Warnings were found while it was read; they are logged and shown by the API.
	Warnings []config.Problem
	// Version and Codename are what the API tells.
	Version, Codename string
	// Stdout takes logs that have no file; nil means os.Stdout.
	Stdout io.Writer
}

// Server is the running program. Make it with New, run it once with Run.
type Server struct {
	opts     Options
	static   *config.Static
	start    time.Time
	hostname string

	process *telemetry.ProcessLog
	log     zerolog.Logger
	hub     *telemetry.Hub
	certs   *cert.Manager
	acme    *acme.Manager
	book    *balance.Book
	client  *upstream.Client
	state   *middleware.State

	entryPoints []*entrypoint.EntryPoint
	streams     *streams
	lane        *lane
	providers   *provider.Manager

	publishing sync.Mutex
	table      atomic.Pointer[router.Table]
	draining   atomic.Bool
	reported   map[config.Problem]bool
}

// New builds the server. Nothing listens and nothing runs yet; an error says which
// setting is to blame.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	s := &Server{opts: o, static: o.Static, start: time.Now(), reported: map[config.Problem]bool{}}
	s.hostname, _ = os.Hostname() // without a name X-Forwarded-Server is left out
	var err error
	if s.process, err = telemetry.NewProcessLog(o.Static.Log, o.Stdout); err != nil {
		return nil, err
	}
	s.log = s.process.Logger
	if s.certs, err = cert.NewManager(s.start); err != nil {
		return nil, err
	}
	s.client = upstream.New(upstream.Options{})
	s.state = middleware.NewState()
	s.book = balance.NewBook(upstream.Prober{}, balance.Events{Health: s.healthChanged})
	if s.hub, err = telemetry.New(telemetry.Options{
		Static: o.Static, Stdout: o.Stdout, Certificates: s.leaves, ServersUp: s.serversUp, Connections: s.connections, Log: s.component("telemetry"),
	}); err != nil {
		return nil, err
	}
	s.newACME(ctx)
	if err := s.newEntryPoints(); err != nil {
		return nil, err
	}
	s.newProviders()
	return s, nil
}

func (s *Server) component(name string) zerolog.Logger {
	return s.log.With().Str(telemetry.Component, name).Logger()
}

// Run opens the ports, follows the providers and serves until ctx ends; then it drains
// and returns. An error means that it could not start.
func (s *Server) Run(ctx context.Context) error {
	defer func() { _ = s.process.Close() }()
	s.log.Info().Str("version", s.opts.Version).Msg("starting")
	if err := s.listen(ctx); err != nil {
		return err
	}
	// What serves requests lives longer than ctx: until they are drained.
	live, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.hub.Run(live) })
	wg.Go(func() { _ = s.client.Run(live) })
	wg.Go(func() { s.book.Run(live) })
	wg.Go(func() { _ = s.streams.book.Run(live) })
	s.report(s.opts.Warnings)

	source, stopSource := context.WithCancel(ctx)
	var sources sync.WaitGroup
	sources.Go(func() { s.providers.Run(source, s.publish) })
	sources.Go(func() { s.acme.Run(source) })
	sources.Go(func() { s.watchCertificates(source) })

	serving := make(chan error, 1)
	go func() { serving <- s.serve() }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-serving:
		if err == nil {
			err = errors.New("an entry point ended")
		}
	}
	s.draining.Store(true)
	s.log.Info().Msg("stopping: running requests finish")
	// Providers are followed while draining, so that requests still find servers that live.
	s.shutdown(context.WithoutCancel(ctx))
	stopSource()
	sources.Wait()
	stop()
	wg.Wait()
	_ = s.state.Close()
	s.log.Info().Msg("stopped")
	return errors.Join(err, s.hub.Close())
}

// Reopen opens the log files anew, after they were rotated by another program.
func (s *Server) Reopen() {
	if err := s.hub.Reopen(); err != nil {
		s.log.Error().Err(err).Msg("access log not reopened")
	}
}

// Reload asks the providers to read their sources again.
func (s *Server) Reload() { s.providers.Reload() }

// healthChanged is told by health checks.
func (s *Server) healthChanged(service, url string, up bool, cause error) {
	if up {
		s.log.Info().Str(telemetry.Service, service).Str(telemetry.Server, url).Msg("server is up")
		return
	}
	s.log.Warn().Err(cause).Str(telemetry.Service, service).Str(telemetry.Server, url).Msg("server is down")
}

// report logs Problems once, as long as they last.
func (s *Server) report(problems []config.Problem) {
	for _, p := range problems {
		if s.reported[p] {
			continue
		}
		s.reported[p] = true
		e := s.log.Error()
		if p.Severity == config.Warning {
			e = s.log.Warn()
		}
		e.Str(telemetry.Code, p.Code).Msg(p.String())
	}
}

// forget drops what is not wrong any more, so that it is logged if it comes again.
func (s *Server) forget(problems []config.Problem) {
	if len(s.reported) == 0 {
		return
	}
	now := make(map[config.Problem]bool, len(problems))
	for _, p := range problems {
		if s.reported[p] {
			now[p] = true
		}
	}
	s.reported = now
}
