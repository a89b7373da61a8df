package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

func (p *program) runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "run the router (what happens without a command)", ArgsUsage: "[--entryPoints.web.address=:80 ...]",
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			if wantsHelp(c) {
				return nil
			}
			load := func() (*config.Static, *decode.Sources, error) {
				return decode.Static(c.Args().Slice(), p.environ, p.read)
			}
			s, src, err := load()
			if err != nil {
				return err
			}
			if hidden(s.Log.Level) {
				p.warn(src)
			}
			return p.serve(c.Context, serveOptions{Static: s, Sources: src, Load: load, Version: versionText(), Stdout: p.stdout})
		},
	}
}

// hidden reports whether the log would leave warnings out. Those of the start are not to be missed.
func hidden(level string) bool {
	switch strings.ToUpper(level) {
	case "TRACE", "DEBUG", "INFO", "WARN":
		return false
	}
	return true
}

// warn prints what the static configuration goes on without.
func (p *program) warn(src *decode.Sources) {
	for _, w := range src.Warnings {
		fmt.Fprintln(p.stderr, "sluice: warning: "+w.String())
	}
}
