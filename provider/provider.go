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

// Update is the full state of one provider.
type Update struct {
	Provider string
	// Config is nil where the source could not be asked: the last good state stays.
	Config   *config.Dynamic
	Problems []config.Problem
	// At is when the change was noticed at the source, for the measure of event to live.
	At time.Time
}

// Merged is the joined state of all providers. Names carry "@provider". It is immutable.
type Merged struct {
	Config   *config.Dynamic
	Problems []config.Problem
	At       time.Time
}
