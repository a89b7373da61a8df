package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluice-edge/sluice/config/decode"
)

// exitCode ends the program with a code and no further message.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// answered ends a command that answers by its exit code: with 2 where it could not find out.
func (p *program) answered(code int, err error) error {
	switch {
	case err != nil:
		fmt.Fprintln(p.stderr, "sluice: "+err.Error())
		return exitCode(2)
	case code != 0:
		return exitCode(code)
	}
	return nil
}

// main runs one command and returns the exit code: 0, or 1 for an error.
func (p *program) main(ctx context.Context, args []string) int {
	app := p.app()
	args, err := p.dispatch(app, args)
	if err == nil {
		err = app.RunContext(ctx, append([]string{"sluice"}, args...))
	}
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(p.stderr, "sluice: "+line)
	}
	return 1
}

// dispatch finds the command. The flags of the router are the static configuration:
// they have dots and names in them, so the router's command parses them itself.
func (p *program) dispatch(app *cli.App, args []string) ([]string, error) {
	// Compose files say "command: traefik --api ...", which the reference's image takes.
	if len(args) > 0 && (args[0] == "traefik" || args[0] == "sluice") {
		args = args[1:]
	}
	if len(args) == 0 {
		return []string{"run"}, nil
	}
	first := args[0]
	switch {
	case strings.HasPrefix(first, "-"):
		for _, a := range args {
			switch a {
			case "--help", "-help", "-h":
				return []string{"help"}, nil
			case "--version", "-version", "-v":
				return []string{"version"}, nil
			}
		}
		return append([]string{"run"}, args...), nil
	case app.Command(first) == nil:
		var names []string
		for _, c := range app.VisibleCommands() {
			names = append(names, c.Name)
		}
		if near := decode.Nearest(first, names); near != "" {
			return nil, fmt.Errorf("there is no command %q; did you mean %q?", first, near)
		}
		return nil, fmt.Errorf("there is no command %q; there are %s", first, strings.Join(names, ", "))
	}
	if first == "explain" {
		return append(args[:1:1], flagsFirst(app.Command(first), args[1:])...), nil
	}
	return args, nil
}

func (p *program) app() *cli.App {
	app := &cli.App{
		Name: "sluice", HelpName: "sluice", Usage: "edge router for Docker, Swarm and files; takes Traefik's configuration",
		Version: versionText(), HideVersion: true, HideHelp: true,
		Reader: p.stdin, Writer: p.stdout, ErrWriter: p.stderr,
		ExitErrHandler:  func(*cli.Context, error) {},
		CommandNotFound: func(*cli.Context, string) {},
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return err },
		Commands: []*cli.Command{
			p.runCommand(), p.checkCommand(), p.explainCommand(), p.healthCommand(), p.configCommand(), p.passwdCommand(), p.certsCommand(),
			p.versionCommand(), p.completionCommand(), p.manCommand(), p.whoamiCommand(), p.wordsCommand(),
			{Name: "help", Aliases: []string{"h"}, Usage: "show this help, or that of a command", ArgsUsage: "[command]", HideHelp: true, Action: p.help},
		},
	}
	for _, c := range app.Commands {
		c.OnUsageError = app.OnUsageError
		for _, s := range c.Subcommands {
			s.OnUsageError = app.OnUsageError
		}
	}
	return app
}

// wantsHelp shows the help of a command that parses its arguments itself.
func wantsHelp(c *cli.Context) bool {
	args := c.Args().Slice()
	if !slices.Contains(args, "--help") && !slices.Contains(args, "-h") {
		return false
	}
	_ = cli.ShowSubcommandHelp(c)
	return true
}
