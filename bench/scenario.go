package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// scenario is one kind of load.
type scenario struct {
	key, title string
	spec       spec
	path, auth string
	drive      func(o *options, c *contestant) (load, error)
	run        func(o *options, s scenario, cs []*contestant) (section, error)
}

// section is what a scenario adds to the report: its table, and the CPU time a
// request of each contestant for the summary.
type section struct {
	key, title, text string
	cpu              map[string]float64 // microseconds, median
}

// lua of wrk: random hosts of N, and a POST of 1 MiB.
const (
	luaHosts = `local reqs, k = {}, 0
init = function(args)
  math.randomseed(7)
  for i = 1, 5000 do reqs[i] = wrk.format("GET", "/", {Host = "h" .. math.random(1, %d - 1) .. ".bench.test"}) end
end
request = function() k = k %% 5000 + 1; return reqs[k] end
`
	luaPost = `wrk.method = "POST"
wrk.body = string.rep("x", 1048576)
`
)

func scenarios() []scenario {
	plain, secure := spec{hosts: hosts(1), backend: backendPort}, spec{hosts: hosts(1), backend: backendPort, tls: true}
	web := func(path string, conns int, more ...string) func(*options, *contestant) (load, error) {
		return func(o *options, c *contestant) (load, error) {
			return wrk("http://"+c.http+path, o.each, conns, append(more, "-H", "Host: localhost")...)
		}
	}
	routers := func(n int) func(*options, *contestant) (load, error) {
		return func(o *options, c *contestant) (load, error) {
			file := filepath.Join(o.work, fmt.Sprintf("hosts%d.lua", n))
			if err := os.WriteFile(file, fmt.Appendf(nil, luaHosts, n), 0o644); err != nil {
				return load{}, err
			}
			return wrk("http://"+c.http+"/", o.each, 64, "-s", file)
		}
	}
	many := func(n int) spec { return spec{hosts: hosts(n), backend: backendPort} }
	post := func(o *options, c *contestant) (load, error) {
		file := filepath.Join(o.work, "post.lua")
		if err := os.WriteFile(file, []byte(luaPost), 0o644); err != nil {
			return load{}, err
		}
		return wrk("http://"+c.http+"/", o.each, 16, "-s", file, "-H", "Host: localhost")
	}
	all := []scenario{
		{key: "s1", title: "HTTP/1.1 keep-alive, 64 connections, 1 KiB", spec: plain, drive: web("/", 64)},
		{key: "s1c", title: "the same with 512 connections", spec: plain, drive: web("/", 512)},
		{key: "s1k", title: "a new connection for every request", spec: plain, drive: web("/", 64, "-H", "Connection: close")},
		{key: "s2", title: "HTTP/1.1 keep-alive, 64 connections, 100 KiB", spec: plain, drive: web("/"+bigPath, 64)},
		{key: "s3a", title: "1,000 routers, random hosts", spec: many(1000), drive: routers(1000)},
		{key: "s3b", title: "10,000 routers, random hosts", spec: many(10000), drive: routers(10000)},
		{key: "s4a", title: "TLS 1.3, HTTP/1.1 keep-alive, 64 connections, 1 KiB", spec: secure, drive: func(o *options, c *contestant) (load, error) {
			return wrk("https://localhost:"+portOf(c.https)+"/", o.each, 64)
		}},
		{key: "s4b", title: "TLS 1.3, HTTP/2, 64 connections of 8 streams, 1 KiB", spec: secure, drive: func(o *options, c *contestant) (load, error) {
			return h2load("https://localhost:"+portOf(c.https)+"/", o.work, o.each, 64)
		}},
		{key: "s5", title: "full TLS 1.3 handshakes (P-256, X25519) with one request each", spec: secure, drive: func(o *options, c *contestant) (load, error) {
			return handshakes(c.https, o.each, 16, false), nil
		}},
		{key: "s5r", title: "resumed TLS 1.3 handshakes with one request each", spec: secure, drive: func(o *options, c *contestant) (load, error) {
			return handshakes(c.https, o.each, 16, true), nil
		}},
		{key: "s6", title: "POST of 1 MiB, 16 connections", spec: plain, drive: post},
		{key: "s7", title: "WebSocket echo, 64 connections, 64 bytes", spec: spec{hosts: hosts(1), backend: wsPort}, drive: func(o *options, c *contestant) (load, error) {
			return wsLoad(c.http, o.each, 64, 64), nil
		}},
		{key: "s7i", title: "4,000 idle WebSockets", spec: spec{hosts: hosts(1), backend: wsPort}, run: runIdle},
		{key: "s8", title: "rateLimit, basicAuth, stripPrefix, headers", spec: spec{hosts: hosts(1), backend: backendPort, chain: true}, path: "/api/x", auth: basicUser,
			drive: web("/api/x", 64, "-H", "Authorization: "+basicUser)},
		{key: "s9", title: "20 changes of 1,000 routers, 0.5 s apart, under 2,000 requests/s", spec: many(1000), run: runReload},
		{key: "s10", title: "start, idle memory, size", spec: plain, run: runStart},
	}
	for i := range all {
		if all[i].run == nil {
			all[i].run = runLoad
		}
		if all[i].path == "" {
			all[i].path = "/"
		}
	}
	return all
}

// prepare checks the tools and makes the certificate.
func prepare(work string) error {
	for _, tool := range []string{"wrk", "h2load"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w (on Debian: apt-get install wrk nghttp2-client nginx-light haproxy)", err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		DNSNames: []string{"localhost", "*.bench.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	c := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	k := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for name, data := range map[string][]byte{"cert.pem": c, "key.pem": k, "both.pem": slices.Concat(c, k)} {
		if err := os.WriteFile(filepath.Join(work, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// backends starts what a scenario needs behind the proxies; the last one is
// the one that is measured.
func backends(o *options, s spec) ([]*proc, error) {
	b, err := helper(filepath.Join(o.work, "backend.log"), "backend", fmt.Sprint(backendPort), "2")
	if err != nil {
		return nil, err
	}
	out := []*proc{b}
	if s.backend == wsPort {
		w, err := helper(filepath.Join(o.work, "ws.log"), "wsecho", fmt.Sprintf("127.0.0.1:%d", wsPort))
		if err != nil {
			return out, err
		}
		out = append(out, w)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", s.backend)
	if _, ok := waitFor(5*time.Second, 10*time.Millisecond, addr, "localhost", "/", ""); !ok {
		return out, fmt.Errorf("the backend does not answer, see %s", o.work)
	}
	return out, nil
}

// round is one measurement of one contestant.
type round struct {
	load
	cpu, backend float64 // microseconds a request
}

// runLoad starts every contestant and drives them in turn.
func runLoad(o *options, s scenario, cs []*contestant) (section, error) {
	back, err := backends(o, s.spec)
	defer func() {
		for _, c := range cs {
			c.stop()
		}
		for _, b := range back {
			b.stop()
		}
	}()
	if err != nil {
		return section{}, err
	}
	var in []*contestant
	for _, c := range cs {
		if !c.takes(s.key) {
			continue
		}
		if err := c.start(s.spec); err != nil {
			return section{}, err
		}
		last := s.spec.hosts[len(s.spec.hosts)-1]
		if _, ok := waitFor(30*time.Second, 20*time.Millisecond, c.http, last, s.path, s.auth); !ok {
			fmt.Printf("%s does not answer in %s, see %s\n", c.name, s.key, c.dir)
			c.stop()
			continue
		}
		in = append(in, c)
	}
	rounds := map[string][]round{}
	for r := -1; r < o.rounds; r++ { // the first one warms up and does not count
		for _, c := range in {
			b0, p0 := back[len(back)-1].cpu(), c.cpu()
			l, err := s.drive(o, c)
			if err != nil {
				return section{}, fmt.Errorf("%s: %w", c.name, err)
			}
			if r < 0 || l.n == 0 {
				continue
			}
			n := float64(l.n)
			rounds[c.name] = append(rounds[c.name], round{load: l, cpu: float64((c.cpu() - p0).Microseconds()) / n,
				backend: float64((back[len(back)-1].cpu() - b0).Microseconds()) / n})
		}
	}
	memory := map[string]int64{}
	for _, c := range in {
		if c.proc != nil {
			memory[c.name] = c.proc.pss()
		}
	}
	return tableOf(s, in, rounds, memory), nil
}

func median[T int | float64 | time.Duration](v []T) T {
	if len(v) == 0 {
		var zero T
		return zero
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

func column[T any](rs []round, f func(round) T) []T {
	var out []T
	for _, r := range rs {
		out = append(out, f(r))
	}
	return out
}

func tableOf(s scenario, in []*contestant, rounds map[string][]round, memory map[string]int64) section {
	sec := section{key: s.key, title: s.title, cpu: map[string]float64{}}
	var b strings.Builder
	fmt.Fprintf(&b, "### %s: %s\n\n| | CPU us/request (min-max) | to the first | requests/s | p50 ms | p99 ms | backend us | errors | memory MiB |\n|---|---|---|---|---|---|---|---|---|\n", s.key, s.title)
	var measure float64
	for _, c := range in {
		rs := rounds[c.name]
		if len(rs) == 0 {
			continue
		}
		cpu := column(rs, func(r round) float64 { return r.cpu })
		m := median(cpu)
		if measure == 0 {
			measure = m
		}
		sec.cpu[c.name] = m
		errs := 0
		for _, r := range rs {
			errs += r.errs
		}
		ratio := 0.0
		if measure > 0 {
			ratio = m / measure
		}
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		fmt.Fprintf(&b, "| %s | %.1f (%.1f-%.1f) | %.2f | %.0f | %.2f | %.2f | %.1f | %d | %.1f |\n", c.name, m, slices.Min(cpu), slices.Max(cpu), ratio,
			median(column(rs, func(r round) float64 { return r.rate })), ms(median(column(rs, func(r round) time.Duration { return r.p50 }))),
			ms(median(column(rs, func(r round) time.Duration { return r.p99 }))), median(column(rs, func(r round) float64 { return r.backend })),
			errs, float64(memory[c.name])/(1<<20))
	}
	sec.text = b.String()
	return sec
}
