package telemetry

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/telemetry/push"
)

// pusher sends metrics from time to time.
type pusher struct {
	name   string
	to     push.Receiver
	every  time.Duration
	shows  shows
	bounds []float64
	// semantic is set where the receiver wants the durations of the semantic conventions, too.
	semantic bool
	delta    push.Delta
	failed   bool
}

// lastPush bounds the push at the end of the program.
const lastPush = 5 * time.Second

func (h *Hub) setPushers(c *config.Metrics, o *Options) error {
	if d := c.Datadog; d != nil {
		h.addPusher(&pusher{name: "datadog", to: push.NewStatsD(d.Address, d.Prefix, true), every: time.Duration(d.PushInterval),
			shows: shows{d.AddEntryPointsLabels, d.AddRoutersLabels, d.AddServicesLabels}, bounds: push.FineBounds()})
	}
	if s := c.StatsD; s != nil {
		h.addPusher(&pusher{name: "statsD", to: push.NewStatsD(s.Address, s.Prefix, false), every: time.Duration(s.PushInterval),
			shows: shows{s.AddEntryPointsLabels, s.AddRoutersLabels, s.AddServicesLabels}, bounds: push.FineBounds()})
	}
	if i := c.InfluxDB2; i != nil && i.Token != "" && i.Org != "" && i.Bucket != "" {
		to, err := push.NewInflux(i)
		if err != nil {
			return fmt.Errorf("metrics.influxDB2: %w", err)
		}
		h.addPusher(&pusher{name: "influxDB2", to: to, every: time.Duration(i.PushInterval),
			shows: shows{i.AddEntryPointsLabels, i.AddRoutersLabels, i.AddServicesLabels}, bounds: push.FineBounds()})
	}
	if p := c.OTLP; p != nil {
		to, err := push.NewOTLP(p, o.Version, o.Lookup, o.Log)
		if err != nil {
			return err
		}
		h.semantic = true
		h.addPusher(&pusher{name: "otlp", to: to, every: time.Duration(p.PushInterval), bounds: to.Bounds(), semantic: true,
			shows: shows{p.AddEntryPointsLabels, p.AddRoutersLabels, p.AddServicesLabels}})
	}
	return nil
}

func (h *Hub) addPusher(p *pusher) {
	if p.every <= 0 {
		p.every = 10 * time.Second
	}
	h.pushers = append(h.pushers, p)
}

// runPusher sends until ctx ends, and once more then.
func (h *Hub) runPusher(ctx context.Context, p *pusher) {
	t := time.NewTicker(p.every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPush)
			defer cancel()
			h.push(end, p)
			p.to.Close()
			return
		case <-t.C:
			h.push(ctx, p)
		}
	}
}

func (h *Hub) push(ctx context.Context, p *pusher) {
	list := h.readings(p.shows, p.bounds, p.semantic)
	if !p.to.Totals() {
		list = p.delta.Of(list)
	}
	err := p.to.Push(ctx, list)
	if err != nil && !p.failed {
		h.log.Warn().Err(err).Str("metrics", p.name).Msg("metrics not sent; further failures are not told")
	}
	p.failed = err != nil
}
