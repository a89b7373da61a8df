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
	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/middleware"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/proxy/balance"
	"github.com/sluice-edge/sluice/proxy/stream"
	"github.com/sluice-edge/sluice/proxy/trace"
	"github.com/sluice-edge/sluice/proxy/upstream"
	"github.com/sluice-edge/sluice/router"
	"github.com/sluice-edge/sluice/sleep"
	"github.com/sluice-edge/sluice/telemetry"
)

// Options of a Server.
type Options struct {
	// Static is the complete, validated static configuration.
	Static *config.Static
	// Sources says where it came from; its warnings are logged and shown by the API.
	Sources *decode.Sources
	// Load reads the static configuration again, for a reload; nil: it is read once.
	Load func() (*config.Static, *decode.Sources, error)
	// Sockets are passed by systemd, by entry point; see Sockets. The Server owns them.
	Sockets map[string][]*os.File
	// Lookup reads the environment, for systemd's notifications; nil reads none.
	Lookup func(name string) (string, bool)
	// Version and Codename are what the API tells.
	Version, Codename string
	// Stdout takes logs that have no file; nil means os.Stdout.
	Stdout io.Writer
}

// Server is the running program. Make it with New, run it once with Run.
type Server struct {
	opts Options
	// static is in force; it changes under publishing. given is as it was read last, which
	// differs in what waits for a restart.
	static   atomic.Pointer[config.Static]
	given    *config.Static
	start    time.Time
	hostname string

	process *telemetry.ProcessLog
	log     zerolog.Logger
	hub     *telemetry.Hub
	tracer  *trace.Tracer // nil without tracing
	certs   *cert.Manager
	acme    atomic.Pointer[acme.Manager]
	book    *balance.Book
	keeper  *sleep.Keeper
	client  *upstream.Client
	state   *middleware.State

	sockets   *sockets
	notify    notifier
	ready     chan struct{} // told when routes are live
	points    atomic.Pointer[points]
	streams   *stream.Book
	lane      *lane
	providers *provider.Manager
	made      map[string]madeProvider

	serving sync.WaitGroup // what runs entry points
	failed  chan error     // an entry point that ended on its own
	again   chan struct{}  // the static configuration is to be read again
	issuing chan struct{}  // the resolvers are to be replaced
	// replacing is set from then on until they are.
	replacing atomic.Bool

	publishing sync.Mutex
	merged     *provider.Merged // what was published last
	warnings   []config.Problem // about the static configuration
	notices    []config.Problem // what was noticed around this process
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
	if o.Sources == nil {
		o.Sources = &decode.Sources{}
	}
	s := &Server{
		opts: o, given: o.Static, warnings: o.Sources.Warnings, start: time.Now(), reported: map[config.Problem]bool{},
		failed: make(chan error, 1), again: make(chan struct{}, 1), ready: make(chan struct{}, 1), issuing: make(chan struct{}, 1), made: map[string]madeProvider{},
	}
	s.points.Store(&points{})
	s.static.Store(o.Static)
	if o.Lookup != nil {
		s.notify = newNotifier(o.Lookup)
	}
	s.hostname, _ = os.Hostname() // without a name X-Forwarded-Server is left out
	var err error
	s.process = telemetry.NewProcessLog(o.Static.Log, o.Stdout)
	if err = s.process.Send(o.Static, o.Version, o.Lookup); err != nil {
		return nil, err
	}
	s.log = s.process.Logger
	if s.certs, err = cert.NewManager(s.start); err != nil {
		return nil, err
	}
	s.client = upstream.New(upstream.Options{})
	s.state = middleware.NewState()
	s.book = balance.NewBook(upstream.Prober{}, balance.Events{Health: s.healthChanged, Unready: s.republish, Wake: s.wake})
	s.newKeeper()
	if s.hub, err = telemetry.New(telemetry.Options{
		Static: o.Static, Stdout: o.Stdout, Certificates: s.leaves, ServersUp: s.serversUp, Connections: s.connections, Orders: s.orders,
		Version: o.Version, Lookup: o.Lookup, Log: s.component("telemetry"),
	}); err != nil {
		return nil, err
	}
	if o.Static.Tracing != nil {
		if s.tracer, err = trace.New(trace.Options{
			Config: o.Static.Tracing, Version: o.Version, Lookup: o.Lookup, Log: s.component("tracing"),
		}); err != nil {
			return nil, err
		}
	}
	s.newACME(ctx)
	s.streams = stream.NewBook(s.healthChanged, s.wake)
	s.lane = newLane(s)
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
	var p *points
	var err error
	s.sockets, err = adopt(s.opts.Sockets, func(name string) bool { return s.static.Load().EntryPoints[name] != nil })
	if err == nil {
		p, err = s.open(ctx, s.static.Load().EntryPoints)
	}
	if err != nil {
		_ = s.lane.shutdown(ctx)
		return errors.Join(err, s.hub.Close())
	}
	s.sockets.close() // those that no entry point had a use for
	s.points.Store(p)
	// What serves requests lives longer than ctx: until they are drained.
	live, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.hub.Run(live) })
	wg.Go(func() { _ = s.process.Run(live) })
	if s.tracer != nil {
		wg.Go(func() { _ = s.tracer.Run(live) })
	}
	wg.Go(func() { _ = s.client.Run(live) })
	wg.Go(func() { s.book.Run(live) })
	wg.Go(func() { _ = s.streams.Run(live) })
	s.report(s.warnings)

	// Providers are followed while draining, so that requests still find servers that live.
	source, stopSource := context.WithCancel(live)
	defer stopSource()
	var sources sync.WaitGroup
	sources.Go(func() {
		var once sync.Once
		s.providers.Run(source, func(m *provider.Merged) {
			s.publish(m)
			once.Do(func() { sources.Go(func() { settle(source) }) })
			select {
			case s.ready <- struct{}{}:
			default:
			}
		})
	})
	sources.Go(func() { s.keeper.Run(source) })
	sources.Go(func() { s.issue(source) })
	sources.Go(func() { s.watchCertificates(source) })
	if o := s.static.Load().OCSP; o != nil {
		sources.Go(func() {
			s.certs.Staple(source, cert.StapleOptions{Overrides: o.ResponderOverrides, Log: s.component("ocsp")})
		})
	}

	wg.Go(func() { s.fail(s.lane.run()) })
	s.serve(p)
	err = s.follow(ctx)
	s.draining.Store(true)
	s.notify.say("STOPPING=1")
	s.log.Info().Msg("stopping: running requests finish")
	s.shutdown(context.WithoutCancel(ctx), s.points.Load())
	s.serving.Wait()
	s.endLane()
	stopSource()
	sources.Wait()
	stop()
	wg.Wait()
	_ = s.state.Close()
	s.log.Info().Msg("stopped")
	return errors.Join(err, s.hub.Close())
}

// endLane ends the loops once nothing is left on them.
func (s *Server) endLane() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.lane.shutdown(ctx) // what was not gone by now is cut
}

// Reopen opens the log files anew, after they were rotated by another program.
func (s *Server) Reopen() {
	if err := s.hub.Reopen(); err != nil {
		s.log.Error().Err(err).Msg("access log not reopened")
	}
}

// Reload reads the static configuration again, and asks the providers to read their sources.
func (s *Server) Reload() {
	select {
	case s.again <- struct{}{}:
	default:
	}
	s.providers.Reload()
}

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
