package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Ports of the backends; a contestant's lie at 18000 and up.
const (
	backendPort = 17000
	wsPort      = 17001
)

// caddyVersion is built from its module when no caddy is installed.
const caddyVersion = "v2.11.9"

// spec is what a scenario asks of a configuration: hosts that all lead to one
// backend, TLS or not, the chain of middlewares or not.
type spec struct {
	hosts   []string
	backend int
	tls     bool
	chain   bool
}

func hosts(n int, more ...string) []string {
	out := []string{"localhost"}
	for i := 1; i < n; i++ {
		out = append(out, fmt.Sprintf("h%d.bench.test", i))
	}
	return append(out, more...)
}

// user:pass in the form htpasswd -s writes, and as a client sends it.
const (
	shaUser   = "user:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ="
	basicUser = "Basic dXNlcjpwYXNz"
)

// contestant is a proxy under test.
type contestant struct {
	name              string
	dir, work, binary string
	http, https       string // addresses
	admin             string

	argv    func(c *contestant, s spec) []string
	config  func(c *contestant, s spec) error
	signal  syscall.Signal            // that makes it read its configuration anew
	refresh func(c *contestant) error // or a call that does
	env     []string
	lacks   []string // scenarios it cannot take part in
	direct  bool     // the backend itself, no proxy

	proc *proc
}

func (c *contestant) takes(key string) bool { return !slices.Contains(c.lacks, key) }

func (c *contestant) start(s spec) error {
	if c.direct {
		return nil
	}
	if err := c.config(c, s); err != nil {
		return err
	}
	p, err := start(filepath.Join(c.dir, "log"), c.env, c.argv(c, s)...)
	c.proc = p
	return err
}

func (c *contestant) stop() {
	if c.proc != nil {
		c.proc.stop()
		c.proc = nil
	}
}

func (c *contestant) reload(s spec) error {
	if err := c.config(c, s); err != nil {
		return err
	}
	if c.refresh != nil {
		return c.refresh(c)
	}
	if c.signal != 0 {
		return syscall.Kill(c.proc.sid, c.signal)
	}
	return nil // it watches its file
}

func (c *contestant) cpu() time.Duration {
	if c.proc == nil {
		return 0
	}
	return c.proc.cpu()
}

// replace writes a file by rename, as careful tools do.
func replace(path, text string) error {
	if err := os.WriteFile(path+".tmp", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// roster makes the contestants that were asked for.
func roster(o options) ([]*contestant, error) {
	var out []*contestant
	for i, name := range o.names {
		c := &contestant{name: name, work: o.work, dir: filepath.Join(o.work, name)}
		port := 18000 + 10*i
		c.http, c.https, c.admin = fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", port+1), fmt.Sprintf("127.0.0.1:%d", port+2)
		if err := os.MkdirAll(c.dir, 0o755); err != nil {
			return nil, err
		}
		var err error
		switch name {
		case "nginx":
			c.binary, err = exec.LookPath("nginx")
			c.config, c.signal = nginxConfig, syscall.SIGHUP
			c.argv = func(c *contestant, _ spec) []string {
				return []string{c.binary, "-p", c.dir, "-c", c.dir + "/nginx.conf", "-g", "daemon off;"}
			}
		case "haproxy":
			c.binary, err = exec.LookPath("haproxy")
			c.config, c.signal = haproxyConfig, syscall.SIGUSR2
			c.argv = func(c *contestant, _ spec) []string { return []string{c.binary, "-W", "-f", c.dir + "/haproxy.cfg"} }
		case "caddy":
			c.binary, err = caddy(o.work)
			c.config, c.refresh, c.lacks = caddyConfig, caddyReload, []string{"s8"}
			c.env = []string{"HOME=" + c.dir, "XDG_CONFIG_HOME=" + c.dir, "XDG_DATA_HOME=" + c.dir}
			c.argv = func(c *contestant, _ spec) []string {
				return []string{c.binary, "run", "--config", c.dir + "/caddy.json"}
			}
		case "direct":
			c.direct, c.http = true, fmt.Sprintf("127.0.0.1:%d", backendPort)
			c.lacks = []string{"s3a", "s3b", "s4a", "s4b", "s5", "s5r", "s7", "s7i", "s8", "s9", "s10"}
		default:
			err = sluice(c, o.binary)
		}
		if err != nil {
			fmt.Printf("%s does not take part: %v\n", name, err)
			continue
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("nobody takes part")
	}
	return out, nil
}

// sluice is the router itself: as it comes, with the handler lane only, or with
// access log and metrics on.
func sluice(c *contestant, binary string) error {
	if _, err := os.Stat(binary); err != nil {
		return err
	}
	var more []string
	switch c.name {
	case "sluice":
	case "sluice-handler":
		c.env = []string{"SLUICE_LANE=handler"}
	case "sluice-observed":
		more = []string{"--accesslog", "--accesslog.filepath=" + c.dir + "/access.log", "--metrics.prometheus"}
	case "sluice-profiled":
		more = []string{"--api.insecure", "--api.debug", "--entrypoints.traefik.address=" + c.admin}
	default:
		return fmt.Errorf("unknown contestant")
	}
	c.binary, c.config = binary, sluiceConfig
	c.argv = func(c *contestant, s spec) []string {
		argv := []string{c.binary, "--log.level=ERROR", "--entrypoints.web.address=" + c.http, "--providers.file.filename=" + c.dir + "/dynamic.yml"}
		if s.tls {
			argv = append(argv, "--entrypoints.websecure.address="+c.https)
		}
		return append(argv, more...)
	}
	return nil
}

// caddy finds an installed caddy or builds one.
func caddy(work string) (string, error) {
	if p, err := exec.LookPath("caddy"); err == nil {
		return p, nil
	}
	p := filepath.Join(work, "caddy-"+caddyVersion, "caddy")
	if _, err := os.Stat(p); err == nil {
		return p, nil
	}
	fmt.Println("building caddy " + caddyVersion + ", once; this takes minutes")
	_, err := output([]string{"GOBIN=" + filepath.Dir(p), "GOFLAGS=", "CGO_ENABLED=0"}, "go", "install", "-ldflags=-s -w", "github.com/caddyserver/caddy/v2/cmd/caddy@"+caddyVersion)
	return p, err
}

func caddyReload(c *contestant) error {
	f, err := os.Open(c.dir + "/caddy.json")
	if err != nil {
		return err
	}
	defer f.Close()
	resp, err := http.Post("http://"+c.admin+"/load", "application/json", f)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("caddy: status %d", resp.StatusCode)
	}
	return nil
}

func caddyConfig(c *contestant, s spec) error {
	type m = map[string]any
	proxy := m{"handler": "reverse_proxy", "upstreams": []m{{"dial": fmt.Sprintf("127.0.0.1:%d", s.backend)}},
		"transport": m{"protocol": "http", "keep_alive": m{"max_idle_conns_per_host": 256}},
		"headers":   m{"request": m{"set": m{"X-Real-Ip": []string{"{http.request.remote.host}"}}}}}
	var routes []m
	for _, h := range s.hosts {
		routes = append(routes, m{"match": []m{{"host": []string{h}}}, "handle": []m{proxy}, "terminal": true})
	}
	routes = append(routes, m{"handle": []m{{"handler": "static_response", "status_code": "404"}}})
	servers := m{"web": m{"listen": []string{c.http}, "routes": routes, "automatic_https": m{"disable": true}, "protocols": []string{"h1"}}}
	apps := m{"http": m{"servers": servers}}
	if s.tls {
		servers["websecure"] = m{"listen": []string{c.https}, "routes": routes, "automatic_https": m{"disable": true}, "protocols": []string{"h1", "h2"}, "tls_connection_policies": []m{{}}}
		apps["tls"] = m{"certificates": m{"load_files": []m{{"certificate": c.work + "/cert.pem", "key": c.work + "/key.pem"}}}}
	}
	data, err := json.Marshal(m{"admin": m{"listen": c.admin, "config": m{"persist": false}}, "logging": m{"logs": m{"default": m{"level": "ERROR"}}}, "apps": apps})
	if err != nil {
		return err
	}
	return replace(c.dir+"/caddy.json", string(data))
}

func sluiceConfig(c *contestant, s spec) error {
	var b strings.Builder
	fmt.Fprintf(&b, "http:\n  services:\n    b:\n      loadBalancer:\n        servers:\n          - url: http://127.0.0.1:%d\n", s.backend)
	rule, with := "", ""
	if s.chain {
		rule, with = " && PathPrefix(`/api`)", "      middlewares: [limit, auth, strip, fields]\n"
		fmt.Fprintf(&b, `  middlewares:
    limit: {rateLimit: {average: 1000000, burst: 1000000}}
    auth: {basicAuth: {users: ['%s']}}
    strip: {stripPrefix: {prefixes: [/api]}}
    fields:
      headers:
        customRequestHeaders: {X-Bench: '1'}
        customResponseHeaders: {X-Frame-Options: DENY, X-Content-Type-Options: nosniff}
`, shaUser)
	}
	b.WriteString("  routers:\n")
	for i, h := range s.hosts {
		fmt.Fprintf(&b, "    r%d:\n      rule: Host(`%s`)%s\n      service: b\n      entryPoints: [web]\n%s", i, h, rule, with)
		if s.tls {
			fmt.Fprintf(&b, "    r%ds:\n      rule: Host(`%s`)%s\n      service: b\n      entryPoints: [websecure]\n      tls: {}\n%s", i, h, rule, with)
		}
	}
	if s.tls {
		pair := fmt.Sprintf("certFile: %s/cert.pem, keyFile: %s/key.pem", c.work, c.work)
		fmt.Fprintf(&b, "tls:\n  certificates: [{%s}]\n  stores: {default: {defaultCertificate: {%s}}}\n", pair, pair)
	}
	return replace(c.dir+"/dynamic.yml", b.String())
}
