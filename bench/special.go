package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// alone starts one contestant with its backends, runs f and stops them.
func alone(o *options, s spec, c *contestant, f func() error) error {
	back, err := backends(o, s)
	defer func() {
		c.stop()
		for _, b := range back {
			b.stop()
		}
	}()
	if err != nil {
		return err
	}
	if err := c.start(s); err != nil {
		return err
	}
	return f()
}

// runIdle measures the memory of idle WebSockets.
func runIdle(o *options, s scenario, cs []*contestant) (section, error) {
	const n = 4000
	var b strings.Builder
	fmt.Fprintf(&b, "### %s: %s\n\n| | open | errors | memory before MiB | with them MiB | KiB a connection |\n|---|---|---|---|---|---|\n", s.key, s.title)
	for _, c := range cs {
		if !c.takes(s.key) {
			continue
		}
		err := alone(o, s.spec, c, func() error {
			if _, ok := waitFor(30*time.Second, 20*time.Millisecond, c.http, "localhost", "/", ""); !ok {
				return fmt.Errorf("%s does not answer", c.name)
			}
			time.Sleep(500 * time.Millisecond)
			before := c.proc.pss()
			open, errs, done := wsIdle(c.http, n)
			defer done()
			time.Sleep(time.Second)
			with := c.proc.pss()
			fmt.Fprintf(&b, "| %s | %d | %d | %.1f | %.1f | %.1f |\n", c.name, open, errs, float64(before)/(1<<20), float64(with)/(1<<20),
				float64(with-before)/1024/float64(max(open, 1)))
			return nil
		})
		if err != nil {
			return section{}, err
		}
	}
	return section{key: s.key, title: s.title, text: b.String()}, nil
}

// runReload changes the configuration under a steady load.
func runReload(o *options, s scenario, cs []*contestant) (section, error) {
	const changes, gap = 20, 500 * time.Millisecond
	var b strings.Builder
	fmt.Fprintf(&b, "### %s: %s\n\n| | ok | failed | closed idle | p50 ms | p99 ms | p99.9 ms | max ms | CPU s | last change live after |\n|---|---|---|---|---|---|---|---|---|---|\n", s.key, s.title)
	for _, c := range cs {
		if !c.takes(s.key) {
			continue
		}
		err := alone(o, s.spec, c, func() error {
			if _, ok := waitFor(30*time.Second, 20*time.Millisecond, c.http, s.spec.hosts[len(s.spec.hosts)-1], "/", ""); !ok {
				return fmt.Errorf("%s does not answer", c.name)
			}
			time.Sleep(time.Second)
			p0 := c.cpu()
			result := make(chan steadyResult, 1)
			go func() { result <- steady(c.http, changes*gap+4*time.Second, 2000, 32) }()
			time.Sleep(time.Second)
			var changed time.Time
			for i := range changes {
				begin := time.Now()
				changed = begin
				if err := c.reload(spec{hosts: hosts(1000, fmt.Sprintf("rev%d.bench.test", i)), backend: s.spec.backend}); err != nil {
					return err
				}
				if i < changes-1 {
					time.Sleep(gap - time.Since(begin))
				}
			}
			live := "not in 10 s"
			if _, ok := waitFor(10*time.Second, time.Millisecond, c.http, fmt.Sprintf("rev%d.bench.test", changes-1), "/", ""); ok {
				live = fmt.Sprintf("%d ms", time.Since(changed).Milliseconds())
			}
			r := <-result
			ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }
			fmt.Fprintf(&b, "| %s | %d | %d | %d | %s | %s | %s | %s | %.2f | %s |\n", c.name, r.ok, r.failed(), r.stale, ms(r.p50), ms(r.p99), ms(r.p999), ms(r.max), (c.cpu() - p0).Seconds(), live)
			return nil
		})
		if err != nil {
			return section{}, err
		}
	}
	return section{key: s.key, title: s.title, text: b.String()}, nil
}

// runStart measures the time to the first answer, idle memory and file size.
func runStart(o *options, s scenario, cs []*contestant) (section, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s: %s\n\n| | first 200, 1 router | first 200, 10,000 routers | memory MiB, 1 router | memory MiB, 10,000 | file MiB |\n|---|---|---|---|---|---|\n", s.key, s.title)
	for _, c := range cs {
		if !c.takes(s.key) {
			continue
		}
		var took []time.Duration
		var memory []float64
		for _, n := range []int{1, 10000} {
			var ds []time.Duration
			var ms []float64
			for range 3 {
				sp := spec{hosts: hosts(n), backend: backendPort}
				back, err := backends(o, sp)
				if err == nil {
					err = c.start(sp)
				}
				if err == nil {
					// The last host proves that the whole file is live.
					if d, ok := waitFor(60*time.Second, time.Millisecond, c.http, sp.hosts[n-1], "/", ""); ok {
						ds = append(ds, d)
						time.Sleep(time.Second)
						ms = append(ms, float64(c.proc.pss())/(1<<20))
					}
				}
				c.stop()
				for _, p := range back {
					p.stop()
				}
				if err != nil {
					return section{}, err
				}
			}
			took, memory = append(took, median(ds)), append(memory, median(ms))
		}
		var size int64
		if real, err := filepath.EvalSymlinks(c.binary); err == nil {
			if fi, err := os.Stat(real); err == nil {
				size = fi.Size()
			}
		}
		fmt.Fprintf(&b, "| %s | %d ms | %d ms | %.1f | %.1f | %.1f |\n", c.name, took[0].Milliseconds(), took[1].Milliseconds(), memory[0], memory[1], float64(size)/(1<<20))
	}
	return section{key: s.key, title: s.title, text: b.String()}, nil
}

// report collects the sections of a run.
type report struct {
	o        options
	names    []string
	sections []section
	began    time.Time
}

func newReport(o options, cs []*contestant) *report {
	r := &report{o: o, began: time.Now()}
	for _, c := range cs {
		r.names = append(r.names, c.name)
	}
	return r
}

func (r *report) add(s section) { r.sections = append(r.sections, s) }

// summary is the table of CPU time a request with the ratio to the first.
func (r *report) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CPU microseconds a request, in brackets the ratio to %s:\n\n| | %s |\n|---%s|\n", r.names[0], strings.Join(r.names, " | "), strings.Repeat("|---", len(r.names)))
	for _, s := range r.sections {
		if s.cpu == nil {
			continue
		}
		fmt.Fprintf(&b, "| %s %s |", s.key, s.title)
		for _, n := range r.names {
			v, ok := s.cpu[n]
			switch base := s.cpu[r.names[0]]; {
			case !ok:
				b.WriteString(" - |")
			case base > 0:
				fmt.Fprintf(&b, " %.1f (%.2f) |", v, v/base)
			default:
				fmt.Fprintf(&b, " %.1f |", v)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Marks in the page between which the tables stand.
const (
	markBegin = "<!-- bench:begin -->"
	markEnd   = "<!-- bench:end -->"
)

// write puts the tables into the page.
func (r *report) write(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(data), markBegin)
	_, after, ok2 := strings.Cut(rest, markEnd)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no %s ... %s", path, markBegin, markEnd)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nRun of %s: %d rounds of %v each, contestants in turn; %s; load average at the end %s.\n\n%s\n", markBegin, r.began.UTC().Format("2 January 2006"),
		r.o.rounds, r.o.each, machine(), loadAverage(), r.summary())
	for _, s := range r.sections {
		b.WriteString(s.text + "\n")
	}
	b.WriteString(markEnd)
	return os.WriteFile(path, []byte(before+b.String()+after), 0o644)
}

// machine says in a line what the run ran on.
func machine() string {
	var parts []string
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		lines := strings.Split(string(data), "\n")
		n := len(slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.HasPrefix(l, "processor") }))
		for _, l := range lines {
			if name, ok := strings.CutPrefix(l, "model name"); ok {
				parts = append(parts, fmt.Sprintf("%d x %s", n, strings.TrimSpace(strings.TrimLeft(name, "\t :"))))
				break
			}
		}
	}
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		parts = append(parts, "Linux "+strings.TrimSpace(string(data)))
	}
	return strings.Join(parts, ", ")
}
