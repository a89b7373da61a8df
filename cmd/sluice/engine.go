package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config/check"
)

// engineTimeout bounds the one question that check asks the engine.
const engineTimeout = 10 * time.Second

// engineContainer is what check reads of the engine's list (GET /containers/json).
type engineContainer struct {
	Names  []string
	Image  string
	Labels map[string]string
	Ports  []struct {
		PrivatePort int
		Type        string
	}
	Command         string
	NetworkSettings struct{ Networks map[string]json.RawMessage }
}

// containers asks an engine for its running containers. The list alone needs no
// client library, and no API version: the path without one means the newest.
func containers(ctx context.Context, endpoint string) ([]check.Container, error) {
	scheme, rest, ok := strings.Cut(endpoint, "://")
	t := &http.Transport{DisableKeepAlives: true}
	base := "http://engine"
	switch {
	case ok && scheme == "unix":
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", rest)
		}
	case ok && (scheme == "tcp" || scheme == "http"):
		base = "http://" + rest
	default:
		return nil, fmt.Errorf("%q: check reaches an engine by unix:// or tcp:// only", endpoint)
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/containers/json", nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", endpoint, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("engine %s answered %s", endpoint, resp.Status)
	}
	var list []engineContainer
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, fmt.Errorf("engine %s: %w", endpoint, err)
	}
	out := make([]check.Container, 0, len(list))
	for _, e := range list {
		out = append(out, e.container())
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out, nil
}

func (e engineContainer) container() check.Container {
	c := check.Container{Image: e.Image, Labels: e.Labels}
	if len(e.Names) > 0 {
		c.Name = strings.TrimPrefix(e.Names[0], "/")
	}
	for n := range e.NetworkSettings.Networks {
		c.Networks = append(c.Networks, n)
	}
	sort.Strings(c.Networks)
	seen := map[int]bool{}
	for _, p := range e.Ports {
		if p.Type == "tcp" && !seen[p.PrivatePort] {
			seen[p.PrivatePort] = true
			c.Ports = append(c.Ports, p.PrivatePort)
		}
	}
	sort.Ints(c.Ports)
	c.Router = strings.Contains(strings.ToLower(e.Command), "--providers.docker") || strings.Contains(strings.ToLower(e.Command), "--providers.swarm")
	return c
}
