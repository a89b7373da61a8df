// Command app is the program inside the containers that tests start. It answers
// every request with JSON about itself and what it received.
//
// Environment: ID is its name (default: the host name), PORTS the ports to
// listen on (default 80), START_DELAY how long it waits before it listens, and
// ON_TERM what SIGTERM does: "exit" at once (default), "drain" (finish what
// runs, for DRAIN at most 5 s), or "ignore".
//
// A request to upgrade is granted, and what comes afterwards is sent back.
//
// "app health" asks the running program for /healthz and exits with its verdict;
// POST /healthz?ok=false makes the verdict bad.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Answer is the body of every response.
type Answer struct {
	ID, Hostname, Method, Host, Path, Remote, Port string
	Header                                         http.Header
}

func env(key, or string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return or
}

func main() {
	ports := strings.Split(env("PORTS", "80"), ",")
	if len(os.Args) > 1 && os.Args[1] == "health" {
		os.Exit(health(ports[0]))
	}
	if err := run(ports); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func health(port string) int {
	c := http.Client{Timeout: 2 * time.Second}
	resp, err := c.Get("http://127.0.0.1:" + port + "/healthz")
	if err != nil {
		return 1
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 1
	}
	return 0
}

func run(ports []string) error {
	delay, _ := time.ParseDuration(env("START_DELAY", "0s"))
	time.Sleep(delay)
	srv := &http.Server{Handler: handler(), ReadHeaderTimeout: 10 * time.Second}
	errs := make(chan error, len(ports))
	for _, p := range ports {
		l, err := net.Listen("tcp", ":"+p)
		if err != nil {
			return err
		}
		go func() { errs <- srv.Serve(l) }()
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	for {
		select {
		case err := <-errs:
			return err
		case <-term:
			switch env("ON_TERM", "exit") {
			case "ignore":
				continue
			case "drain":
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				return srv.Shutdown(ctx)
			default:
				return nil
			}
		}
	}
}

func handler() http.Handler {
	name, _ := os.Hostname()
	id := env("ID", name)
	var bad atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			bad.Store(r.URL.Query().Get("ok") == "false")
		} else if bad.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if up := r.Header.Get("Upgrade"); up != "" {
			echo(w, up)
			return
		}
		if d, err := time.ParseDuration(r.URL.Query().Get("sleep")); err == nil {
			time.Sleep(d)
		}
		_, port, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-App", id)
		_ = json.NewEncoder(w).Encode(Answer{ID: id, Hostname: name, Method: r.Method, Host: r.Host,
			Path: r.RequestURI, Remote: r.RemoteAddr, Port: port, Header: r.Header})
	})
	return mux
}

// echo switches to a protocol that sends back what it gets.
func echo(w http.ResponseWriter, protocol string) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer c.Close()
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	_ = rw.Flush()
	_, _ = io.Copy(c, rw)
}
