package router

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// A patch is the next table made of the one before and of what changed: the routers that
// were added, removed or changed, and those made of a service or middleware that was. It is
// made only where all of them were well and are well: whatever gives anybody anything to say
// (a Problem, two routers with one rule, TLS options in conflict) is compiled whole, because
// there the rest of the table matters. So a patch and a whole table say and do the same; the
// property test holds them side by side.

// memo is what a patch must know of the table before.
type memo struct {
	same                any
	config              *config.Dynamic
	resolvers, onDemand []string
	drafts              []*routerDraft // by name
	services            map[string]*service
	transports          map[string]transportResult
	problems            []config.Problem // of the table itself, sorted
	// twins are routers whose rule another one has too and comes behind.
	twins map[string]bool
	// contested are hosts for which routers want different TLS options.
	contested map[string]bool
	// volatile are middlewares that depend on files, and are built anew for every table.
	volatile map[string]bool
	// layered is set where a router is below another.
	layered bool
	// international is set where a rule has a host in Unicode.
	international bool
	// unsettled is set where something could not be built that may be with the same configuration.
	unsettled bool
}

func newMemo() memo {
	return memo{twins: map[string]bool{}, contested: map[string]bool{}, volatile: map[string]bool{}}
}

// ref names something that a router or a service is made of.
type ref struct {
	kind refKind
	name string
}

type refKind bool

const (
	ofService    refKind = false
	ofMiddleware refKind = true
)

// patcher is the state of a patch. A nil one belongs to a whole table.
type patcher struct {
	was *Table
	// sources are the configured routers that are compiled anew, routers what was made of
	// them, both before and after.
	sources, routers map[string]bool
	gone             []*routerDraft
	dirty            map[ref]bool // services and middlewares that changed
	// stopped is set where the patch is given up.
	stopped bool
	// muted is set while something is said again of all routers.
	muted bool
	own   map[*config.ServiceInfo]bool
}

// stops tells whoever has something to say of an object that this ends the patch.
func (p *patcher) stops(object string) bool {
	if p == nil || isStream(object) {
		return false
	}
	if !p.muted {
		p.stopped = true
	}
	return true
}

// isStream reports whether an object of a Problem is one of TCP or UDP.
func isStream(object string) bool {
	return strings.HasPrefix(object, "tcp ") || strings.HasPrefix(object, "udp ")
}

// has reports whether a router that stays is called name.
func (p *patcher) has(name string) bool {
	if p == nil {
		return false
	}
	d := p.was.memo.find(name)
	return d != nil && !p.routers[name]
}

func (m *memo) find(name string) *routerDraft {
	i, ok := slices.BinarySearchFunc(m.drafts, name, func(d *routerDraft, name string) int { return strings.Compare(d.name, name) })
	if !ok {
		return nil
	}
	return m.drafts[i]
}

// patch returns the next table where a patch of the one before can be it, else nil.
func patch(in *Input) *Table {
	if in.Previous == nil || in.Same == nil || in.Same != in.Previous.memo.same {
		return nil
	}
	p := &patcher{was: in.Previous, sources: map[string]bool{}, routers: map[string]bool{}, dirty: map[ref]bool{}, own: map[*config.ServiceInfo]bool{}}
	if !p.unchanged(in) || !p.changes(in) || !p.concerned(in) || !p.well(p.gone) {
		return nil
	}
	c := newCompiler(in, p)
	c.takeOver()
	c.routers()
	c.certificates()
	if p.stopped || !p.well(c.sorted) || !c.settled() {
		return nil
	}
	fresh := c.sorted
	c.sorted = p.merge(fresh)
	c.unreached(fresh)
	c.relateAgain(fresh)
	c.certificatesAgain()
	if !c.mountAgain(fresh) {
		return nil
	}
	c.streams()
	if p.stopped {
		return nil
	}
	for _, problem := range p.was.memo.problems {
		if !isStream(problem.Object) {
			c.run.Problems = append(c.run.Problems, problem)
		}
	}
	c.finish()
	c.table.rebuilt = p.routers
	return c.table
}

// unchanged reports whether everything is as it was but for routers, services, middlewares and streams.
func (p *patcher) unchanged(in *Input) bool {
	m := &p.was.memo
	was, is := cmp.Or(m.config.HTTP, &config.HTTP{}), cmp.Or(in.Config.HTTP, &config.HTTP{})
	oldTLS, newTLS := cmp.Or(m.config.TLS, &config.TLS{}), cmp.Or(in.Config.TLS, &config.TLS{})
	return !m.unsettled && !m.international && !m.layered && slices.Equal(m.resolvers, in.Resolvers) && slices.Equal(m.onDemand, in.OnDemand) &&
		maps.Equal(was.ServersTransports, is.ServersTransports) && maps.Equal(oldTLS.Options, newTLS.Options)
}

// changes finds what changed. It reports whether that is little enough.
func (p *patcher) changes(in *Input) bool {
	was, is := cmp.Or(p.was.memo.config.HTTP, &config.HTTP{}), cmp.Or(in.Config.HTTP, &config.HTTP{})
	limit := p.limit()
	for _, name := range differences(was.Routers, is.Routers, limit) {
		p.sources[name] = true
	}
	for _, name := range differences(was.Services, is.Services, limit) {
		if strings.HasSuffix(name, internalSuffix) {
			return false
		}
		p.dirty[ref{ofService, name}] = true
	}
	for _, name := range differences(was.Middlewares, is.Middlewares, limit) {
		p.dirty[ref{ofMiddleware, name}] = true
	}
	for name := range p.was.memo.volatile {
		p.dirty[ref{ofMiddleware, name}] = true
	}
	for name, s := range p.was.memo.services {
		if slices.ContainsFunc(s.more, func(r ref) bool { return p.dirty[r] }) {
			p.dirty[ref{ofService, name}] = true
		}
	}
	return len(p.sources) <= limit && len(p.dirty) <= 2*limit
}

// limit is how many routers a patch may concern.
func (p *patcher) limit() int { return 16 + len(p.was.memo.drafts)/8 }

// differences lists the names whose objects are not the same pointers, some more than
// limit at most.
func differences[T any](was, is map[string]*T, limit int) []string {
	if reflect.ValueOf(was).Pointer() == reflect.ValueOf(is).Pointer() {
		return nil
	}
	var out []string
	same := 0
	for name, o := range is {
		if w, ok := was[name]; ok && w == o {
			same++
		} else if out = append(out, name); len(out) > limit {
			return out
		}
	}
	if same == len(was) {
		return out
	}
	for name := range was {
		if _, still := is[name]; !still {
			if out = append(out, name); len(out) > limit {
				return out
			}
		}
	}
	return out
}

// concerned finds the routers that are to be compiled anew.
func (p *patcher) concerned(in *Input) bool {
	if len(p.dirty) > 0 {
		for _, d := range p.was.memo.drafts {
			if d.mentions(p.dirty) {
				p.sources[d.source] = true
			}
		}
	}
	routers := cmp.Or(in.Config.HTTP, &config.HTTP{}).Routers
	old := cmp.Or(p.was.memo.config.HTTP, &config.HTTP{}).Routers
	for name := range p.sources {
		if routers[name] == nil && old[name] == nil {
			return false // one that the program made itself
		}
	}
	if len(p.sources) > 0 {
		for _, d := range p.was.memo.drafts {
			if p.sources[d.source] {
				p.gone = append(p.gone, d)
				p.routers[d.name] = true
			}
		}
	}
	return len(p.gone) <= p.limit()
}

func (d *routerDraft) mentions(dirty map[ref]bool) bool {
	if dirty[ref{ofService, d.service}] {
		return true
	}
	for _, m := range d.info.Middlewares {
		if dirty[ref{ofMiddleware, m}] {
			return true
		}
	}
	for _, r := range d.more {
		if dirty[r] {
			return true
		}
	}
	return false
}

// beyond returns what was touched while d was built beside its service and the middlewares
// that it names; for most routers nothing.
func (c *compiler) beyond(d *routerDraft) []ref {
	if len(c.touched) == 1+len(d.info.Middlewares) {
		return nil
	}
	return slices.Clone(c.touched)
}

// well reports whether nothing is to be said of routers and of what they are made of, and
// nothing of other routers because of them.
func (p *patcher) well(drafts []*routerDraft) bool {
	m := &p.was.memo
	blamed := map[string]bool{}
	for _, problem := range m.problems {
		blamed[problem.Object] = true
	}
	for _, d := range drafts {
		if d.info.Status != config.StatusEnabled || d.route == nil || d.rule == nil || blamed["router "+d.name] || m.twins[d.name] {
			return false
		}
		if d.options != "" && d.options != defaultOptions {
			return false
		}
		for _, h := range d.rule.Hosts() {
			if h.International() || m.contested[h.Name] || d.options != "" && p.was.hasOptions(h.Name) {
				return false
			}
		}
		if len(blamed) == 0 {
			continue
		}
		if blamed["service "+d.service] || slices.ContainsFunc(d.info.Middlewares, func(n string) bool { return blamed["middleware "+n] }) {
			return false
		}
		if slices.ContainsFunc(d.more, func(r ref) bool { return blamed["service "+r.name] || blamed["middleware "+r.name] }) {
			return false
		}
	}
	return true
}
