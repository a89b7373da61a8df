package decode

import (
	"fmt"
	"reflect"
	"sort"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// Env decodes environment variables ("NAME=value") into s: TRAEFIK_A_B_C, and
// SLUICE_A_B_C with the same meaning. Only variables that begin with the name of a top-level key
// are looked at; below it an unknown name is an error. SLUICE_LANE is short for
// SLUICE_SLUICE_LANE, and so are its neighbours. The error is an *Error.
func Env(environ []string, s *config.Static) error {
	settings, problems := parseEnv(environ, nil)
	w := staticWalker("environment")
	w.join = "_"
	w.problems = problems
	w.tree(grow(settings), s)
	return w.failure()
}

// parseEnv reads variables. With read, NAME_FILE gives the content of a file to NAME
// where NAME is a text, as Docker and Swarm hand out secrets.
func parseEnv(environ []string, read func(string) ([]byte, error)) (settings []setting, problems []config.Problem) {
	ls := levels{}
	static := reflect.TypeFor[config.Static]()
	roots := ls.of(static).names(false)
	short := ls.of(reflect.TypeFor[config.Sluice]()).names(false)
	sorted := append([]string(nil), environ...)
	sort.Strings(sorted)
	for _, e := range sorted {
		name, value, ok := strings.Cut(e, "=")
		if !ok {
			continue
		}
		path := envPath(name, roots, short)
		if path == nil && envPath(strings.ToUpper(name), roots, short) != nil {
			problems = append(problems, config.Problem{Source: "environment", Field: name, Code: config.CodeUnknownKey,
				Text: "is not read, as in the reference", Suggestion: "write " + strings.ToUpper(name), Severity: config.Warning})
			continue
		}
		if path == nil {
			if strings.EqualFold(name, "TRAEFIK_CONFIGFILE") || strings.EqualFold(name, "SLUICE_CONFIGFILE") {
				problems = append(problems, config.Problem{Source: "environment", Field: name, Code: config.CodeUnsupported,
					Text: "is not read, as in the reference", Suggestion: "write --configFile=" + value, Severity: config.Warning})
			}
			continue
		}
		s := setting{path: path, full: strings.Join(path, "."), where: "environment " + name, value: value}
		if t := ls.typeAt(static, path); t == nil && read != nil && path[len(path)-1] == "file" {
			if t := ls.typeAt(static, path[:len(path)-1]); t != nil && deref(t).Kind() == reflect.String {
				data, err := read(value)
				if err != nil {
					problems = append(problems, config.Problem{Source: "environment", Field: name, Code: config.CodeUnreadable,
						Text: fmt.Sprintf("cannot read the file: %v", err), Severity: config.Error})
					continue
				}
				s.path = path[:len(path)-1]
				s.full, s.value = strings.Join(s.path, "."), strings.TrimRight(string(data), "\r\n")
				s.where += " (" + value + ")"
			}
		}
		settings = append(settings, s)
	}
	return settings, problems
}

// envPath takes a variable's name apart, or gives nil if it is none of ours. The beginning
// up to the top-level key is in upper case, as in the reference; the rest in any.
func envPath(name string, roots, short []string) []string {
	rest, ok := strings.CutPrefix(name, "TRAEFIK_")
	ours := false
	if !ok {
		if rest, ours = strings.CutPrefix(name, "SLUICE_"); !ours {
			return nil
		}
	}
	begins := func(words []string) bool {
		for _, w := range words {
			if strings.HasPrefix(rest, strings.ToUpper(w)) {
				return true
			}
		}
		return false
	}
	path := strings.Split(strings.ToLower(rest), "_")
	switch {
	case begins(roots), begins([]string{"pilot", "hub"}): // these are refused, not passed over
	case ours && begins(short):
		path = append([]string{"sluice"}, path...)
	default:
		return nil
	}
	for _, seg := range path {
		if seg == "" {
			return nil
		}
	}
	return path
}
