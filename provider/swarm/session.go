package swarm

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/provider/docker"
)

// session is one connection to a manager, from the subscription to its end.
type session struct {
	p   *Provider
	cli *client.Client
	out chan<- provider.Update

	mu       sync.Mutex
	touched  map[string]time.Time // services that events spoke of, and when first
	stopping map[string]bool      // tasks that got their stop signal
	round    bool                 // an event asks for everything
	ready    chan struct{}        // holds a token while any of these says something
	wg       sync.WaitGroup
	obeyed   chan *order
	fenced   map[string]bool // tasks that got their stop signal, as taken from stopping
}

// errNoManager is what an engine that is no manager is told with.
var errNoManager = errors.New("this engine is not a manager of a swarm; use the endpoint of a manager, or run `docker swarm init`")

// session subscribes, lists, then follows events and polls until the connection breaks.
func (p *Provider) session(ctx context.Context, cli *client.Client, out chan<- provider.Update) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &session{p: p, cli: cli, out: out, touched: map[string]time.Time{}, stopping: map[string]bool{},
		fenced: map[string]bool{}, ready: make(chan struct{}, 1), obeyed: make(chan *order)}
	defer func() { cancel(); s.wg.Wait() }()

	pingCtx, stop := context.WithTimeout(ctx, min(p.timeout(), 10*time.Second))
	_, err := cli.Ping(pingCtx)
	stop()
	if err != nil {
		return false, err
	}
	broken := make(chan error, 2)
	if p.cfg.Watch {
		s.subscribe(ctx, broken, filters.NewArgs(filters.Arg("type", string(events.ServiceEventType)), filters.Arg("type", string(events.NodeEventType))))
		// Containers of this node tell of its tasks before the manager knows.
		s.subscribe(ctx, broken, filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)),
			filters.Arg("event", "start"), filters.Arg("event", "die"), filters.Arg("event", "kill"), filters.Arg("event", "health_status")))
	}
	start := time.Now()
	if err := s.all(ctx, start); err != nil {
		if strings.Contains(err.Error(), "not a swarm manager") {
			err = errNoManager
		}
		return false, err
	}
	if !s.send(ctx, start) {
		return true, nil
	}
	p.log.Info().Int("services", len(p.services)).Dur("took", time.Since(start)).Msg("swarm listed")
	if !p.cfg.Watch {
		return true, nil
	}
	return true, s.follow(ctx, broken)
}

func (s *session) send(ctx context.Context, at time.Time) bool {
	select {
	case s.out <- s.p.update(at):
		return true
	case <-ctx.Done():
		return false
	}
}

// subscribe pumps events into what the loop has to look at.
func (s *session) subscribe(ctx context.Context, broken chan<- error, f filters.Args) {
	ctx, cancel := context.WithCancel(ctx)
	slow := time.AfterFunc(s.p.timeout(), cancel)
	msgs, errs := s.cli.Events(ctx, events.ListOptions{Filters: f})
	slow.Stop()
	s.wg.Go(func() {
		defer cancel()
		for {
			select {
			case m := <-msgs:
				s.event(m, time.Now())
			case err := <-errs:
				if err == nil {
					err = errors.New("the engine closed the stream of events")
				}
				broken <- err
				return
			}
		}
	})
}

// event notes what an event asks for. It runs in the pumps.
func (s *session) event(m events.Message, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := m.Actor.ID
	switch m.Type {
	case events.NodeEventType:
		s.round = true // a node drained, gone or come back moves tasks of any service
	case events.ContainerEventType:
		id = m.Actor.Attributes["com.docker.swarm.service.id"]
		if id == "" {
			return
		}
		if m.Action == events.ActionKill {
			if !isStop(m.Actor.Attributes["signal"]) {
				return
			}
			s.stopping[m.Actor.Attributes["com.docker.swarm.task.id"]] = true
		}
	}
	if m.Type != events.NodeEventType {
		if _, ok := s.touched[id]; !ok {
			s.touched[id] = now
		}
	}
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// isStop reports whether a signal usually ends a program.
func isStop(signal string) bool {
	switch signal {
	case "1", "10", "12", "HUP", "USR1", "USR2", "SIGHUP", "SIGUSR1", "SIGUSR2":
		return false
	}
	return true
}

// follow looks at what events and time ask for.
func (s *session) follow(ctx context.Context, broken <-chan error) error {
	refresh := time.Duration(s.p.cfg.RefreshSeconds)
	if refresh <= 0 {
		refresh = defaultRefresh
	}
	nextRound := time.Now().Add(refresh)
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return err
		case <-s.ready:
		case <-timer.C:
		case o := <-s.p.Orders:
			s.obey(ctx, o)
		case o := <-s.obeyed:
			s.ended(o)
		}
		now := time.Now()
		touched, round := s.noted()
		at, changed := now, s.fence(touched)
		for _, t := range touched {
			if t.Before(at) {
				at = t
			}
		}
		if changed && !s.send(ctx, at) {
			return nil
		}
		var err error
		if round || !now.Before(nextRound) {
			changed, err = true, s.all(ctx, now)
			nextRound = time.Now().Add(refresh)
		} else {
			changed, err = s.some(ctx, now, touched)
		}
		if err != nil {
			return err
		}
		if changed && !s.send(ctx, at) {
			return nil
		}
		wait := time.Until(nextRound)
		if len(s.p.onTheirWay(now)) > 0 {
			wait = min(wait, pollEvery)
		}
		timer.Reset(max(wait, time.Millisecond))
	}
}

// noted takes what the pumps noted.
func (s *session) noted() (map[string]time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	touched, round := s.touched, s.round
	s.touched, s.round = map[string]time.Time{}, false
	for id := range s.stopping {
		s.fenced[id] = true
	}
	clear(s.stopping)
	return touched, round
}

// fence takes tasks that got their stop signal out at once, before the manager is asked.
func (s *session) fence(touched map[string]time.Time) bool {
	changed := false
	for id := range touched {
		svc := s.p.services[id]
		if svc == nil {
			continue
		}
		hit := false
		for i := range svc.tasks {
			if t := &svc.tasks[i]; s.fenced[t.id] && !t.leaving {
				t.leaving, hit = true, true
			}
		}
		if !hit {
			continue
		}
		was := svc.share
		changed = s.p.rebuild(svc) || changed
		if s.p.opts.Stopping != nil && was != nil {
			still := map[string]bool{}
			if svc.share != nil {
				for _, srv := range svc.share.Servers() {
					still[srv.URL] = !srv.Fenced
				}
			}
			if gone := slices.DeleteFunc(was.URLs(), func(u string) bool { return still[u] }); len(gone) > 0 {
				s.p.opts.Stopping(gone)
			}
		}
	}
	return changed
}

// all makes the model anew: networks, nodes, services and their tasks.
func (s *session) all(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, s.p.timeout())
	defer cancel()
	services, err := s.cli.ServiceList(ctx, swarm.ServiceListOptions{})
	if err != nil {
		return err
	}
	if err := s.surroundings(ctx); err != nil {
		return err
	}
	tasks, err := s.cli.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("desired-state", "running"))})
	if err != nil {
		return err
	}
	byService, fenced := map[string][]swarm.Task{}, map[string]bool{}
	for _, t := range tasks {
		byService[t.ServiceID] = append(byService[t.ServiceID], t)
		if s.fenced[t.ID] {
			fenced[t.ID] = true
		}
	}
	s.fenced = fenced
	self := docker.FindSelf(ctx, s.cli, s.p.timeout())
	moved := !maps.Equal(self.Networks, s.p.self.Networks)
	s.p.self = self
	there := map[string]bool{}
	for _, v := range services {
		there[v.ID] = true
		if !s.take(v, s.p.running(byService[v.ID]), now) && moved {
			s.p.rebuild(s.p.services[v.ID])
		}
	}
	for id, svc := range s.p.services {
		if !there[id] {
			s.p.forget(svc)
		}
	}
	return nil
}

// surroundings asks for the names of networks and the addresses of nodes.
func (s *session) surroundings(ctx context.Context) error {
	nets, err := s.cli.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("scope", "swarm"))})
	if err != nil {
		return err
	}
	clear(s.p.networks)
	for _, n := range nets {
		s.p.networks[n.ID] = n.Name
	}
	nodes, err := s.cli.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return err
	}
	clear(s.p.nodes)
	for _, n := range nodes {
		s.p.nodes[n.ID] = n.Status.Addr
	}
	return nil
}

// some asks about the services that were touched and those on their way.
func (s *session) some(ctx context.Context, now time.Time, touched map[string]time.Time) (bool, error) {
	ids := slices.Collect(maps.Keys(touched))
	for _, id := range s.p.onTheirWay(now) {
		if _, ok := touched[id]; !ok {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.p.timeout())
	defer cancel()
	f, g := filters.NewArgs(), filters.NewArgs()
	for _, id := range ids {
		f.Add("id", id)
		g.Add("service", id)
	}
	services, err := s.cli.ServiceList(ctx, swarm.ServiceListOptions{Filters: f})
	if err != nil {
		return false, err
	}
	var tasks []swarm.Task
	if len(services) > 0 {
		if tasks, err = s.cli.TaskList(ctx, swarm.TaskListOptions{Filters: g}); err != nil && !errdefs.IsNotFound(err) {
			return false, err
		}
	}
	if s.unknown(services) {
		if err := s.surroundings(ctx); err != nil {
			return false, err
		}
	}
	changed := false
	there := map[string]bool{}
	for _, v := range services {
		there[v.ID] = true
		own := slices.DeleteFunc(slices.Clone(tasks), func(t swarm.Task) bool { return t.ServiceID != v.ID })
		changed = s.take(v, s.p.running(own), now) || changed
		if _, ok := touched[v.ID]; ok {
			s.p.services[v.ID].touch(now)
		}
	}
	for _, id := range ids {
		if svc := s.p.services[id]; svc != nil && !there[id] {
			s.p.forget(svc)
			changed = true
		}
	}
	return changed, nil
}

// unknown reports whether a service has a network whose name is not known yet.
func (s *session) unknown(services []swarm.Service) bool {
	for _, v := range services {
		for _, ip := range v.Endpoint.VirtualIPs {
			if s.p.networks[ip.NetworkID] == "" {
				return true
			}
		}
	}
	return false
}

// take brings a service up to date. It reports whether that changed anything.
func (s *session) take(v swarm.Service, tasks []task, now time.Time) bool {
	for i := range tasks {
		tasks[i].leaving = tasks[i].leaving || s.fenced[tasks[i].id]
	}
	svc := s.p.services[v.ID]
	if svc == nil {
		svc = &service{Service: v, tasks: tasks}
		s.p.services[v.ID] = svc
		svc.touch(now)
		return s.p.rebuild(svc)
	}
	for i := range tasks { // what was fresh when it was met stays so
		for _, t := range svc.tasks {
			if t.id == tasks[i].id && t.started == tasks[i].started {
				tasks[i].fresh = t.fresh
			}
		}
	}
	changed := svc.Version.Index != v.Version.Index || !same(svc.tasks, tasks)
	svc.Service, svc.tasks = v, tasks
	if !changed {
		return false
	}
	svc.touch(now)
	return s.p.rebuild(svc)
}
