package swarm

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/provider/docker"
	"github.com/sluice-edge/sluice/provider/labels"
)

var _ provider.Sleeper = (*Provider)(nil)

const (
	// needed bounds the wait for a running task of what a unit depends on.
	needed = time.Minute
	// attempts bounds how often a service is changed anew that somebody else has changed meanwhile.
	attempts = 5
	// replicasLabel keeps how many replicas a service had, beside the service itself: it has to
	// outlive this program.
	replicasLabel = "sluice.idle.replicas"
)

// errGlobal is told of a service that has no number of replicas.
var errGlobal = errors.New("it is not replicated, so it cannot be scaled")

// order is an order with its members and what they depend on. To sleep is to be scaled to
// zero, to wake to be scaled to what it was.
type order struct {
	*provider.Order
	members, needs []member
	err            error
}

// member is a service of a unit, as it was when the order came.
type member struct {
	id, name string
	replicas uint64 // to scale to
}

// replicas is how many tasks are wanted; ok is false for a service that has no number.
func (s *service) replicas() (n uint64, ok bool) {
	r := s.Spec.Mode.Replicated
	if r == nil || r.Replicas == nil {
		return 0, false
	}
	return *r.Replicas, true
}

// asleep reports whether a request may wake the service.
func (s *service) asleep() bool {
	n, ok := s.replicas()
	return ok && n == 0 && labels.Idles(s.Spec.Labels)
}

// obey begins an order; ended completes it.
func (s *session) obey(ctx context.Context, asked *provider.Order) {
	o := &order{Order: asked}
	var list []*service
	for _, id := range slices.Sorted(maps.Keys(s.p.services)) {
		svc := s.p.services[id]
		if own, ok := labels.ReadSleeper(svc.Spec.Name, svc.Spec.Labels); ok && own.Unit == o.Unit && s.p.build.Allows(svc.Spec.Labels) {
			list = append(list, svc)
		}
	}
	if len(list) == 0 {
		o.Done(nil)
		return
	}
	if !o.Wake && s.p.neededElsewhere(list, list) {
		o.Done(provider.ErrNeeded)
		return
	}
	for _, svc := range list {
		if _, ok := svc.replicas(); !ok {
			o.Done(docker.NewOrderError("service "+svc.Spec.Name+" cannot be put to sleep", errGlobal))
			return
		}
	}
	o.members, o.needs = membersOf(list), membersOf(s.p.needs(list, o.Wake))
	if !o.Wake {
		s.retire(list)
	}
	s.wg.Go(func() {
		if o.Wake {
			o.err = s.wakeAll(ctx, o)
		} else {
			o.err = s.sleepAll(ctx, o)
		}
		select {
		case s.obeyed <- o:
		case <-ctx.Done():
			o.Done(ctx.Err())
		}
	})
}

func membersOf(list []*service) []member {
	var out []member
	for _, svc := range list {
		own, _ := labels.ReadSleeper(svc.Spec.Name, svc.Spec.Labels)
		out = append(out, member{svc.ID, svc.Spec.Name, max(1, own.Replicas, noted(svc.Spec.Labels))})
	}
	return out
}

// noted reads replicasLabel of a service that has no other label about sleep.
func noted(l map[string]string) uint64 {
	n, _ := strconv.ParseUint(l[replicasLabel], 10, 32)
	return n
}

// retire takes the tasks of services that are to sleep out of rotation.
func (s *session) retire(list []*service) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, svc := range list {
		for _, t := range svc.tasks {
			s.stopping[t.id] = true
		}
		s.touched[svc.ID] = now
	}
}

// ended takes the end of an order into the model: what was not put to sleep serves again.
func (s *session) ended(o *order) {
	now := time.Now()
	s.mu.Lock()
	for _, m := range slices.Concat(o.members, o.needs) {
		s.touched[m.id] = now
	}
	s.mu.Unlock()
	if o.err != nil && !o.Wake {
		for _, m := range o.members {
			svc := s.p.services[m.id]
			if svc == nil {
				continue
			}
			for _, t := range svc.tasks {
				delete(s.fenced, t.id)
			}
			svc.Version.Index = 0 // so that the answer counts as a change
		}
	}
	o.Done(o.err)
}

// dependsOn reports whether a service's labels say that it needs the other one, by its name or
// by its name in the same stack.
func (s *service) dependsOn(other *service) bool {
	own, ok := labels.ReadSleeper(s.Spec.Name, s.Spec.Labels)
	if !ok || s == other {
		return false
	}
	stack := s.Spec.Labels[stackNamespace]
	return slices.ContainsFunc(own.DependsOn, func(name string) bool {
		return name == other.Spec.Name || stack != "" && stack == other.Spec.Labels[stackNamespace] && stack+"_"+name == other.Spec.Name
	})
}

// neededElsewhere reports whether a service outside of group that is awake depends on one of list.
func (p *Provider) neededElsewhere(list, group []*service) bool {
	for _, svc := range p.services {
		if n, ok := svc.replicas(); ok && n == 0 || slices.Contains(group, svc) || !labels.Idles(svc.Spec.Labels) {
			continue
		}
		if slices.ContainsFunc(list, svc.dependsOn) {
			return true
		}
	}
	return false
}

// needs gives what a unit depends on: to wake what has no replicas, to sleep what nothing else
// needs and what does not sleep by labels of its own.
func (p *Provider) needs(unit []*service, wake bool) []*service {
	var out []*service
	for _, id := range slices.Sorted(maps.Keys(p.services)) {
		svc := p.services[id]
		n, ok := svc.replicas()
		if !ok || slices.Contains(unit, svc) || !slices.ContainsFunc(unit, func(m *service) bool { return m.dependsOn(svc) }) {
			continue
		}
		if wake && n == 0 || !wake && n > 0 && !sleepsAlone(svc) && !p.neededElsewhere([]*service{svc}, unit) {
			out = append(out, svc)
		}
	}
	return out
}

// sleepsAlone reports whether a service has labels about sleep other than the note of its replicas.
func sleepsAlone(svc *service) bool {
	for k := range svc.Spec.Labels {
		if k = strings.ToLower(k); k == "sluice.idle" || strings.HasPrefix(k, "sluice.idle.") && k != replicasLabel {
			return true
		}
	}
	return false
}

// wakeAll scales what a unit depends on, waits for a task of each, then scales the unit.
func (s *session) wakeAll(ctx context.Context, o *order) error {
	for _, m := range o.needs {
		if err := s.scale(ctx, m, true); err != nil {
			return err
		}
		s.awaitTask(ctx, m)
	}
	for _, m := range o.members {
		if err := s.scale(ctx, m, true); err != nil {
			return err
		}
	}
	return nil
}

// sleepAll scales a unit to zero, then what only it depends on.
func (s *session) sleepAll(ctx context.Context, o *order) error {
	if err := o.Settle(ctx); err != nil {
		return err
	}
	for _, m := range slices.Concat(o.members, o.needs) {
		if err := s.scale(ctx, m, false); err != nil {
			return err
		}
	}
	return nil
}

// scale changes the number of replicas: to zero with a note of what it was, or back.
func (s *session) scale(ctx context.Context, m member, up bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.p.timeout())
	defer cancel()
	what := "service " + m.name + " cannot be scaled"
	for range attempts {
		svc, _, err := s.cli.ServiceInspectWithRaw(ctx, m.id, swarm.ServiceInspectOptions{})
		if errdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return docker.NewOrderError(what, err)
		}
		r := svc.Spec.Mode.Replicated
		if r == nil || r.Replicas == nil {
			return docker.NewOrderError(what, errGlobal)
		}
		had := *r.Replicas
		if up == (had > 0) {
			return nil
		}
		to := uint64(0)
		if up {
			to = m.replicas
		} else {
			svc.Spec.Labels = maps.Clone(svc.Spec.Labels)
			if svc.Spec.Labels == nil {
				svc.Spec.Labels = map[string]string{}
			}
			svc.Spec.Labels[replicasLabel] = strconv.FormatUint(had, 10)
		}
		svc.Spec.Mode.Replicated = &swarm.ReplicatedService{Replicas: &to}
		_, err = s.cli.ServiceUpdate(ctx, m.id, svc.Version, svc.Spec, swarm.ServiceUpdateOptions{})
		if err == nil {
			return nil
		}
		if !strings.Contains(err.Error(), "out of sequence") {
			return docker.NewOrderError(what, err)
		}
	}
	return docker.NewOrderError(what, errors.New("somebody else changes it all the time"))
}

// awaitTask waits for a running task; one with a health check runs once that passes.
func (s *session) awaitTask(ctx context.Context, m member) {
	ctx, cancel := context.WithTimeout(ctx, needed)
	defer cancel()
	f := filters.NewArgs(filters.Arg("service", m.id), filters.Arg("desired-state", "running"))
	for {
		tasks, err := s.cli.TaskList(ctx, swarm.TaskListOptions{Filters: f})
		if err != nil || slices.ContainsFunc(tasks, func(t swarm.Task) bool { return t.Status.State == swarm.TaskStateRunning }) {
			return
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			s.p.log.Warn().Str("serviceName", cmp.Or(m.name, m.id)).Msg("has no running task in time; what depends on it is started nevertheless")
			return
		}
	}
}
