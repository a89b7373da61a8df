// Package file reads dynamic configuration from a file or a directory of files in
// YAML, TOML or JSON, run as Go templates, and follows their changes. A file that
// cannot be used keeps its last good state; the others are not touched by it.
package file

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/telemetry"
)

const (
	// settle is how long a file must be left alone after a change is noticed.
	settle = 10 * time.Millisecond
	// settleMost bounds that for files that are never left alone.
	settleMost = 500 * time.Millisecond
	// settleUnknown is the same where the system cannot tell whether a file is being written.
	settleUnknown = 60 * time.Millisecond
	// writerPatience bounds the wait for a program that holds the file open for writing.
	writerPatience = 2 * time.Second
	// badPatience is how long a file that is gone or cannot be read may stay so before
	// that counts: editors move files away and back.
	badPatience = 150 * time.Millisecond
	// emptyPatience is the same for a file that became empty.
	emptyPatience = time.Second
	// missingEvery is how often a directory that is not there is looked for.
	missingEvery = time.Second
	// pollEvery finds changes that the system does not report: network and shared file
	// systems, and watches that could not be set.
	pollEvery = 5 * time.Second
)

// Options tune a Provider. The zero value is ready to use.
type Options struct {
	Log zerolog.Logger
}

// Provider reads files.
type Provider struct {
	cfg    config.FileProvider
	log    zerolog.Logger
	reload chan struct{}

	// What follows belongs to Run.
	files   map[string]*entry
	trouble *config.Problem // why the files cannot be listed
	watcher *fsnotify.Watcher
	watched map[string]bool
	dirs    map[string]bool // directories in which everything matters
	bases   map[string]bool // names that matter in any watched directory
	sent    bool
}

// entry is one file: what was read last, and what is used.
type entry struct {
	sig      signature
	checked  bool      // sig has been dealt with
	since    time.Time // when it was first seen to differ from what was dealt with; zero if it does not
	data     string    // as read last, after the template
	versions decode.Versions
	config   *config.Dynamic
	problems []config.Problem
}

// signature tells versions of a file apart.
type signature struct {
	size  int64
	mtime time.Time
	id    any // os.FileInfo.Sys: device and inode tell a replaced file
}

// New returns a Provider of the file or directory that cfg names.
func New(cfg *config.FileProvider, opts Options) *Provider {
	return &Provider{cfg: *cfg, log: opts.Log, reload: make(chan struct{}, 1), files: map[string]*entry{},
		watched: map[string]bool{}, dirs: map[string]bool{}, bases: map[string]bool{}}
}

// Name implements provider.Provider.
func (*Provider) Name() string { return "file" }

// Reload implements provider.Reloader: every file is read again, also where its
// template depends on things that are not watched.
func (p *Provider) Reload() {
	select {
	case p.reload <- struct{}{}:
	default:
	}
}

// Run implements provider.Provider.
func (p *Provider) Run(ctx context.Context, out chan<- provider.Update) error {
	if p.cfg.Filename == "" && p.cfg.Directory == "" {
		return errors.New("providers.file needs filename or directory")
	}
	var events <-chan fsnotify.Event
	var errs <-chan error
	if p.cfg.Watch {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			p.log.Warn().Err(err).Dur("every", pollEvery).Msg("files cannot be watched, asking regularly")
		} else {
			defer func() { _ = w.Close() }()
			p.watcher, events, errs = w, w.Events, w.Errors
		}
	}
	now := time.Now()
	again := p.scan(now, true)
	if !p.send(ctx, out, now) {
		return nil
	}
	timer := time.NewTimer(p.wait(again))
	defer timer.Stop()
	noticed := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			if p.concerns(e) {
				if noticed.IsZero() {
					noticed = time.Now()
				}
				if time.Since(noticed) < settleMost {
					timer.Reset(settle)
				}
			}
			continue
		case err := <-errs:
			p.log.Warn().Err(err).Msg("watching files")
			timer.Reset(settle)
			continue
		case <-p.reload:
			for _, e := range p.files {
				e.checked, e.data = false, ""
			}
		case <-timer.C:
		}
		now := time.Now()
		before := p.fingerprint()
		again := p.scan(now, false)
		if !slices.Equal(before, p.fingerprint()) {
			if noticed.IsZero() {
				noticed = now
			}
			if !p.send(ctx, out, noticed) {
				return nil
			}
		}
		if again == 0 {
			noticed = time.Time{}
		}
		timer.Reset(p.wait(again))
	}
}

func (p *Provider) wait(again time.Duration) time.Duration {
	switch {
	case again > 0:
		return again
	case p.cfg.Watch:
		return pollEvery
	}
	return 24 * time.Hour
}

// fingerprint tells whether anything that is sent changed: the pointers of what is used.
func (p *Provider) fingerprint() []any {
	out := []any{p.trouble}
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		e := p.files[name]
		var problems *config.Problem
		if len(e.problems) > 0 {
			problems = &e.problems[0]
		}
		out = append(out, name, e.config, problems)
	}
	return out
}

// concerns drops events of other people's files and those that change nothing.
func (p *Provider) concerns(e fsnotify.Event) bool {
	if !p.dirs[filepath.Dir(e.Name)] && !p.bases[filepath.Base(e.Name)] {
		return false
	}
	if e.Op == fsnotify.Chmod && readable(e.Name) && p.files[e.Name] != nil && len(p.files[e.Name].problems) == 0 {
		return false // backups and virus scanners touch files all the time
	}
	return true
}

func readable(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

// send sends the joined state of all files.
func (p *Provider) send(ctx context.Context, out chan<- provider.Update, at time.Time) bool {
	u := provider.Update{Provider: p.Name(), At: at}
	dyn, problems := join(p.files)
	usable := p.sent || p.trouble == nil
	for _, e := range p.files {
		usable = usable || e.config != nil
	}
	if usable {
		u.Config = dyn
	}
	if p.trouble != nil {
		problems = append([]config.Problem{*p.trouble}, problems...)
	}
	if p.cfg.Filename != "" && p.cfg.Directory != "" {
		problems = append(problems, config.Problem{Source: "static configuration", Field: "providers.file.filename",
			Code: config.CodeConflict, Severity: config.Warning, Text: "has no effect beside providers.file.directory"})
	}
	u.Problems = problems
	p.sent = p.sent || usable
	select {
	case out <- u:
		return true
	case <-ctx.Done():
		return false
	}
}

// scan brings the entries up to date. It returns how long to wait before it is worth
// scanning again, or 0 if nothing is in motion. At the start there is nothing to keep,
// so nothing is waited for.
func (p *Provider) scan(now time.Time, start bool) time.Duration {
	found, err := p.list()
	if err != nil {
		if !start && p.trouble == nil && p.sent {
			p.log.Warn().Err(err).Msg("files cannot be listed, keeping what they said")
		}
		p.setTrouble(err)
		return missingEvery
	}
	p.trouble = nil
	var again time.Duration
	later := func(d time.Duration) {
		if d > 0 && (again == 0 || d < again) {
			again = d
		}
	}
	for name, sig := range found {
		e := p.files[name]
		if e == nil {
			e = &entry{}
			p.files[name] = e
		}
		if e.checked && e.sig == sig {
			e.since = time.Time{}
			continue
		}
		if e.since.IsZero() {
			e.since = now
		}
		later(p.read(name, e, sig, now, start))
	}
	for name, e := range p.files {
		if _, ok := found[name]; ok {
			continue
		}
		if e.since.IsZero() {
			e.since, e.checked = now, false
		}
		if d := badPatience - now.Sub(e.since); d > 0 && !start {
			later(d)
			continue
		}
		if p.cfg.Directory == "" {
			// The one file is gone: that is a mistake more often than a wish.
			if len(e.problems) == 0 || e.problems[0].Text != textGone {
				e.problems = []config.Problem{unreadable(name, textGone)}
				p.log.Warn().Str(telemetry.File, name).Msg("file is gone, keeping what it said")
			}
			later(badPatience)
			continue
		}
		delete(p.files, name)
	}
	return again
}

const textGone = "is gone; what it said last is kept"

func unreadable(name, text string) config.Problem {
	return config.Problem{Source: "file " + name, Code: config.CodeUnreadable, Severity: config.Error, Text: text}
}

func (p *Provider) setTrouble(err error) {
	name, text := p.root(), err.Error()
	var pe *fs.PathError
	if errors.As(err, &pe) {
		name, text = pe.Path, pe.Err.Error()
	}
	problem := unreadable(name, text)
	if errors.Is(err, fs.ErrNotExist) {
		problem.Suggestion = "create or mount it; it is looked for again"
	}
	if p.trouble == nil || *p.trouble != problem {
		p.trouble = &problem
	}
}

func (p *Provider) root() string {
	if p.cfg.Directory != "" {
		return p.cfg.Directory
	}
	return p.cfg.Filename
}

// ours reports whether a file of a directory is to be read. JSON files count only if
// they look like configuration: acme.json lives in such directories.
func ours(name string) bool {
	base := filepath.Base(name)
	if strings.HasPrefix(base, ".#") {
		return false // a lock of an editor
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yml", ".yaml", ".toml":
		return true
	case ".json":
		return looksDynamic(name)
	}
	return false
}
