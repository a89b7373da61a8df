package telemetry

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// receiver takes readings: all of them where it keeps totals itself, else what was added.
type receiver interface {
	push(ctx context.Context, list []reading) error
	close()
}

// pusher sends metrics from time to time.
type pusher struct {
	name   string
	to     receiver
	every  time.Duration
	shows  shows
	bounds []float64
	// totals is set where the receiver wants totals since the start, and not what was added;
	// semantic where it wants the durations of the semantic conventions, too.
	totals, semantic bool
	delta            delta
	failed           bool
}

// lastPush bounds the push at the end of the program.
const lastPush = 5 * time.Second

// fineBounds are the buckets, in seconds, from which durations are told to receivers that
// count them one by one.
func fineBounds() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 30, 60}
}

func (h *Hub) setPushers(c *config.Metrics, o *Options) error {
	if d := c.Datadog; d != nil {
		h.addPusher(&pusher{name: "datadog", to: newStatsd(d.Address, d.Prefix, true), every: time.Duration(d.PushInterval),
			shows: shows{d.AddEntryPointsLabels, d.AddRoutersLabels, d.AddServicesLabels}, bounds: fineBounds()})
	}
	if s := c.StatsD; s != nil {
		h.addPusher(&pusher{name: "statsD", to: newStatsd(s.Address, s.Prefix, false), every: time.Duration(s.PushInterval),
			shows: shows{s.AddEntryPointsLabels, s.AddRoutersLabels, s.AddServicesLabels}, bounds: fineBounds()})
	}
	if i := c.InfluxDB2; i != nil && i.Token != "" && i.Org != "" && i.Bucket != "" {
		to, err := newInflux(i)
		if err != nil {
			return fmt.Errorf("metrics.influxDB2: %w", err)
		}
		h.addPusher(&pusher{name: "influxDB2", to: to, every: time.Duration(i.PushInterval),
			shows: shows{i.AddEntryPointsLabels, i.AddRoutersLabels, i.AddServicesLabels}, bounds: fineBounds()})
	}
	if p := c.OTLP; p != nil {
		to, err := newOTLPMetrics(p, o)
		if err != nil {
			return err
		}
		h.semantic = true
		h.addPusher(&pusher{name: "otlp", to: to, every: time.Duration(p.PushInterval), bounds: to.bounds, totals: true, semantic: true,
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
			p.to.close()
			return
		case <-t.C:
			h.push(ctx, p)
		}
	}
}

func (h *Hub) push(ctx context.Context, p *pusher) {
	list := h.readings(p.shows, p.bounds, p.semantic)
	if !p.totals {
		list = p.delta.of(list)
	}
	err := p.to.push(ctx, list)
	if err != nil && !p.failed {
		h.log.Warn().Err(err).Str("metrics", p.name).Msg("metrics not sent; further failures are not told")
	}
	p.failed = err != nil
}
