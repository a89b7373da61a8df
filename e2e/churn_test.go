package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// vitals are what must not grow in a process that runs for months.
type vitals struct {
	heapKB, rssKB, goroutines, files int
}

func (v vitals) String() string {
	return fmt.Sprintf("heap %.1f MB, resident %.1f MB, %d goroutines, %d descriptors", float64(v.heapKB)/1024, float64(v.rssKB)/1024, v.goroutines, v.files)
}

var (
	heapLine      = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)`)
	goroutineLine = regexp.MustCompile(`goroutine profile: total (\d+)`)
	rssLine       = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)
)

// vitals asks the process itself, after a collection of garbage, and the kernel.
func (r *router) vitals() vitals {
	r.t.Helper()
	find := func(path string, re *regexp.Regexp) int {
		a, err := r.API.Get("localhost", path)
		m := re.FindStringSubmatch(a.Body)
		if err != nil || m == nil {
			r.t.Fatalf("%s: %d %v", path, a.Status, err)
		}
		n, _ := strconv.Atoi(m[1])
		return n
	}
	var v vitals
	v.heapKB = find("/debug/pprof/heap?debug=1&gc=1", heapLine) / 1024
	v.goroutines = find("/debug/pprof/goroutine?debug=1", goroutineLine)
	proc := fmt.Sprintf("/proc/%d", r.cmd.Process.Pid)
	if b, err := os.ReadFile(proc + "/status"); err == nil {
		if m := rssLine.FindStringSubmatch(string(b)); m != nil {
			v.rssKB, _ = strconv.Atoi(m[1])
		}
	}
	files, err := filepath.Glob(proc + "/fd/*")
	if err != nil {
		r.t.Fatal(err)
	}
	v.files = len(files)
	return v
}

// Containers that come and go leave nothing behind: memory, goroutines and descriptors stay what
// they were. SLUICE_E2E_CHURN starts and stops as many as it says; a few otherwise.
func TestChurn(t *testing.T) {
	n := 24
	if v := os.Getenv("SLUICE_E2E_CHURN"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	e := engine(t)
	r := startRouter(t, e, "--api.debug", "--log.level=ERROR")
	const places = 4
	var all [places]*testdocker.Container
	host := func(i int) string { return fmt.Sprintf("c%d.test", i) }
	for i := range places {
		all[i] = e.Create(t, testdocker.Spec{Name: fmt.Sprintf("c%d-%s", i, r.caseID), Labels: r.host(fmt.Sprintf("c%d", i), host(i)), Env: id(fmt.Sprintf("c%d", i))})
	}
	turn := func(times int) {
		var wg sync.WaitGroup
		for i, c := range all {
			wg.Go(func() {
				for range times {
					c.Start()
					testnet.Eventually(t, soon, func() error { return r.isServed(host(i), fmt.Sprintf("c%d", i)) })
					c.Stop(0)
				}
			})
		}
		wg.Wait()
		r.Client.Close() // idle connections of the test
		time.Sleep(500 * time.Millisecond)
	}
	turn(2)
	before := r.vitals()
	began := time.Now()
	turn(max(1, n/places))
	after := r.vitals()
	t.Logf("figure: %d starts and stops in %v: before %v; after %v", n/places*places, time.Since(began).Round(time.Second), before, after)
	if after.heapKB > before.heapKB+8<<10 || after.goroutines > before.goroutines+20 || after.files > before.files+20 {
		t.Error("something grows")
	}
	if strings.Contains(r.Log.String(), "panic") {
		t.Error("a panic")
	}
}
