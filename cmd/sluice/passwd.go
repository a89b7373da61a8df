package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/crypto/bcrypt"
)

// maxBcrypt is how much of a password bcrypt looks at, in bytes.
const maxBcrypt = 72

func (p *program) passwdCommand() *cli.Command {
	return &cli.Command{
		Name: "passwd", Usage: "print a line for basicAuth users; the password is read from standard input", ArgsUsage: "NAME",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "cost", Value: bcrypt.DefaultCost, Usage: "bcrypt cost, 4 to 31; each step doubles the time of a check"},
			&cli.BoolFlag{Name: "compose", Usage: "double each $, for labels in compose files"},
		},
		Action: func(c *cli.Context) error {
			name := c.Args().First()
			if name == "" || strings.Contains(name, ":") {
				return errors.New("name the user: sluice passwd NAME (a name has no colon)")
			}
			if c.NArg() > 1 {
				return errors.New("the password is read from standard input, so that no other user of this machine sees it")
			}
			password, err := p.readPassword()
			if err != nil {
				return err
			}
			hash, err := bcrypt.GenerateFromPassword(password, c.Int("cost"))
			if err != nil {
				return err
			}
			// "2y" is what htpasswd writes; the hash is the same as "2a".
			line := name + ":" + strings.Replace(string(hash), "$2a$", "$2y$", 1)
			if c.Bool("compose") {
				line = strings.ReplaceAll(line, "$", "$$")
			}
			_, err = fmt.Fprintln(p.stdout, line)
			return err
		},
	}
}

func (p *program) readPassword() ([]byte, error) {
	if f, ok := p.stdin.(*os.File); ok {
		if restore := hideInput(f); restore != nil {
			fmt.Fprint(p.stderr, "Password: ")
			defer func() { restore(); fmt.Fprintln(p.stderr) }()
		}
	}
	line, err := bufio.NewReader(p.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	switch {
	case line == "":
		return nil, errors.New("the password is empty")
	case len(line) > maxBcrypt:
		return nil, fmt.Errorf("the password is longer than the %d bytes that bcrypt looks at", maxBcrypt)
	}
	return []byte(line), nil
}
