package docker

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	apinet "github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"github.com/sluice-edge/sluice/provider/labels"
)

// item is what the provider knows of one container.
type item struct {
	id, name string
	labels   map[string]string
	created  time.Time
	running  bool
	coming   bool // created, and never started
	paused   bool
	health   string // "", "starting", "healthy" or "unhealthy"
	// inspected is false if only the list or an event told of it: then there are no
	// ports, and it is not a candidate or does not run.
	inspected bool
	listed    bool   // its labels come from the list
	mode      string // network mode: "host", "none", "container:ID" or a network
	networks  []Network
	ports     []port
	// stopSignal and stopTimeout are how the engine stops it.
	stopSignal  string
	stopTimeout time.Duration
	// started is when this life of it began, by the engine's clock, in ns since 1970; fresh is
	// set if that was a moment before we learned of it.
	started int64
	fresh   bool

	stopping time.Time // when the stop signal was seen, zero if not
	gone     time.Time // when it was removed, zero if not
	seen     bool      // it has been Live
	// down is when it stopped, or was made if it never ran. slept is set if it stands still
	// because it was put to sleep, rested if it has stood still for long enough to count as asleep.
	down          time.Time
	slept, rested bool
	share         *labels.Share
}

// Network is a network with a workload's addresses in it.
type Network struct {
	Name, ID, IP, IP6, Gateway string
}

// port is an exposed port with its bindings on the host.
type port struct {
	number   int
	udp      bool
	bindings []binding
}

type binding struct{ ip, port string }

// rank tells whether new requests may go to the container.
func (c *item) rank() labels.Rank {
	switch {
	case !c.running || !c.gone.IsZero():
		return labels.Down
	case c.paused || !c.stopping.IsZero() || c.health == container.Starting || c.health == container.Unhealthy:
		return labels.Fenced
	}
	return labels.Live
}

// freshFor is how long after its start a container that we meet is still taken as starting.
const freshFor = 30 * time.Second

// take carries over what was known of the same container before.
func (c *item) take(was *item) {
	c.seen, c.share = was.seen, was.share
	if c.running && was.running {
		c.stopping = was.stopping
	}
	if !c.running || c.paused || c.started == was.started { // its own end may have been asked about before it came
		c.slept, c.rested = was.slept, was.rested && !was.running
	}
	if c.down.IsZero() {
		c.down = was.down
	}
	if c.inspected && c.started == was.started && was.inspected {
		c.fresh = was.fresh
	}
}

// key orders containers by name.
func (c *item) key() string { return c.name + "\x00" + c.id }

// fromInspect reads what the engine says of one container.
func fromInspect(r *container.InspectResponse) *item {
	c := &item{inspected: true}
	if r.ContainerJSONBase != nil {
		c.id, c.name = r.ID, strings.TrimPrefix(r.Name, "/")
		c.created, _ = time.Parse(time.RFC3339Nano, r.Created)
		if s := r.State; s != nil {
			c.running, c.paused = s.Running && !s.Restarting && !s.Dead, s.Paused
			c.coming = s.Status == container.StateCreated
			if at, err := time.Parse(time.RFC3339Nano, s.StartedAt); err == nil && c.running {
				c.started, c.fresh = at.UnixNano(), time.Since(at) < freshFor
			}
			if !c.running {
				c.down = stoodSince(s.FinishedAt, c.created)
			}
			if s.Health != nil && s.Health.Status != container.NoHealthcheck {
				c.health = s.Health.Status
			}
		}
		if r.HostConfig != nil {
			c.mode = string(r.HostConfig.NetworkMode)
		}
	}
	exposed := nat.PortMap{}
	if r.Config != nil {
		c.labels, c.stopSignal = r.Config.Labels, r.Config.StopSignal
		if r.Config.StopTimeout != nil {
			c.stopTimeout = time.Duration(*r.Config.StopTimeout) * time.Second
		}
		// In the network of the host or of another container the image's ports are nobody's
		// promise: the engine lists none there, and the reference takes none.
		if c.mode != "host" && !strings.HasPrefix(c.mode, "container:") {
			for p := range r.Config.ExposedPorts {
				exposed[p] = nil
			}
		}
	}
	if r.NetworkSettings != nil {
		c.networks = networksOf(r.NetworkSettings.Networks)
		for p, b := range r.NetworkSettings.Ports {
			exposed[p] = append(exposed[p], b...)
		}
	}
	c.ports = portsOf(exposed)
	return c
}

func networksOf(in map[string]*apinet.EndpointSettings) []Network {
	var out []Network
	for name, e := range in {
		if e != nil {
			out = append(out, Network{Name: name, ID: e.NetworkID, IP: e.IPAddress, IP6: e.GlobalIPv6Address, Gateway: e.Gateway})
		}
	}
	slices.SortFunc(out, func(a, b Network) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func portsOf(in nat.PortMap) []port {
	var out []port
	for p, bs := range in {
		if p.Proto() != "tcp" && p.Proto() != "udp" {
			continue
		}
		q := port{number: p.Int(), udp: p.Proto() == "udp"}
		for _, b := range bs {
			q.bindings = append(q.bindings, binding{b.HostIP, b.HostPort})
		}
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b port) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(protoOrder(a), protoOrder(b)))
	})
	return out
}

func protoOrder(p port) int {
	if p.udp {
		return 1
	}
	return 0
}

// fromList reads an entry of the container list, which tells less.
func fromList(s *container.Summary) *item {
	c := &item{listed: true, id: s.ID, labels: s.Labels, created: time.Unix(s.Created, 0), mode: s.HostConfig.NetworkMode}
	for _, n := range s.Names {
		// Legacy links add names such as "/other/alias".
		if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
			c.name = n
		}
	}
	c.running, c.paused = s.State == container.StateRunning || s.State == container.StatePaused, s.State == container.StatePaused
	c.coming = s.State == container.StateCreated
	if s.NetworkSettings != nil {
		c.networks = networksOf(s.NetworkSettings.Networks)
	}
	return c
}

// isStop reports whether a signal ends the container: its stop signal, or the signals
// that mean an end to almost every program. Others (a reload by SIGHUP) are its own business.
func (c *item) isStop(signal string) bool {
	n := signalNumber(signal)
	return n == 15 || n == 9 || n == 2 || n == 3 || n == signalNumber(cmp.Or(c.stopSignal, "SIGTERM"))
}

// signalNumber reads "15", "TERM" or "SIGTERM"; it knows the signals used to stop
// programs and gives 0 for what it does not know.
func signalNumber(s string) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	switch strings.TrimPrefix(strings.ToUpper(s), "SIG") {
	case "HUP":
		return 1
	case "INT":
		return 2
	case "QUIT":
		return 3
	case "KILL":
		return 9
	case "USR1":
		return 10
	case "USR2":
		return 12
	case "TERM":
		return 15
	case "WINCH":
		return 28
	case "PWR":
		return 30
	case "RTMIN+3":
		return 37
	}
	return 0
}
