package labels

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

// Options tune a Builder.
type Options struct {
	// ExposedByDefault takes workloads that have no label "traefik.enable".
	ExposedByDefault bool
	// DefaultRule is a template; see ParseDefaultRule.
	DefaultRule string
	// Constraints is an expression; see ParseConstraints.
	Constraints string
	// AllowEmptyServices keeps unhealthy workloads even with Compat404.
	AllowEmptyServices bool
	// Compat404 leaves out what does not serve, as the reference does.
	Compat404 bool
	// Hold is how long requests wait for a replacement, where no label says.
	Hold config.Duration
	// Ready is the probe of what has just started, where no label says; empty means none.
	Ready string
}

// Builder makes Shares of Workloads. It is immutable.
type Builder struct {
	opts        Options
	constraints Constraints
	broken      bool // constraints cannot be read: expose nothing
	rule        *DefaultRule
	ruleErr     error
}

// NewBuilder returns a Builder, and what is wrong with its options. Constraints that
// cannot be read match nothing: they are there to keep something out.
func NewBuilder(opts Options) (*Builder, []config.Problem) {
	b := &Builder{opts: opts}
	var problems []config.Problem
	var err error
	if b.constraints, err = ParseConstraints(opts.Constraints); err != nil {
		b.broken = true
		problems = append(problems, config.Problem{Source: "static configuration", Field: "constraints",
			Code: config.CodeInvalidConstraints, Severity: config.Error,
			Text: err.Error(), Suggestion: "nothing is exposed until it is corrected"})
	}
	if b.rule, b.ruleErr = ParseDefaultRule(opts.DefaultRule); b.ruleErr != nil {
		problems = append(problems, config.Problem{Source: "static configuration", Field: "defaultRule",
			Code: config.CodeInvalidRule, Severity: config.Error,
			Text: b.ruleErr.Error(), Suggestion: "routers without a rule of their own are left out"})
	}
	return b, problems
}

// Candidate reports whether a workload with these labels can have a share: a cheap
// test that spares asking the engine about the others. It may say yes too often.
func (b *Builder) Candidate(labels map[string]string) bool {
	if b.broken || !b.constraints.Match(labels) {
		return false
	}
	if b.opts.ExposedByDefault {
		return true
	}
	for k := range labels {
		if strings.EqualFold(k, "traefik.enable") || strings.EqualFold(k, "sluice.enable") {
			return true
		}
	}
	return false
}

// Allows reports whether the constraints admit a workload with these labels.
func (b *Builder) Allows(labels map[string]string) bool {
	return !b.broken && b.constraints.Match(labels)
}

// Build gives the share of a workload, or nil if it is not exposed.
func (b *Builder) Build(w *Workload) *Share {
	if !b.Candidate(w.Labels) {
		return nil
	}
	dyn, extra, problems := decode.Labels(w.Labels, w.Source)
	enabled := b.opts.ExposedByDefault
	if extra.Enable != nil {
		enabled = *extra.Enable
	}
	s := &build{b: b, w: w, extra: extra, share: &Share{Key: w.Key, Source: w.Source, Created: w.Created, Rank: w.Rank}}
	s.share.Hold = time.Duration(s.hold())
	if project, service := w.Labels[ComposeProject], w.Labels[ComposeService]; project != "" && service != "" {
		s.share.Replica = project + "\x00" + service
	}
	if !enabled {
		s.share.Problems = slices.DeleteFunc(problems, func(p config.Problem) bool { return !isEnableLabel(p.Field) })
		return nilIfSilent(s.share)
	}
	if !s.keep() {
		return nil
	}
	s.share.Problems = problems
	if extra.Refused == nil && s.engineLabels() {
		s.dyn = dyn
		s.name = AutoName(w.Name, w.Labels)
		s.where = b.where(w, extra)
		s.http()
		s.tcp()
		s.udp()
		s.share.Config = dyn
	}
	return nilIfSilent(s.share)
}

func isEnableLabel(field string) bool {
	return strings.EqualFold(field, "traefik.enable") || strings.EqualFold(field, "sluice.enable")
}

func nilIfSilent(s *Share) *Share {
	if s.Config == nil && len(s.Problems) == 0 {
		return nil
	}
	return s
}

// build is one run of Build.
type build struct {
	b     *Builder
	w     *Workload
	extra decode.Extra
	share *Share
	dyn   *config.Dynamic
	name  string
	where Where
}

// keep says whether a workload that does not serve keeps its routers.
func (s *build) keep() bool {
	engine := s.extra.Docker
	if s.w.Swarm {
		engine.AllowNonRunning = engine.AllowNonRunning || s.extra.Swarm.AllowNonRunning
	}
	switch {
	case s.w.Rank == Live || engine.AllowNonRunning || s.w.Asleep:
		return true
	case s.b.opts.Compat404:
		return s.w.Rank == Fenced && s.b.opts.AllowEmptyServices
	case s.w.Rank == Fenced:
		return true
	}
	// A finished job without labels is nobody's host; one that was served a moment ago is.
	return s.w.Seen || s.addressed()
}

// addressed reports whether any label is meant for us.
func (s *build) addressed() bool {
	return slices.ContainsFunc([]string{"http.", "tcp.", "udp.", "tls.", "docker.", "swarm.", "enable", "idle"}, s.attempted)
}

// attempted reports whether a label, right or wrong, begins with a root and path.
// What was attempted and came out empty is not replaced by something automatic.
func (s *build) attempted(path string) bool {
	for k := range s.w.Labels {
		root, rest, ok := strings.Cut(k, ".")
		if ok && (strings.EqualFold(root, "traefik") || strings.EqualFold(root, "sluice")) &&
			len(rest) >= len(path) && strings.EqualFold(rest[:len(path)], path) {
			return true
		}
	}
	return false
}

// engineLabels refuses the two spellings of engine labels side by side on Swarm, as
// the reference does: they may contradict each other.
func (s *build) engineLabels() bool {
	if !s.w.Swarm || !s.extra.Docker.Given || !s.extra.Swarm.Given {
		return true
	}
	s.problem("", config.CodeConflict, "labels below traefik.docker. and traefik.swarm. stand side by side; the service is left out",
		"keep those below traefik.swarm.")
	return false
}

func (b *Builder) where(w *Workload, extra decode.Extra) Where {
	e := extra.Docker
	if w.Swarm && extra.Swarm.Given {
		e = extra.Swarm
	}
	return Where{Network: e.Network, VIP: e.LBSwarm && w.Swarm}
}

func (s *build) problem(object, code, text, suggestion string) *config.Problem {
	s.share.Problems = append(s.share.Problems, config.Problem{Source: s.w.Source, Object: object,
		Code: code, Text: text, Suggestion: suggestion, Severity: config.Error})
	return &s.share.Problems[len(s.share.Problems)-1]
}

// place asks for addresses and keeps what the placer has to say.
func (s *build) place(object, port string, udp bool) ([]Address, bool) {
	if s.w.Rank == Down && (port != "" || !s.w.Swarm) {
		return nil, true // a service that will never have a port is told so at once
	}
	if s.w.Place == nil {
		s.problem(object, config.CodeMissingIP, "has no address", "")
		return nil, false
	}
	where := s.where
	where.Port, where.UDP = port, udp
	addrs, problems := s.w.Place.Place(where)
	for _, p := range problems {
		p.Source, p.Object = s.w.Source, cmp.Or(p.Object, object)
		quiet := !s.addressed() // a database perhaps, not somebody's mistake
		if p.Code == config.CodeMissingPort && quiet {
			p.Severity = config.Warning
		}
		if p.Code == config.CodeUnknownNetwork {
			p.Object = "" // the same for all its services
			if quiet {
				continue
			}
		}
		if !slices.Contains(s.share.Problems, p) {
			s.share.Problems = append(s.share.Problems, p)
		}
	}
	return addrs, len(addrs) > 0
}

// isPort reports whether the port of a label is one, and makes it a Problem if not.
func (s *build) isPort(object, port string) bool {
	if n, err := strconv.ParseUint(port, 10, 16); port == "" || err == nil && n > 0 {
		return true
	}
	s.problem(object, config.CodeInvalidValue, fmt.Sprintf("%q is not a port", port), "write a number from 1 to 65535")
	return false
}

// http completes services and routers. Labels for TCP or UDP alone make no HTTP router.
func (s *build) http() {
	stream := false
	for _, root := range []string{"tcp.routers", "tcp.services", "udp.routers", "udp.services"} {
		stream = stream || s.attempted(root)
	}
	if stream && !s.attempted("http.") {
		return
	}
	if s.dyn.HTTP == nil {
		s.dyn.HTTP = &config.HTTP{}
	}
	h := s.dyn.HTTP
	if h.Services == nil {
		h.Services = map[string]*config.Service{}
	}
	if len(h.Services) == 0 && !s.attempted("http.services.") {
		lb := &config.LoadBalancer{}
		lb.SetDefaults()
		h.Services[s.name] = &config.Service{LoadBalancer: lb}
	}
	names := slices.Sorted(maps.Keys(h.Services))
	for _, n := range names {
		svc := h.Services[n]
		if svc == nil || countKinds(svc) == 0 {
			delete(h.Services, n)
			continue
		}
		if svc.LoadBalancer == nil {
			continue
		}
		switch ok, refused := s.servers(n, svc.LoadBalancer); {
		case refused:
			delete(h.Services, n)
		case !ok:
			svc.LoadBalancer.Servers = nil
			if !s.attempted("http.routers.") {
				delete(h.Services, n)
			}
		}
	}
	s.httpRouters(names)
}

// countKinds is how many kinds of service are set.
func countKinds(svc *config.Service) int {
	n := 0
	for _, set := range []bool{svc.LoadBalancer != nil, svc.Weighted != nil, svc.HighestRandomWeight != nil, svc.Mirroring != nil, svc.Failover != nil} {
		if set {
			n++
		}
	}
	return n
}

// servers fills in the servers of a load balancer. ok is false if there is no address,
// refused if the labels contradict each other.
func (s *build) servers(name string, lb *config.LoadBalancer) (ok, refused bool) {
	object := "service " + name
	tmpl := config.Server{}
	if len(lb.Servers) > 0 {
		tmpl = lb.Servers[0]
	}
	lb.Servers, lb.AutoHold, lb.Idle, lb.Coming = nil, s.hold(), s.idle(), s.w.Coming
	lb.Sick = s.w.Sick && s.extra.Hold == nil && lb.Hold == nil
	if lb.SlowStart == nil {
		lb.SlowStart = s.extra.SlowStart
	}
	fenced := s.w.Rank != Live
	if tmpl.URL != "" {
		if tmpl.Port != "" || tmpl.Scheme != "" {
			s.problem(object, config.CodeInvalidService, "the labels server.url and server.port or server.scheme contradict each other",
				"keep server.url alone, or leave it out")
			return false, true
		}
		if s.w.Rank != Down {
			tmpl.Fenced, tmpl.Origin = fenced, s.w.Source
			s.readiness(&tmpl, s.w.Started, s.w.Fresh)
			lb.Servers = []config.Server{tmpl}
		}
		return true, false
	}
	if s.w.Rank != Down {
		// Its URL keeps what stands there, so that the service shows what is wrong with it.
		s.isPort(object, tmpl.Port)
	}
	addrs, ok := s.place(object, tmpl.Port, false)
	scheme := cmp.Or(tmpl.Scheme, "http")
	for _, a := range addrs {
		srv := tmpl
		srv.Scheme, srv.Port = "", ""
		srv.URL = scheme + "://" + net.JoinHostPort(a.Host, a.Port)
		srv.Fenced, srv.Origin = fenced || a.Fenced, cmp.Or(a.Origin, s.w.Source)
		s.readiness(&srv, cmp.Or(a.Started, s.w.Started), s.w.Fresh || a.Fresh)
		lb.Servers = append(lb.Servers, srv)
	}
	return ok, false
}

// hold is how long requests wait for a replacement of the workload.
func (s *build) hold() config.Duration {
	if s.extra.Hold != nil {
		return max(0, *s.extra.Hold)
	}
	return s.b.opts.Hold
}

// readiness says which life of the workload srv is, and how it is probed.
func (s *build) readiness(srv *config.Server, started int64, fresh bool) {
	srv.Epoch = started
	if ready := cmp.Or(s.extra.Ready, s.b.opts.Ready); fresh && ready != config.ReadyNone {
		srv.Ready = ready
	}
}

// httpRouters gives every router its rule and service. declared are the services that
// the labels name, also those that came to nothing.
func (s *build) httpRouters(declared []string) {
	h := s.dyn.HTTP
	if len(h.Routers) == 0 {
		if s.attempted("http.routers.") || len(h.Services) == 0 {
			return
		}
		h.Routers = map[string]*config.Router{s.name: {}}
	}
	for _, n := range slices.Sorted(maps.Keys(h.Routers)) {
		r := h.Routers[n]
		if r == nil {
			delete(h.Routers, n)
			continue
		}
		if r.Rule == "" {
			r.Rule = s.defaultRule(n)
		}
		if r.Service == "" {
			r.Service = s.onlyService("router "+n, declared)
		}
		if r.Rule == "" || r.Service == "" {
			delete(h.Routers, n)
		}
	}
}

// defaultRule renders the rule of router n; it is empty if there is none.
func (s *build) defaultRule(n string) string {
	if s.b.ruleErr != nil {
		s.problem("router "+n, config.CodeInvalidRule, "has no rule, and the default rule of the provider cannot be read", "")
		return ""
	}
	rule, err := s.b.rule.Render(s.name, cmp.Or(s.w.Container, s.w.Name), s.w.Labels)
	if err != nil {
		s.problem("router "+n, config.CodeInvalidRule, "the default rule: "+err.Error(), "")
		return ""
	}
	if rule == "" {
		s.problem("router "+n, config.CodeInvalidRule, "has no rule, and the default rule gives an empty one", "").Severity = config.Warning
	}
	return rule
}

// onlyService is the service a router means that names none: the only one there is.
func (s *build) onlyService(object string, declared []string) string {
	switch len(declared) {
	case 1:
		return declared[0]
	case 0:
		s.problem(object, config.CodeUnknownService, "its service came to nothing", "correct the labels of the service")
	default:
		s.problem(object, config.CodeAmbiguousService, "names no service, and there are several: "+strings.Join(declared, ", "),
			"add the label traefik.http.routers."+strings.TrimPrefix(object, "router ")+".service")
	}
	return ""
}
