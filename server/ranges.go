package server

import (
	"fmt"
	"os"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// named gives an entry point whose lists of trusted addresses hold the ranges that names stand for.
func (s *Server) named(ep *config.EntryPoint) (*config.EntryPoint, error) {
	out := *ep
	if h := ep.ForwardedHeaders; h != nil {
		list, err := s.ranges(h.TrustedIPs)
		if err != nil {
			return nil, fmt.Errorf("forwardedHeaders.trustedIPs: %w", err)
		}
		own := *h
		own.TrustedIPs = list
		out.ForwardedHeaders = &own
	}
	if p := ep.ProxyProtocol; p != nil {
		list, err := s.ranges(p.TrustedIPs)
		if err != nil {
			return nil, fmt.Errorf("proxyProtocol.trustedIPs: %w", err)
		}
		own := *p
		own.TrustedIPs = list
		out.ProxyProtocol = &own
	}
	return &out, nil
}

// ranges replaces the names in a list: by the lines of the user's file, or by what is built in.
func (s *Server) ranges(list []string) ([]string, error) {
	var out []string
	for _, v := range list {
		v = strings.TrimSpace(v)
		if file, ok := s.sluice().Ranges[v]; ok {
			lines, err := readRanges(file)
			if err != nil {
				return nil, fmt.Errorf("sluice.ranges.%s: %w", v, err)
			}
			out = append(out, lines...)
			continue
		}
		if built, ok := config.NamedRanges(v); ok {
			out = append(out, built...)
			continue
		}
		out = append(out, v)
	}
	return out, nil
}

// readRanges reads a file with an address or range on each line; what follows # is a comment.
func readRanges(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		out = append(out, strings.Fields(line)...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no range", file)
	}
	return out, nil
}
