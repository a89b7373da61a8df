package push

import (
	"context"
	"strings"
)

// Receiver takes readings: all totals since the start, or what was added, as Totals says.
type Receiver interface {
	Push(ctx context.Context, list []Reading) error
	// Totals reports whether it wants totals since the start, and not what was added.
	Totals() bool
	// Close gives up idle connections.
	Close()
}

// Measure is what a Reading measures.
type Measure uint8

// The measures.
const (
	Reloads Measure = iota
	LastReload
	Connections
	CertsNotAfter
	Requests // of an entry point, a router or a service, as are the four that follow
	RequestsTLS
	RequestDuration
	RequestBytes
	ResponseBytes
	Retries
	ServerUp
	ServerDuration // by the semantic conventions, as is what follows
	ClientDuration
)

// Scope is what a Reading belongs to.
type Scope uint8

// The scopes.
const (
	Global Scope = iota
	OfEntryPoint
	OfRouter
	OfService
)

// String is the scope's part of a metric's name.
func (s Scope) String() string {
	return [...]string{"", "entrypoint", "router", "service"}[s]
}

// Reading is one value of a metric. Values of counters and Hist grow from the start on.
type Reading struct {
	What  Measure
	Of    Scope
	Gauge bool
	// Labels are names and values in turn.
	Labels []string
	Value  float64
	// Hist are the counts of a duration's buckets, Sum its seconds; nil for what is no duration.
	Hist []uint64
	Sum  float64
	// Key is set for the semantic conventions.
	Key *Semantic
}

// Semantic is what the semantic conventions tell requests apart by. Host is the Host of a
// request to the edge, or the URL of the server that the edge asked.
type Semantic struct {
	Host, Proto, Method string
	Code                int
	TLS                 bool
}

// FineBounds are the buckets, in seconds, from which durations are told to receivers that
// count them one by one.
func FineBounds() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 30, 60}
}

// id tells readings of different series apart.
func (s *Reading) id() string {
	return string(rune(s.What)) + string(rune(s.Of)) + strings.Join(s.Labels, "\x1f")
}

// Delta turns values that grow from the start on into what was added since the time before.
type Delta struct{ before map[string]Reading }

// Of returns what was added, without what was not; gauges are left as they are.
func (d *Delta) Of(list []Reading) []Reading {
	now := make(map[string]Reading, len(list))
	out := list[:0:0]
	for _, s := range list {
		if s.Gauge {
			out = append(out, s)
			continue
		}
		id := s.id()
		now[id] = s
		was := d.before[id]
		s.Value -= was.Value
		if s.Hist != nil {
			hist, n := make([]uint64, len(s.Hist)), uint64(0)
			for i := range hist {
				hist[i] = s.Hist[i]
				if was.Hist != nil {
					hist[i] -= min(was.Hist[i], hist[i])
				}
				n += hist[i]
			}
			s.Hist, s.Sum, s.Value = hist, s.Sum-was.Sum, float64(n)
		}
		if s.Value > 0 {
			out = append(out, s)
		}
	}
	d.before = now
	return out
}
