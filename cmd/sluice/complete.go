package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func (p *program) completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a script for the shell's completion, for example: source <(sluice completion bash)", ArgsUsage: "bash|zsh|fish",
		Action: func(c *cli.Context) error {
			script, ok := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Args().First()]
			if !ok {
				return fmt.Errorf("name a shell: bash, zsh or fish")
			}
			_, err := fmt.Fprint(p.stdout, script)
			return err
		},
	}
}

const bashScript = `_sluice() {
  local word="${COMP_LINE:0:COMP_POINT}"
  word="${word##* }"
  local IFS=$'\n'
  COMPREPLY=($(sluice complete-words "$word" "${COMP_WORDS[1]}"))
  [[ ${COMPREPLY[0]} == *= || ${COMPREPLY[0]} == *. ]] && compopt -o nospace
}
complete -o default -F _sluice sluice
`

const zshScript = `#compdef sluice
_sluice() {
  local -a words_
  words_=("${(@f)$(sluice complete-words "${words[CURRENT]}" "${words[2]}")}")
  compadd -S '' -- $words_
}
compdef _sluice sluice
`

const fishScript = `complete -c sluice -f -a '(sluice complete-words (commandline -ct) (commandline -opc)[2])'
`

// wordsCommand is what the completion scripts ask: it prints the words that begin like
// the first argument; the second is the command on the line so far.
func (p *program) wordsCommand() *cli.Command {
	return &cli.Command{
		Name: "complete-words", Hidden: true, SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			for _, w := range completions(c.App, c.Args().Get(0), c.Args().Get(1)) {
				fmt.Fprintln(p.stdout, w)
			}
			return nil
		},
	}
}

func completions(app *cli.App, word, command string) []string {
	var out []string
	if strings.HasPrefix(word, "-") {
		if c := app.Command(command); c != nil && !c.SkipFlagParsing && len(c.Subcommands) == 0 {
			for _, f := range c.Flags {
				out = keep(out, "--"+f.Names()[0], word)
			}
			return out
		}
		out = keep(out, "--configFile=", word)
		for _, k := range flags() {
			// A name is the user's to choose: complete up to it.
			path, _, named := strings.Cut(k.Path, "<name>")
			if !named && !k.Switch && k.Type != "boolean" {
				path += "="
			}
			out = keep(out, "--"+path, word)
		}
		return out
	}
	if c := app.Command(command); c != nil && c.Name != word {
		switch c.Name {
		case "config":
			return keep(keep(out, "show", word), "schema", word)
		case "completion":
			return keep(keep(keep(out, "bash", word), "zsh", word), "fish", word)
		}
		return nil
	}
	for _, c := range app.VisibleCommands() {
		out = keep(out, c.Name, word)
	}
	return out
}

// keep adds a candidate that begins like word, once.
func keep(list []string, candidate, word string) []string {
	if len(candidate) < len(word) || !strings.EqualFold(candidate[:len(word)], word) || len(list) > 0 && list[len(list)-1] == candidate {
		return list
	}
	return append(list, candidate)
}
