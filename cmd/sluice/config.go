package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/config/schema"
)

func (p *program) configCommand() *cli.Command {
	return &cli.Command{
		Name: "config", Usage: "show the static configuration in effect, or the schemas",
		Subcommands: []*cli.Command{
			{
				Name: "show", Usage: "show the static configuration in effect, where each value comes from, secrets left out",
				ArgsUsage: "[--json] [--entryPoints.web.address=:80 ...]", SkipFlagParsing: true, Action: p.showConfig,
			},
			{
				Name: "schema", Usage: "print the JSON Schema of static or dynamic files, or of labels", ArgsUsage: "static|dynamic|labels",
				Action: func(c *cli.Context) error {
					kind := c.Args().First()
					if kind == "" {
						return fmt.Errorf("name a schema: %s", strings.Join(schema.Kinds(), ", "))
					}
					text, err := schema.JSON(kind)
					if err != nil {
						return err
					}
					_, err = fmt.Fprintf(p.stdout, "%s\n", text)
					return err
				},
			},
		},
	}
}

// shown is one value as config show prints it.
type shown struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

func (p *program) showConfig(c *cli.Context) error {
	if wantsHelp(c) {
		return nil
	}
	asJSON := false
	var args []string
	for _, a := range c.Args().Slice() {
		if a == "--json" {
			asJSON = true
			continue
		}
		args = append(args, a)
	}
	s, src, err := decode.Static(args, p.environ, p.read)
	if err != nil {
		return err
	}
	values := []shown{}
	decode.Values(reflect.ValueOf(s).Elem(), func(key, value string, secret bool) {
		if secret && value != "" {
			value = "(secret)"
		}
		source := cmp.Or(src.Values[key], src.Values[key+".[0]"], "default") // a list of a file has the place of its first value
		values = append(values, shown{key, value, source})
	})
	p.warn(src)
	if asJSON {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(values)
	}
	for _, v := range values {
		fmt.Fprintf(p.stdout, "%s = %s  # %s\n", v.Key, v.Value, v.Source)
	}
	return nil
}
