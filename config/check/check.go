// Package check finds mistakes in configuration before it runs: in compose files, in
// static and dynamic files, and in the labels of containers. It does no I/O of its own.
package check

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

// Finding is a Problem at a place in a file. Line and Column count from 1; zero is unknown.
type Finding struct {
	config.Problem
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// Codes of findings that only check makes.
const (
	CodeDollar        = "dollar_not_doubled" // a $ in a compose file that compose will replace
	CodeNetwork       = "no_shared_network"  // router and service have no network in common
	CodeShadowed      = "shadowed_rule"      // a router that another always wins against
	CodePrefixOverlap = "prefix_overlap"     // a path prefix that ends within a segment of another
	CodeStorage       = "storage"            // certificates that cannot be kept
	CodeUnset         = "unset_variable"     // a value that is not known: its variable is not set
)

// World is what check asks about the machine. A nil function is not asked.
type World struct {
	// Env gives a variable that compose would put in.
	Env func(name string) (string, bool)
	// Writable reports why a file could not be written; nil means it can.
	Writable func(file string) error
	// Render runs a file of dynamic configuration as a template.
	Render func(name string, data []byte, env func(name string) string) ([]byte, *config.Problem)
	// Feed gives a file, or the configuration files below a directory, to f. It is asked for what
	// compose files mount.
	Feed func(name string, f func(name string, data []byte)) error
	// Middleware and TLSOptions judge settings as the router will. Fields are those below the
	// middleware's kind, or below the options.
	Middleware func(*config.Middleware) []config.Problem
	TLSOptions func(*config.TLSOptions) []config.Problem
}

// Checker collects configuration and then looks for mistakes in all of it together.
type Checker struct {
	world    World
	findings []Finding
	model    model
	compose  *decode.Compose
	host     bool               // the static configuration is a file
	unset    []string           // variables that are not set and were put in, since it was emptied
	guesses  map[string][]guess // by place
	done     bool
}

// New returns a Checker that knows nothing yet.
func New(w World) *Checker {
	return &Checker{world: w, model: newModel(), guesses: map[string][]guess{}}
}

var place = regexp.MustCompile(`^(?:file )?(.*?):(\d+)(?::(\d+))?$`)

// locate takes "file NAME:LINE:COLUMN" apart.
func locate(where string) (file string, line, column int) {
	m := place.FindStringSubmatch(where)
	if m == nil {
		return strings.TrimPrefix(where, "file "), 0, 0
	}
	line, _ = strconv.Atoi(m[2])
	column, _ = strconv.Atoi(m[3])
	return m[1], line, column
}

// add notes a problem. where is a place, as in decode; it may be empty.
func (c *Checker) add(where string, p config.Problem) {
	f := Finding{Problem: p}
	if where == "" {
		where = p.Source
	}
	if m := place.MatchString(where); m || strings.HasPrefix(where, "file ") {
		f.File, f.Line, f.Column = locate(where)
		f.Source = "file " + f.File
	} else if f.Source == "" {
		f.Source = where
	}
	c.findings = append(c.findings, f)
}

func (c *Checker) addError(err error) {
	if e := (*decode.Error)(nil); errors.As(err, &e) {
		for _, p := range e.Problems {
			c.add("", p)
		}
		return
	}
	c.add("", config.Problem{Code: config.CodeUnreadable, Text: err.Error(), Severity: config.Error})
}

// Static checks a static configuration file.
func (c *Checker) Static(name string, data []byte) {
	s := config.NewStatic()
	places, problems, err := decode.TraceFile(name, data, s)
	if err != nil {
		c.addError(err)
		return
	}
	for _, p := range problems {
		c.add("", p)
	}
	c.host = true
	c.static(s, func(key string) string { return nearestPlace(places, key, "file "+name) })
	if decode.IsItsOwn(name, s) {
		c.Dynamic(name, data)
	}
}

// static checks a decoded static configuration.
func (c *Checker) static(s *config.Static, at func(key string) string) {
	s.Complete()
	for _, p := range s.Validate() {
		c.add(at(p.Field), p)
	}
	c.model.static, c.model.staticAt = s, at
}

// storages reports certificates that cannot be kept, where the static file's paths are this machine's.
func (c *Checker) storages() {
	s := c.model.static
	if s == nil || !c.host || c.model.inContainer || c.world.Writable == nil {
		return
	}
	for _, name := range sortedKeys(s.CertificatesResolvers) {
		a := s.CertificatesResolvers[name].ACME
		if a == nil || a.Storage == "" || strings.Contains(a.Storage, "://") {
			continue
		}
		key := "certificatesResolvers." + name + ".acme.storage"
		switch err := c.world.Writable(a.Storage); {
		case errors.Is(err, fs.ErrNotExist):
			c.add(c.model.staticAt(key), config.Problem{Field: key, Code: CodeStorage, Severity: config.Warning,
				Text: fmt.Sprintf("this machine has no directory %s", filepath.Dir(a.Storage)), Suggestion: "make it, or in a container mount a volume there"})
		case err != nil:
			c.add(c.model.staticAt(key), config.Problem{Field: key, Code: CodeStorage, Severity: config.Error,
				Text: "certificates cannot be kept: " + err.Error(), Suggestion: "name a file in a directory that can be written"})
		}
	}
}

// nearestPlace is where the key was written, or something below it, or the nearest
// group around it.
func nearestPlace(places decode.Places, key, otherwise string) string {
	for k := key; k != ""; {
		if where, ok := places[k]; ok {
			return where
		}
		best := ""
		for other := range places {
			if strings.HasPrefix(other, k+".") && (best == "" || other < best) {
				best = other
			}
		}
		if best != "" {
			return places[best]
		}
		i := strings.LastIndexByte(k, '.')
		if i < 0 {
			break
		}
		k = k[:i]
	}
	return otherwise
}

// Dynamic checks a file of dynamic configuration.
func (c *Checker) Dynamic(name string, data []byte) {
	c.unset = nil
	if c.world.Render != nil {
		rendered, p := c.world.Render(name, data, func(v string) string { return c.variable(v, "") })
		if p != nil {
			c.add("", *p)
			return
		}
		data = rendered
	}
	var d config.Dynamic
	places, problems, err := decode.TraceFile(name, data, &d)
	if err != nil {
		c.addError(err)
		return
	}
	for _, p := range problems {
		c.add("", p)
	}
	if len(c.unset) > 0 && d.HTTP != nil {
		for n := range d.HTTP.Middlewares {
			c.model.guessed[n+"@file"] = true
		}
	}
	c.model.addFile(c, &d, func(key string) string { return nearestPlace(places, key, "file "+name) })
}

// Findings runs the checks that need everything and returns all findings by place.
func (c *Checker) Findings() []Finding {
	if !c.done {
		c.done = true
		c.services()
		c.storages()
		c.model.check(c)
		c.unknown()
	}
	sort.SliceStable(c.findings, func(i, j int) bool {
		a, b := c.findings[i], c.findings[j]
		switch {
		case a.File != b.File:
			return a.File < b.File
		case a.Line != b.Line:
			return a.Line < b.Line
		case a.Column != b.Column:
			return a.Column < b.Column
		case a.Code != b.Code:
			return a.Code < b.Code
		}
		return a.Text < b.Text
	})
	return c.findings
}

// Errors counts the findings that are errors.
func Errors(findings []Finding) int {
	n := 0
	for _, f := range findings {
		if f.Severity != config.Warning {
			n++
		}
	}
	return n
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
