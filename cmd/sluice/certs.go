package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/server"
)

func (p *program) certsCommand() *cli.Command {
	sub := func(name, usage, args string, run func(*certs, context.Context) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: args + "[the router's own flags ...]", SkipFlagParsing: true,
			Action: func(c *cli.Context) error {
				if wantsHelp(c) {
					return nil
				}
				t, err := p.openCerts(c.Context, c.Args().Slice())
				if err != nil {
					return err
				}
				return run(t, c.Context)
			},
		}
	}
	return &cli.Command{
		Name: "certs", Usage: "list, renew, import, export and prune issued certificates; needs the router's static configuration",
		Subcommands: []*cli.Command{
			sub("list", "list certificates: names, issuer, end, serial number, state, next renewal", "[--json] ", (*certs).list),
			sub("why", "say which certificate a host has, or why it has none", "HOST ", (*certs).why),
			sub("renew", "renew the certificate of a name now, whatever its back-off", "NAME ", (*certs).renew),
			sub("import", "take certificates over from an acme.json or a directory (certbot, Caddy, PEM)", "[--resolver=NAME] PATH ", (*certs).importFrom),
			sub("export", "write certificates and keys below a directory as certbot lays them out", "DIRECTORY ", (*certs).export),
			sub("prune", "delete certificates that ended or that no router named for long", "", (*certs).prune),
			{Name: "key", Usage: "make a key for storageKey", Action: func(*cli.Context) error {
				_, err := fmt.Fprintln(p.stdout, server.NewStorageKey())
				return err
			}},
		},
	}
}

// certs is what the sub-commands work with.
type certs struct {
	*program
	static   *config.Static
	tool     *server.Certificates
	args     []string // without flags
	json     bool
	resolver string
}

// openCerts takes the sub-command's own words out of the arguments; the rest are the
// router's flags.
func (p *program) openCerts(ctx context.Context, args []string) (*certs, error) {
	c := &certs{program: p}
	var static []string
	for i, a := range args {
		switch name, value, _ := strings.Cut(a, "="); {
		case a == "--json":
			c.json = true
		case name == "--resolver":
			c.resolver = value
		case !strings.HasPrefix(a, "-") && (i == 0 || !strings.HasPrefix(args[i-1], "-") || strings.Contains(args[i-1], "=") || args[i-1] == "--json"):
			c.args = append(c.args, a)
		default:
			static = append(static, a)
		}
	}
	var err error
	if c.static, _, err = decode.Static(static, p.environ, p.read); err != nil {
		return nil, err
	}
	if c.tool, err = server.OpenCertificates(ctx, c.static, zerolog.Nop()); err != nil {
		return nil, err
	}
	for _, problem := range c.tool.Problems() {
		fmt.Fprintln(p.stderr, "sluice: "+problem.String())
	}
	return c, nil
}

// one is the only argument of a sub-command.
func (c *certs) one(what string) (string, error) {
	if len(c.args) != 1 {
		return "", errors.New("name one " + what)
	}
	return c.args[0], nil
}

func (c *certs) list(context.Context) error {
	all := c.tool.Statuses()
	if c.json {
		enc := json.NewEncoder(c.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "NAMES\tRESOLVER\tISSUER\tENDS\tRENEWAL\tSERIAL\tSTATE")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", strings.Join(s.Names, ","), s.Resolver, s.Issuer, day(s.NotAfter), day(s.Renew), s.Serial, state(s))
	}
	return w.Flush()
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04")
}

func state(s server.CertificateStatus) string {
	word := s.State
	if s.Attempt.Error != "" {
		word += fmt.Sprintf(", failed %d times, next %s", s.Attempt.Failures+s.Attempt.Network, day(s.Attempt.Next))
	}
	return word
}

func (c *certs) why(context.Context) error {
	host, err := c.one("host")
	if err != nil {
		return err
	}
	host = strings.ToLower(host)
	found := false
	for _, s := range c.tool.Statuses() {
		if !server.Covers(s.Names, host) {
			continue
		}
		found = true
		fmt.Fprintf(c.stdout, "%s: resolver %s: %s\n", strings.Join(s.Names, ","), s.Resolver, state(s))
		if !s.NotAfter.IsZero() {
			fmt.Fprintf(c.stdout, "  issued by %s, ends %s, renewal %s, serial %s\n", s.Issuer, day(s.NotAfter), day(s.Renew), s.Serial)
		}
		if s.Attempt.Error != "" {
			fmt.Fprintf(c.stdout, "  last error: %s\n", s.Attempt.Error)
		}
	}
	for _, f := range c.tool.Failed(host) {
		found = true
		fmt.Fprintf(c.stdout, "%s: resolver %s: not obtained, failed %d times, next %s\n  last error: %s\n",
			strings.Join(f.Names, ","), f.Resolver, f.Attempt.Failures+f.Attempt.Network, day(f.Attempt.Next), f.Attempt.Error)
	}
	if !found {
		fmt.Fprintf(c.stdout, "no resolver holds a certificate for %s, and no order of one failed: does a router with tls.certResolver name it?\n", host)
		return exitCode(1)
	}
	return nil
}

func (c *certs) renew(ctx context.Context) error {
	name, err := c.one("name")
	if err != nil {
		return err
	}
	n, err := c.tool.Renew(ctx, strings.ToLower(name))
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("no certificate holds %s", name)
	}
	fmt.Fprintf(c.stdout, "%d due now; the running router renews, or the next one\n", n)
	return nil
}

func (c *certs) importFrom(ctx context.Context) error {
	path, err := c.one("acme.json or directory")
	if err != nil {
		return err
	}
	if c.resolver == "" && len(c.tool.Usable()) == 1 {
		c.resolver = c.tool.Usable()[0]
	}
	if c.resolver != "" && !slices.Contains(c.tool.Usable(), c.resolver) {
		return fmt.Errorf("there is no usable resolver %q; usable: %s", c.resolver, strings.Join(c.tool.Usable(), ", "))
	}
	taken, found, err := c.tool.Import(ctx, path, c.resolver)
	for _, n := range taken {
		fmt.Fprintln(c.stdout, n)
	}
	fmt.Fprintf(c.stdout, "%d of %d certificates imported\n", len(taken), found)
	return err
}

func (c *certs) export(context.Context) error {
	dir, err := c.one("directory")
	if err != nil {
		return err
	}
	n, err := c.tool.Export(dir)
	fmt.Fprintf(c.stdout, "%d certificates exported\n", n)
	return err
}

func (c *certs) prune(ctx context.Context) error {
	gone, err := c.tool.Prune(ctx, time.Now())
	for _, n := range gone {
		fmt.Fprintln(c.stdout, n)
	}
	fmt.Fprintf(c.stdout, "%d certificates deleted\n", len(gone))
	return err
}
