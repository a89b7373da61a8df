package telemetry

import "testing"

func TestTextCannotLeaveItsPlace(t *testing.T) {
	for in, want := range map[string]string{
		"plain":      "plain",
		`a"b`:        `a\"b`,
		`back\sl`:    `back\sl`,
		`end\`:       `end\\`,
		`a\"b`:       `a\\\"b`,
		`\\"\`:       `\\\\\"\\`,
		"a\tb\n\x1b": "a\tb\\x0a\\x1b",
	} {
		if got := string(appendText(nil, in, true)); got != want {
			t.Errorf("%q within quotes: %q, want %q", in, got, want)
		}
	}
	if got := string(appendWord(nil, "a [x] \"GET\r\n\x7f\xe9")); got != "a\\x20[x]\\x20\\x22GET\\x0d\\x0a\\x7f\xe9" {
		t.Errorf("a user: %q", got)
	}
}
