// Command bench measures the router beside nginx, HAProxy and Caddy on
// loopback, and soaks it.
//
//	go run ./bench run                     every scenario; the table goes to docs/performance.md
//	go run ./bench run -scenarios s1,s4a   some of them (nothing is written)
//	go run ./bench soak -for 5m            load with aborts, slow clients, restarting backends
//	go run ./bench list                    what the scenarios are
//	go run ./bench profile                 a CPU profile of them, by which make build compiles
//
// Contestants run at the same time and are driven in turn (A B C A B C ...). The
// number to trust is the CPU time per request of all a contestant's processes:
// on a small machine shared with the load generator, requests per second say as
// much about the generator as about the proxy. Compare numbers of one run only.
//
// The load comes from wrk and h2load; the rest (the backend, WebSocket, TLS
// handshakes, the steady load during reloads) is in this command.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// helpers are the sub-commands that the harness starts as processes of their own.
var helpers = map[string]func([]string) error{
	"backend": runBackend,
	"wsecho":  runWSEcho,
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	cmd, args := os.Args[1], os.Args[2:]
	var err error
	switch {
	case helpers[cmd] != nil:
		err = helpers[cmd](args)
	case cmd == "run":
		err = bench(args)
	case cmd == "soak":
		err = soak(args)
	case cmd == "profile":
		err = profile(args)
	case cmd == "list":
		for _, s := range scenarios() {
			fmt.Printf("%-5s %s\n", s.key, s.title)
		}
	default:
		usage()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: bench run|soak|profile|list [options]; -h after a command lists them")
	os.Exit(2)
}

// options of the run command.
type options struct {
	binary, work, doc string
	names, keys       []string
	rounds            int
	each              time.Duration
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("run", flag.ExitOnError)
	fs.StringVar(&o.binary, "binary", "bin/sluice", "the router")
	names := fs.String("contestants", "nginx,haproxy,caddy,sluice", "who takes part, the first is the measure; also sluice-handler, sluice-observed, direct")
	keys := fs.String("scenarios", "", "keys from 'bench list', all if empty")
	fs.IntVar(&o.rounds, "rounds", 5, "rounds per scenario")
	fs.DurationVar(&o.each, "each", 4*time.Second, "length of one measurement")
	fs.StringVar(&o.work, "work", filepath.Join(os.TempDir(), "sluice-bench"), "directory for configurations and logs")
	fs.StringVar(&o.doc, "doc", "docs/performance.md", "page that gets the table when every scenario ran; empty: none")
	_ = fs.Parse(args)
	o.names = strings.Split(*names, ",")
	for _, s := range scenarios() {
		o.keys = append(o.keys, s.key)
	}
	if *keys != "" {
		want := strings.Split(*keys, ",")
		for _, k := range want {
			if !slices.Contains(o.keys, k) {
				return o, fmt.Errorf("no scenario %q", k)
			}
		}
		o.keys, o.doc = want, ""
	}
	var err error
	o.binary, err = filepath.Abs(o.binary)
	return o, err
}

// interrupted is closed by the first SIGINT or SIGTERM.
func interrupted() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
	return c
}

// ready makes the work directory and the contestants of args. A signal ends them, and the
// program; so does the caller, by stopAll.
func ready(args []string) (o options, cs []*contestant, err error) {
	if o, err = parse(args); err != nil {
		return o, nil, err
	}
	if err = os.MkdirAll(o.work, 0o755); err != nil {
		return o, nil, err
	}
	if err = prepare(o.work); err != nil {
		return o, nil, err
	}
	if cs, err = roster(o); err != nil {
		return o, nil, err
	}
	go func() {
		<-interrupted()
		for _, c := range cs {
			c.stop()
		}
		stopAll()
		os.Exit(130)
	}()
	return o, cs, nil
}

func bench(args []string) error {
	o, cs, err := ready(args)
	if err != nil {
		return err
	}
	defer stopAll()
	rep := newReport(o, cs)
	for _, s := range scenarios() {
		if !slices.Contains(o.keys, s.key) {
			continue
		}
		began := time.Now()
		section, err := s.run(&o, s, cs)
		if err != nil {
			return fmt.Errorf("%s: %w", s.key, err)
		}
		rep.add(section)
		fmt.Printf("%s\n(%s took %v, load average %s)\n\n", section.text, s.key, time.Since(began).Round(time.Second), loadAverage())
	}
	fmt.Println(rep.summary())
	if o.doc == "" {
		return nil
	}
	return rep.write(o.doc)
}
