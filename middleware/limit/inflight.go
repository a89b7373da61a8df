package limit

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/middleware/source"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

const flightShards = 16

// inFlight bounds the requests under way per group. It is its own memory: requests of an
// old table go on counting in the new one.
type inFlight struct {
	criterion *source.Criterion
	max       int64
	text      string
	shards    [flightShards]flightShard
}

// flightShard counts groups in slots, so that a request can find its count again by a
// number; both are reused, so that counting does not allocate.
type flightShard struct {
	mu    sync.Mutex
	index map[source.Key]uint32
	slots []flightSlot
	free  []uint32
}

type flightSlot struct {
	key source.Key
	n   int64
}

// NewInFlight bounds the requests under way per group; by default a group is a host.
func NewInFlight(router, name string, cfg *config.InFlightReq, state *memory.State, warn option.Warn) (exchange.Op, error) {
	criterion, err := source.NewCriterion(cfg.SourceCriterion, true, warn)
	if err != nil {
		return nil, err
	}
	if cfg.Amount <= 0 {
		warn.Say("amount", "write a positive number", "%d lets no request in", cfg.Amount)
	}
	return memory.Each(state, memory.Key(cfg, "inFlightReq", router, name), func() *inFlight {
		f := &inFlight{criterion: criterion, max: cfg.Amount, text: "max connections reached: " + strconv.FormatInt(cfg.Amount, 10)}
		for i := range f.shards {
			f.shards[i].index = map[source.Key]uint32{}
		}
		return f
	}), nil
}

// Request implements exchange.Op.
func (f *inFlight) Request(ex *exchange.Exchange) exchange.Verdict {
	k := f.criterion.Key(ex)
	at := k[0] % flightShards
	slot, ok := f.shards[at].enter(k, f.max)
	if !ok {
		return ex.Reply(http.StatusTooManyRequests, exchange.InFlightLimit, f.text)
	}
	ex.OnDone(f, at<<32|uint64(slot))
	return exchange.Next
}

// Done implements exchange.DoneOp.
func (f *inFlight) Done(_ *exchange.Exchange, arg uint64) {
	f.shards[arg>>32].leave(uint32(arg)) //nolint:gosec // the low half is meant
}

func (s *flightShard) enter(k source.Key, limit int64) (uint32, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[k]
	switch {
	case ok && s.slots[i].n >= limit || limit <= 0:
		return 0, false
	case ok:
	case len(s.free) > 0:
		i = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
		s.slots[i], s.index[k] = flightSlot{key: k}, i
	default:
		i = uint32(len(s.slots)) //nolint:gosec // as many as requests under way
		s.slots = append(s.slots, flightSlot{key: k})
		s.index[k] = i
	}
	s.slots[i].n++
	return i, true
}

func (s *flightShard) leave(i uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots[i].n--; s.slots[i].n == 0 {
		delete(s.index, s.slots[i].key)
		s.free = append(s.free, i)
	}
}
