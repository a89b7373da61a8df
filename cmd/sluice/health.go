package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

// healthTimeout bounds the whole question, as in the reference.
const healthTimeout = 5 * time.Second

func (p *program) healthCommand() *cli.Command {
	return &cli.Command{
		Name: "healthcheck", Usage: "ask the running router's /ping; needs the same static configuration (exit 0 or 1)", ArgsUsage: "[--ping ...]",
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			if wantsHelp(c) {
				return nil
			}
			s, _, err := decode.Static(c.Args().Slice(), p.environ, p.read)
			if err != nil {
				return err
			}
			target, err := pingURL(s)
			if err != nil {
				return err
			}
			if err := ping(c.Context, target); err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, "OK: "+target)
			return nil
		},
	}
}

// pingURL is where the running router answers pings.
func pingURL(s *config.Static) (string, error) {
	if s.Ping == nil {
		return "", errors.New("ping is not switched on; add --ping")
	}
	base, err := localURL(s, s.Ping.EntryPoint)
	return base + "/ping", err
}

// localURL is how this machine reaches an entry point.
func localURL(s *config.Static, entryPoint string) (string, error) {
	e := s.EntryPoints[entryPoint]
	if e == nil {
		return "", fmt.Errorf("there is no entry point %q", entryPoint)
	}
	_, hostport, err := config.SplitAddress(e.Address)
	if err != nil {
		return "", err
	}
	host, port, _ := net.SplitHostPort(hostport)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	scheme := "http"
	if e.HTTP.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port), nil
}

func ping(ctx context.Context, target string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	client := &http.Client{
		// The question goes to this machine, under a name no certificate has.
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, target, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no answer: %s", strings.TrimPrefix(err.Error(), "Head "))
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("bad health: %s answered %s", target, resp.Status)
	}
	return nil
}
