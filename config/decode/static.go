package decode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sluice-edge/sluice/config"
)

// Sources tells where a static configuration came from.
type Sources struct {
	// File is the static configuration file in use; empty if there is none.
	File string
	// Used names the sources in use: "file PATH", "command line", "environment".
	Used []string
	// Values maps each key that was given, in its canonical spelling, to its place.
	Values map[string]string
	// Warnings are what was gone on without.
	Warnings []config.Problem
}

// Static finds and decodes the static configuration, completes it (default entry
// points) and checks it. args are the flags, environ the variables, and read reads a file.
//
// The first source that yields anything is the only one: a file (--configFile, or the
// first found on the search path), else flags, else environment, as in the reference. A source that
// was given and is not used gets a warning. With sluice.mergeSources all are merged: flags
// win over environment, environment over file. Keys below "sluice" are always merged.
//
// A missing --configFile, an unknown key and a value that cannot be used are errors; an unknown key at the
// top of a file is a warning. With sluice.strict warnings are errors too. The error is an *Error.
func Static(args, environ []string, read func(name string) ([]byte, error)) (*config.Static, *Sources, error) {
	l := &loader{src: &Sources{Values: map[string]string{}}, read: read}
	flags, configFile, problems := parseFlags(args)
	l.problems = append(l.problems, problems...)
	file, err := l.file(configFile, environ)
	if err != nil {
		return nil, l.src, err
	}
	env, problems := parseEnv(environ, read)
	l.problems = append(l.problems, problems...)

	inputs := []input{{place: "file " + l.src.File, root: file}, {place: "environment", root: grow(env), join: "_"}, {place: "command line", root: grow(flags)}}
	s := config.NewStatic()
	l.own(s, inputs)
	if !s.Sluice.MergeSources {
		l.first(inputs)
	}
	for _, in := range inputs {
		l.decode(in, s)
	}
	s.Complete()
	for _, p := range s.Validate() {
		if p.Source == "" {
			p.Source = l.src.Place(p.Field)
		}
		l.problems = append(l.problems, p)
	}
	if err := failure(l.problems, s.Sluice.Strict); err != nil {
		return nil, l.src, err
	}
	l.src.Warnings = l.problems
	return s, l.src, nil
}

type input struct {
	place string
	join  string
	root  *node
}

// rest is the part of the tree that is not below "sluice".
func (in input) rest() *node {
	if in.root == nil || in.root.kind != object {
		return in.root
	}
	out := *in.root
	out.kids = nil
	for _, k := range in.root.kids {
		if !strings.EqualFold(k.key, "sluice") {
			out.kids = append(out.kids, k)
		}
	}
	if len(out.kids) == 0 {
		return nil
	}
	return &out
}

type loader struct {
	src      *Sources
	read     func(string) ([]byte, error)
	problems []config.Problem
}

// own merges the settings below "sluice" from every source, weakest first.
func (l *loader) own(s *config.Static, inputs []input) {
	for _, in := range inputs {
		if in.root == nil || in.root.kind != object {
			continue
		}
		if n := in.root.child("sluice", true); n != nil {
			in.root = &node{kind: object, kids: []*node{n}}
			l.fill(in, in.root, s)
		}
	}
}

// first leaves only the first source that yields anything: file, flags, environment.
func (l *loader) first(inputs []input) {
	var winner string
	for _, i := range []int{0, 2, 1} {
		rest := inputs[i].rest()
		if rest == nil {
			continue
		}
		if winner == "" {
			winner = inputs[i].place
			continue
		}
		var keys []string
		rest.leaves(func(n *node) { keys = append(keys, n.path()) })
		if len(keys) > 5 {
			keys = append(keys[:5:5], "...")
		}
		l.problems = append(l.problems, config.Problem{Source: inputs[i].place, Field: strings.Join(keys, " "), Code: config.CodeConflict,
			Text: "not used, because " + winner + " is", Suggestion: "use one source, or add --sluice.mergeSources", Severity: config.Warning})
		inputs[i].root = nil
	}
}

func (l *loader) decode(in input, s *config.Static) {
	if rest := in.rest(); rest != nil {
		l.src.Used = append(l.src.Used, in.place)
		l.fill(in, rest, s)
	}
}

func (l *loader) fill(in input, root *node, s *config.Static) {
	w := staticWalker(in.place)
	if in.join != "" {
		w.join = in.join
	}
	w.record = func(path string, n *node) {
		where := n.place()
		if where == "" {
			where = in.place
		}
		l.src.Values[path] = where
	}
	w.tree(root, s)
	if name, ok := strings.CutPrefix(in.place, "file "); ok {
		w.soften(name, root, s)
	}
	l.problems = append(l.problems, w.told()...)
}

// Place is where the key was given, or something below it, or the nearest group around it;
// empty where none of that was.
func (s *Sources) Place(key string) string {
	for k := key; k != ""; {
		if where, ok := s.Values[k]; ok {
			return where
		}
		least := ""
		for other, where := range s.Values {
			if strings.HasPrefix(other, k+".") && (least == "" || where < least) {
				least = where
			}
		}
		if least != "" {
			return least
		}
		i := strings.LastIndexByte(k, '.')
		if i < 0 {
			break
		}
		k = k[:i]
	}
	return ""
}

// file reads the static file: the one named, or the first on the search path.
func (l *loader) file(named *string, environ []string) (*node, error) {
	if named != nil {
		name := os.Expand(*named, func(v string) string { return variable(environ, v) }) // as the reference
		data, err := l.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, unreadable("flag --configFile", fmt.Sprintf("there is no file %q", name), "")
		}
		return l.parse(name, data, err)
	}
	for _, name := range SearchPath(environ) {
		data, err := l.read(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		return l.parse(name, data, err)
	}
	return nil, nil
}

func (l *loader) parse(name string, data []byte, err error) (*node, error) {
	l.src.File = name
	if errors.Is(err, syscall.EISDIR) {
		return nil, unreadable("file "+name, "is a directory", "a bind mount whose source is missing becomes a directory")
	}
	if err != nil {
		return nil, unreadable("file "+name, fmt.Sprintf("cannot be read: %v", err), "")
	}
	root, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, unreadable("file "+name, "holds no configuration", "")
	}
	if root.kind == object && !slices.ContainsFunc(root.kids, func(k *node) bool { return isStaticKey(k.key) }) {
		return nil, unreadable("file "+name, "holds no static configuration", "it begins with keys such as entryPoints and providers")
	}
	return root, nil
}

// isStaticKey reports whether a static file may begin with the key, or could in Traefik.
func isStaticKey(key string) bool {
	_, old := explain([]string{key})
	return old || slices.ContainsFunc(StaticKeys(), func(k string) bool { return strings.EqualFold(k, key) })
}

func variable(environ []string, name string) string {
	for _, e := range environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// SearchPath lists the places of a static file in the order they are tried: sluice.* and
// traefik.* below /etc/sluice, /etc/traefik, $XDG_CONFIG_HOME, $HOME/.config and the working directory.
func SearchPath(environ []string) []string {
	home := func(name string) string { return variable(environ, name) }
	var out []string
	add := func(dir string, bases ...string) {
		for _, b := range bases {
			for _, ext := range []string{".toml", ".yaml", ".yml"} {
				out = append(out, filepath.Join(dir, b+ext))
			}
		}
	}
	add("/etc/sluice", "sluice")
	add("/etc/traefik", "traefik")
	if xdg := home("XDG_CONFIG_HOME"); xdg != "" {
		add(xdg, "sluice", "traefik")
	}
	if h := home("HOME"); h != "" {
		add(filepath.Join(h, ".config"), "sluice", "traefik")
	}
	add(".", "sluice", "traefik")
	return out
}
