package router

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/router/rule"
)

// internalSuffix marks what the program itself offers.
const internalSuffix = "@internal"

// qualify gives name the provider of the object that mentions it, unless it names one.
func qualify(name, mentionedBy string) string {
	if name == "" || strings.Contains(name, "@") {
		return name
	}
	return name + "@" + providerOf(mentionedBy)
}

func providerOf(name string) string {
	_, p, _ := strings.Cut(name, "@")
	return p
}

// normalize joins the runs of letters and digits of s with dashes, as the reference does
// for names that it makes up.
func normalize(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }), "-")
}

// suggest names what was likely meant by want among the keys of known: the same name at
// another provider, or one that is spelled much like it.
func suggest[T any](want string, known map[string]T) string {
	if switched := config.SwitchOf(want); switched != "" {
		return "switch it on by " + switched
	}
	base, _, _ := strings.Cut(want, "@")
	best, near := "", len(base)/2+1
	for _, k := range slices.Sorted(maps.Keys(known)) {
		b, _, _ := strings.Cut(k, "@")
		if b == base && k != want {
			return "write " + k
		}
		if d := rule.Distance(strings.ToLower(base), strings.ToLower(b)); d < near {
			best, near = k, d
		}
	}
	if best == "" {
		return ""
	}
	if providerOf(best) == providerOf(want) {
		best, _, _ = strings.Cut(best, "@")
	}
	return "did you mean " + best + "?"
}
