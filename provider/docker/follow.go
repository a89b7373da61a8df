package docker

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/events"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider/labels"
	"github.com/sluice-edge/sluice/telemetry"
)

// event is an event of the engine and when it was received.
type event struct {
	events.Message
	at time.Time
}

// eventQueue holds events between the pumps and the loop, without a bound: the engine
// would drop what is not read, and one entry a container is little.
type eventQueue struct {
	mu    sync.Mutex
	list  []event
	ready chan struct{} // holds one token while the list is not empty
}

func (q *eventQueue) put(e event) {
	q.mu.Lock()
	q.list = append(q.list, e)
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *eventQueue) take() []event {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.list
	q.list = nil
	return l
}

// follow takes events and answers until the connection breaks.
func (s *session) follow(ctx context.Context, broken <-chan error) error {
	s.wake = time.NewTimer(time.Hour)
	defer s.wake.Stop()
	s.schedule(time.Now())
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return err
		case <-s.queue.ready:
		case r := <-s.results:
			s.apply(ctx, r)
		case now := <-s.wake.C:
			s.expire(ctx, now)
		case o := <-s.p.Orders:
			s.obey(ctx, o)
		case o := <-s.obeyed:
			s.ended(o)
		}
		for _, e := range s.queue.take() {
			s.event(ctx, e)
		}
		for more := true; more; {
			select {
			case r := <-s.results:
				s.apply(ctx, r)
			default:
				more = false
			}
		}
		if !s.dirty {
			continue
		}
		s.dirty = false
		u := s.p.update(s.at)
		s.at = time.Time{}
		if !s.p.send(ctx, s.out, u) {
			return nil
		}
		s.schedule(time.Now())
	}
}

// changed marks the model as changed by what was noticed at that time.
func (s *session) changed(at time.Time) {
	if !s.dirty || at.Before(s.at) {
		s.at = at
	}
	s.dirty = true
}

// event changes the model where the event says all, and asks the engine where it does not.
func (s *session) event(ctx context.Context, e event) {
	if e.Type == events.NetworkEventType {
		s.networkEvent(ctx, e)
		return
	}
	action, detail, _ := strings.Cut(string(e.Action), ":")
	id := e.Actor.ID
	s.p.log.Debug().Str(telemetry.Container, e.Actor.Attributes["name"]).Str("action", string(e.Action)).Msg("event")
	if _, ok := s.asking[id]; ok && action != "kill" {
		s.asking[id] = true
	}
	c := s.p.items[id]
	switch action {
	case "create":
		if c == nil {
			s.created(e)
		}
	case "start":
		s.started(ctx, c, e)
	case "kill":
		s.killed(c, e)
	case "destroy", "remove":
		s.destroyed(c, e.at)
	default:
		if c != nil && c.follow(action, strings.TrimSpace(detail), e.Actor.Attributes["name"]) {
			if !c.running {
				c.down = e.at
			}
			s.rebuild(c, e.at)
		}
	}
}

// follow applies an event that says all there is to know; it reports whether it changed anything.
func (c *item) follow(action, detail, name string) bool {
	switch action {
	case "die", "died", "stop":
		was := c.running || c.coming
		c.running, c.coming, c.paused, c.stopping = false, false, false, time.Time{}
		return was
	case "pause":
		c.paused, c.stopping = true, time.Time{}
	case "unpause":
		c.paused, c.slept = false, false
	case "health_status":
		c.health = detail
	case "rename":
		name = strings.TrimPrefix(name, "/")
		if name == "" || name == c.name {
			return false
		}
		c.name = name
	default:
		return false
	}
	return true
}

// created notes a container that does not run yet; its labels come with the event.
func (s *session) created(e event) {
	l := maps.Clone(e.Actor.Attributes)
	delete(l, "name")
	delete(l, "image")
	c := &item{id: e.Actor.ID, name: e.Actor.Attributes["name"], labels: l, created: e.at, down: e.at, coming: true}
	s.p.items[c.id] = c
	s.rebuild(c, e.at)
}

// started asks for a container that runs now, unless its labels say that it is none of ours.
func (s *session) started(ctx context.Context, c *item, e event) {
	// Labels that came with an event lack those named "name" and "image", which
	// constraints could ask for.
	sure := c != nil && (c.inspected || c.listed || s.p.engine.Constraints == "")
	if sure && !s.p.build.Candidate(c.labels) {
		c.running = true // in case others use its network
		return
	}
	s.ask(ctx, e.Actor.ID, e.at)
}

// killed fences a container at the moment its stop signal is sent: what it serves, it
// may finish, and nothing new is sent to it.
func (s *session) killed(c *item, e event) {
	if c == nil || !c.running || !c.stopping.IsZero() || !c.isStop(e.Actor.Attributes["signal"]) {
		return
	}
	c.stopping = e.at
	if s.p.opts.Stopping != nil && c.share != nil {
		if urls := c.share.URLs(); len(urls) > 0 {
			s.p.opts.Stopping(urls)
		}
	}
	s.rebuild(c, e.at)
}

// destroyed forgets a container, after a while if it served: its replacement may be on its way.
func (s *session) destroyed(c *item, at time.Time) {
	if c == nil {
		return
	}
	delete(s.p.problem, c.id)
	if c.seen && c.share != nil && !s.p.opts.Compat404 {
		c.gone = at
		s.rebuild(c, at)
		return
	}
	s.remove(c, at)
}

func (s *session) remove(c *item, at time.Time) {
	if c.share != nil {
		s.changed(at)
	}
	s.p.forget(c)
	s.dependants(c, at)
}

// networkEvent follows a container that was connected to a network or cut off from it.
// The events of networks name all containers; those we do not know are none of ours.
func (s *session) networkEvent(ctx context.Context, e event) {
	id := e.Actor.Attributes["container"]
	if id != "" && id == s.p.self.ID {
		s.p.self = FindSelf(ctx, s.cli, s.p.timeout())
		for _, c := range s.p.items {
			s.rebuild(c, e.at)
		}
	}
	c := s.p.items[id]
	if c == nil || !c.running || !c.inspected {
		return // before its start a container has no address, and the start asks
	}
	if e.Action == events.ActionDisconnect {
		// Its address is gone now; do not wait for the answer.
		n := len(c.networks)
		kept := c.networks[:0:0]
		for _, w := range c.networks {
			if w.ID != e.Actor.ID {
				kept = append(kept, w)
			}
		}
		if len(kept) < n && c.stopping.IsZero() {
			c.networks = kept
			s.rebuild(c, e.at)
		}
	}
	s.ask(ctx, id, e.at)
}

// rebuild makes the share of c and of those that use its network anew.
func (s *session) rebuild(c *item, at time.Time) {
	if s.p.rebuild(c) {
		s.changed(at)
	}
	s.dependants(c, at)
}

// dependants rebuilds the containers that use the network of c.
func (s *session) dependants(c *item, at time.Time) {
	for _, d := range s.p.items {
		if d != c && strings.HasPrefix(d.mode, "container:") && (strings.Contains(d.mode, c.id) || s.p.base(d) == c) {
			if s.p.rebuild(d) {
				s.changed(at)
			}
		}
	}
}

// ask inspects a container beside the loop.
func (s *session) ask(ctx context.Context, id string, at time.Time) {
	if _, ok := s.asking[id]; ok {
		s.asking[id] = true
		return
	}
	s.asking[id] = false
	s.wg.Go(func() {
		r := result{id: id, at: at}
		select {
		case s.slots <- struct{}{}:
			r.c, r.err = s.inspect(ctx, id)
			<-s.slots
		case <-ctx.Done():
			return
		}
		select {
		case s.results <- r:
		case <-ctx.Done():
		}
	})
}

// inspect gives nil for a container that is not there.
func (s *session) inspect(ctx context.Context, id string) (*item, error) {
	ctx, cancel := context.WithTimeout(ctx, s.p.timeout())
	defer cancel()
	r, err := s.cli.ContainerInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return fromInspect(&r), nil
}

// apply takes the answer to an inspection into the model.
func (s *session) apply(ctx context.Context, r result) {
	again := s.asking[r.id]
	delete(s.asking, r.id)
	if again {
		s.ask(ctx, r.id, r.at)
		return
	}
	was := s.p.items[r.id]
	switch {
	case r.err != nil:
		s.failed(was, r)
		return
	case r.c == nil:
		if was != nil && was.gone.IsZero() {
			s.remove(was, r.at)
		}
		return
	}
	delete(s.p.problem, r.id)
	c := r.c
	if was != nil {
		c.take(was)
	}
	s.p.items[c.id] = c
	if b := s.p.base(c); b != nil && !b.inspected && b.running {
		s.ask(ctx, b.id, r.at) // its answer rebuilds c
	} else if ref, ok := strings.CutPrefix(c.mode, "container:"); ok && b == nil && c.running {
		s.ask(ctx, ref, r.at)
	}
	s.rebuild(c, r.at)
}

// failed reports a container that the engine does not tell about. What was known of it stays.
func (s *session) failed(was *item, r result) {
	name := r.id
	if was != nil {
		name = was.name
	}
	s.p.log.Warn().Err(r.err).Str(telemetry.Container, name).Msg("container not inspected")
	s.p.problem[r.id] = config.Problem{Source: "container " + name, Code: config.CodeUnreachable, Severity: config.Error,
		Text: "the engine does not answer about it: " + shorten(r.err), Suggestion: "it is asked again"}
	s.retry = append(s.retry, r.id)
	s.changed(r.at)
	s.schedule(time.Now())
}

// schedule sets the timer to the next thing that happens by time alone.
func (s *session) schedule(now time.Time) {
	next := now.Add(time.Hour)
	if len(s.retry) > 0 {
		next = now.Add(time.Second)
	}
	for _, c := range s.p.items {
		if t, ok := c.deadline(); ok && t.Before(next) {
			next = t
		}
	}
	s.wake.Reset(max(time.Until(next), time.Millisecond))
}

// deadline is when a container that was removed is forgotten, one that ignored its stop signal
// gets requests again, or one that stands still counts as asleep.
func (c *item) deadline() (time.Time, bool) {
	switch {
	case !c.gone.IsZero():
		return c.gone.Add(c.lingers()), true
	case !c.stopping.IsZero():
		d := c.stopTimeout
		if d == 0 {
			d = defaultStopTimeout
		}
		return c.stopping.Add(d + stopSlack), true
	case c.resting():
		return c.down.Add(labels.WakeGrace), true
	}
	return time.Time{}, false
}

// lingers is how long a removed container keeps its hosts: as long as requests wait for its
// replacement.
func (c *item) lingers() time.Duration {
	if c.share == nil {
		return linger
	}
	return max(linger, c.share.Hold)
}

// expire does what is due.
func (s *session) expire(ctx context.Context, now time.Time) {
	for _, c := range s.p.items {
		if t, ok := c.deadline(); !ok || t.After(now) {
			continue
		}
		if !c.gone.IsZero() {
			s.remove(c, now)
			continue
		}
		if c.resting() {
			c.rested = true
			s.rebuild(c, now)
			continue
		}
		c.stopping = time.Time{}
		s.rebuild(c, now)
		s.ask(ctx, c.id, now)
	}
	for _, id := range s.retry {
		s.ask(ctx, id, now)
	}
	s.retry = nil
	s.schedule(now)
}
