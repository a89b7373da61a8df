package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/entrypoint"
	"github.com/sluice-edge/sluice/proxy/stream"
	"github.com/sluice-edge/sluice/telemetry"
)

// points are the open entry points. The value is immutable; a reload makes another.
type points struct {
	tcp []*entrypoint.EntryPoint // by name
	udp map[string]*stream.UDP
}

func (p *points) names() []string {
	var names []string
	for _, e := range p.tcp {
		names = append(names, e.Name())
	}
	return names
}

func isUDP(ep *config.EntryPoint) bool {
	return strings.HasSuffix(strings.ToLower(ep.Address), "/udp")
}

// open opens entry points of a static configuration, or says which port cannot be had;
// nothing is open then.
func (s *Server) open(ctx context.Context, eps map[string]*config.EntryPoint) (p *points, err error) {
	p = &points{udp: map[string]*stream.UDP{}}
	defer func() {
		if err != nil {
			p.discard(ctx)
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(eps)) {
		if isUDP(eps[name]) {
			if p.udp[name], err = s.openUDP(ctx, name, eps[name]); err != nil {
				delete(p.udp, name)
				return p, &pointError{name, err}
			}
			continue
		}
		e, err := s.newEntryPoint(name, eps[name])
		if err == nil {
			err = e.Listen(ctx)
		}
		if err != nil {
			return p, &pointError{name, err}
		}
		p.tcp = append(p.tcp, e)
		s.log.Info().Str(telemetry.EntryPoint, name).Stringers("addresses", stringers(e.Addrs())).Msg("listening")
	}
	return p, nil
}

// pointError is why an entry point cannot be opened.
type pointError struct {
	name string
	err  error
}

func (e *pointError) Error() string {
	text := e.err.Error()
	if !strings.HasPrefix(text, "entry point ") {
		text = "entry point " + e.name + ": " + text
	}
	return text + e.remedy()
}

// remedy says what to do about what commonly keeps a port from being opened.
func (e *pointError) remedy() string {
	switch {
	case errors.Is(e.err, syscall.EADDRINUSE):
		return "; stop what listens there (as root 'ss -ltnp' names it), or set another entryPoints." + e.name + ".address"
	case errors.Is(e.err, syscall.EACCES), errors.Is(e.err, syscall.EPERM):
		return "; ports below 1024 need root, CAP_NET_BIND_SERVICE ('setcap cap_net_bind_service=+ep' on the program, " +
			"AmbientCapabilities= in systemd), or a socket of systemd"
	case errors.Is(e.err, syscall.EADDRNOTAVAIL):
		return "; no interface of this machine has this address"
	}
	return ""
}

func (e *pointError) Unwrap() error { return e.err }

func (s *Server) newEntryPoint(name string, ep *config.EntryPoint) (*entrypoint.EntryPoint, error) {
	dress, err := s.dress()
	if err == nil {
		ep, err = s.named(ep)
	}
	if err != nil {
		return nil, err
	}
	cfg := entrypoint.Config{
		Dress: dress,
		Name:  name, EP: ep, Hostname: s.hostname, Client: s.client, Records: s.hub, Wants: s.hub.Wants(),
		Log: s.component("entrypoint"), TLS: s.certs.ConfigFor(name),
		ForRoutes: func() bool { return ep.AllowACMEByPass || !s.usesTLSChallenge() },
		Listeners: s.sockets.takeTCP(name), FinishHalfClosed: s.sluice().FinishHalfClosed,
		ReadTotal:    s.sluice().ReadTimeoutMode == "total",
		ReasonHeader: s.sluice().ReasonHeader == nil || *s.sluice().ReasonHeader,
	}
	if ep.HTTP3 != nil {
		cfg.Packets = s.sockets.takeUDP(name)
	}
	if l := s.lane.forEntryPoints(); l != nil {
		cfg.Lane = l
	}
	return entrypoint.New(cfg)
}

func (s *Server) openUDP(ctx context.Context, name string, ep *config.EntryPoint) (*stream.UDP, error) {
	a, err := entrypoint.ParseAddress(ep.Address)
	if err != nil {
		return nil, err
	}
	var c *net.UDPConn
	if passed := s.sockets.takeUDP(name); len(passed) > 0 {
		c = passed[0]
	} else if c, err = entrypoint.ListenUDP(ctx, a, ep.ReusePort); err != nil {
		return nil, err
	}
	var o stream.UDPOptions
	if ep.UDP != nil {
		o.Timeout, o.Empty = time.Duration(ep.UDP.Timeout), ep.UDP.SluiceEmptyDatagrams
	}
	s.log.Info().Str(telemetry.EntryPoint, name).Stringer("address", c.LocalAddr()).Msg("listening for UDP")
	return stream.NewUDP(c, o, s.component("udp").With().Str(telemetry.EntryPoint, name).Logger()), nil
}

// discard closes what was opened and has served nothing.
func (p *points) discard(ctx context.Context) {
	now, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cancel()
	for _, e := range p.tcp {
		_ = e.Shutdown(now)
	}
	for _, u := range p.udp {
		_ = u.Shutdown(now)
	}
}

// serve accepts connections until the entry points are shut down. What ends on its own is
// told to failed.
func (s *Server) serve(p *points) {
	for _, e := range p.tcp {
		s.serving.Go(func() { s.fail(e.Run()) })
	}
	for name, u := range p.udp {
		s.serving.Go(func() {
			if err := u.Run(); err != nil && !errors.Is(err, net.ErrClosed) {
				s.fail(fmt.Errorf("entry point %s: %w", name, err))
			}
		})
	}
}

func (s *Server) fail(err error) {
	if err == nil {
		return
	}
	select {
	case s.failed <- err:
	default:
	}
}

// shutdown drains entry points, each in its own time.
func (s *Server) shutdown(ctx context.Context, p *points) {
	var wg sync.WaitGroup
	for _, e := range p.tcp {
		wg.Go(func() {
			if err := e.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				s.log.Warn().Err(err).Str(telemetry.EntryPoint, e.Name()).Msg("entry point not ended in order")
			}
		})
	}
	for _, u := range p.udp {
		wg.Go(func() { _ = u.Shutdown(ctx) })
	}
	wg.Wait()
}
