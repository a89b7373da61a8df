package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// profiled are the scenarios whose CPU profiles the compiler gets (make build): the
// common cases, by their weight.
var profiled = []string{"s1", "s8", "s4a", "s4b", "s3b", "s1k", "s7", "s2", "s6"}

// profile drives the router and writes where its CPU time goes, for the compiler. The profile
// of an older state is good enough: what it does not name is compiled as without it.
func profile(args []string) error {
	fs := flag.NewFlagSet("profile", flag.ExitOnError)
	binary := fs.String("binary", "bin/sluice", "the router")
	each := fs.Duration("each", 10*time.Second, "length of one measurement")
	work := fs.String("work", filepath.Join(os.TempDir(), "sluice-bench"), "directory for configurations and logs")
	out := fs.String("out", "cmd/sluice/loops.pgo", "the file to write")
	_ = fs.Parse(args)
	o, cs, err := ready([]string{"-binary", *binary, "-work", *work, "-contestants", "sluice-profiled", "-each", (*each + time.Second).String()})
	if err != nil {
		return err
	}
	defer stopAll()
	argv := []string{"tool", "pprof", "-proto"}
	for _, s := range scenarios() {
		for _, key := range profiled {
			if s.key != key {
				continue
			}
			file := filepath.Join(o.work, key+".prof")
			if err := profileOne(&o, s, cs[0], *each, file); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			argv = append(argv, file)
		}
	}
	merged, err := exec.Command("go", argv...).Output()
	if err != nil {
		return fmt.Errorf("go tool pprof: %w", err)
	}
	return os.WriteFile(*out, merged, 0o644)
}

// profileOne takes the profile of one scenario while it is driven.
func profileOne(o *options, s scenario, c *contestant, each time.Duration, file string) error {
	back, err := backends(o, s.spec)
	defer func() {
		c.stop()
		for _, b := range back {
			b.stop()
		}
	}()
	if err != nil {
		return err
	}
	if err := c.start(s.spec); err != nil {
		return err
	}
	last := s.spec.hosts[len(s.spec.hosts)-1]
	if _, ok := waitFor(30*time.Second, 20*time.Millisecond, c.http, last, s.path, s.auth); !ok {
		return fmt.Errorf("no answer, see %s", c.dir)
	}
	driven := make(chan error, 1)
	go func() {
		_, err := s.drive(o, c)
		driven <- err
	}()
	resp, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", c.admin, int(each.Seconds())))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: status %d", resp.StatusCode)
	}
	fmt.Printf("%s: %d bytes\n", s.key, len(data))
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return err
	}
	return <-driven
}
