package server

import (
	"fmt"
	"slices"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/balance"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/page"
)

// dress is what gives answers of the edge a page for browsers. Where sluice.pages is off it is
// only for applications that are being woken.
func (s *Server) dress() (func(*exchange.Exchange), error) {
	p := s.sluice().Pages
	if p == nil {
		set, err := page.Load("")
		return set.DressWaking, err
	}
	set, err := page.Load(p.Dir)
	if err != nil {
		return nil, fmt.Errorf("sluice.pages.dir: %w", err)
	}
	return set.Dress, nil
}

// republish makes a table anew for the sake of its Problems: those of what happens without a new
// configuration, such as a server that enters rotation without having passed its readiness probe.
func (s *Server) republish() {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if s.merged != nil {
		s.publishLocked(s.merged)
	}
}

// notice takes up what a provider has noticed around this process; it lasts until the end.
func (s *Server) notice(p config.Problem) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if slices.Contains(s.notices, p) {
		return // two providers see the same
	}
	s.notices = append(s.notices, p)
	if s.merged != nil {
		s.publishLocked(s.merged)
	}
}

// unreadyProblems tells of servers that have not passed their readiness probe in time.
func (s *Server) unreadyProblems() []config.Problem {
	var out []config.Problem
	for _, u := range s.book.Unready() {
		out = append(out, config.Problem{
			Source: u.Origin, Object: "service " + u.Service, Code: config.CodeUnreachable, Severity: config.Warning,
			Text:       fmt.Sprintf("%s has not passed its readiness probe (%s) within %v and gets requests nevertheless: %v", u.URL, u.Probe, balance.ReadyLimit, u.Cause),
			Suggestion: "look at the label of the port and at the networks; the label sluice.ready chooses the probe",
		})
	}
	return out
}
