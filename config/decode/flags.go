package decode

import (
	"fmt"
	"reflect"
	"sort"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// setting is one value given by flag or environment variable.
type setting struct {
	path  []string
	full  string
	where string
	value string
}

// Flags decodes command line arguments into s: --a.b.c=value, or bare --a.b for what
// can be switched on. Keys match in any case; names of entry points and resolvers stand
// in the key; a repeated flag replaces a value and adds to a list. A value may follow as a word
// of its own where the flag needs one, as in the reference; a word that no flag takes is an
// error. --configFile is skipped. The error is an *Error.
func Flags(args []string, s *config.Static) error {
	settings, _, problems := parseFlags(args)
	w := staticWalker("command line")
	w.problems = problems
	w.tree(grow(settings), s)
	return w.failure()
}

func staticWalker(source string) *walker {
	w := newWalker(source)
	w.static = true
	return w
}

// failure is an *Error of the problems that are errors, or nil.
func (w *walker) failure() error {
	return failure(w.problems, false)
}

func failure(problems []config.Problem, strict bool) error {
	var bad []config.Problem
	for _, p := range problems {
		if p.Severity != config.Warning || strict {
			bad = append(bad, p)
		}
	}
	if bad == nil {
		return nil
	}
	return &Error{Problems: bad}
}

// grow makes a tree of settings.
func grow(settings []setting) *node {
	if len(settings) == 0 {
		return nil
	}
	sort.SliceStable(settings, func(i, j int) bool { return settings[i].full < settings[j].full })
	root := &node{kind: object}
	for _, s := range settings {
		leaf := root.insert(s.path)
		leaf.full, leaf.where, leaf.value, leaf.given = s.full, s.where, s.value, true
	}
	return root
}

// parseFlags reads arguments. configFile is a pointer to the last value of that flag.
func parseFlags(args []string) (settings []setting, configFile *string, problems []config.Problem) {
	ls := levels{}
	static := reflect.TypeFor[config.Static]()
	bad := func(field, text, hint string) {
		problems = append(problems, config.Problem{Source: "command line", Field: field, Code: config.CodeInvalidValue,
			Text: text, Suggestion: hint, Severity: config.Error})
	}
	seen := map[string]int{}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			hint := ""
			if i > 0 && strings.HasPrefix(args[i-1], "-") && !strings.Contains(args[i-1], "=") {
				hint = "write " + args[i-1] + "=" + arg
			}
			bad("", fmt.Sprintf("the word %q belongs to no flag", clip(arg)), hint)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		path, ok := split(name)
		if !ok || name == "" || name[0] == '-' {
			bad(arg, "is no flag", "write --a.b.c=value")
			continue
		}
		isFile := strings.EqualFold(name, "configFile")
		t := ls.typeAt(static, path)
		if !hasValue {
			var next string
			if i+1 < len(args) {
				next = args[i+1]
			}
			switch {
			case !isFile && (t == nil || switchable(t)):
				value = "true"
			case (next == "" || next[0] == '-') && !isFile && deref(t).Kind() == reflect.Interface:
				value = "true" // a plugin's: whether it takes a value is not known
			case next == "" || next[0] == '-':
				bad("--"+name, "needs a value", "write --"+name+"=VALUE")
				continue
			default:
				value, i = next, i+1
			}
		}
		if isFile {
			configFile = &value
			continue
		}
		full := "--" + name
		s := setting{path: path, full: strings.Join(path, "."), where: "flag " + full, value: value}
		key := strings.ToLower(full)
		if at, again := seen[key]; again {
			if t != nil && t.Kind() == reflect.Slice && settings[at].value != "" {
				s.value = settings[at].value + "," + value
			}
			settings[at] = s
			continue
		}
		seen[key] = len(settings)
		settings = append(settings, s)
	}
	return settings, configFile, problems
}

// switchable reports whether a bare flag of this type means true.
func switchable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool:
		return true
	case reflect.Pointer:
		return deref(t).Kind() == reflect.Struct || deref(t).Kind() == reflect.Bool
	case reflect.Struct, reflect.Map:
		return true
	}
	return false
}
