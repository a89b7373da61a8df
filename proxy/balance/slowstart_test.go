package balance

import (
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// A server that has just come gets little, then more; alone or among equals it gets its share.
func TestSlowStart(t *testing.T) {
	slow := config.Duration(10 * time.Second)
	c := balancer("http://old:1", "http://new:1")
	c.SlowStart = &slow
	lb := mustBuild(t, NewBook(nil, Events{}), "s@x", c)
	now := time.Now()
	share := func(oldAge, newAge time.Duration) float64 {
		lb.eps[0].Since.Store(now.Add(-oldAge).UnixNano())
		lb.eps[1].Since.Store(now.Add(-newAge).UnixNano())
		const all = 4000
		n := 0
		for range all {
			ex := request()
			ex.Now = now.UnixNano()
			if pick(lb, ex) == "http://new:1" {
				n++
			}
		}
		return float64(n) / all
	}
	for _, v := range []struct {
		old, new time.Duration
		min, max float64
	}{
		{time.Minute, 0, 0.01, 0.05}, {time.Minute, 5 * time.Second, 0.2, 0.3}, {time.Minute, 9 * time.Second, 0.4, 0.5},
		{time.Minute, 11 * time.Second, 0.5, 0.5}, {0, 0, 0.5, 0.5},
	} {
		if got := share(v.old, v.new); got < v.min || got > v.max {
			t.Errorf("old for %v, new for %v: the new one gets %.3f, want %.2f to %.2f", v.old, v.new, got, v.min, v.max)
		}
	}
	lb.eps[0].Fenced.Store(true)
	if got := share(time.Minute, 0); got != 1 {
		t.Errorf("the only one that is up gets %.3f", got)
	}
}
