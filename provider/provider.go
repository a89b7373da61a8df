// Package provider holds the contract of a source of dynamic configuration and the
// Manager that merges what they say.
package provider

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// Provider is a source of dynamic configuration.
type Provider interface {
	// Name is what follows "@" in the names of its objects.
	Name() string
	// Run sends the provider's full state whenever it changes, until ctx ends. If asking
	// the source fails it sends nothing but Problems (Update.Config nil): old truth beats half truth.
	// A send waits on ctx too. It returns an error only if it can never work.
	Run(ctx context.Context, out chan<- Update) error
}

// Reloader is a Provider that can be told to ask its source again; SIGHUP does.
// Reload returns at once and is safe to call at any time, also before Run.
type Reloader interface {
	Reload()
}

// Sleeper is a Provider whose workloads can be put to sleep while nobody asks for them. Both
// methods wait for the source's answer, and are safe to call at any time. An error with a
// method Suggestion() string has a remedy to tell.
type Sleeper interface {
	Provider
	// Sleep stops or pauses the workloads of a unit, and what only they depend on. Once no new
	// request reaches them busy is asked, and if it says yes all goes on as before: ErrBusy.
	// ErrNeeded means that something awake depends on the unit.
	Sleep(ctx context.Context, unit string, busy func() bool) error
	// Wake starts them again, what they depend on first. It does not wait until they are ready.
	Wake(ctx context.Context, unit string) error
}

// The reasons for which a Sleeper leaves a unit awake.
var (
	ErrBusy   = errors.New("a request came meanwhile")
	ErrNeeded = errors.New("something awake depends on it")
)

// Update is the full state of one provider. What it points to is immutable once sent;
// objects that did not change should be the same pointers as in the update before,
// which makes comparing cheap.
type Update struct {
	Provider string
	// Config is nil where the source could not be asked: the last good state stays.
	Config   *config.Dynamic
	Problems []config.Problem
	// At is when the change was noticed at the source, for the measure of event to live.
	At time.Time
}

// Merged is the joined state of all providers. It is immutable.
type Merged struct {
	// Config holds every object under "name@provider", but for the TLS options and the
	// TLS store named "default", which belong to all. References inside objects are as
	// the user wrote them: a bare name means an object of the same provider.
	Config   *config.Dynamic
	Problems []config.Problem
	// At is the earliest At of the updates that made this state.
	At time.Time
	// Pending names the providers that have not said anything yet, sorted.
	Pending []string
}
