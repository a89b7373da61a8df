package check

import (
	"strings"
	"testing"
)

var shell = map[string]string{"HOST": "a.test", "EMPTY": "", "A_1": "one"}

func fromShell() *Checker {
	return New(World{Env: func(name string) (string, bool) { v, ok := shell[name]; return v, ok }})
}

// Variables are put in as the compose specification has it. One that is not set becomes its name.
func TestInterpolate(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                           "plain",
		"Host(`$HOST`)":                   "Host(`a.test`)",
		"Host(`${HOST}`) || x":            "Host(`a.test`) || x",
		"$$HOST $${HOST} $$1":             "$HOST ${HOST} $1",
		"$A_1.$A_1x":                      "one.a-1x",
		"${EMPTY-x}${EMPTY:-y}":           "y",
		"${NONE-x}${NONE:-y}":             "xy",
		"${HOST+set}${NONE+set}":          "set",
		"${EMPTY+set}${EMPTY:+set}":       "set",
		"${HOST?say}${HOST:?say so}":      "a.testa.test",
		"${NONE:?No Let's Encrypt email}": "none",
		"${MY_HOST}":                      "my-host",
		"${NONE:-${HOST}}/":               "a.test/",
		"${NONE:-${NEITHER:-$HOST}.x}":    "a.test.x",
		"a$":                              "a$",
		"a$ b${":                          "a$ b${",
		"${HOST":                          "a.test",
		"${1}$1":                          "${1}$1",
	} {
		if got := fromShell().interpolate(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzInterpolate: doubled dollars come back as they were, and what has no dollar is untouched.
func FuzzInterpolate(f *testing.F) {
	for _, s := range []string{"$HOST", "${HOST:-${A_1}}", "$$", "${", "${HOST?", "a$}b{"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := fromShell()
		if got := c.interpolate(strings.ReplaceAll(s, "$", "$$")); got != s {
			t.Errorf("%q doubled: %q", s, got)
		}
		c.interpolate(s) // ends, and does not panic
	})
}
