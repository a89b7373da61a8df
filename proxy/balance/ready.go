package balance

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

const (
	// ReadyLimit is how long a server may take to pass its readiness probe; then it enters
	// rotation as it is, and a Problem says so.
	ReadyLimit = 60 * time.Second
	// readyMin and readyMax bound the pause between two probes: a fiftieth of the time it has
	// taken so far, so that a server that starts fast is found fast.
	readyMin = 2 * time.Millisecond
	readyMax = 250 * time.Millisecond
	// readyTimeout bounds one probe, readyDial the first connection.
	readyTimeout = 2 * time.Second
	readyDial    = 40 * time.Millisecond
)

// starting is a server that must pass a probe before its first request.
type starting struct {
	service, probe string
	ep             *exchange.Endpoint
}

// probeNew begins the probes of what has started since the last call.
func (b *Book) probeNew(ctx context.Context, wg *sync.WaitGroup) {
	b.mu.Lock()
	list := b.starting
	b.starting = nil
	b.mu.Unlock()
	for _, s := range list {
		wg.Go(func() { b.probe(ctx, s) })
	}
}

// probe asks a server until it answers, goes away, or has had its time.
func (b *Book) probe(ctx context.Context, s starting) {
	hc := &config.HealthCheck{Mode: config.ReadyTCP}
	if path, ok := strings.CutPrefix(s.probe, "http:"); ok {
		hc = &config.HealthCheck{Path: path}
	}
	began := time.Now()
	for {
		limit := readyTimeout
		if hc.Mode == config.ReadyTCP { // what is lost while the address comes up is repeated by the kernel after a second only
			limit = min(readyDial+time.Since(began)/4, readyTimeout)
		}
		pctx, cancel := context.WithTimeout(ctx, limit)
		err := b.prober.Probe(pctx, s.ep, hc)
		cancel()
		took := time.Since(began)
		switch {
		case ctx.Err() != nil || s.ep.Gone.Load():
			return
		case err != nil && took >= ReadyLimit:
			b.enterUnready(s, err)
		case err != nil:
			if !sleep(ctx, min(max(took/50, readyMin), readyMax)) {
				return
			}
			continue
		}
		s.ep.Since.Store(time.Now().UnixNano())
		s.ep.Starting.Store(false)
		b.mu.Lock()
		g := b.gates[s.service]
		b.mu.Unlock()
		if g != nil {
			g.changedAt(time.Now().UnixNano())
		}
		return
	}
}

// Unready is a server that entered rotation though it never passed its readiness probe.
type Unready struct {
	Service, URL, Origin, Probe string
	Cause                       error
}

func (b *Book) enterUnready(s starting, cause error) {
	b.mu.Lock()
	if b.unready == nil {
		b.unready = map[*exchange.Endpoint]Unready{}
	}
	if !s.ep.Gone.Load() {
		b.unready[s.ep] = Unready{s.service, s.ep.URL, s.ep.Origin, s.probe, cause}
	}
	b.mu.Unlock()
	if b.events.Unready != nil {
		b.events.Unready()
	}
}

// Unready lists the servers that entered rotation without having passed their probe.
func (b *Book) Unready() []Unready {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Unready, 0, len(b.unready))
	for _, u := range b.unready {
		out = append(out, u)
	}
	slices.SortFunc(out, func(x, y Unready) int { return cmp.Or(cmp.Compare(x.Service, y.Service), cmp.Compare(x.URL, y.URL)) })
	return out
}

// sleep waits, and reports false if ctx ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
