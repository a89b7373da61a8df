// Package option says what is wrong with an option of a middleware.
package option

import "fmt"

// Error is an option that a middleware cannot be built with. The router makes a
// config.Problem of it.
type Error struct {
	// Field is the option below the middleware's kind ("sourceRange", "users").
	Field string
	// Text says what is wrong, in lower case.
	Text string
	// Remedy says what to write instead; may be empty.
	Remedy string
}

// Error gives field, text and remedy on one line.
func (e *Error) Error() string {
	s := e.Field + ": " + e.Text
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Errorf returns an *Error with a formatted text.
func Errorf(field, remedy, format string, args ...any) error {
	return &Error{Field: field, Remedy: remedy, Text: fmt.Sprintf(format, args...)}
}

// Warn takes what is wrong with an option that works all the same, though likely not as
// meant. It may be nil.
type Warn func(field, text, remedy string)

// Say calls w if it is set.
func (w Warn) Say(field, remedy, format string, args ...any) {
	if w != nil {
		w(field, fmt.Sprintf(format, args...), remedy)
	}
}
