// Package docker turns the containers of a Docker engine into dynamic configuration.
// It follows the engine's events and asks only for the container an event names.
package docker

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/provider/labels"
)

const (
	// inspectLimit is how many containers are inspected at a time.
	inspectLimit = 8
	// backoffMin and backoffMax bound the pause between attempts to reach the engine.
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
	// defaultTimeout bounds a single question to the engine where httpClientTimeout is
	// not set; an engine that hangs is asked again.
	defaultTimeout = 30 * time.Second
	// linger is how long a removed container keeps its hosts answered by 503 at least: time
	// for its replacement to come.
	linger = 5 * time.Second
	// stopSlack is added to a container's stop timeout: if it still runs then, it
	// ignored its stop signal and gets requests again.
	stopSlack = 20 * time.Second
	// defaultStopTimeout is the engine's.
	defaultStopTimeout = 10 * time.Second
)

// Options tune a Provider. The zero value is ready to use.
type Options struct {
	Log zerolog.Logger
	// Name is the provider's name; empty means "docker".
	Name string
	// Compat404 leaves out containers that do not serve, so that their hosts get the
	// reference's 404 instead of 503.
	Compat404 bool
	// Hold and Ready are as in labels.Options.
	Hold  config.Duration
	Ready string
	// Stopping, if set, is told the server URLs of a container at the moment its stop
	// signal is seen, before the update that fences them goes out. It must not block.
	Stopping func(urls []string)
	// Notice, if set, is told once of something that is wrong around this process rather than
	// with a container: clients that arrive without their own address.
	Notice func(config.Problem)
}

// Provider watches one engine.
type Provider struct {
	name   string
	log    zerolog.Logger
	engine config.Engine
	opts   Options
	build  *labels.Builder
	static []config.Problem // what is wrong with the options

	// What follows belongs to Run.
	items    map[string]*item
	merger   *labels.Merger
	self     Self
	hostAddr string                    // see hostAddress
	problem  map[string]config.Problem // by container: why it could not be inspected

	provider.Orders
}

// New returns a Provider of the engine that cfg names.
func New(cfg *config.DockerProvider, opts Options) *Provider {
	p := &Provider{name: cmp.Or(opts.Name, "docker"), log: opts.Log, engine: cfg.Engine, opts: opts}
	p.build, p.static = labels.NewBuilder(labels.Options{
		ExposedByDefault: cfg.ExposedByDefault, DefaultRule: cfg.DefaultRule, Constraints: cfg.Constraints,
		AllowEmptyServices: cfg.AllowEmptyServices, Compat404: opts.Compat404, Hold: opts.Hold, Ready: opts.Ready,
	})
	p.merger = labels.NewMerger()
	p.items, p.problem = map[string]*item{}, map[string]config.Problem{}
	p.Orders = make(provider.Orders)
	return p
}

// Name implements provider.Provider.
func (p *Provider) Name() string { return p.name }

// timeout bounds one question to the engine.
func (p *Provider) timeout() time.Duration {
	return cmp.Or(time.Duration(p.engine.HTTPClientTimeout), defaultTimeout)
}

// Run implements provider.Provider. An engine that goes away is asked again with
// growing pauses, while the last good routes stay.
func (p *Provider) Run(ctx context.Context, out chan<- provider.Update) error {
	return Stay(ctx, p.name, &p.engine, p.log, p.opts.Notice, out, func(ctx context.Context, cli *client.Client) (bool, error) {
		return p.session(ctx, cli, out)
	})
}

func (p *Provider) send(ctx context.Context, out chan<- provider.Update, u provider.Update) bool {
	u.Provider = p.name
	select {
	case out <- u:
		return true
	case <-ctx.Done():
		return false
	}
}

// update is the state to send.
func (p *Provider) update(at time.Time) provider.Update {
	dyn, problems := p.merger.Result()
	all := slices.Concat(p.static, problems)
	for _, id := range slices.Sorted(maps.Keys(p.problem)) {
		all = append(all, p.problem[id])
	}
	return provider.Update{Config: dyn, Problems: all, At: at}
}

// sick reports whether requests are not held up for a container: it fails its health check, or
// awaits it where allowEmptyServices asks for the reference's 503 at once.
func (p *Provider) sick(c *item) bool {
	if c.rank() != labels.Fenced || c.paused || !c.stopping.IsZero() {
		return false
	}
	return c.health == container.Unhealthy || p.engine.AllowEmptyServices
}

// rebuild makes the share of a container anew. It reports whether there is or was one.
func (p *Provider) rebuild(c *item) bool {
	w := &labels.Workload{Key: c.key(), Name: c.name, Source: "container " + c.name, Labels: c.labels,
		Created: c.created, Rank: c.rank(), Seen: c.seen, Started: c.started, Fresh: c.fresh,
		Engine: p.name, Asleep: c.asleep(), Coming: c.coming && c.gone.IsZero(), Sick: p.sick(c)}
	var share *labels.Share
	// One that runs and was not inspected is not a candidate.
	if c.inspected || w.Rank == labels.Down {
		if w.Rank == labels.Live {
			c.seen, w.Seen = true, true
		}
		w.Place = placer{p: p, c: c, base: p.base(c)}
		share = p.build.Build(w)
	}
	if share == nil && c.share == nil {
		return false
	}
	p.merger.Replace(c.share, share)
	c.share = share
	return true
}

// forget drops a container and its share.
func (p *Provider) forget(c *item) {
	p.merger.Replace(c.share, nil)
	c.share = nil
	delete(p.items, c.id)
	delete(p.problem, c.id)
}

// base is the container whose network c uses, or nil. Its mode may again be that of another.
func (p *Provider) base(c *item) *item {
	for range 4 {
		ref, ok := strings.CutPrefix(c.mode, "container:")
		if !ok {
			return nil
		}
		b := p.items[ref]
		for _, o := range p.items {
			if b == nil && o.name == ref {
				b = o
			}
		}
		if b == nil || !strings.HasPrefix(b.mode, "container:") {
			return b
		}
		c = b
	}
	return nil
}
