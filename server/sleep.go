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
func (s *Server) wake(idle *config.Idle) int64 { return s.keeper.Wake(idle) }

// sleeper is the provider of that name, if it can put workloads to sleep.
func (s *Server) sleeper(name string) provider.Sleeper {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	p, _ := s.made[name].Provider.(provider.Sleeper)
	return p
}

// sleepers are the services that may sleep, of all kinds.
func (s *Server) sleepers() []sleep.Service {
	var out []sleep.Service
	for _, b := range s.book.Sleepers() {
		out = append(out, sleep.Service{Idle: b.Idle, Used: b.Used, Busy: b.Busy > 0, Up: b.Up})
	}
	for _, b := range s.streams.Sleepers() {
		out = append(out, sleep.Service{Idle: b.Idle, Used: b.Used, Busy: b.Busy > 0, Up: b.Up})
	}
	return out
}
