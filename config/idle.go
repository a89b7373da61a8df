package config

// Idle says when the workloads behind a service sleep, and that a request wakes them. It is
// set by providers from labels.
type Idle struct {
	// Engine is the provider that stops and starts the workloads; Unit is what sleeps and wakes
	// together there.
	Engine, Unit string
	// After is how long nobody must have asked; zero or less never puts them to sleep, and
	// wakes them nevertheless.
	After Duration
	// Page is how long a browser waits before it gets a page that loads again by itself.
	Page Duration
	// Asleep is set where none of them runs.
	Asleep bool
}

// DefaultIdlePage is Idle.Page where no label says: an application that is there at once is
// shown at once.
const DefaultIdlePage = Duration(1e9)

// The ways of sleeping.
const (
	IdleStop  = "stop"
	IdlePause = "pause"
)

// CheckIdleMode tells what is wrong with a value of sluice.idle.mode; "" means nothing.
func CheckIdleMode(v string) string {
	if v == "" || v == IdleStop || v == IdlePause {
		return ""
	}
	return "it is neither stop nor pause"
}
