package balance

import (
	"maps"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Amend starts a Draft that begins with everything that is live. Drop takes services out
// of it; those that are built with it are added. Neither it nor its Commit costs more where
// there are more services.
func (b *Book) Amend() *Draft {
	return &Draft{
		book:       b,
		amends:     true,
		endpoints:  map[endpointKey]*exchange.Endpoint{},
		fenced:     map[*exchange.Endpoint]bool{},
		balancers:  map[string]*LoadBalancer{},
		positions:  map[string]*rotation{},
		gates:      map[string]*gate{},
		transports: map[string]*exchange.Transport{},
	}
}

// Drop takes live services out of a Draft begun with Amend. One that is built anew stays.
func (d *Draft) Drop(names ...string) { d.dropped = append(d.dropped, names...) }

// amend makes live what a Draft of Amend changes; b.mu is held.
func (b *Book) amend(d *Draft) {
	now := time.Now().UnixNano()
	for _, name := range d.dropped {
		lb := b.balancers[name]
		if lb != nil {
			for k, ep := range lb.byKey {
				if d.endpoints[k] != ep && b.endpoints[k] == ep {
					ep.Gone.Store(true)
					delete(b.endpoints, k)
					delete(b.unready, ep)
				}
			}
		}
		if d.positions[name] == nil {
			delete(b.positions, name)
		}
		if d.balancers[name] == nil {
			delete(b.balancers, name)
			if g := b.gates[name]; g != nil {
				delete(b.gates, name)
				g.current.Store(nil)
				g.notify()
			}
		}
	}
	for k, ep := range d.endpoints {
		b.endpoints[k] = ep
		ep.Fenced.Store(d.fenced[ep])
		ep.Gone.Store(false)
	}
	maps.Copy(b.positions, d.positions)
	maps.Copy(b.transports, d.transports)
	maps.Copy(b.balancers, d.balancers)
	for name, g := range d.gates {
		b.gates[name] = g
		g.turn(d.balancers[name], now)
	}
	for _, name := range d.dropped {
		b.stale[name] = true
	}
	for name := range d.balancers {
		b.stale[name] = true
	}
}
