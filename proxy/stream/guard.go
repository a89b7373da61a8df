package stream

import (
	"errors"
	"net/netip"
	"sync"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// Guard decides whether a client may connect. Leave is called once for each true Enter.
type Guard interface {
	Enter(peer netip.Addr) bool
	Leave(peer netip.Addr)
	// Reason is why it refuses.
	Reason() exchange.Reason
}

// Guard builds a TCP middleware. Counts of connections go on where the name stays.
func (d *Draft) Guard(name string, m *config.TCPMiddleware) (Guard, error) {
	list := m.IPAllowList
	if list == nil {
		list = m.IPWhiteList
	}
	switch {
	case list != nil:
		nets, err := wire.ParseNetworks(list.SourceRange)
		if err != nil {
			return nil, err
		}
		if len(nets) == 0 {
			return nil, errors.New("sourceRange is empty")
		}
		return allowList(nets), nil
	case m.InFlightConn != nil:
		f := d.flights[name]
		if f == nil {
			d.book.mu.Lock()
			f = d.book.flights[name]
			d.book.mu.Unlock()
			if f == nil {
				f = &flights{open: map[netip.Addr]int64{}}
			}
			d.flights[name] = f
		}
		return &inFlight{flights: f, max: m.InFlightConn.Amount}, nil
	}
	return nil, errors.New("the middleware has no kind")
}

type allowList []netip.Prefix

func (a allowList) Enter(peer netip.Addr) bool { return wire.InNetworks(a, peer) }

func (a allowList) Leave(netip.Addr) {}

func (a allowList) Reason() exchange.Reason { return exchange.IPDenied }

// flights counts open connections by client.
type flights struct {
	mu   sync.Mutex
	open map[netip.Addr]int64
}

type inFlight struct {
	*flights
	max int64
}

func (f *inFlight) Enter(peer netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[peer] >= f.max {
		return false
	}
	f.open[peer]++
	return true
}

func (f *inFlight) Leave(peer netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[peer]--; f.open[peer] <= 0 {
		delete(f.open, peer)
	}
}

func (f *inFlight) Reason() exchange.Reason { return exchange.InFlightLimit }
