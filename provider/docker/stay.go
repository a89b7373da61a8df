package docker

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/docker/docker/client"
	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/telemetry"
)

var errClosed = errors.New("the engine closed the stream of events")

// Stay keeps a session with an engine until ctx ends: one that breaks is followed by
// another, after pauses that grow while the engine does not answer. Each trouble is sent
// as a Problem and logged once for each length of pause. A session reports whether it
// reached the engine; notice, which may be nil, is told if clients arrive without their own address. Without watch one that ends well is the last. The error is that
// of an endpoint that can never work.
func Stay(ctx context.Context, name string, e *config.Engine, log zerolog.Logger, notice func(config.Problem), out chan<- provider.Update,
	session func(context.Context, *client.Client) (bool, error)) error {
	var watching sync.WaitGroup
	peersCtx, cancel := context.WithCancel(ctx)
	defer func() { cancel(); watching.Wait() }()
	watching.Go(func() { watchPeers(peersCtx, e, notice) })
	var pause time.Duration
	var logged string
	for {
		// A new client each time: the engine that comes back may speak another version.
		cli, endpoint, err := NewClient(e)
		if err != nil {
			return err
		}
		start := time.Now()
		connected, err := session(ctx, cli)
		_ = cli.Close()
		if ctx.Err() == nil && err == nil && !e.Watch {
			<-ctx.Done()
		}
		if ctx.Err() != nil {
			return nil
		}
		if connected {
			pause, logged = 0, ""
			if time.Since(start) > backoffMax {
				// Proxies cut idle streams: that is no trouble if the engine answers again.
				log.Info().AnErr("because", err).Msg("stream of events ended, asking the engine again")
				continue
			}
		}
		pause = min(max(2*pause, backoffMin), backoffMax)
		problem := Unreachable(endpoint, cmp.Or(err, errClosed))
		if line := pause.String() + problem.Text; line != logged {
			logged = line
			log.Warn().Str(telemetry.Code, problem.Code).Str(telemetry.Suggestion, problem.Suggestion).
				Str("endpoint", redact(endpoint)).Dur("retryIn", pause).
				Msg("engine " + problem.Text + "; the last known routes stay")
		}
		select {
		case out <- provider.Update{Provider: name, Problems: []config.Problem{problem}, At: time.Now()}:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}
