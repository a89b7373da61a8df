package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluice-edge/sluice/config/check"
	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/server"
)

func (p *program) checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "find mistakes in compose files, configuration files and running containers",
		ArgsUsage: "[FILE or DIRECTORY ...]",
		Description: "Files that are named without a flag are told apart by their keys; without any file and flag the compose\n" +
			"file of the working directory is checked. What is given is checked together: middlewares, services, entry\n" +
			"points and resolvers that one file names may stand in another.\n\n" +
			"Exit code: 0 no errors, 1 errors found (with --strict also for warnings), 2 the check could not be made.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "compose", Usage: "compose `FILE`; may be repeated"},
			&cli.StringSliceFlag{Name: "static", Usage: "static configuration `FILE`"},
			&cli.StringSliceFlag{Name: "dynamic", Usage: "dynamic configuration `FILE` or directory"},
			&cli.BoolFlag{Name: "docker", Usage: "the containers of the running engine"},
			&cli.StringFlag{Name: "docker-endpoint", Value: "unix:///var/run/docker.sock", EnvVars: []string{"DOCKER_HOST"}, Usage: "`ADDRESS` of the engine"},
			&cli.StringFlag{Name: "format", Value: "text", Usage: strings.Join(check.Formats(), ", ")},
			&cli.BoolFlag{Name: "strict", Usage: "count warnings as errors"},
		},
		Action: func(c *cli.Context) error { return p.answered(p.check(c)) },
	}
}

func (p *program) check(c *cli.Context) (int, error) {
	if !slices.Contains(check.Formats(), c.String("format")) {
		return 0, fmt.Errorf("unknown format %q; there are %s", c.String("format"), strings.Join(check.Formats(), ", "))
	}
	var project dotEnv
	env := func(name string) (string, bool) {
		if v, ok := p.lookup(name); ok {
			return v, true
		}
		v, ok := project[name]
		return v, ok
	}
	k := check.New(check.World{Env: env, Writable: writable, Render: server.Render,
		Feed: p.feed, Middleware: server.JudgeMiddleware, TLSOptions: server.JudgeTLSOptions})
	compose := func(name string, data []byte) {
		if project == nil {
			project = p.dotEnv(filepath.Dir(name))
		}
		k.Compose(name, data)
	}
	feeds := []struct {
		files []string
		feed  func(name string, data []byte)
	}{{c.StringSlice("static"), k.Static}, {c.StringSlice("compose"), compose}, {c.StringSlice("dynamic"), k.Dynamic},
		{c.Args().Slice(), func(name string, data []byte) { guess(k, compose, name, data) }}}
	given := false
	for _, f := range feeds {
		for _, name := range f.files {
			given = true
			if err := p.feed(name, f.feed); err != nil {
				return 0, err
			}
		}
	}
	if c.Bool("docker") {
		given = true
		list, err := containers(c.Context, c.String("docker-endpoint"))
		if err != nil {
			return 0, err
		}
		k.Containers(list)
	}
	if !given {
		names, err := p.composeFiles()
		if err != nil {
			return 0, err
		}
		for _, name := range names {
			if err := p.feed(name, compose); err != nil {
				return 0, err
			}
		}
	}
	found := k.Findings()
	if err := check.Write(p.stdout, c.String("format"), found); err != nil {
		return 0, err
	}
	if c.String("format") == "text" {
		// Not to standard output, which is for findings only.
		fmt.Fprintln(p.stderr, "sluice: "+tally(found))
	}
	if check.Errors(found) > 0 || c.Bool("strict") && len(found) > 0 {
		return 1, nil
	}
	return 0, nil
}

// tally says how much was found, so that silence is not taken for an answer.
func tally(found []check.Finding) string {
	errs := check.Errors(found)
	warnings := len(found) - errs
	if len(found) == 0 {
		return "nothing found: all of it would be used"
	}
	plural := func(n int, what string) string {
		if n == 1 {
			return "1 " + what
		}
		return fmt.Sprintf("%d %ss", n, what)
	}
	return plural(errs, "error") + ", " + plural(warnings, "warning")
}

// feed gives a file, or the configuration files below a directory, to f.
func (p *program) feed(name string, f func(name string, data []byte)) error {
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		data, err := p.read(name)
		if err == nil {
			f(name, data)
		}
		return err
	}
	return filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch filepath.Ext(path) {
		case ".yml", ".yaml", ".toml", ".json":
			data, err := p.read(path)
			if err != nil {
				return err
			}
			// acme.json lives in such directories; the provider too takes JSON only that looks like its own.
			if filepath.Ext(path) == ".json" && !slices.ContainsFunc(decode.Tops(path, data), isDynamic) {
				return nil
			}
			f(path, data)
		}
		return nil
	})
}

// guess tells by the keys at its top what kind of file it is.
func guess(k *check.Checker, compose func(string, []byte), name string, data []byte) {
	static := 0
	for _, key := range decode.Tops(name, data) {
		if key == "services" {
			compose(name, data)
			return
		}
		same := func(other string) bool { return strings.EqualFold(key, other) }
		if slices.ContainsFunc(decode.StaticKeys(), same) {
			static++
		}
		if isDynamic(key) {
			static--
		}
	}
	if static > 0 {
		k.Static(name, data)
		return
	}
	k.Dynamic(name, data)
}

func isDynamic(key string) bool {
	return slices.ContainsFunc(decode.DynamicKeys(), func(k string) bool { return strings.EqualFold(k, key) })
}

// composeFiles are the files that compose takes by itself in the working directory.
func (p *program) composeFiles() ([]string, error) {
	first := func(names ...string) []string {
		for _, name := range names {
			if _, err := os.Stat(name); err == nil {
				return []string{name}
			}
		}
		return nil
	}
	base := first("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
	if base == nil {
		return nil, errors.New("there is no compose file here; name files, or use --docker")
	}
	return append(base, first("compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml")...), nil
}

func (p *program) lookup(name string) (string, bool) {
	for _, e := range p.environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// dotEnv holds the variables of the file .env beside a compose file.
type dotEnv map[string]string

// dotEnv reads the file .env of a directory, as compose does. Without one there are no variables.
func (p *program) dotEnv(dir string) dotEnv {
	vars := dotEnv{}
	data, err := p.read(filepath.Join(dir, ".env"))
	if err != nil {
		return vars
	}
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		value = strings.TrimSpace(value)
		if q := strings.TrimLeft(value, `"'`); len(q) < len(value) {
			if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
				value = value[1 : 1+end]
			}
		} else if i := strings.Index(value, " #"); i >= 0 {
			value = strings.TrimRight(value[:i], " \t")
		}
		vars[strings.TrimSpace(name)] = value
	}
	return vars
}

// writable tries to make a file beside the one named, or to open the one that is there.
func writable(file string) error {
	if f, err := os.OpenFile(file, os.O_WRONLY, 0); err == nil {
		return f.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".sluice-check-*")
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}
