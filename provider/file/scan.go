package file

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/telemetry"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 256 << 20

// list finds the files with their signatures, and watches where they are.
func (p *Provider) list() (map[string]signature, error) {
	found := map[string]signature{}
	// Directories that were replaced lost their watch; adding one again is harmless.
	clear(p.watched)
	clear(p.dirs)
	clear(p.bases)
	if p.cfg.Directory == "" {
		p.watchLinks(p.cfg.Filename)
		info, err := os.Stat(p.cfg.Filename)
		if errors.Is(err, fs.ErrNotExist) && len(p.files) > 0 {
			return found, nil // scan keeps what it said
		}
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			return nil, &fs.PathError{Path: p.cfg.Filename, Err: errors.New("is a directory; use providers.file.directory")}
		}
		found[p.cfg.Filename] = sign(info)
		return found, nil
	}
	if _, err := os.ReadDir(p.cfg.Directory); err != nil {
		p.watchLinks(p.cfg.Directory)
		return nil, err
	}
	p.watchLinks(p.cfg.Directory)
	real := map[string]bool{}
	p.walk(p.cfg.Directory, 0, real, found)
	return found, nil
}

// maxDepth bounds directories within each other, for links that lead back.
const maxDepth = 20

// walk lists a directory, following links. A file that is reached by several ways, as in
// the mounts of orchestrators, counts once.
func (p *Provider) walk(dir string, depth int, real map[string]bool, found map[string]signature) {
	if r, err := filepath.EvalSymlinks(dir); err == nil {
		if real[r] || depth > maxDepth {
			return
		}
		real[r] = true
	}
	p.watch(dir)
	p.dirs[dir] = true
	list, err := os.ReadDir(dir)
	if err != nil {
		p.log.Warn().Err(err).Msg("directory not read")
		return
	}
	for _, d := range list {
		name := filepath.Join(dir, d.Name())
		if strings.HasPrefix(d.Name(), "..") {
			continue // where mounts of orchestrators keep versions that links lead to
		}
		info, err := os.Stat(name)
		if err != nil {
			continue // it went meanwhile, or a link leads nowhere
		}
		if info.IsDir() {
			p.walk(name, depth+1, real, found)
			continue
		}
		if !info.Mode().IsRegular() || !ours(name) {
			continue
		}
		if d.Type()&fs.ModeSymlink != 0 {
			p.watchLinks(name)
		}
		if r, err := filepath.EvalSymlinks(name); err == nil {
			if real[r] {
				continue
			}
			real[r] = true
		}
		found[name] = sign(info)
	}
}

func sign(info fs.FileInfo) signature {
	return signature{size: info.Size(), mtime: info.ModTime(), id: identity(info)}
}

// watch follows changes in a directory.
func (p *Provider) watch(dir string) {
	if p.watcher == nil || p.watched[dir] {
		return
	}
	if err := p.watcher.Add(dir); err != nil {
		p.log.Debug().Err(err).Str(telemetry.File, dir).Msg("not watched")
		return
	}
	p.watched[dir] = true
}

// watchLinks watches the directory of a path, and those of all the links it goes through.
func (p *Provider) watchLinks(name string) {
	if p.watcher == nil {
		return
	}
	name = filepath.Clean(name)
	for range 16 {
		p.watch(filepath.Dir(name))
		p.bases[filepath.Base(name)] = true
		if dir, err := filepath.EvalSymlinks(filepath.Dir(name)); err == nil && dir != filepath.Dir(name) {
			p.watchParts(filepath.Dir(name))
			p.watch(dir)
		}
		to, err := os.Readlink(name)
		if err != nil {
			return
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(name), to)
		}
		name = to
	}
}

// watchParts watches the directory of every link among the elements of a path, such as
// the "..data" that an orchestrator swaps.
func (p *Provider) watchParts(dir string) {
	for dir != "." && dir != string(filepath.Separator) {
		if info, err := os.Lstat(dir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			p.watch(filepath.Dir(dir))
			p.bases[filepath.Base(dir)] = true
		}
		dir = filepath.Dir(dir)
	}
}

// read reads a changed file into its entry. It returns how long to wait where the file
// is not ready, and 0 if it was dealt with.
func (p *Provider) read(name string, e *entry, sig signature, now time.Time, start bool) time.Duration {
	waited := now.Sub(e.since)
	data, w, after, err := slurp(name)
	if err == nil && after != sig {
		return settle // changed while it was read
	}
	good := e.config != nil
	switch {
	case start:
	case w == someWriter && waited < writerPatience:
		return 2 * settle
	case w == unknownWriter && now.Sub(sig.mtime) < settleUnknown && waited < writerPatience:
		return settle
	case err != nil && good && waited < badPatience:
		return badPatience - waited
	case err == nil && good && len(bytes.TrimSpace(data)) == 0 && waited < emptyPatience:
		return emptyPatience - waited
	}
	var next *config.Dynamic
	var problems []config.Problem
	if err != nil {
		problems = []config.Problem{unreadable(name, cause(err))}
	} else {
		var text string
		next, text, problems = p.decode(&e.versions, name, data)
		if next != nil && e.config != nil && text == e.data && slices.Equal(problems, e.problems) {
			e.sig, e.checked, e.since = sig, true, time.Time{}
			return 0
		}
		if next == nil && good && waited < badPatience && !start {
			return badPatience - waited // perhaps a writer that leaves and comes back
		}
		e.data = text
	}
	e.sig, e.checked, e.since = sig, true, time.Time{}
	if !slices.Equal(problems, e.problems) {
		e.problems = problems
	}
	if next == nil {
		if good {
			p.log.Warn().Str(telemetry.File, name).Msg("file cannot be used, keeping what it said before")
		}
		return 0
	}
	provider.Reuse(e.config, next)
	e.config = next
	return 0
}

func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// slurp reads a file, and tells whether somebody writes it and what it was after reading.
func slurp(name string) ([]byte, writer, signature, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, unknownWriter, signature{}, err
	}
	defer f.Close()
	w := writerOf(f)
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, w, signature{}, err
	}
	if len(data) > maxFile {
		return nil, w, signature{}, errors.New("is larger than 256 MiB")
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, w, signature{}, err
	}
	return data, w, sign(info), nil
}

// decode gives the configuration of a file, or nil and why it cannot be used. A file is
// used as a whole or not at all: half of an edit is nobody's wish.
func (p *Provider) decode(v *decode.Versions, name string, data []byte) (*config.Dynamic, string, []config.Problem) {
	text, problem := render(name, data)
	if problem != nil {
		return nil, "", []config.Problem{*problem}
	}
	if p.cfg.DebugLogGeneratedTemplate {
		p.log.Debug().Str(telemetry.File, name).Str("content", string(text)).Msg("generated configuration")
	}
	dyn := &config.Dynamic{}
	problems, err := v.File(name, text, dyn)
	if err != nil {
		var de *decode.Error
		if errors.As(err, &de) {
			return nil, "", append(problems, de.Problems...)
		}
		return nil, "", append(problems, unreadable(name, err.Error()))
	}
	if slices.ContainsFunc(problems, func(p config.Problem) bool { return p.Severity != config.Warning }) {
		return nil, "", problems
	}
	return dyn, string(text), problems
}

// looksDynamic reports whether a JSON file has a part of a dynamic configuration at its top.
func looksDynamic(name string) bool {
	data, err := os.ReadFile(name)
	if err != nil {
		return false
	}
	var top map[string]json.RawMessage
	if json.Unmarshal(data, &top) != nil {
		return bytes.Contains(data, []byte("{{")) // a template, perhaps
	}
	for k := range top {
		switch strings.ToLower(k) {
		case "http", "tcp", "udp", "tls":
			return true
		}
	}
	return false
}

// join merges files in the order of their names. What two files define, the first has.
func join(files map[string]*entry) (*config.Dynamic, []config.Problem) {
	out := &config.Dynamic{HTTP: &config.HTTP{}, TCP: &config.TCP{}, UDP: &config.UDP{}}
	var problems []config.Problem
	owners := map[string]string{}
	for _, name := range slices.SortedFunc(maps.Keys(files), byPath) {
		e := files[name]
		problems = append(problems, e.problems...)
		c := e.config
		if c == nil {
			continue
		}
		j := joiner{file: name, owners: owners, problems: &problems}
		if len(files) == 1 && !hasNil(c) {
			out.HTTP, out.TCP, out.UDP, out.TLS = cmp.Or(c.HTTP, out.HTTP), cmp.Or(c.TCP, out.TCP), cmp.Or(c.UDP, out.UDP), c.TLS
			return out, problems
		}
		if h := c.HTTP; h != nil {
			add(j, "router", &out.HTTP.Routers, h.Routers)
			add(j, "service", &out.HTTP.Services, h.Services)
			add(j, "middleware", &out.HTTP.Middlewares, h.Middlewares)
			add(j, "serversTransport", &out.HTTP.ServersTransports, h.ServersTransports)
		}
		if t := c.TCP; t != nil {
			add(j, "tcp router", &out.TCP.Routers, t.Routers)
			add(j, "tcp service", &out.TCP.Services, t.Services)
			add(j, "tcp middleware", &out.TCP.Middlewares, t.Middlewares)
			add(j, "tcp serversTransport", &out.TCP.ServersTransports, t.ServersTransports)
		}
		if u := c.UDP; u != nil {
			add(j, "udp router", &out.UDP.Routers, u.Routers)
			add(j, "udp service", &out.UDP.Services, u.Services)
		}
		if t := c.TLS; t != nil {
			if out.TLS == nil {
				out.TLS = &config.TLS{}
			}
			out.TLS.Certificates = append(out.TLS.Certificates, t.Certificates...)
			add(j, "tls options", &out.TLS.Options, t.Options)
			add(j, "tls store", &out.TLS.Stores, t.Stores)
		}
	}
	return out, problems
}

// hasNil reports whether an object is named and nothing said about it, which join drops.
func hasNil(c *config.Dynamic) bool {
	h, t, u := cmp.Or(c.HTTP, &config.HTTP{}), cmp.Or(c.TCP, &config.TCP{}), cmp.Or(c.UDP, &config.UDP{})
	l := cmp.Or(c.TLS, &config.TLS{})
	return anyNil(h.Routers) || anyNil(h.Services) || anyNil(h.Middlewares) || anyNil(h.ServersTransports) ||
		anyNil(t.Routers) || anyNil(t.Services) || anyNil(t.Middlewares) || anyNil(t.ServersTransports) ||
		anyNil(u.Routers) || anyNil(u.Services) || anyNil(l.Options) || anyNil(l.Stores)
}

func anyNil[T any](m map[string]*T) bool {
	for _, v := range m {
		if v == nil {
			return true
		}
	}
	return false
}

// byPath orders files directory by directory.
func byPath(a, b string) int {
	return slices.Compare(strings.Split(a, string(filepath.Separator)), strings.Split(b, string(filepath.Separator)))
}

type joiner struct {
	file     string
	owners   map[string]string // kind and name -> file
	problems *[]config.Problem
}

func add[T any](j joiner, kind string, out *map[string]*T, in map[string]*T) {
	if len(in) > 0 && *out == nil {
		*out = make(map[string]*T, len(in))
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		object := kind + " " + name
		if in[name] == nil {
			continue
		}
		if first, ok := j.owners[object]; ok {
			*j.problems = append(*j.problems, config.Problem{Source: "file " + j.file, Object: object, Code: config.CodeConflict,
				Severity: config.Warning, Text: "is defined in " + first + " already; that definition counts"})
			continue
		}
		j.owners[object] = j.file
		(*out)[name] = in[name]
	}
}
