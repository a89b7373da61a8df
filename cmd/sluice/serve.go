package main

import (
	"context"
	"errors"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

// serveOptions is what the router is started with.
type serveOptions struct {
	// Static is complete and checked; Sources says where it came from.
	Static  *config.Static
	Sources *decode.Sources
	// Load reads the static configuration again, for a reload.
	Load    func() (*config.Static, *decode.Sources, error)
	Version string
}

// serve runs the router until ctx ends and everything is drained.
func serve(ctx context.Context, o serveOptions) error {
	return errors.New("this build has no server")
}
