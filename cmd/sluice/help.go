package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluice-edge/sluice/config/schema"
)

func (p *program) help(c *cli.Context) error {
	if name := c.Args().First(); name != "" {
		if c.App.Command(name) == nil {
			return fmt.Errorf("there is no command %q", name)
		}
		return cli.ShowCommandHelp(c, name)
	}
	w := p.stdout
	fmt.Fprintf(w, "%s - %s\n\nUsage: sluice [command] [flags]\n\nCommands:\n", c.App.Name, c.App.Usage)
	for _, cmd := range c.App.VisibleCommands() {
		fmt.Fprintf(w, "  %-12s %s\n", cmd.Name, cmd.Usage)
	}
	fmt.Fprint(w, `
Flags of run, healthcheck and config show. The same settings may stand in a file or in the environment:
--entryPoints.web.address=:80 is entryPoints: {web: {address: ":80"}} or TRAEFIK_ENTRYPOINTS_WEB_ADDRESS=:80.
Flags match in any case.

`)
	flag(w, "--configFile", "text", "", "Static configuration file (YAML, TOML or JSON); without it the search path is tried.")
	for _, k := range flags() {
		// In lower case, as users of the reference search for them.
		flag(w, "--"+strings.ToLower(k.Path), k.Type, k.Default, k.Text)
	}
	return nil
}

// flags are the static keys that can be given as flags.
func flags() []schema.Key {
	var out []schema.Key
	for _, k := range schema.Static() {
		if k.Switch || k.Type != "group" && k.Type != "names" && (k.Type != "list" || !strings.HasSuffix(k.Path, "]")) {
			out = append(out, k)
		}
	}
	return out
}

func flag(w io.Writer, name, kind, def, text string) {
	if kind == "group" {
		kind = "switch"
	}
	if def != "" {
		def = ", default " + def
	}
	fmt.Fprintf(w, "  %s (%s%s)\n", name, kind, def)
	if text != "" {
		fmt.Fprintf(w, "      %s\n", text)
	}
}

func (p *program) manCommand() *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "print the manual page (sluice man | man -l -)",
		Action: func(c *cli.Context) error { return manual(c.App, p.stdout) },
	}
}

// manual writes a page in the man macros.
func manual(app *cli.App, w io.Writer) error {
	text := strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace
	var b strings.Builder
	fmt.Fprintf(&b, ".TH SLUICE 1 \"\" \"sluice %s\"\n.SH NAME\nsluice \\- %s\n", text(app.Version), text(app.Usage))
	b.WriteString(".SH SYNOPSIS\n.B sluice\n[\\fIcommand\\fR] [\\fIflags\\fR]\n.SH COMMANDS\n")
	for _, c := range app.VisibleCommands() {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", text(c.Name), text(c.Usage))
		for _, s := range c.VisibleCommands() {
			if s.Name != "help" {
				fmt.Fprintf(&b, ".TP\n.B %s %s\n%s\n", text(c.Name), text(s.Name), text(s.Usage))
			}
		}
	}
	b.WriteString(".SH FLAGS\nThe static configuration, for \\fBrun\\fR, \\fBhealthcheck\\fR and \\fBconfig show\\fR.\n")
	for _, k := range flags() {
		def := ""
		if k.Default != "" {
			def = ", default " + k.Default
		}
		fmt.Fprintf(&b, ".TP\n.BI \\-\\-%s \" %s\"\n%s\n", text(k.Path), text(k.Type+def), text(strings.TrimLeft(k.Text, ".'")))
	}
	b.WriteString(".SH FILES\n.TP\n/etc/sluice/sluice.yml, /etc/traefik/traefik.yml\nStatic configuration; also .yaml and .toml, below $XDG_CONFIG_HOME, $HOME/.config and in the working directory.\n")
	b.WriteString(".SH EXIT STATUS\n0 for success, 1 for an error. \\fBcheck\\fR: 0 nothing found, 1 warnings only, 2 errors.\n")
	_, err := io.WriteString(w, b.String())
	return err
}
