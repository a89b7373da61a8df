package labels

import (
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

// stackNamespace is the label by which a Swarm stack names its services.
const stackNamespace = "com.docker.stack.namespace"

// Sleeper is what the labels of a workload say about its sleep.
type Sleeper struct {
	// Unit is what sleeps and wakes together: the group of the label, else the compose service,
	// else the workload alone.
	Unit string
	// Pause freezes it instead of stopping it.
	Pause bool
	// DependsOn names what must run before it, in its own project or stack.
	DependsOn []string
	// Replicas is what a Swarm service had when it was put to sleep; 0 if nobody noted it.
	Replicas uint64
}

// Idles reports whether any label is about sleep, at the cost of a look at each.
func Idles(labels map[string]string) bool {
	const p = "sluice.idle"
	for k := range labels {
		if len(k) >= len(p) && strings.EqualFold(k[:len(p)], p) && (len(k) == len(p) || k[len(p)] == '.') {
			return true
		}
	}
	return false
}

// ReadSleeper reads the labels of a workload; ok is false if it does not sleep.
func ReadSleeper(name string, labels map[string]string) (s Sleeper, ok bool) {
	if !Idles(labels) {
		return Sleeper{}, false
	}
	_, extra, _ := decode.Labels(labels, "")
	e := extra.Idle
	return Sleeper{Unit: unit(name, labels, e.Group), Pause: e.Mode == config.IdlePause, DependsOn: e.DependsOn, Replicas: e.Replicas}, e.Given
}

// Project is the compose project or stack of a workload; empty for none.
func Project(labels map[string]string) string {
	if p := labels[ComposeProject]; p != "" {
		return p
	}
	return labels[stackNamespace]
}

func unit(name string, labels map[string]string, group string) string {
	project := Project(labels)
	switch {
	case group != "" && project != "":
		return project + "/" + group
	case group != "":
		return group
	case project != "" && labels[ComposeService] != "":
		return project + "/" + labels[ComposeService]
	}
	return name
}

// idle is what the data plane is told about the sleep of the workload; nil if it never sleeps.
func (s *build) idle() *config.Idle {
	e := &s.extra.Idle
	if !e.Given {
		return nil
	}
	out := &config.Idle{Engine: s.w.Engine, Unit: unit(s.w.Name, s.w.Labels, e.Group), Page: config.DefaultIdlePage, Asleep: s.w.Asleep}
	if e.After != nil {
		out.After = max(0, *e.After)
	}
	if e.Page != nil {
		out.Page = max(0, *e.Page)
	}
	return out
}

// sameIdle reports whether two labels' words about sleep agree; whether one sleeps now does not matter.
func sameIdle(a, b *config.Idle) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.Asleep, y.Asleep = false, false
	return x == y
}

// poolIdle joins what several workloads of one service say: it sleeps if none serves and one sleeps.
func poolIdle[T any](winner *config.Idle, serving bool, all []claim[T], of func(*T) *config.Idle) *config.Idle {
	if winner == nil {
		return nil
	}
	out := *winner
	out.Asleep = false
	for _, c := range all {
		if i := of(c.obj); i != nil && i.Asleep {
			out.Asleep = !serving
		}
	}
	return &out
}

// WakeGrace is how long a workload must have stood still, if it was not put to sleep, before a
// request wakes it: somebody may be about to replace it, or to start it again.
const WakeGrace = 5 * time.Second
