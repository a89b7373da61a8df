package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

// explainTimeout bounds the whole question.
const explainTimeout = 10 * time.Second

// nearMisses is how many routers that do not serve are listed for an entry point.
const nearMisses = 3

func (p *program) explainCommand() *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "ask the running router what becomes of a request, and why", ArgsUsage: "URL",
		Description: "Each entry point says which router would serve the request, or why none does, with the nearest misses first.\n" +
			"The API of the running router is asked: at --api, or where the static configuration of this machine has it.\n\n" +
			"Exit code: 0 a router serves the request, 1 none does, 2 the question could not be asked.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "header", Aliases: []string{"H"}, Usage: "`NAME:VALUE` of the request; may be repeated"},
			&cli.StringFlag{Name: "method", Aliases: []string{"X"}, Value: http.MethodGet, Usage: "`METHOD` of the request"},
			&cli.StringFlag{Name: "entryPoint", Usage: "`NAME` of the one entry point to ask about"},
			&cli.StringFlag{Name: "client", Usage: "`ADDRESS` that the request comes from"},
			&cli.StringFlag{Name: "api", EnvVars: []string{"SLUICE_API"}, Usage: "`ADDRESS` of the running router's API, for example http://127.0.0.1:8080"},
			&cli.StringFlag{Name: "configFile", Usage: "static configuration `FILE` that says where the API is"},
			&cli.BoolFlag{Name: "json", Usage: "print the answer of the API"},
		},
		Action: func(c *cli.Context) error { return p.answered(p.explain(c)) },
	}
}

// explanation is the API's answer for one entry point.
type explanation struct {
	EntryPoint string      `json:"entryPoint"`
	TLS        bool        `json:"tls"`
	Router     string      `json:"router"`
	Service    string      `json:"service"`
	Reason     string      `json:"reason"`
	Candidates []candidate `json:"candidates"`
}

type candidate struct {
	Router      string   `json:"router"`
	Rule        string   `json:"rule"`
	Priority    int      `json:"priority"`
	EntryPoints []string `json:"entryPoints"`
	Serves      bool     `json:"serves"`
	Matches     bool     `json:"matches"`
	Failed      []struct {
		Matcher string `json:"matcher"`
		Got     string `json:"got"`
	} `json:"failed"`
	Obstacle string   `json:"obstacle"`
	Errors   []string `json:"errors"`
}

func (e *explanation) served() bool { return e.Router != "" && e.Reason == "" }

func (p *program) explain(c *cli.Context) (int, error) {
	if c.NArg() != 1 {
		return 0, errors.New("name one URL: sluice explain https://app.example.com/path")
	}
	q := map[string]any{"url": c.Args().First(), "method": c.String("method"), "entryPoint": c.String("entryPoint"), "client": c.String("client")}
	headers := map[string][]string{}
	for _, h := range c.StringSlice("header") {
		name, value, ok := strings.Cut(h, ":")
		if !ok || name == "" {
			return 0, fmt.Errorf("header %q: write NAME:VALUE", h)
		}
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		headers[name] = append(headers[name], strings.TrimSpace(value))
	}
	q["headers"] = headers
	base := strings.TrimSuffix(c.String("api"), "/")
	if base == "" {
		var err error
		if base, err = p.apiURL(c.String("configFile")); err != nil {
			return 0, err
		}
	}
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	answer, err := ask(c.Context, base+"/api/sluice/explain", q)
	if err != nil {
		return 0, err
	}
	var all []explanation
	if err := json.Unmarshal(answer, &all); err != nil {
		return 0, fmt.Errorf("%s is not the API of this program: %w", base, err)
	}
	code := 1
	if slices.ContainsFunc(all, func(e explanation) bool { return e.served() }) {
		code = 0
	}
	if c.Bool("json") {
		var out bytes.Buffer
		if err := json.Indent(&out, answer, "", "  "); err != nil {
			return 0, err
		}
		_, err := fmt.Fprintln(p.stdout, strings.TrimSpace(out.String()))
		return code, err
	}
	return code, tell(p.stdout, all)
}

// apiURL is where the API of this machine's router is, by its static configuration.
func (p *program) apiURL(file string) (string, error) {
	var args []string
	if file != "" {
		args = []string{"--configFile=" + file}
	}
	s, _, err := decode.Static(args, p.environ, p.read)
	if err != nil {
		return "", err
	}
	if s.API == nil || !s.API.Insecure {
		return "", errors.New("the static configuration does not say where the API is; " +
			"add --api=http://HOST:PORT, where a router serves api@internal (behind authentication: --api=http://USER:PASSWORD@HOST:PORT)")
	}
	base, err := localURL(s, config.InternalEntryPoint)
	return base + strings.TrimSuffix(s.API.BasePath, "/"), err
}

func ask(ctx context.Context, url string, q any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("no answer: %s; is the router running, and its API there? --api=http://HOST:PORT says where it is", strings.TrimPrefix(err.Error(), "Post "))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		var problem struct{ Message string }
		if json.Unmarshal(answer, &problem) == nil && problem.Message != "" {
			return nil, errors.New(problem.Message)
		}
		return nil, fmt.Errorf("%s answered %s", req.URL.Redacted(), resp.Status)
	}
	return answer, nil
}

// tell prints the entry points that serve the request first, then those that come nearest.
func tell(w io.Writer, all []explanation) error {
	slices.SortStableFunc(all, func(a, b explanation) int { return nearness(&a) - nearness(&b) })
	var b strings.Builder
	for i := range all {
		e := &all[i]
		switch {
		case e.served():
			fmt.Fprintf(&b, "%s: router %s serves it, service %s\n", e.EntryPoint, e.Router, e.Service)
		case e.Router != "":
			fmt.Fprintf(&b, "%s: router %s takes it and answers an error (%s)\n", e.EntryPoint, e.Router, e.Reason)
		default:
			fmt.Fprintf(&b, "%s: no router serves it (%s)\n", e.EntryPoint, e.Reason)
		}
		others := 0
		for _, c := range e.Candidates {
			if !c.Serves {
				if others++; others > nearMisses || e.served() && !c.Matches {
					continue
				}
			}
			c.tell(&b)
		}
		if others > nearMisses && !e.served() {
			fmt.Fprintf(&b, "  and %d more; --json lists them\n", others-nearMisses)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func nearness(e *explanation) int {
	switch {
	case e.served():
		return 0
	case e.Router != "":
		return 1
	case len(e.Candidates) > 0:
		return 2 + len(e.Candidates[0].Failed)
	}
	return 1000
}

func (c *candidate) tell(b *strings.Builder) {
	fmt.Fprintf(b, "  %s  %s  (priority %d, on %s)\n", c.Router, c.Rule, c.Priority, strings.Join(c.EntryPoints, ", "))
	for _, f := range c.Failed {
		got := "the request has none"
		if f.Got != "" {
			got = fmt.Sprintf("the request has %q", f.Got)
		}
		fmt.Fprintf(b, "    - %s does not hold: %s\n", f.Matcher, got)
	}
	if c.Obstacle != "" && !c.Serves {
		fmt.Fprintf(b, "    - %s\n", c.Obstacle)
	}
	for _, e := range c.Errors {
		fmt.Fprintf(b, "    - %s\n", e)
	}
}

// flagsFirst moves what is no flag behind the flags of a command: "explain URL -H k:v" is
// as good as "explain -H k:v URL".
func flagsFirst(c *cli.Command, args []string) []string {
	takesValue := func(name string) bool {
		for _, f := range c.Flags {
			if _, isBool := f.(*cli.BoolFlag); !isBool && slices.Contains(f.Names(), name) {
				return true
			}
		}
		return false
	}
	var flags, rest []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		if len(a) < 2 || a[0] != '-' {
			rest = append(rest, a)
			continue
		}
		flags = append(flags, a)
		if !strings.Contains(a, "=") && takesValue(strings.TrimLeft(a, "-")) && i+1 < len(args) {
			i++
			flags = append(flags, args[i])
		}
	}
	return append(flags, rest...)
}
