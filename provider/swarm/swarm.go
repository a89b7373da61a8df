// Package swarm turns the services of a Docker Swarm into dynamic configuration. It
// follows the manager's events, and polls the tasks of those services that are on their
// way somewhere: the manager tells no events of tasks.
package swarm

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/provider/docker"
	"github.com/sluice-edge/sluice/provider/labels"
)

const (
	// pollEvery is how often the tasks of a service on its way are asked for.
	pollEvery = 500 * time.Millisecond
	// restless is how long a service counts as on its way after it was touched, and
	// patience how long at most: one that never gets there is left to the regular round.
	restless = 3 * time.Second
	patience = 2 * time.Minute
	// defaultRefresh is used where refreshSeconds is zero.
	// freshFor is how long after its start a task that we meet is still taken as starting.
	freshFor       = 30 * time.Second
	defaultRefresh = 15 * time.Second
	defaultTimeout = 30 * time.Second
)

// Options tune a Provider. The zero value is ready to use.
type Options struct {
	Log zerolog.Logger
	// Compat404 leaves out services without a running task, so that their hosts get the
	// reference's 404 instead of 503.
	Compat404 bool
	// Hold is how long requests wait for a task, where no label says.
	Hold config.Duration
	// Ready is the probe of tasks that have started, where no label says; empty means none.
	Ready string
	// Beside is the Docker provider that runs too, if any: settings that were meant for
	// this one are often written there.
	Beside *config.DockerProvider
	// Stopping, if set, is told the server URLs of tasks that are about to stop, before the
	// update that fences them goes out. It must not block.
	Stopping func(urls []string)
	// Notice is as in package docker.
	Notice func(config.Problem)
}

// Provider watches one swarm through one of its managers.
type Provider struct {
	log    zerolog.Logger
	cfg    config.SwarmProvider
	opts   Options
	build  *labels.Builder
	static []config.Problem // what is wrong with the options

	// What follows belongs to Run.
	services map[string]*service
	nodes    map[string]string // ID -> address
	networks map[string]string // ID -> name
	self     docker.Self
	merger   *labels.Merger

	provider.Orders
}

// service is what the provider knows of one service.
type service struct {
	swarm.Service
	tasks []task
	// touched is when it last changed, and began when it last set out; polls are made while it is on its way.
	touched, began time.Time
	seen           bool
	share          *labels.Share
}

// task is a running task.
type task struct {
	id       string
	networks []docker.Network
	host     bool   // uses the network of its node
	node     string // address of its node
	ports    []swarm.PortConfig
	// leaving is set for a task that is to stop.
	leaving bool
	name    string
	// started is when it began to run, by the manager's clock, in ns since 1970; fresh is set
	// if that was a moment before we learned of it.
	started int64
	fresh   bool
}

// New returns a Provider of the swarm that cfg names.
func New(cfg *config.SwarmProvider, opts Options) *Provider {
	p := &Provider{log: opts.Log, cfg: *cfg, opts: opts, services: map[string]*service{}, nodes: map[string]string{},
		networks: map[string]string{}, merger: labels.NewMerger(), Orders: make(provider.Orders)}
	p.build, p.static = labels.NewBuilder(labels.Options{
		ExposedByDefault: cfg.ExposedByDefault, DefaultRule: cfg.DefaultRule, Constraints: cfg.Constraints,
		AllowEmptyServices: cfg.AllowEmptyServices, Compat404: opts.Compat404, Hold: opts.Hold, Ready: opts.Ready,
	})
	if b := opts.Beside; b != nil && ((b.Constraints != "" && cfg.Constraints == "") || (!b.ExposedByDefault && cfg.ExposedByDefault)) {
		p.static = append(p.static, config.Problem{Source: "static configuration", Field: "providers.swarm",
			Code: config.CodeInvalidValue, Severity: config.Warning,
			Text:       "exposes every service: constraints or exposedByDefault are set for providers.docker, which is a provider of its own",
			Suggestion: "write the options below providers.swarm, and drop providers.docker if no container outside the swarm is meant"})
	}
	return p
}

// Name implements provider.Provider.
func (*Provider) Name() string { return "swarm" }

// Run implements provider.Provider.
func (p *Provider) Run(ctx context.Context, out chan<- provider.Update) error {
	return docker.Stay(ctx, p.Name(), &p.cfg.Engine, p.log, p.opts.Notice, out, func(ctx context.Context, cli *client.Client) (bool, error) {
		return p.session(ctx, cli, out)
	})
}

func (p *Provider) timeout() time.Duration {
	return cmp.Or(time.Duration(p.cfg.HTTPClientTimeout), defaultTimeout)
}

// rebuild makes the share of a service anew. It reports whether the share changed.
func (p *Provider) rebuild(s *service) bool {
	w := &labels.Workload{Key: s.Spec.Name + "\x00" + s.ID, Name: s.Spec.Name, Source: "service " + s.Spec.Name,
		Labels: s.Spec.Labels, Created: s.CreatedAt, Rank: labels.Live, Swarm: true, Place: placer{p, s},
		Engine: p.Name(), Asleep: s.asleep()}
	if r := s.Spec.Mode.Replicated; r != nil && r.Replicas != nil && *r.Replicas == 1 {
		w.Container = s.Spec.Name + ".1" // several would make as many rules, which contradict each other
	}
	switch {
	case len(s.tasks) == 0:
		w.Rank = labels.Down
	case !slices.ContainsFunc(s.tasks, func(t task) bool { return !t.leaving }):
		w.Rank = labels.Fenced
	}
	s.seen = s.seen || w.Rank == labels.Live
	w.Seen = s.seen
	share := p.build.Build(w)
	if share == nil && s.share == nil {
		return false
	}
	p.merger.Replace(s.share, share)
	s.share = share
	return true
}

// forget drops a service and its share.
func (p *Provider) forget(s *service) {
	p.merger.Replace(s.share, nil)
	delete(p.services, s.ID)
}

// update is the state to send.
func (p *Provider) update(at time.Time) provider.Update {
	dyn, problems := p.merger.Result()
	return provider.Update{Provider: p.Name(), Config: dyn, Problems: slices.Concat(p.static, problems), At: at}
}

// onItsWay reports whether the tasks of a service are likely to change soon.
func (s *service) onItsWay(now time.Time) bool {
	if now.Sub(s.began) > patience {
		return false
	}
	if now.Sub(s.touched) < restless {
		return true
	}
	if u := s.UpdateStatus; u != nil && (u.State == swarm.UpdateStateUpdating || u.State == swarm.UpdateStateRollbackStarted) {
		return true
	}
	running := 0
	for _, t := range s.tasks {
		if t.leaving {
			return true
		}
		running++
	}
	r := s.Spec.Mode.Replicated
	return r != nil && r.Replicas != nil && uint64(running) != *r.Replicas
}

// touch notes that something happened to a service.
func (s *service) touch(now time.Time) {
	if !s.onItsWay(now) || s.began.IsZero() {
		s.began = now
	}
	s.touched = now
}

// running gives the tasks that run, sorted by slot, from all tasks of a service.
func (p *Provider) running(all []swarm.Task) []task {
	var out []task
	slices.SortFunc(all, func(a, b swarm.Task) int { return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.ID, b.ID)) })
	for i := range all {
		t := &all[i]
		if t.Status.State != swarm.TaskStateRunning {
			continue
		}
		n := task{id: t.ID, node: p.nodes[t.NodeID], leaving: t.DesiredState != swarm.TaskStateRunning, ports: t.Status.PortStatus.Ports, name: t.ID}
		if at := t.Status.Timestamp; !at.IsZero() {
			n.started, n.fresh = at.UnixNano(), time.Since(at) < freshFor
		}
		for _, a := range t.NetworksAttachments {
			if a.Network.Spec.Name == "host" {
				n.host = true
				continue
			}
			w := docker.Network{Name: a.Network.Spec.Name, ID: a.Network.ID}
			for _, addr := range a.Addresses {
				w.IP, w.IP6 = pick(addr, w.IP, w.IP6)
			}
			n.networks = append(n.networks, w)
		}
		slices.SortFunc(n.networks, func(a, b docker.Network) int { return cmp.Compare(a.Name, b.Name) })
		out = append(out, n)
	}
	return out
}

// same reports whether two lists of tasks say the same.
func same(a, b []task) bool {
	return slices.EqualFunc(a, b, func(x, y task) bool {
		return x.id == y.id && x.started == y.started && x.leaving == y.leaving && x.node == y.node && slices.Equal(x.networks, y.networks) && slices.Equal(x.ports, y.ports)
	})
}

// ids are the IDs of the services that are on their way, sorted.
func (p *Provider) onTheirWay(now time.Time) []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(p.services)) {
		if p.services[id].onItsWay(now) {
			out = append(out, id)
		}
	}
	return out
}
