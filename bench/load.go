package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is what one measurement of a load generator brought.
type load struct {
	n, errs  int
	rate     float64 // requests a second
	p50, p99 time.Duration
}

// sum makes a load of latencies by worker.
func sum(lat [][]time.Duration, d time.Duration, errs int) load {
	all := slices.Concat(lat...)
	slices.Sort(all)
	l := load{n: len(all), errs: errs, rate: float64(len(all)) / d.Seconds()}
	if l.n > 0 {
		l.p50, l.p99 = all[l.n/2], all[l.n*99/100]
	}
	return l
}

// output runs a command and returns what it wrote, also in an error.
func output(env []string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out), err
}

func group(re, text string) string {
	if m := regexp.MustCompile(re).FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

func number(s string) int { n, _ := strconv.Atoi(s); return n }

// wrk drives url with conns connections from two threads.
func wrk(url string, d time.Duration, conns int, more ...string) (load, error) {
	argv := append([]string{"wrk", "-t2", fmt.Sprintf("-c%d", conns), fmt.Sprintf("-d%ds", max(1, int(d.Seconds()))), "--latency"}, more...)
	out, err := output(nil, append(argv, url)...)
	if err != nil {
		return load{}, err
	}
	l := load{n: number(group(`(\d+) requests in`, out))}
	l.rate, _ = strconv.ParseFloat(group(`Requests/sec:\s+([\d.]+)`, out), 64)
	l.p50, _ = time.ParseDuration(group(`(?m)^\s+50%\s+(\S+)`, out))
	l.p99, _ = time.ParseDuration(group(`(?m)^\s+99%\s+(\S+)`, out))
	l.errs = number(group(`Non-2xx or 3xx responses: (\d+)`, out))
	for _, m := range regexp.MustCompile(`(?:connect|read|write|timeout) (\d+)`).FindAllStringSubmatch(group(`Socket errors: (.*)`, out), -1) {
		l.errs += number(m[1])
	}
	return l, nil
}

// h2load drives url over HTTP/2 with conns connections of 8 streams.
func h2load(url, dir string, d time.Duration, conns int) (load, error) {
	log := filepath.Join(dir, "h2load.log")
	_ = os.Remove(log)
	out, err := output(nil, "h2load", "-t2", fmt.Sprintf("-c%d", conns), "-m8", fmt.Sprintf("-D%d", max(1, int(d.Seconds()))), "--log-file="+log, "--npn-list=h2", url)
	if err != nil {
		return load{}, err
	}
	n, good := number(group(`(\d+) done`, out)), number(group(`(\d+) succeeded`, out))
	var lat []time.Duration
	if data, err := os.ReadFile(log); err == nil {
		for line := range strings.Lines(string(data)) {
			if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) == 3 {
				lat = append(lat, time.Duration(number(f[2]))*time.Microsecond)
			}
		}
	}
	l := sum([][]time.Duration{lat}, d, n-good)
	l.n = n
	l.rate, _ = strconv.ParseFloat(group(`finished in \S+, ([\d.]+) req/s`, out), 64)
	return l, nil
}

// handshakes makes TLS 1.3 handshakes, one request on each: full ones, or ones that resume
// the session before; one that was not resumed then is an error.
func handshakes(addr string, d time.Duration, conns int, resumed bool) load {
	cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", MinVersion: tls.VersionTLS13,
		NextProtos: []string{"http/1.1"}, CurvePreferences: []tls.CurveID{tls.X25519}}
	req := []byte("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if resumed {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	one := func(first bool) (time.Duration, error) {
		t := time.Now()
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		tc := tls.Client(c, cfg)
		if err := tc.Handshake(); err != nil {
			return 0, err
		}
		took := time.Since(t)
		if _, err := tc.Write(req); err != nil {
			return 0, err
		}
		answer := make([]byte, 4096)
		if n, err := tc.Read(answer); n < 12 || string(answer[9:12]) != "200" {
			return 0, fmt.Errorf("answer %q: %w", answer[:n], err)
		}
		if resumed && !first && !tc.ConnectionState().DidResume {
			return 0, errors.New("the session was not resumed")
		}
		return took, nil
	}
	var errs atomic.Int64
	lat := make([][]time.Duration, conns)
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			for time.Now().Before(end) {
				took, err := one(len(lat[i]) == 0)
				if err != nil {
					errs.Add(1)
					time.Sleep(time.Millisecond)
					continue
				}
				lat[i] = append(lat[i], took)
			}
		})
	}
	wg.Wait()
	return sum(lat, d, int(errs.Load()))
}

// steadyResult counts what a steady load met.
type steadyResult struct {
	ok, refused, status, broken, stale int
	p50, p99, p999, max                time.Duration
}

// failed are the failures that a user sees. A kept-alive connection that was
// closed while idle is not one: clients send the request again.
func (r steadyResult) failed() int { return r.refused + r.status + r.broken }

// steady sends rate requests a second over conns kept-alive connections;
// latency counts from the moment a request was due.
func steady(addr string, d time.Duration, rate, conns int) steadyResult {
	var mu sync.Mutex
	var r steadyResult
	var all []time.Duration
	gap := time.Second * time.Duration(conns) / time.Duration(rate)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			s := steadyConn{addr: addr}
			defer s.close()
			next := begin.Add(gap * time.Duration(i) / time.Duration(conns))
			for time.Since(begin) < d {
				time.Sleep(time.Until(next))
				what := s.one()
				took := time.Since(next)
				next = next.Add(gap)
				mu.Lock()
				switch what {
				case "ok":
					r.ok++
					all = append(all, took)
				case "refused":
					r.refused++
				case "status":
					r.status++
				case "stale":
					r.stale++
				default:
					r.broken++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	if n := len(all); n > 0 {
		r.p50, r.p99, r.p999, r.max = all[n/2], all[n*99/100], all[n*999/1000], all[n-1]
	}
	return r
}

type steadyConn struct {
	addr string
	c    net.Conn
	br   *bufio.Reader
}

func (s *steadyConn) close() {
	if s.c != nil {
		_ = s.c.Close()
	}
	s.c = nil
}

// one sends a request and says how it ended.
func (s *steadyConn) one() string {
	used := s.c != nil
	if !used {
		c, err := net.DialTimeout("tcp", s.addr, 2*time.Second)
		if err != nil {
			return "refused"
		}
		s.c, s.br = c, bufio.NewReaderSize(c, 4096)
	}
	_ = s.c.SetDeadline(time.Now().Add(3 * time.Second))
	_, err := io.WriteString(s.c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	var line []byte
	if err == nil {
		line, err = s.br.ReadSlice('\n')
	}
	if err != nil {
		quiet := len(line) == 0
		s.close()
		if used && quiet {
			return "stale"
		}
		return "broken"
	}
	good := len(line) > 12 && string(line[9:12]) == "200"
	length, closing := 0, false
	for {
		line, err = s.br.ReadSlice('\n')
		if err != nil {
			s.close()
			return "broken"
		}
		name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		if !ok {
			break
		}
		switch strings.ToLower(string(name)) {
		case "content-length":
			length = number(string(bytes.TrimSpace(value)))
		case "connection":
			closing = strings.EqualFold(string(bytes.TrimSpace(value)), "close")
		}
	}
	if _, err := s.br.Discard(length); err != nil {
		s.close()
		return "broken"
	}
	if closing {
		s.close()
	}
	if !good {
		return "status"
	}
	return "ok"
}

// answers reports whether a GET of path is answered with 200.
func answers(addr, host, path, auth string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if auth != "" {
		auth = "Authorization: " + auth + "\r\n"
	}
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", path, host, auth)
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && len(line) > 12 && line[9:12] == "200"
}

// waitFor waits until answers is true and returns how long that took.
func waitFor(limit, step time.Duration, addr, host, path, auth string) (time.Duration, bool) {
	begin := time.Now()
	for time.Since(begin) < limit {
		if answers(addr, host, path, auth) {
			return time.Since(begin), true
		}
		time.Sleep(step)
	}
	return 0, false
}
