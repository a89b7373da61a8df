package server

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/sluice-edge/sluice/proxy/entrypoint"
)

// newEntryPoints reads the TCP entry points; UDP ones belong to streams.
func (s *Server) newEntryPoints() error {
	s.streams = newStreams(s)
	s.lane = newLane(s)
	for _, name := range slices.Sorted(maps.Keys(s.static.EntryPoints)) {
		ep := s.static.EntryPoints[name]
		if isUDP(ep) {
			continue
		}
		cfg := entrypoint.Config{
			Name: name, EP: ep, Hostname: s.hostname, Client: s.client, Records: s.hub, Wants: s.hub.Wants(),
			Log: s.component("entrypoint"), TLS: s.certs.ConfigFor,
			FinishHalfClosed: s.sluice().FinishHalfClosed,
			ReadTotal:        s.sluice().ReadTimeoutMode == "total",
			ReasonHeader:     s.sluice().ReasonHeader == nil || *s.sluice().ReasonHeader,
		}
		if l := s.lane.forEntryPoints(); l != nil {
			cfg.Lane = l
		}
		e, err := entrypoint.New(cfg)
		if err != nil {
			return err
		}
		s.entryPoints = append(s.entryPoints, e)
	}
	return nil
}

// listen opens every port, or says which one cannot be had.
func (s *Server) listen(ctx context.Context) error {
	for _, e := range s.entryPoints {
		if err := e.Listen(ctx); err != nil {
			return err
		}
		s.log.Info().Str("entryPointName", e.Name()).Stringers("addresses", stringers(e.Addrs())).Msg("listening")
	}
	return s.streams.listen(ctx, s)
}

// serve accepts connections until the entry points are shut down.
func (s *Server) serve() error {
	var wg sync.WaitGroup
	errs := make(chan error, len(s.entryPoints)+1)
	for _, e := range s.entryPoints {
		wg.Go(func() { errs <- e.Run() })
	}
	wg.Go(func() { errs <- s.lane.run() })
	wg.Go(s.streams.serve)
	wg.Wait()
	close(errs)
	var err error
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// shutdown drains every entry point in its own time.
func (s *Server) shutdown(ctx context.Context) {
	var wg sync.WaitGroup
	for _, e := range s.entryPoints {
		wg.Go(func() {
			if err := e.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				s.log.Warn().Err(err).Str("entryPointName", e.Name()).Msg("entry point not ended in order")
			}
		})
	}
	wg.Go(func() { s.streams.shutdown(ctx) })
	wg.Wait()
}
