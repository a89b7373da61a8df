package main

import (
	"errors"

	"github.com/urfave/cli/v2"
)

func (p *program) checkCommand() *cli.Command {
	return &cli.Command{Name: "check", Usage: "find mistakes in compose files, configuration files and running containers (exit 0, 1 or 2)",
		Action: func(*cli.Context) error { return errors.New("not here yet") }}
}
