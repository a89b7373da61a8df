package router

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/balance"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// item is a built middleware: one of the two is set.
type item struct {
	op    exchange.Op
	stage exchange.Stage
}

// chainError is a middleware of a router that is not there or cannot be built.
type chainError struct {
	codedError
	// field and text are what the Problem of the middleware itself says.
	field, text string
	// protects is set where passing the router over could open what it was to guard: the
	// middleware guards something, or nobody knows what it was to do.
	protects bool
	// unread is set where the middleware's own words could not be read, guard where they were
	// read and are of a kind that keeps somebody out.
	unread, guard bool
}

// chains builds the middlewares of routers, one instance for each router as the
// reference does: two routers with one rate limit have a bucket each.
type chains struct {
	c *compiler
	// depth counts the builds within builds, steps the middlewares met since the outermost.
	depth, steps int
}

// maxChain bounds how many middlewares stand before one router, those of services that its
// middlewares use counted. Chains of chains double with each level: thirty labels would make a billion.
const maxChain = 1000

// build builds middlewares by their full names. owner is a router, or "service NAME".
func (b *chains) build(owner string, names []string) ([]item, *chainError) {
	if b.depth == 0 {
		b.steps = 0
	}
	b.depth++
	defer func() { b.depth-- }()
	return b.add(nil, owner, names, nil)
}

func (b *chains) add(items []item, owner string, names, stack []string) ([]item, *chainError) {
	for _, name := range names {
		if b.steps++; b.steps > maxChain {
			return nil, &chainError{codedError: codedError{config.CodeInvalidMiddleware, "",
				fmt.Errorf("more than %d middlewares come together", maxChain)}, protects: true}
		}
		b.c.touched = append(b.c.touched, ref{ofMiddleware, name})
		info := b.c.run.Middlewares[name]
		if info == nil {
			return nil, &chainError{codedError: codedError{config.CodeUnknownMiddleware, suggest(name, b.c.run.Middlewares),
				fmt.Errorf("middleware %q does not exist", name)}, protects: true}
		}
		var err *chainError
		if info.Broken != "" {
			err = &chainError{codedError: codedError{config.CodeInvalidMiddleware, "", fmt.Errorf("middleware %s: %s", name, info.Broken)},
				text: info.Broken, protects: true, unread: true}
		} else if info.Chain != nil && len(middlewareKinds(info.Middleware)) == 1 {
			items, err = b.expand(items, owner, name, info, stack)
		} else {
			items, err = b.one(items, owner, name, info)
		}
		if err != nil {
			b.spoil(name, info, err)
			return nil, err
		}
	}
	return items, nil
}

// spoil disables a middleware that cannot be built, or a chain around it.
func (b *chains) spoil(name string, info *config.MiddlewareInfo, err *chainError) {
	if b.c.patch.stops("middleware " + name) {
		return
	}
	if !slices.Contains(info.Errors, err.Error()) {
		info.Errors = append(info.Errors, err.Error())
	}
	info.Status = config.StatusDisabled
	text := err.text
	if text == "" {
		text = err.Error()
	}
	b.c.problem("middleware "+name, err.field, err.code, config.Error, text, err.hint)
}

func (b *chains) expand(items []item, owner, name string, info *config.MiddlewareInfo, stack []string) ([]item, *chainError) {
	if slices.Contains(stack, name) {
		return nil, &chainError{codedError: codedError{config.CodeLoop, "",
			fmt.Errorf("the chain %s contains itself: %s", name, strings.Join(append(stack, name), " > "))}, protects: true}
	}
	names := make([]string, len(info.Chain.Middlewares))
	for i, n := range info.Chain.Middlewares {
		names[i] = qualify(n, name)
	}
	return b.add(items, owner, names, append(slices.Clone(stack), name))
}

func (b *chains) one(items []item, owner, name string, info *config.MiddlewareInfo) ([]item, *chainError) {
	reads := readsFiles(info.Middleware)
	if reads {
		b.c.table.memo.volatile[name] = true
	}
	op, stage, err := b.c.in.Parts.Middleware(name, info.Middleware, MiddlewareDeps{
		Router:  owner,
		Service: func(n string) (http.Handler, error) { return b.c.services.handler(qualify(n, name)) },
		Warn: func(field, text, remedy string) {
			b.c.problem("middleware "+name, field, config.CodeInvalidMiddleware, config.Warning, text, remedy)
		},
	})
	if err != nil {
		b.c.table.memo.unsettled = b.c.table.memo.unsettled || reads
		e := &chainError{codedError: codedError{err: fmt.Errorf("middleware %s: %w", name, err)}, protects: mayGuard(info.Middleware)}
		e.guard = slices.ContainsFunc(middlewareKinds(info.Middleware), isGuard) || info.Plugin != nil // most plugins keep somebody out
		e.code, e.hint = codeOf(err, config.CodeInvalidMiddleware)
		var o *option.Error
		if errors.As(err, &o) {
			e.field, e.text, e.hint = o.Field, o.Text, o.Remedy
		}
		if errors.Is(err, errors.ErrUnsupported) || info.Plugin != nil {
			e.code = config.CodeUnsupported
		}
		return nil, e
	}
	if op != nil || stage != nil {
		items = append(items, item{op, stage})
	}
	return items, nil
}

func isGuard(kind string) bool {
	return slices.ContainsFunc(config.GuardKinds(), func(k string) bool { return strings.EqualFold(k, kind) })
}

// mayGuard reports whether a middleware keeps somebody out, or cannot be told from one that does.
func mayGuard(m *config.Middleware) bool {
	kinds := middlewareKinds(m)
	for _, k := range kinds {
		switch k {
		case "AddPrefix", "StripPrefix", "StripPrefixRegex", "ReplacePath", "ReplacePathRegex", "RewriteLocation",
			"RedirectRegex", "RedirectScheme", "Errors", "Compress", "ContentType", "Buffering", "Retry", "GRPCWeb", "Respond":
		default:
			return true
		}
	}
	return len(kinds) == 0
}

// readsFiles reports whether a middleware may come out otherwise with the same configuration.
func readsFiles(m *config.Middleware) bool {
	switch {
	case m.BasicAuth != nil:
		return m.BasicAuth.UsersFile != ""
	case m.DigestAuth != nil:
		return m.DigestAuth.UsersFile != ""
	case m.ForwardAuth != nil:
		return m.ForwardAuth.TLS != nil
	case m.RateLimit != nil:
		return m.RateLimit.Redis != nil && m.RateLimit.Redis.TLS != nil
	}
	return false
}

// middlewareKinds returns the names of the fields that are set.
func middlewareKinds(m *config.Middleware) []string {
	var kinds []string
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); !f.IsZero() && f.Kind() != reflect.String { // not Broken
			kinds = append(kinds, v.Type().Field(i).Name)
		}
	}
	return kinds
}

// compose splits middlewares and the service behind them into ops that either lane runs
// and what follows them: a service, or a tail that needs the handler lane.
func (c *compiler) compose(items []item, child balance.Child) (ops []exchange.Op, tail http.Handler, to exchange.Service) {
	n := 0
	for n < len(items) && items[n].op != nil {
		ops = append(ops, items[n].op)
		n++
	}
	if n == len(items) && child.Service != nil {
		return ops, nil, child.Service
	}
	if tail = child.Handler; tail == nil {
		tail = c.in.Parts.Forward(child.Service)
	}
	for i := len(items) - 1; i >= n; {
		if items[i].stage != nil {
			tail = items[i].stage(tail)
			i--
			continue
		}
		j := i
		for j >= n && items[j].op != nil {
			j--
		}
		segment := make([]exchange.Op, 0, i-j)
		for _, it := range items[j+1 : i+1] {
			segment = append(segment, it.op)
		}
		tail = c.in.Parts.OpHandler(segment, tail)
		i = j
	}
	return ops, tail, nil
}
