package docker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/provider/labels"
	"github.com/sluice-edge/sluice/telemetry"
	"golang.org/x/sync/errgroup"
)

var _ provider.Sleeper = (*Provider)(nil)

const (
	// healthy bounds the wait for the health check of what a unit depends on, healthyEvery is
	// how often it is looked at.
	healthy      = time.Minute
	healthyEvery = 100 * time.Millisecond
)

// order is an order with its members and what they depend on, as they were when it came.
type order struct {
	*provider.Order
	members, needs []*item
	err            error
}

// found completes what the list tells of a container. One that was met paused is taken as put
// to sleep, if that is how it sleeps: an earlier run of this program did it.
func (c *item) found(unknown bool, now time.Time) {
	if c.running && !c.paused || !labels.Idles(c.labels) {
		return
	}
	if c.down.After(now) {
		c.down = now // another clock
	}
	c.rested = c.rested || now.Sub(c.down) >= labels.WakeGrace
	if s, ok := labels.ReadSleeper(c.name, c.labels); ok && unknown && c.paused && s.Pause {
		c.slept = true
	}
}

// stoodSince is when a container that does not run stopped, or was made if it never ran.
func stoodSince(finished string, created time.Time) time.Time {
	if at, err := time.Parse(time.RFC3339Nano, finished); err == nil && at.After(created) {
		return at
	}
	return created
}

// asleep reports whether a request may wake the container.
func (c *item) asleep() bool {
	if !c.gone.IsZero() || c.running && !c.paused || !labels.Idles(c.labels) {
		return false
	}
	return c.slept || c.rested && !c.running
}

// resting reports that the container stands still, and will count as asleep in a while.
func (c *item) resting() bool {
	return !c.running && c.gone.IsZero() && !c.slept && !c.rested && labels.Idles(c.labels)
}

// obey begins an order; ended completes it.
func (s *session) obey(ctx context.Context, asked *provider.Order) {
	o := &order{Order: asked}
	o.members = s.p.unit(o.Unit)
	if len(o.members) == 0 {
		o.Done(nil) // gone meanwhile: the next table knows
		return
	}
	if !o.Wake {
		if s.p.neededElsewhere(o.members, o.members) {
			o.Done(provider.ErrNeeded)
			return
		}
		o.members = slices.DeleteFunc(o.members, func(c *item) bool { return !c.running || c.paused })
		s.retire(o.members)
	}
	o.needs = copies(s.p.needs(o))
	o.members = copies(o.members)
	s.wg.Go(func() {
		if o.Wake {
			o.err = s.start(ctx, o)
		} else {
			o.err = s.stop(ctx, o)
		}
		select {
		case s.obeyed <- o:
		case <-ctx.Done():
			o.Done(ctx.Err())
		}
	})
}

// copies are for use beside the loop.
func copies(list []*item) []*item {
	out := make([]*item, 0, len(list))
	for _, c := range list {
		own := *c
		out = append(out, &own)
	}
	return out
}

// retire takes containers that are to sleep out of rotation, as their stop signal would.
func (s *session) retire(members []*item) {
	now := time.Now()
	for _, c := range members {
		c.stopping, c.slept = now, true
		if s.p.opts.Stopping != nil && c.share != nil {
			s.p.opts.Stopping(c.share.URLs())
		}
		s.rebuild(c, now)
	}
}

// ended takes the end of an order into the model: what was not put to sleep serves again.
func (s *session) ended(o *order) {
	if o.err != nil && !o.Wake {
		now := time.Now()
		for _, m := range o.members {
			if c := s.p.items[m.id]; c != nil && c.running && !c.paused {
				c.stopping, c.slept = time.Time{}, false
				s.rebuild(c, now)
			}
		}
	}
	o.Done(o.err)
}

// unit gives the containers that sleep and wake together, but for those that a newer one of
// the same place in compose has taken the place of. They are in the order of their names.
func (p *Provider) unit(name string) []*item {
	var out []*item
	for _, c := range p.items {
		if s, ok := labels.ReadSleeper(c.name, c.labels); ok && s.Unit == name && c.gone.IsZero() && p.build.Allows(c.labels) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *item) int { return a.created.Compare(b.created) })
	newest := map[string]*item{}
	for _, c := range out {
		if k := composePlace(c.labels); k != "" {
			newest[k] = c
		}
	}
	return slices.DeleteFunc(out, func(c *item) bool { k := composePlace(c.labels); return k != "" && newest[k] != c && !c.running })
}

// composePlace is the place that at most one container of compose has; empty outside compose.
func composePlace(l map[string]string) string {
	project, service := l[labels.ComposeProject], l[labels.ComposeService]
	if project == "" || service == "" {
		return ""
	}
	return project + "\x00" + service + "\x00" + l["com.docker.compose.container-number"]
}

// dependsOn reports whether a container's labels say that it needs the other one, by the
// other's name or its compose service in the same project.
func (c *item) dependsOn(other *item) bool {
	s, ok := labels.ReadSleeper(c.name, c.labels)
	if !ok || c == other {
		return false
	}
	for _, name := range s.DependsOn {
		if name == other.name {
			return true
		}
		if project := c.labels[labels.ComposeProject]; project != "" && project == other.labels[labels.ComposeProject] && name == other.labels[labels.ComposeService] {
			return true
		}
	}
	return false
}

// neededElsewhere reports whether a running container outside of group depends on one of list.
func (p *Provider) neededElsewhere(list, group []*item) bool {
	for _, c := range p.items {
		if !c.running || c.paused || !c.stopping.IsZero() || slices.Contains(group, c) || !labels.Idles(c.labels) {
			continue
		}
		if slices.ContainsFunc(list, c.dependsOn) {
			return true
		}
	}
	return false
}

// needs gives what a unit depends on: to be started all of it, to be stopped what nothing else
// needs and what does not sleep by labels of its own.
func (p *Provider) needs(o *order) []*item {
	var out []*item
	for _, c := range p.items {
		if c.gone.IsZero() && !slices.Contains(o.members, c) && slices.ContainsFunc(o.members, func(m *item) bool { return m.dependsOn(c) }) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *item) int { return a.created.Compare(b.created) })
	if o.Wake {
		return out
	}
	return slices.DeleteFunc(out, func(c *item) bool {
		return !c.running || c.paused || labels.Idles(c.labels) || p.neededElsewhere([]*item{c}, o.members)
	})
}

// start starts what a unit depends on, one after the other, then its containers. It runs
// beside the loop.
func (s *session) start(ctx context.Context, o *order) error {
	for _, c := range o.needs {
		if err := s.startOne(ctx, c); err != nil {
			return err
		}
		s.awaitHealthy(ctx, c)
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, c := range o.members {
		g.Go(func() error { return s.startOne(gctx, c) })
	}
	return g.Wait()
}

// startOne starts a container, or lets it go on if it is paused.
func (s *session) startOne(ctx context.Context, c *item) error {
	ctx, cancel := context.WithTimeout(ctx, max(s.p.timeout(), healthy))
	defer cancel()
	r, err := s.cli.ContainerInspect(ctx, c.id)
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return orderError(c, "asked about", err)
	case r.State != nil && r.State.Paused:
		err = s.cli.ContainerUnpause(ctx, c.id)
	case r.State != nil && r.State.Running:
		return nil
	default:
		err = s.cli.ContainerStart(ctx, c.id, container.StartOptions{})
	}
	if errdefs.IsNotFound(err) || errdefs.IsNotModified(err) {
		return nil
	}
	return orderError(c, "started", err)
}

// awaitHealthy waits for the health check of a container, if it has one.
func (s *session) awaitHealthy(ctx context.Context, c *item) {
	ctx, cancel := context.WithTimeout(ctx, healthy)
	defer cancel()
	t := time.NewTicker(healthyEvery)
	defer t.Stop()
	for {
		r, err := s.cli.ContainerInspect(ctx, c.id)
		if err != nil || r.State == nil || !r.State.Running || r.State.Health == nil ||
			r.State.Health.Status == container.Healthy || r.State.Health.Status == container.NoHealthcheck {
			return
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			s.p.log.Warn().Str(telemetry.Container, c.name).Msg("not healthy in time; what depends on it is started nevertheless")
			return
		}
	}
}

// stop puts a unit to sleep, then what only it depends on.
func (s *session) stop(ctx context.Context, o *order) error {
	if err := o.Settle(ctx); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	pause := false
	for _, c := range o.members {
		own, _ := labels.ReadSleeper(c.name, c.labels)
		pause = pause || own.Pause
		g.Go(func() error { return s.stopOne(gctx, c, own.Pause) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, c := range slices.Backward(o.needs) {
		if err := s.stopOne(ctx, c, pause); err != nil {
			return err
		}
	}
	return nil
}

// stopOne stops or pauses a container; the engine answers when that is done.
func (s *session) stopOne(ctx context.Context, c *item, pause bool) error {
	limit := max(s.p.timeout(), c.stopTimeout+stopSlack)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if pause {
		return orderError(c, "paused", s.cli.ContainerPause(ctx, c.id))
	}
	err := s.cli.ContainerStop(ctx, c.id, container.StopOptions{})
	if errdefs.IsNotFound(err) || errdefs.IsNotModified(err) {
		return nil
	}
	return orderError(c, "stopped", err)
}

// OrderError is an order that an engine refuses.
type OrderError struct {
	What string // "container web: cannot be started"
	Err  error
}

// NewOrderError gives an engine's refusal its place; what is as in OrderError.
func NewOrderError(what string, err error) *OrderError { return &OrderError{what, err} }

func orderError(c *item, what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &OrderError{"container " + c.name + " cannot be " + what, err}
}

// Error implements error.
func (e *OrderError) Error() string { return e.What + ": " + shorten(e.Err) }

// Unwrap gives the engine's error.
func (e *OrderError) Unwrap() error { return e.Err }

// Suggestion is what to do about it.
func (e *OrderError) Suggestion() string {
	if errdefs.IsPermissionDenied(e.Err) || errdefs.IsUnauthorized(e.Err) {
		return "let the socket proxy allow POST on containers (start, stop, pause, unpause) and, for Swarm, on services (update); or remove the labels sluice.idle"
	}
	return "see what the engine says; the next request tries again"
}
