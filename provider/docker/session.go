package docker

import (
	"context"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/provider/labels"
	"golang.org/x/sync/errgroup"
)

// session is one connection to the engine, from the subscription to its end.
type session struct {
	p       *Provider
	cli     *client.Client
	out     chan<- provider.Update
	queue   eventQueue
	results chan result
	// asking holds the containers being inspected; true means that something happened
	// meanwhile, so the answer may be old and is asked for again.
	asking map[string]bool
	slots  chan struct{}
	wg     sync.WaitGroup
	dirty  bool
	at     time.Time // when the first change of the next update was noticed
	wake   *time.Timer
	retry  []string // containers to be asked about again
	obeyed chan *order
}

// result is the answer to an inspection.
type result struct {
	id  string
	c   *item // nil if there is no such container
	err error
	at  time.Time
}

// session subscribes, lists, then follows the events until the connection breaks. It
// reports whether the engine was reached.
func (p *Provider) session(ctx context.Context, cli *client.Client, out chan<- provider.Update) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &session{p: p, cli: cli, out: out, results: make(chan result), obeyed: make(chan *order), asking: map[string]bool{},
		slots: make(chan struct{}, inspectLimit), queue: eventQueue{ready: make(chan struct{}, 1)}}
	defer func() { cancel(); s.wg.Wait() }()

	// Ask something small first: the client negotiates its version in it, and the error
	// of an engine that is not there is the clearest.
	if err := s.ping(ctx); err != nil {
		return false, err
	}
	broken := make(chan error, 2)
	if p.engine.Watch {
		// Subscribe before listing, so that nothing falls between.
		s.subscribe(ctx, broken, filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)),
			filters.Arg("event", "create"), filters.Arg("event", "start"), filters.Arg("event", "die"),
			filters.Arg("event", "kill"), filters.Arg("event", "stop"), filters.Arg("event", "pause"),
			filters.Arg("event", "unpause"), filters.Arg("event", "rename"), filters.Arg("event", "health_status"),
			filters.Arg("event", "destroy")))
		s.subscribe(ctx, broken, filters.NewArgs(filters.Arg("type", string(events.NetworkEventType)),
			filters.Arg("event", "connect"), filters.Arg("event", "disconnect")))
	}
	select {
	case err := <-broken:
		return false, err
	default:
	}
	start := time.Now()
	p.self = FindSelf(ctx, cli, p.timeout())
	if err := s.list(ctx); err != nil {
		return false, err
	}
	if !p.send(ctx, out, p.update(start)) {
		return true, nil
	}
	p.log.Info().Int("containers", len(p.items)).Dur("took", time.Since(start)).Msg("engine listed")
	if !p.engine.Watch {
		return true, nil
	}
	return true, s.follow(ctx, broken)
}

func (s *session) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(s.p.timeout(), dialTimeout))
	defer cancel()
	_, err := s.cli.Ping(ctx)
	return err
}

// subscribe pumps events into the queue. The engine drops events that are not read in
// time, so nothing may hold up the pump.
func (s *session) subscribe(ctx context.Context, broken chan<- error, f filters.Args) {
	ctx, cancel := context.WithCancel(ctx)
	slow := time.AfterFunc(s.p.timeout(), cancel) // Events returns with the head of the answer
	msgs, errs := s.cli.Events(ctx, events.ListOptions{Filters: f})
	slow.Stop()
	s.wg.Go(func() {
		defer cancel()
		for {
			select {
			case m := <-msgs:
				s.queue.put(event{m, time.Now()})
			case err := <-errs:
				if err == nil {
					err = errClosed
				}
				broken <- err
				return
			}
		}
	})
}

// list makes the model of all containers anew. Only candidates that run are inspected.
func (s *session) list(ctx context.Context) error {
	p := s.p
	listCtx, cancel := context.WithTimeout(ctx, p.timeout())
	defer cancel()
	list, err := s.cli.ContainerList(listCtx, container.ListOptions{All: true})
	if err != nil {
		return err
	}
	items := make(map[string]*item, len(list))
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(inspectLimit)
	for i := range list {
		c := fromList(&list[i])
		mu.Lock()
		items[c.id] = c
		mu.Unlock()
		// Of one that stands still and sleeps when idle it must be known since when.
		if !p.build.Candidate(c.labels) || !c.running && !labels.Idles(c.labels) {
			continue
		}
		g.Go(func() error {
			ictx, cancel := context.WithTimeout(gctx, p.timeout())
			defer cancel()
			r, err := s.cli.ContainerInspect(ictx, c.id)
			switch {
			case errdefs.IsNotFound(err):
				mu.Lock()
				delete(items, c.id)
				mu.Unlock()
			case err != nil:
				return err
			default:
				mu.Lock()
				items[c.id] = fromInspect(&r)
				mu.Unlock()
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	old := p.items
	p.items = items
	clear(p.problem)
	for id, c := range items {
		if was := old[id]; was != nil {
			c.take(was)
		}
		c.found(old[id] == nil, time.Now())
	}
	for id, was := range old {
		if items[id] == nil {
			p.forget(was)
		}
	}
	if err := s.bases(ctx); err != nil {
		return err
	}
	for _, c := range p.items {
		p.rebuild(c)
	}
	return nil
}

// bases inspects the containers whose network others use and that were not inspected.
func (s *session) bases(ctx context.Context) error {
	for _, c := range s.p.items {
		b := s.p.base(c)
		if !c.inspected || b == nil || b.inspected || !b.running {
			continue
		}
		ictx, cancel := context.WithTimeout(ctx, s.p.timeout())
		r, err := s.cli.ContainerInspect(ictx, b.id)
		cancel()
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		n := fromInspect(&r)
		n.take(b)
		s.p.items[b.id] = n
	}
	return nil
}
