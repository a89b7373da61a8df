package server

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/sluice-edge/sluice/proxy/entrypoint"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/loop"
	"github.com/sluice-edge/sluice/proxy/serve"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/telemetry"
)

// lane joins the loop lane with the entry points. Without loops (another system, or
// sluice.lane=handler) it leaves everything to the handler lane.
type lane struct {
	s     *Server
	group *loop.Group
}

func newLane(s *Server) *lane {
	l := &lane{s: s}
	if s.sluice().Lane == "handler" {
		return l
	}
	g, err := loop.New(loop.Options{
		Loops: s.sluice().Loops, Sink: func() telemetry.Sink { return s.hub.Shard() }, Wants: s.hub.Wants(), Log: s.component("loop"),
	})
	switch {
	case err == nil:
		l.group = g
	case !errors.Is(err, loop.ErrNotAvailable):
		s.log.Warn().Err(err).Msg("no event loops; every request takes the handler lane")
	}
	return l
}

// forEntryPoints is what entry points get as their Lane.
func (l *lane) forEntryPoints() entrypoint.Lane {
	if l.group == nil {
		return nil
	}
	return l
}

// Open implements entrypoint.Lane.
func (l *lane) Open(_ context.Context, addr entrypoint.Address, ep *entrypoint.EntryPoint) (entrypoint.Port, error) {
	return l.listen(ep, addr.String(), nil)
}

// Adopt implements entrypoint.Adopter.
func (l *lane) Adopt(t *net.TCPListener, ep *entrypoint.EntryPoint) (entrypoint.Port, error) {
	return l.listen(ep, "", t)
}

func (l *lane) listen(ep *entrypoint.EntryPoint, addr string, t *net.TCPListener) (entrypoint.Port, error) {
	cfg := ep.Config()
	fw, err := wire.NewForwarding(cfg.EP, cfg.Hostname)
	if err != nil {
		return nil, err
	}
	le := loop.EntryPoint{
		Name: ep.Name(), Addr: addr, Listener: t, ReusePort: cfg.EP.ReusePort, Forwarding: fw, TLS: cfg.TLS, Raw: ep.HasTCP,
		HandOver: handOver(ep), MaxHead: cfg.EP.HTTP.MaxHeaderBytes, ReadTotal: cfg.ReadTotal, ReasonHeader: cfg.ReasonHeader, Dress: cfg.Dress, FinishHalfClosed: cfg.FinishHalfClosed, AltSvc: cfg.AltSvc,
	}
	if l.s.sluice().HTTP2Lane != "handler" {
		le.HandStream = func(st loop.Stream) { ep.Server().ServeStream(st) }
	}
	if h := cfg.EP.HTTP2; h != nil {
		le.Streams = uint32(max(h.MaxConcurrentStreams, 0))
		le.DecoderTable, le.EncoderTable = uint32(max(h.MaxDecoderHeaderTableSize, 0)), uint32(max(h.MaxEncoderHeaderTableSize, 0))
	}
	if pp := cfg.EP.ProxyProtocol; pp != nil {
		le.ProxyInsecure = pp.Insecure
		if le.ProxyFrom, err = wire.ParseNetworks(pp.TrustedIPs); err != nil {
			return nil, err
		}
	}
	if t := cfg.EP.Transport; t != nil {
		le.KeepAliveMaxTime, le.KeepAliveMaxRequests = time.Duration(t.KeepAliveMaxTime), t.KeepAliveMaxRequests
		if r := t.RespondingTimeouts; r != nil {
			le.ReadTimeout, le.WriteTimeout, le.IdleTimeout = time.Duration(r.ReadTimeout), time.Duration(r.WriteTimeout), time.Duration(r.IdleTimeout)
		}
	}
	e, err := l.group.Listen(le)
	if err != nil {
		return nil, err
	}
	return port{e}, nil
}

// handOver gives what a loop does not do to the entry point's handler lane.
func handOver(ep *entrypoint.EntryPoint) func(*loop.Handover) {
	return func(h *loop.Handover) {
		c := serve.Conn{Conn: h.Conn, Buffered: h.Buffered, Peer: h.Peer, Local: h.Local, TLS: h.TLS}
		switch h.Cause {
		case loop.CauseRaw:
			ep.IntakeBehindProxy(c)
		case loop.CauseRoute:
			ep.Server().Continue(serve.Handover{Conn: c, Ex: h.Ex, Requests: h.Requests, Since: h.Since, Return: h.Return})
		default:
			ep.Server().Serve(c)
		}
	}
}

// run runs the loops until shutdown.
func (l *lane) run() error {
	if l.group == nil {
		return nil
	}
	return l.group.Run(context.Background())
}

// shutdown ends the loops, after their entry points.
func (l *lane) shutdown(ctx context.Context) error {
	if l.group == nil {
		return nil
	}
	return l.group.Shutdown(ctx)
}

// sweep drops idle connections to servers that no table names any more.
func (l *lane) sweep() {
	if l.group != nil {
		l.group.Sweep()
	}
}

// port is an entry point's place on the loops.
type port struct{ *loop.Entry }

// SetMatcher implements entrypoint.Port.
func (p port) SetMatcher(m exchange.Matcher) { p.Entry.SetMatcher(m) }

// Addr implements entrypoint.Port.
func (p port) Addr() net.Addr { return p.Entry.Addr() }

// CloseListener implements entrypoint.Port.
func (p port) CloseListener() { p.Entry.CloseListener() }

// Shutdown implements entrypoint.Port. The loops go on: other entry points use them.
func (p port) Shutdown(ctx context.Context) error { return p.Entry.Shutdown(ctx) }

// Open implements entrypoint.Port.
func (p port) Open() int { return p.Entry.Open() }
