package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// clockTick is the unit of /proc/PID/stat times; Linux has 100 a second.
const clockTick = 100

// proc is a process in a session of its own, so that its children can be found.
type proc struct {
	cmd  *exec.Cmd
	sid  int
	done chan struct{}
}

// running holds what must be ended when the harness is. It is the one package
// variable that changes: a signal must find every process from wherever it was started.
var running struct {
	sync.Mutex
	m map[*proc]bool
}

// start runs a program whose output goes to a file.
func start(logFile string, env []string, argv ...string) (*proc, error) {
	f, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &proc{cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.sid = p.cmd.Process.Pid
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	running.Lock()
	defer running.Unlock()
	if running.m == nil {
		running.m = map[*proc]bool{}
	}
	running.m[p] = true
	return p, nil
}

// helper starts a sub-command of this very program.
func helper(logFile string, args ...string) (*proc, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(logFile, nil, append([]string{self}, args...)...)
}

// stop ends the process and what it started.
func (p *proc) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
	}
	for _, st := range session(p.sid) {
		_ = syscall.Kill(st.pid, syscall.SIGKILL)
	}
	<-p.done
	running.Lock()
	delete(running.m, p)
	running.Unlock()
}

func stopAll() {
	running.Lock()
	var all []*proc
	for p := range running.m {
		all = append(all, p)
	}
	running.Unlock()
	for _, p := range all {
		p.stop()
	}
}

// stat is what the harness needs of /proc/PID/stat, times in ticks.
type stat struct {
	pid                    int
	user, sys, cuser, csys int
	leader                 bool
}

// session lists the processes of a session.
func session(sid int) []stat {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var out []stat
	for _, d := range dirs {
		data, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue
		}
		text := string(data)
		f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(f) < 15 || f[3] != strconv.Itoa(sid) {
			continue
		}
		n := func(i int) int { v, _ := strconv.Atoi(f[i]); return v }
		pid, _ := strconv.Atoi(filepath.Base(d))
		out = append(out, stat{pid: pid, user: n(11), sys: n(12), cuser: n(13), csys: n(14), leader: pid == sid})
	}
	return out
}

// cpu is the CPU time of a session so far; workers already reaped count.
func (p *proc) cpu() time.Duration {
	ticks := 0
	for _, s := range session(p.sid) {
		ticks += s.user + s.sys
		if s.leader {
			ticks += s.cuser + s.csys
		}
	}
	return time.Duration(ticks) * time.Second / clockTick
}

// pss is the memory of a session in bytes, pages that are shared counted once.
func (p *proc) pss() int64 {
	var kib int64
	for _, s := range session(p.sid) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", s.pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				v, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				kib += v
			}
		}
	}
	return kib << 10
}

// descriptors is the number of open files of a session.
func (p *proc) descriptors() int {
	n := 0
	for _, s := range session(p.sid) {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
		n += len(fds)
	}
	return n
}

func loadAverage() string {
	data, _ := os.ReadFile("/proc/loadavg")
	return strings.SplitN(string(data), " ", 2)[0]
}
