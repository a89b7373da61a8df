package labels

import (
	"time"

	"github.com/sluice-edge/sluice/config"
)

// Rank orders workloads by how much their word counts. A workload that does not serve
// keeps what nobody better claims, so that its hosts get 503 and not 404.
type Rank int

// The ranks, best first.
const (
	// Live takes requests.
	Live Rank = iota
	// Fenced runs and takes no new requests: it is stopping, paused, starting or unhealthy.
	Fenced
	// Down does not run.
	Down
)

// Workload is a container or a Swarm service as its provider sees it.
type Workload struct {
	// Key tells workloads apart and orders them; Name is what people call it, and
	// Source how Problems name it ("container web-1").
	Key, Name, Source string
	// Container is what a default rule calls ContainerName; empty means Name.
	Container string
	Labels    map[string]string
	// Created decides which of two replicas of one compose service is the newer.
	Created time.Time
	Rank    Rank
	// Started tells one life of the workload from the next, in ns since 1970; zero if unknown.
	Started int64
	// Fresh reports that it began a moment ago: it must pass its readiness probe.
	Fresh bool
	// Seen reports that the workload has served since the program started.
	Seen bool
	// Engine is the provider's name, for what sleeps.
	Engine string
	// Coming reports that it was made and has not been started yet.
	Coming bool
	// Sick reports that it runs and fails its health check, or awaits it where that counts the same.
	Sick bool
	// Asleep reports that it does not run because nobody asked for it: a request may wake it.
	Asleep bool
	// Swarm makes the labels below "traefik.swarm." count instead of "traefik.docker.".
	Swarm bool
	// Place finds the workload's addresses; nil if it has none.
	Place Placer
}

// Where is what labels say about where a workload is to be reached.
type Where struct {
	// Port as in the label; empty lets the placer choose.
	Port string
	// UDP prefers UDP ports in that choice.
	UDP bool
	// Network of the label; empty if none.
	Network string
	// VIP asks for the virtual address of a Swarm service.
	VIP bool
}

// Address is one place where a workload is to be reached.
type Address struct {
	// Host is an address or a name, an IPv6 address without brackets.
	Host, Port string
	// Fenced keeps new requests away.
	Fenced bool
	// Origin names what is there ("container web-1").
	Origin string
	// Started and Fresh are as in Workload, where each address has a life of its own.
	Started int64
	Fresh   bool
}

// Placer finds addresses. Warnings go with addresses; an error-level Problem comes
// without any. Its Source, Object and Field are filled in by the caller.
type Placer interface {
	Place(w Where) ([]Address, []config.Problem)
}

// Share is what one workload says, ready to be merged. It is immutable.
type Share struct {
	Key, Source string
	Created     time.Time
	Rank        Rank
	// Replica is the compose project and service, empty outside compose: of two replicas
	// that disagree the newer is right.
	Replica string
	// Hold is how long requests wait for a replacement of the workload.
	Hold time.Duration
	// Config is nil if the workload says nothing.
	Config   *config.Dynamic
	Problems []config.Problem
}

// URLs are those of Servers.
func (s *Share) URLs() []string {
	var out []string
	for _, srv := range s.Servers() {
		out = append(out, srv.URL)
	}
	return out
}

// Servers are the HTTP servers of all services of the share.
func (s *Share) Servers() []config.Server {
	if s.Config == nil || s.Config.HTTP == nil {
		return nil
	}
	var out []config.Server
	for _, svc := range s.Config.HTTP.Services {
		if svc.LoadBalancer != nil {
			out = append(out, svc.LoadBalancer.Servers...)
		}
	}
	return out
}
