// Package router turns a merged dynamic configuration into an immutable Table: the
// routes of each entry point behind an index of their rules, the state of every object
// as the API shows it, and what certificates and TLS options the routers ask for.
//
// Compile is pure but for the books it is handed (balance.Book, the middlewares'
// memory), which keep what must outlive a table. A part that is wrong costs itself: its
// routers are left out, or answer 503 where leaving them out could open what was meant to
// be closed; everything else is served.
package router

import (
	"crypto/tls"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/balance"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/stream"
	"github.com/sluice-edge/sluice/router/rule"
)

// Input is what a Table is compiled from. Nothing in it is changed.
type Input struct {
	// Config is the merged configuration; names carry "@provider".
	Config *config.Dynamic
	// Problems found so far; the Table's are added to them in Runtime.
	Problems []config.Problem
	// EntryPoints by name, UDP ones included.
	EntryPoints map[string]*config.EntryPoint
	// DefaultEntryPoints serve routers that name none.
	DefaultEntryPoints []string
	// DefaultRuleSyntax is core.defaultRuleSyntax, or "" where it is not set.
	DefaultRuleSyntax string
	// Precedence orders routers of equal priority by provider, the first wins.
	Precedence []string
	// Compat404 is sluice.compat404: 404 rather than 503 from routers whose guard cannot be built.
	Compat404 bool
	// Internal are the program's own services ("api@internal"). They are known even where
	// Config does not list them.
	Internal map[string]http.Handler
	// OnDemand are those of Resolvers that make certificates at the first handshake.
	OnDemand []string
	// Resolvers are the names of the certificate resolvers.
	Resolvers []string
	// DefaultTransport is how servers are reached whose service names no transport.
	DefaultTransport *config.ServersTransport
	// DefaultTCPTransport is the same for TCP services; nil stands for the defaults.
	DefaultTCPTransport *config.TCPServersTransport
	// Previous is the table in use, or nil; what did not change is taken over from it.
	Previous *Table
	// Same stands for everything in Input that is neither Config nor Problems, and is compared
	// with ==: while it is what it was for Previous, only what changed in Config is compiled.
	// nil is never the same.
	Same any
	// Book keeps the state of HTTP services; nil keeps none.
	Book *balance.Book
	// Streams keeps the state of TCP and UDP services; nil keeps none.
	Streams *stream.Book
	Parts   Parts
	Log     zerolog.Logger
}

// Parts are the makers of what routes are made of. The server joins them with the packages
// that implement them.
type Parts struct {
	// Begin is called before anything is built, and again where that was given up; it may be nil.
	Begin func()
	// Middleware builds one middleware that is no chain: an op or a stage, or neither.
	Middleware func(name string, cfg *config.Middleware, d MiddlewareDeps) (exchange.Op, exchange.Stage, error)
	// OpHandler runs ops behind a stage; Forward sends requests to a service's servers.
	OpHandler func(ops []exchange.Op, next http.Handler) http.Handler
	Forward   func(exchange.Service) http.Handler
	// Trace stands before the service of a route, for the tracer; nil without tracing. Forward
	// does the same by itself.
	Trace func(exchange.Service) exchange.Service
	// Transport builds a transport; TransportKey is a fingerprint of what it is built from.
	Transport    func(name string, cfg *config.ServersTransport) *exchange.Transport
	TransportKey func(cfg *config.ServersTransport) string
	// Terminate gives the settings that end TLS with named options, for TCP routers.
	Terminate func(options string) func(*tls.ClientHelloInfo) (*tls.Config, error)
	// TLSOptions says why TLS options cannot be used; nil takes all.
	TLSOptions func(name string, cfg *config.TLSOptions) error
}

// MiddlewareDeps are what a middleware needs of its router.
type MiddlewareDeps struct {
	// Router is the name of the router, or "service NAME" for a service's own middlewares.
	Router string
	// Service gives another service as a handler.
	Service func(name string) (http.Handler, error)
	// Warn takes what works but is hardly meant.
	Warn func(field, text, remedy string)
}

// Table is a compiled configuration. It is immutable and safe for concurrent use.
type Table struct {
	// Runtime is the configuration as the API shows it. The caller sets Generation and At.
	Runtime *config.Runtime

	entryPoints map[string]*entryPoint
	tcp         map[string]*TCPTable
	udp         map[string]*UDPRoute
	certs       []CertRequest
	onDemand    []demandRule
	hostOptions map[string]map[string]string // by entry point
	asking      map[string]bool              // TLS options that demand client certificates
	rules       map[ruleKey]*rule.Rule
	draft       *balance.Draft
	streams     *stream.Draft
	dead        []deadRouter
	memo        memo
	// rebuilt are the routers of a patch, gone ones included; nil means all.
	rebuilt map[string]bool
}

// Compile builds the Table of a configuration.
//
// Where little changed since Previous it makes a patch of that table, which says and does
// the same as a whole one and costs what changed.
func Compile(in Input) *Table {
	if in.Config == nil {
		in.Config = &config.Dynamic{}
	}
	if t := patch(&in); t != nil {
		return t
	}
	c := newCompiler(&in, nil)
	c.prepare()
	c.routers()
	c.relate()
	c.tlsOptions()
	c.certificates()
	c.entryPoints()
	c.streams()
	c.finish()
	return c.table
}

// EntryPoint returns the matcher of an entry point; one without routes matches nothing.
func (t *Table) EntryPoint(name string) exchange.Matcher {
	if ep := t.entryPoints[name]; ep != nil {
		return ep
	}
	return &entryPoint{name: name, table: t, clear: emptySet, tls: emptySet, pool: &rule.Pool{}}
}

// EntryPoints returns the names of the entry points that have HTTP routes.
func (t *Table) EntryPoints() []string { return slices.Sorted(maps.Keys(t.entryPoints)) }

// Rebuilt names the routers that were compiled anew, gone ones included, where the table is
// a patch of the one before; nil means all.
func (t *Table) Rebuilt() map[string]bool { return t.rebuilt }

// Commit makes the services of the table the live ones in the Book. Call it when the
// table is published; a table that is never published needs nothing.
func (t *Table) Commit() {
	t.draft.Commit()
	t.streams.Commit()
}

// ruleKey names a compiled rule, to find it again in the next table.
type ruleKey struct {
	text string
	kind ruleKind
}

type ruleKind struct {
	syntax rule.Syntax
	tcp    bool
}

// compiler holds what is known while a Table is built.
type compiler struct {
	in    *Input
	table *Table
	run   *config.Runtime
	// http are the routers that there are to be, by name, after models were applied.
	http map[string]*routerDraft
	// sorted are the same by name.
	sorted   []*routerDraft
	services *services
	chains   *chains
	options  map[string]error // of TLS options, by name; nil means usable
	seen     map[string]bool  // problems said and certificates asked for already
	allOn    *config.RouterObservability
	// models are the entry points with settings that their routers inherit.
	models map[string]*config.EntryPoint
	// patch is set while a patch is made.
	patch *patcher
	// children are the routers below others, by their parents' configured names; ancestors those
	// whose children are being compiled.
	children  map[string][]*routerDraft
	ancestors []string
	// touched collects what the object being built is made of.
	touched []ref
	// using holds the valid entry points of single names and of the default list.
	using map[string][]string
	slabs struct {
		routers slab[config.Router]
		infos   slab[config.RouterInfo]
		drafts  slab[routerDraft]
		routes  slab[exchange.Route]
	}
}

// routerDraft is an HTTP router on its way into the Table.
type routerDraft struct {
	name string
	// source is the name as configured, which differs where an entry point renamed it.
	source string
	// service is the full name of its service, or "".
	service string
	info    *config.RouterInfo
	rule    *rule.Rule
	route   *exchange.Route
	// broken is set where the router cannot be served but must not be passed over either.
	broken bool
	// closed is set where it answers 503 even if no other router would take its requests:
	// where the reference refuses the whole container, so that there is no 404 to be alike.
	closed bool
	// options is the name of its TLS options.
	options string
	certs   bool // they demand client certificates
	// visited is set once it was compiled, or is being.
	visited bool
	// reached is set where its service was built for it.
	reached bool
	// more is what it is made of beside its service and the middlewares it names.
	more []ref
}

// newCompiler returns a compiler of a whole table, or of a patch.
func newCompiler(in *Input, p *patcher) *compiler {
	if in.Parts.Begin != nil {
		in.Parts.Begin()
	}
	c := &compiler{
		patch:   p,
		in:      in,
		run:     &config.Runtime{Problems: slices.Clone(in.Problems)},
		options: map[string]error{},
		seen:    map[string]bool{},
		models:  map[string]*config.EntryPoint{},
		using:   map[string][]string{},
	}
	n := 0
	if in.Config.HTTP != nil && p == nil {
		n = len(in.Config.HTTP.Routers)
	}
	c.http, c.sorted = make(map[string]*routerDraft, n), make([]*routerDraft, 0, n)
	c.allOn = observability(nil, nil)
	c.table = &Table{
		Runtime:     c.run,
		entryPoints: map[string]*entryPoint{},
		tcp:         map[string]*TCPTable{},
		udp:         map[string]*UDPRoute{},
		rules:       make(map[ruleKey]*rule.Rule, n),
		memo:        newMemo(),
	}
	book, streams := in.Book, in.Streams
	if book == nil {
		book = balance.NewBook(nil, balance.Events{})
	}
	if streams == nil {
		streams = stream.NewBook(nil, nil)
	}
	begin := book.Begin
	if p != nil {
		begin = book.Amend
	}
	c.table.draft, c.table.streams = begin(), streams.Begin()
	c.services = newServices(c, n)
	c.chains = &chains{c: c}
	return c
}

// rule compiles a rule, or finds it in the table before.
func (c *compiler) rule(text string, k ruleKind) (*rule.Rule, error) {
	key := ruleKey{text, k}
	if r := c.table.rules[key]; r != nil {
		return r, nil
	}
	if p := c.in.Previous; p != nil && p.rules[key] != nil {
		if c.patch == nil {
			c.table.rules[key] = p.rules[key]
		}
		return p.rules[key], nil
	}
	build := rule.Compile
	if k.tcp {
		build = rule.CompileTCP
	}
	r, err := build(text, k.syntax)
	if err == nil && c.patch == nil {
		c.table.rules[key] = r
	}
	return r, err
}

// problem notes what is wrong with an object ("router api@docker"), once.
func (c *compiler) problem(object, field, code string, sev config.Severity, text, suggestion string) {
	if c.patch.stops(object) {
		return
	}
	text = strings.TrimSuffix(text, "; "+suggestion) // an error's own words may end in the remedy
	key := object + "\x00" + field + "\x00" + code + "\x00" + text
	if c.seen[key] {
		return
	}
	c.seen[key] = true
	_, name, _ := strings.Cut(object, " ")
	p := providerOf(name)
	source := "provider " + p
	if p == "" { // an entry point's
		source = "static configuration"
	}
	c.run.Problems = append(c.run.Problems, config.Problem{
		Source: source, Provider: p, Object: object, Field: field,
		Code: code, Severity: sev, Text: text, Suggestion: suggestion,
	})
}

// finish sorts what came out of maps, and notes what a patch of the table must know.
func (c *compiler) finish() {
	n := len(c.in.Problems)
	slices.SortStableFunc(c.run.Problems[n:], func(a, b config.Problem) int {
		return strings.Compare(a.Object+"\x00"+a.Field+"\x00"+a.Text, b.Object+"\x00"+b.Field+"\x00"+b.Text)
	})
	m := &c.table.memo
	m.same, m.config, m.resolvers, m.onDemand = c.in.Same, c.in.Config, c.in.Resolvers, c.in.OnDemand
	m.drafts, m.services, m.transports = c.sorted, c.services.built, c.services.transports
	m.problems = slices.Clip(c.run.Problems[n:])
}
