// Package limit holds the middlewares that keep requests away: by address, by rate, by
// number and by the health of what is behind them.
package limit

import (
	"net/http"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/middleware/source"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

type ipList struct {
	ranges   *source.Ranges
	strategy *source.Strategy
	status   int
	allow    bool
}

// NewIPAllowList lets in only the addresses of a list.
func NewIPAllowList(cfg *config.IPAllowList, warn option.Warn) (exchange.Op, error) {
	return newIPList(cfg.SourceRange, cfg.IPStrategy, cfg.RejectStatusCode, true, warn)
}

// NewIPDenyList keeps the addresses of a list out, and requests whose address is not known.
func NewIPDenyList(cfg *config.IPDenyList, warn option.Warn) (exchange.Op, error) {
	return newIPList(cfg.SourceRange, cfg.IPStrategy, cfg.RejectStatusCode, false, warn)
}

func newIPList(list []string, strategy *config.IPStrategy, status int, allow bool, warn option.Warn) (exchange.Op, error) {
	if len(list) == 0 {
		return nil, option.Errorf("sourceRange", "write for example sourceRange=10.0.0.0/8", "is empty")
	}
	l := &ipList{status: status, allow: allow}
	if status == 0 {
		l.status = http.StatusForbidden
	} else if http.StatusText(status) == "" || status < 200 {
		return nil, option.Errorf("rejectStatusCode", "write for example 404", "%d is not the status of an answer", status)
	}
	var err error
	if l.ranges, err = source.ParseRanges("sourceRange", list); err != nil {
		return nil, err
	}
	if l.strategy, err = source.NewStrategy("ipStrategy", strategy, warn); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *ipList) Request(ex *exchange.Exchange) exchange.Verdict {
	a := l.strategy.Addr(ex)
	if a.IsValid() && l.ranges.Contains(a) == l.allow {
		return exchange.Next
	}
	return ex.Reply(l.status, exchange.IPDenied, "")
}
