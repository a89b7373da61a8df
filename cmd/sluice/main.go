// Command sluice is the edge router: it watches Docker, Swarm and files, and routes
// HTTP, TCP and UDP to what it finds. Without a sub-command it runs the router.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker: -X main.version=v1.2.3.
var version string

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(), read: os.ReadFile, serve: serve}
	return p.main(ctx, os.Args[1:])
}

// program is what the commands use of the world around them.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	read           func(name string) ([]byte, error)
	serve          func(ctx context.Context, o serveOptions) error
}
