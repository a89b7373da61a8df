package check

import (
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

var dollar = regexp.MustCompile(`(?i)\$(\$|[_a-z][_a-z0-9]*|\{[_a-z])?`)

// dollars finds what compose would take for a variable in one of our labels and was not meant
// as one. A variable that is set was meant.
func (c *Checker) dollars(s decode.ComposeService, l decode.ComposeValue) {
	lower := strings.ToLower(l.Key)
	if !strings.HasPrefix(lower, "traefik.") && !strings.HasPrefix(lower, "sluice.") {
		return
	}
	for _, m := range dollar.FindAllStringSubmatch(l.Value, -1) {
		var text string
		switch {
		case m[1] == "$":
			continue
		case m[1] == "":
			text = "compose refuses a lone $"
		case m[1][0] == '{': // meant
			continue
		case strings.HasSuffix(lower, ".users") || strings.HasSuffix(lower, ".regex") || strings.HasSuffix(lower, ".replacement"):
			if _, set := c.env(m[1]); set {
				continue
			}
			text = "compose takes " + m[0] + " for a variable"
		default:
			continue
		}
		c.add(l.Where, config.Problem{Source: "service " + s.Name, Object: "service " + s.Name, Field: l.Key, Code: CodeDollar, Severity: config.Error,
			Text: text, Suggestion: "write $$ for $"})
		return
	}
}

func (c *Checker) env(name string) (string, bool) {
	if c.world.Env == nil {
		return "", false
	}
	return c.world.Env(name)
}

// interpolate puts variables in as compose does: $NAME, ${NAME}, ${NAME:-else}, ${NAME:+then} and
// ${NAME?message}, one within another too; $$ is a dollar. A variable that is not set becomes its
// own name in lower case, so that a rule still parses.
func (c *Checker) interpolate(s string) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '$' || i+1 == len(s) {
			out.WriteByte(s[i])
			i++
			continue
		}
		rest := s[i+1:]
		switch n := nameLength(rest); {
		case rest[0] == '$':
			out.WriteByte('$')
			i += 2
		case n > 0:
			out.WriteString(c.variable(rest[:n], ""))
			i += 1 + n
		case rest[0] == '{' && nameLength(rest[1:]) > 0:
			end := closing(rest)
			n := 1 + nameLength(rest[1:])
			out.WriteString(c.variable(rest[1:n], rest[n:end]))
			i += min(1+end+1, len(s)-i)
		default:
			out.WriteByte('$')
			i++
		}
	}
	return out.String()
}

// nameLength is the length of the variable's name that s begins with.
func nameLength(s string) int {
	for i := range len(s) {
		c := s[i] | 0x20
		if !(c >= 'a' && c <= 'z' || s[i] == '_' || i > 0 && s[i] >= '0' && s[i] <= '9') {
			return i
		}
	}
	return len(s)
}

// closing is the place of the brace that closes the one at the beginning, or the end.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(s)
}

// variable is what stands for a name followed by an operator and a word (":-else").
func (c *Checker) variable(name, rest string) string {
	value, set := c.env(name)
	if strings.HasPrefix(rest, ":") {
		set, rest = set && value != "", rest[1:]
	}
	switch {
	case strings.HasPrefix(rest, "-") && !set:
		return c.interpolate(rest[1:])
	case strings.HasPrefix(rest, "+") && !set:
		return ""
	case strings.HasPrefix(rest, "+"):
		return c.interpolate(rest[1:])
	case !set:
		c.unset = append(c.unset, name)
		return placeholder(name)
	}
	return value
}

// placeholder stands for a variable that is not set.
func placeholder(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "-")) }

// guess is a value with variables that are not set.
type guess struct {
	names []string
	whole bool // the value is one variable and nothing else
}

// guessAt notes that a value at the place where used the variables in c.unset, or none.
func (c *Checker) guessAt(where, written string) {
	g := guess{names: c.unset}
	if len(c.unset) > 0 && strings.HasPrefix(written, "$") {
		rest := written[1:]
		g.whole = nameLength(rest) == len(rest) || rest[0] == '{' && closing(rest) == len(rest)-1
	}
	where = strings.TrimPrefix(where, "file ")
	c.guesses[where] = append(c.guesses[where], g)
}

// unknown puts one warning in place of what was found in values that nobody knows.
func (c *Checker) unknown() {
	said := map[string]bool{}
	kept := c.findings[:0]
	for _, f := range c.findings {
		name := c.about(f)
		key := f.where() + " " + name
		switch {
		case name == "":
			kept = append(kept, f)
		case !said[key]:
			said[key] = true
			f.Problem = config.Problem{Source: f.Source, Object: f.Object, Field: f.Field, Code: CodeUnset, Severity: config.Warning,
				Text: "the variable " + name + " is not set, so its value was not checked", Suggestion: "set it, or write it into .env"}
			kept = append(kept, f)
		}
	}
	c.findings = kept
}

// about is the variable that is to blame for a finding.
func (c *Checker) about(f Finding) string {
	if f.Code == CodeDollar || f.Code == config.CodeUnsupported || f.Code == config.CodeUnknownKey || f.Code == config.CodeDeprecated {
		return ""
	}
	all := c.guesses[f.where()]
	if len(all) > 0 && !slices.ContainsFunc(all, func(g guess) bool { return !g.whole }) {
		return all[0].names[0]
	}
	for _, g := range all {
		for _, n := range g.names {
			if f.Code != config.CodeInvalidRule && strings.Contains(f.Text, placeholder(n)) {
				return n
			}
		}
	}
	return ""
}
