package server

import (
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/sleep"
)

func (s *Server) newKeeper() {
	s.keeper = sleep.New(sleep.Options{
		Log: s.component("sleep"), Engine: s.sleeper, Services: s.sleepers,
		Changed: s.republish,
	})
}

// wake is told of requests for what sleeps.
func (s *Server) wake(idle *config.Idle) int64 {
	if !s.sleeps() {
		return 0
	}
	return s.keeper.Wake(idle)
}

// sleeps reports whether this router puts to sleep and wakes.
func (s *Server) sleeps() bool { on := s.sluice().Sleep; return on == nil || *on }

// sleeper is the provider of that name, if it can put workloads to sleep.
func (s *Server) sleeper(name string) provider.Sleeper {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	p, _ := s.made[name].Provider.(provider.Sleeper)
	return p
}

// sleepers are the services that may sleep, of all kinds.
func (s *Server) sleepers() []sleep.Service {
	if !s.sleeps() {
		return nil
	}
	var out []sleep.Service
	for _, b := range s.book.Sleepers() {
		out = append(out, sleep.Service{Idle: b.Idle, Used: b.Used, Busy: b.Busy > 0, Up: b.Up})
	}
	for _, b := range s.streams.Sleepers() {
		out = append(out, sleep.Service{Idle: b.Idle, Used: b.Used, Busy: b.Busy > 0, Up: b.Up})
	}
	return out
}
