package middleware

import (
	"net/http"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/auth"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Built is a middleware ready to run: an Op or a Stage. Both are nil where there is
// nothing to do.
type Built struct {
	Op    exchange.Op
	Stage exchange.Stage
}

// Deps are what middlewares need of the rest of the program. The zero value builds every
// kind but errors.
type Deps struct {
	// State remembers across tables; nil remembers nothing.
	State *State
	// Router is the router that the middleware is built for. What the reference counts
	// per router (buckets, breakers, requests in flight) is kept per router.
	Router string
	// Service gives the service that the errors middleware fetches its pages from.
	Service func(name string) (http.Handler, error)
	// Warn takes what works but is not likely meant; it may be nil.
	Warn func(field, text, remedy string)
	Log  zerolog.Logger
}

// State keeps what outlives a table: see memory.State.
type State = memory.State

// NewState returns an empty State.
func NewState() *State { return memory.New() }

// OptionError is an option that a middleware cannot be built with: field, text, remedy.
type OptionError = option.Error

// Passwd returns a line "name:hash" for a users file, and the same line for a label of a
// compose file, where each dollar is doubled.
func Passwd(name, password string) (line, label string, err error) {
	return auth.Passwd(name, password)
}

// Build builds one middleware. name is its name with the provider ("auth@docker"). A
// chain is for the router to expand, which knows the names.
//
// What cannot work is an error, an *OptionError where one option is to blame; the caller
// then serves nothing in place of the router: a protection that is missing must not go
// unnoticed.
func Build(name string, cfg *config.Middleware, deps Deps) (Built, error) {
	if cfg.Broken != "" {
		return Built{}, &OptionError{Field: "middleware", Text: cfg.Broken, Remedy: "correct it: half a protection is none"}
	}
	kinds := set(cfg)
	switch len(kinds) {
	case 0:
		return Built{}, &OptionError{Field: "middleware", Text: "has no kind", Remedy: "set one, for example stripPrefix"}
	case 1:
		return kinds[0].build(name, cfg, deps)
	}
	return Built{}, &OptionError{
		Field: "middleware", Text: "has two kinds, " + kinds[0].name + " and " + kinds[1].name,
		Remedy: "give each kind a name of its own and list both",
	}
}

// Kind returns the kind of a middleware as its configuration key, or "" if it has none.
func Kind(cfg *config.Middleware) string {
	if k := set(cfg); len(k) > 0 {
		return k[0].name
	}
	return ""
}

// kind is a row of the table of kinds.
type kind struct {
	name  string
	isSet func(*config.Middleware) bool
	build func(name string, cfg *config.Middleware, deps Deps) (Built, error)
}

func set(cfg *config.Middleware) []kind {
	var out []kind
	for _, k := range kinds() {
		if k.isSet(cfg) {
			out = append(out, k)
		}
	}
	return out
}

func op(o exchange.Op, err error) (Built, error) {
	if err != nil {
		return Built{}, err
	}
	return Built{Op: o}, nil
}

func stage(s exchange.Stage, err error) (Built, error) {
	if err != nil {
		return Built{}, err
	}
	return Built{Stage: s}, nil
}
