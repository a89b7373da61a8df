package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/server"
)

// serveOptions is what the router is started with.
type serveOptions struct {
	// Static is complete and checked; Sources says where it came from.
	Static  *config.Static
	Sources *decode.Sources
	// Load reads the static configuration again, for a reload.
	Load    func() (*config.Static, *decode.Sources, error)
	Version string
	Stdout  io.Writer
}

// codename names the release line, as the version API tells.
const codename = "sluice"

// serve runs the router until ctx ends and everything is drained. SIGUSR1 reopens log
// files, SIGHUP reads the static configuration and the providers' sources again.
func serve(ctx context.Context, o serveOptions) error {
	if o.Static.Sluice == nil || !o.Static.Sluice.KeepPrivileges {
		if err := shedPrivileges(); err != nil { // goes on: it is no less safe than the user has asked for
			_, _ = fmt.Fprintf(os.Stderr, "sluice: the privileges of root could not be given up (--sluice.keepPrivileges=true to keep them without this line): %v\n", err)
		}
	}
	sockets, err := server.Sockets(os.LookupEnv)
	if err != nil {
		return err
	}
	s, err := server.New(ctx, server.Options{
		Sockets: sockets, Lookup: os.LookupEnv,
		Static: o.Static, Sources: o.Sources, Load: o.Load, Version: o.Version, Codename: codename, Stdout: o.Stdout})
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGHUP)
	defer signal.Stop(signals)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-done:
				return
			case sig := <-signals:
				if sig == syscall.SIGUSR1 {
					s.Reopen()
				} else {
					s.Reload()
				}
			}
		}
	}()
	return s.Run(ctx)
}
