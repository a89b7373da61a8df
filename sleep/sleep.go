// Package sleep decides when applications are put to sleep because nobody asks for them, and
// has them woken when somebody does. It knows neither engines nor servers: providers stop and
// start, the data plane tells of requests.
package sleep

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider"
)

const (
	// lookEvery is how often the services are looked at: a unit sleeps that much late at most.
	lookEvery = time.Second
	// orderLimit bounds an order to an engine, what a unit depends on included.
	orderLimit = 3 * time.Minute
	// wakeLimit is how long a unit counts as being woken after its start; from then on a
	// request may try again.
	wakeLimit = 2 * time.Minute
	// wakeAgain is how long after an engine's refusal to start a unit it is not asked again,
	// and sleepAgain after its refusal to stop one.
	wakeAgain  = 5 * time.Second
	sleepAgain = time.Minute
)

// Service is what the data plane tells of a service that may sleep.
type Service struct {
	Idle *config.Idle
	// Used is when it was asked last, in ns since 1970.
	Used int64
	// Busy reports requests or tunnels under way, Up that a server of it is up.
	Busy, Up bool
}

// Options of a Keeper; all but Log must be set.
type Options struct {
	Log zerolog.Logger
	// Engine gives the provider of that name, or nil.
	Engine func(name string) provider.Sleeper
	// Services lists the services that may sleep.
	Services func() []Service
	// Changed is called when Problems has others.
	Changed func()
}

// Keeper puts units to sleep and has them woken while Run runs. It is safe for concurrent use.
type Keeper struct {
	opts Options

	mu    sync.Mutex
	units map[unitKey]*unit
	todo  []job
	ready chan struct{} // holds a token while there is something to do
}

type unitKey struct{ engine, unit string }

type state uint8

const (
	awake state = iota
	retiring
	asleep
	waking
)

// unit is what sleeps and wakes together.
type unit struct {
	state state
	since time.Time // of the state
	// wanted is set if a request came while the unit went to sleep.
	wanted bool
	// noSleep and noWake are until when the engine is not asked again after a refusal.
	noSleep, noWake time.Time
	problem         *config.Problem
}

// job is an order to be given.
type job struct {
	key  unitKey
	wake bool
}

// New returns a Keeper of nothing.
func New(o Options) *Keeper {
	return &Keeper{opts: o, units: map[unitKey]*unit{}, ready: make(chan struct{}, 1)}
}

// Wake is told of a request for something that may sleep and has no server. It returns since
// when that is being woken, in ns since 1970, or 0 if it does not sleep or cannot be woken. It
// does not block.
func (k *Keeper) Wake(idle *config.Idle) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := unitKey{idle.Engine, idle.Unit}
	u, now := k.units[key], time.Now()
	if u == nil {
		u = &unit{}
		k.units[key] = u
	}
	switch {
	case u.state == retiring:
		if !u.wanted {
			u.wanted, u.since = true, now
		}
		return u.since.UnixNano()
	case u.state == waking && now.Sub(u.since) < wakeLimit:
		return u.since.UnixNano()
	case u.state != asleep && !idle.Asleep, now.Before(u.noWake):
		return 0
	}
	k.wake(key, u, now)
	return now.UnixNano()
}

// wake orders a unit to be woken; mu is held.
func (k *Keeper) wake(key unitKey, u *unit, now time.Time) {
	u.state, u.since, u.wanted = waking, now, false
	k.do(job{key, true})
}

func (k *Keeper) do(j job) {
	k.todo = append(k.todo, j)
	select {
	case k.ready <- struct{}{}:
	default:
	}
}

// Run gives the orders until ctx ends, and waits for their ends.
func (k *Keeper) Run(ctx context.Context) {
	var orders sync.WaitGroup
	defer orders.Wait()
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.ready:
		case now := <-t.C:
			k.look(now)
		}
		k.mu.Lock()
		todo := k.todo
		k.todo = nil
		k.mu.Unlock()
		for _, j := range todo {
			orders.Go(func() { k.order(ctx, j) })
		}
	}
}

// sum is what the services of one unit say together.
type sum struct {
	after    time.Duration
	used     int64
	busy, up bool
}

func (k *Keeper) sums() map[unitKey]*sum {
	services := k.opts.Services()
	if len(services) == 0 {
		return nil
	}
	out := make(map[unitKey]*sum, len(services))
	for _, s := range services {
		key := unitKey{s.Idle.Engine, s.Idle.Unit}
		v := out[key]
		if v == nil {
			v = &sum{}
			out[key] = v
		}
		v.after, v.used = max(v.after, time.Duration(s.Idle.After)), max(v.used, s.Used)
		v.busy, v.up = v.busy || s.Busy, v.up || s.Up
	}
	return out
}

// look finds the units whose time has come.
func (k *Keeper) look(now time.Time) {
	sums := k.sums()
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, u := range k.units {
		// Those that are gone are forgotten, and those that were woken are awake once they serve.
		switch s := sums[key]; {
		case u.state == retiring:
		case s == nil:
			delete(k.units, key)
		case s.up && u.state != awake && now.Sub(u.since) > lookEvery:
			if u.state == waking {
				k.opts.Log.Info().Str("unit", key.unit).Str("provider", key.engine).Dur("took", time.Unix(0, s.used).Sub(u.since)).Msg("application woken")
			}
			u.state, u.since = awake, now
		}
	}
	for key, s := range sums {
		if s.busy || !s.up || s.after <= 0 || now.Sub(time.Unix(0, s.used)) < s.after {
			continue
		}
		u := k.units[key]
		if u == nil {
			u = &unit{since: now}
			k.units[key] = u
		}
		if u.state == awake && !now.Before(u.noSleep) {
			u.state, u.since, u.wanted = retiring, now, false
			k.do(job{key, false})
		}
	}
}

// order gives an order and takes note of what became of it.
func (k *Keeper) order(ctx context.Context, j job) {
	ctx, cancel := context.WithTimeout(ctx, orderLimit)
	defer cancel()
	began := time.Now()
	e := k.opts.Engine(j.key.engine)
	var err error
	switch {
	case e == nil:
		err = errors.New("its provider is gone")
	case j.wake:
		err = e.Wake(ctx, j.key.unit)
	default:
		err = e.Sleep(ctx, j.key.unit, func() bool {
			s := k.sums()[j.key]
			return s != nil && (s.busy || s.used >= began.UnixNano())
		})
	}
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return // the program ends
	}
	if k.ended(j, began, err) {
		k.opts.Changed()
	}
}

// ended takes note of the end of an order, and reports whether Problems changed.
func (k *Keeper) ended(j job, began time.Time, err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	u, now := k.units[j.key], time.Now()
	if u == nil {
		return false
	}
	log := k.opts.Log.With().Str("unit", j.key.unit).Str("provider", j.key.engine).Logger()
	quiet := errors.Is(err, provider.ErrBusy) || errors.Is(err, provider.ErrNeeded)
	switch {
	case err == nil && j.wake:
		log.Info().Dur("took", now.Sub(began)).Msg("application is being started")
	case err == nil:
		log.Info().Dur("took", now.Sub(began)).Msg("application put to sleep: nobody has asked for it")
		u.state, u.since = asleep, now
		if u.wanted {
			k.wake(j.key, u, now)
		}
	case quiet:
		log.Debug().Err(err).Msg("application stays awake")
		u.state, u.since = awake, now
		if errors.Is(err, provider.ErrNeeded) {
			u.noSleep = now.Add(sleepAgain)
		}
	case j.wake:
		u.state, u.since, u.noWake = asleep, now, now.Add(wakeAgain)
	default:
		u.state, u.since, u.noSleep = awake, now, now.Add(sleepAgain)
	}
	was := u.problem
	u.problem = nil
	if err != nil && !quiet {
		u.problem = problem(j, err)
	}
	return (was == nil) != (u.problem == nil) || was != nil && *was != *u.problem
}

// problem is what an engine's refusal is told as.
func problem(j job, err error) *config.Problem {
	what := "cannot be put to sleep"
	if j.wake {
		what = "cannot be woken"
	}
	p := &config.Problem{Source: "unit " + j.key.unit, Provider: j.key.engine, Field: "sluice.idle", Code: config.CodeRefused,
		Severity: config.Error, Text: what + ": " + err.Error(), Suggestion: "let the engine be asked, or remove the labels sluice.idle"}
	var remedy interface{ Suggestion() string }
	if errors.As(err, &remedy) {
		p.Suggestion = remedy.Suggestion()
	}
	return p
}

// Problems are what engines refuse at the moment.
func (k *Keeper) Problems() []config.Problem {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []config.Problem
	for _, u := range k.units {
		if u.problem != nil {
			out = append(out, *u.problem)
		}
	}
	return out
}
