// Package provider holds the contract of a source of dynamic configuration and the
// Manager that merges what they say.
package provider

import (
	"context"
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
