package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"
)

// maxData bounds what /data answers with, in bytes.
const maxData = 1 << 30

func (p *program) whoamiCommand() *cli.Command {
	return &cli.Command{
		Name: "whoami", Hidden: true, Usage: "a small server for demonstrations that tells what it was asked",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "port", Value: 80, EnvVars: []string{"WHOAMI_PORT_NUMBER"}, Usage: "port to listen on; 0 takes any and prints it"},
			&cli.StringFlag{Name: "name", EnvVars: []string{"WHOAMI_NAME"}, Usage: "name to answer with"},
			&cli.DurationFlag{Name: "drain", Value: 10 * time.Second, Usage: "how long running requests may end after a stop signal; 0 ends at once"},
			&cli.DurationFlag{Name: "boot", Usage: "wait before listening, like an application that starts slowly"},
		},
		Action: func(c *cli.Context) error {
			select {
			case <-c.Context.Done():
				return nil
			case <-time.After(c.Duration("boot")):
			}
			return p.whoami(c.Context, c.Int("port"), c.String("name"), c.Duration("drain"))
		},
	}
}

func (p *program) whoami(ctx context.Context, port int, name string, drain time.Duration) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "listening on %s\n", l.Addr())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: newWhoami(name), ReadHeaderTimeout: time.Minute, Protocols: protocols}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if drain <= 0 {
		return s.Close()
	}
	stop, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	if err := s.Shutdown(stop); errors.Is(err, context.DeadlineExceeded) {
		return s.Close()
	}
	return nil
}

// whoami answers with what it knows of itself and of the request.
type whoami struct {
	name   string
	health atomic.Int64
}

func newWhoami(name string) http.Handler {
	h := &whoami{name: name}
	h.health.Store(http.StatusOK)
	mux := http.NewServeMux()
	mux.HandleFunc("/", h.text)
	mux.HandleFunc("/api", h.json)
	mux.HandleFunc("/health", h.healthz)
	mux.HandleFunc("/data", h.data)
	mux.HandleFunc("/bench", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "1") })
	return mux
}

// identity is what stays the same for every request.
func (h *whoami) identity() (host string, ips []string) {
	host, _ = os.Hostname()
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			ips = append(ips, n.IP.String())
		}
	}
	return host, ips
}

func (h *whoami) text(w http.ResponseWriter, r *http.Request) {
	if !h.wait(r) {
		return
	}
	host, ips := h.identity()
	var b strings.Builder
	if h.name != "" {
		fmt.Fprintf(&b, "Name: %s\n", h.name)
	}
	fmt.Fprintf(&b, "Hostname: %s\n", host)
	for _, ip := range ips {
		fmt.Fprintf(&b, "IP: %s\n", ip)
	}
	fmt.Fprintf(&b, "RemoteAddr: %s\n%s %s %s\nHost: %s\n", r.RemoteAddr, r.Method, r.RequestURI, r.Proto, r.Host)
	_ = r.Header.Write(&lineFeeds{&b})
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, b.String())
}

// lineFeeds drops the carriage returns that Header.Write puts in.
type lineFeeds struct{ b *strings.Builder }

func (l *lineFeeds) Write(p []byte) (int, error) {
	l.b.WriteString(strings.ReplaceAll(string(p), "\r\n", "\n"))
	return len(p), nil
}

// wait does what ?wait=2s asks for; it reports false if the client went away.
func (h *whoami) wait(r *http.Request) bool {
	d, err := time.ParseDuration(r.URL.Query().Get("wait"))
	if err != nil || d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
		return false
	}
}

func (h *whoami) json(w http.ResponseWriter, r *http.Request) {
	host, ips := h.identity()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"name": h.name, "hostname": host, "ip": ips, "remoteAddr": r.RemoteAddr,
		"method": r.Method, "url": r.RequestURI, "proto": r.Proto, "host": r.Host, "headers": r.Header,
	})
}

// healthz answers GET with the status that the last POST asked for.
func (h *whoami) healthz(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 16))
		code, err := strconv.Atoi(strings.TrimSpace(string(body)))
		if err != nil || code < 200 || code > 599 {
			http.Error(w, "post a status code", http.StatusBadRequest)
			return
		}
		h.health.Store(int64(code))
		return
	}
	w.WriteHeader(int(h.health.Load()))
}

// data answers with ?size= bytes, ?unit=KB, MB or GB.
func (h *whoami) data(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	switch strings.ToUpper(r.URL.Query().Get("unit")) {
	case "KB":
		size <<= 10
	case "MB":
		size <<= 20
	case "GB":
		size <<= 30
	}
	if err != nil || size < 0 || size > maxData {
		http.Error(w, "name a size", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	block := []byte(strings.Repeat("0123456789abcdef", 2048))
	for size > 0 {
		n, err := w.Write(block[:min(size, int64(len(block)))])
		if err != nil {
			return
		}
		size -= int64(n)
	}
}
