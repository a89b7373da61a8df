package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// versionText is the version the program was linked or installed with.
func versionText() string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		return b.Main.Version
	}
	return "dev"
}

// built is the time of the commit the program was built from.
func built() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if s.Key == "vcs.time" {
				return s.Value
			}
		}
	}
	return "unknown"
}

func (p *program) versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "show the version",
		Action: func(*cli.Context) error {
			_, err := fmt.Fprintf(p.stdout, "Version:      %s\nCodename:     sluice\nGo version:   %s\nBuilt:        %s\nOS/Arch:      %s/%s\n",
				versionText(), runtime.Version(), built(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
