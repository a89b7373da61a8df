package server

import (
	"context"
	"errors"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/proxy/entrypoint"
	"github.com/sluice-edge/sluice/proxy/stream"
	"github.com/sluice-edge/sluice/telemetry"
)

// staticWatch is how often the static file is looked at. Two looks must find it the same:
// it is not read while somebody writes it. Mounts of single files report nothing that could
// be waited for.
const staticWatch = 500 * time.Millisecond

// follow reads the static configuration again when it changed, and tells systemd that the
// program is alive, until ctx ends or an entry point ends on its own.
func (s *Server) follow(ctx context.Context) error {
	every := staticWatch
	if w := s.notify.every; w > 0 {
		every = min(every, w)
	}
	t := time.NewTicker(every)
	defer t.Stop()
	file := s.opts.Sources.File
	if s.opts.Load == nil {
		file = ""
	}
	done, seen, told, ready := look(file), look(file), time.Now(), s.ready
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.failed:
			return err
		case <-ready:
			ready = nil // the first routes are what counts
			s.notify.say("READY=1")
		case <-s.again:
			s.notify.reloading()
			done, seen = look(file), look(file)
			s.reloadStatic(ctx)
			s.notify.say("READY=1")
		case now := <-t.C:
			if w := s.notify.every; w > 0 && now.Sub(told) >= w-every/2 {
				s.notify.say("WATCHDOG=1")
				told = now
			}
			is := look(file)
			if is != done && is == seen {
				done = is
				s.reloadStatic(ctx)
			}
			seen = is
		}
	}
}

// version tells contents of a file apart without reading it.
type version struct {
	there bool
	size  int64
	mtime time.Time
}

func look(file string) version {
	if file == "" {
		return version{}
	}
	info, err := os.Stat(file)
	if err != nil {
		return version{}
	}
	return version{true, info.Size(), info.ModTime()}
}

// reloadStatic reads the static configuration and makes live what can be; all of it or,
// where something is wrong, nothing.
func (s *Server) reloadStatic(ctx context.Context) {
	if s.opts.Load == nil {
		return
	}
	next, src, err := s.opts.Load()
	if err == nil {
		err = s.apply(ctx, next, src)
	}
	if err == nil {
		return
	}
	problems := []config.Problem{{Source: "static configuration", Code: config.CodeInvalidValue, Severity: config.Error, Text: err.Error()}}
	var de *decode.Error
	var pe *pointError
	switch {
	case errors.As(err, &de):
		problems = de.Problems
	case errors.As(err, &pe):
		problems[0].Field = "entryPoints." + pe.name + ".address"
		problems[0].Source = place(src, problems[0].Field)
	}
	s.log.Error().Int("problems", len(problems)).Msg("static configuration not reloaded, the one before stays in force")
	s.hub.ReloadFailed()
	s.publishing.Lock()
	defer s.publishing.Unlock()
	s.say(problems)
}

// say replaces the Problems of the static configuration.
func (s *Server) say(problems []config.Problem) {
	s.warnings = problems
	if s.merged != nil {
		s.publishLocked(s.merged)
	} else {
		s.report(problems)
	}
}

func place(src *decode.Sources, key string) string {
	if src != nil {
		if p := src.Place(key); p != "" {
			return p
		}
		if src.File != "" {
			return "file " + src.File
		}
	}
	return "static configuration"
}

// apply makes a static configuration live. What needs a restart stays as it is, and is
// named in a warning.
func (s *Server) apply(ctx context.Context, next *config.Static, src *decode.Sources) error {
	changed := changes(s.given, next)
	inForce, waiting := merge(s.static.Load(), next)
	problems := slices.Clone(src.Warnings)
	for _, key := range waiting {
		problems = append(problems, config.Problem{
			Source: place(src, key), Field: key, Code: config.CodeInvalidValue, Severity: config.Warning,
			Text: "changed, and takes effect with the next start", Suggestion: "restart the program",
		})
	}
	if len(changed) == 0 && slices.Equal(problems, s.warnings) {
		return nil
	}
	setLog, discard, err := s.hub.Prepare(inForce)
	if err != nil {
		return err
	}
	was := s.points.Load()
	added := map[string]*config.EntryPoint{}
	for name, ep := range inForce.EntryPoints {
		if s.static.Load().EntryPoints[name] == nil {
			added[name] = ep
		}
	}
	opened, err := s.open(ctx, added)
	if err != nil {
		discard()
		return err
	}
	s.serve(opened)
	all, gone := opened.join(was, inForce.EntryPoints)

	s.publishing.Lock()
	defer s.publishing.Unlock()
	builtIn := !reflect.DeepEqual(internalConfig(s.static.Load()), internalConfig(inForce))
	resolvers := !reflect.DeepEqual(s.static.Load().CertificatesResolvers, inForce.CertificatesResolvers)
	s.static.Store(inForce)
	s.given = next
	_ = s.process.SetLevel(inForce.Log.Level) // validation has warned of a wrong one
	setLog()
	s.points.Store(all)
	s.providers.Replace(s.makeProviders()...)
	if resolvers {
		s.replacing.Store(true)
		select {
		case s.issuing <- struct{}{}:
		default: // they are about to be replaced, by these
		}
	}
	s.log.Info().Strs("changed", groups(changed)).Int("waitForRestart", len(waiting)).Msg("static configuration reloaded")
	if s.warnings = problems; !builtIn {
		s.say(problems)
	} // else the internal provider speaks in a moment, and what it said before does not fit
	s.serving.Go(func() {
		for _, e := range gone.tcp {
			s.log.Info().Str(telemetry.EntryPoint, e.Name()).Msg("entry point removed: running requests finish")
		}
		s.shutdown(context.WithoutCancel(ctx), gone)
	})
	return nil
}

// join adds to p, which were opened, those of was that stay, and returns those that go.
func (p *points) join(was *points, stay map[string]*config.EntryPoint) (all, gone *points) {
	gone = &points{udp: map[string]*stream.UDP{}}
	all = &points{tcp: slices.Clone(p.tcp), udp: maps.Clone(p.udp)}
	for _, e := range was.tcp {
		if stay[e.Name()] != nil {
			all.tcp = append(all.tcp, e)
		} else {
			gone.tcp = append(gone.tcp, e)
		}
	}
	slices.SortFunc(all.tcp, func(a, b *entrypoint.EntryPoint) int { return strings.Compare(a.Name(), b.Name()) })
	for name, u := range was.udp {
		if stay[name] != nil {
			all.udp[name] = u
		} else {
			gone.udp[name] = u
		}
	}
	return all, gone
}

// values are the settings of a static configuration by canonical key.
func values(s *config.Static) map[string]string {
	out := map[string]string{}
	decode.Values(reflect.ValueOf(s).Elem(), func(key, value string, _ bool) { out[key] = value })
	return out
}

// changes lists the keys whose values differ, sorted.
func changes(was, is *config.Static) []string {
	a, b := values(was), values(is)
	var out []string
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			out = append(out, k)
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// groups cuts keys to two parts, each once: "entryPoints.web" stands for all below.
func groups(keys []string) []string {
	var out []string
	for _, k := range keys {
		first, rest, _ := strings.Cut(k, ".")
		if second, _, _ := strings.Cut(rest, "."); second != "" {
			first += "." + second
		}
		if !slices.Contains(out, first) {
			out = append(out, first)
		}
	}
	return out
}

// merge gives the configuration that is in force after a reload of next: that of next but
// for what only a start can change, which it lists.
func merge(was, next *config.Static) (inForce *config.Static, waiting []string) {
	out := *next
	if was.Log != nil && out.Log != nil {
		log := *was.Log
		log.Level = next.Log.Level
		out.Log = &log
	}
	out.Metrics, out.Tracing, out.HostResolver, out.OCSP = was.Metrics, was.Tracing, was.HostResolver, was.OCSP
	out.Experimental, out.Spiffe = was.Experimental, was.Spiffe
	if was.Sluice != nil && next.Sluice != nil {
		own := *was.Sluice
		own.MergeSources, own.Strict, own.Compat404 = next.Sluice.MergeSources, next.Sluice.Strict, next.Sluice.Compat404
		own.Hold, own.Ready, own.Sleep = next.Sluice.Hold, next.Sluice.Ready, next.Sluice.Sleep
		out.Sluice = &own
	}
	if was.Providers != nil && next.Providers != nil {
		p := *next.Providers
		p.ProvidersThrottleDuration = was.Providers.ProvidersThrottleDuration
		out.Providers = &p
	}
	out.EntryPoints = make(map[string]*config.EntryPoint, len(next.EntryPoints))
	for name, ep := range next.EntryPoints {
		if old := was.EntryPoints[name]; old != nil {
			cp := *old
			cp.AsDefault, cp.AllowACMEByPass, cp.Observability = ep.AsDefault, ep.AllowACMEByPass, ep.Observability
			cp.HTTP.Middlewares, cp.HTTP.TLS, cp.HTTP.Redirections = ep.HTTP.Middlewares, ep.HTTP.TLS, ep.HTTP.Redirections
			ep = &cp
		}
		out.EntryPoints[name] = ep
	}
	return &out, changes(&out, next)
}
