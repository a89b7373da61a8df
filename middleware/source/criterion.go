package source

import (
	"hash/maphash"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Key stands for a group of requests. It is a keyed hash of 128 bits: clients can
// neither choose keys that collide nor make the router keep their long strings.
type Key [2]uint64

// Criterion groups requests.
type Criterion struct {
	strategy *Strategy
	header   string
	host     bool
	seed     [2]maphash.Seed
}

// NewCriterion builds a Criterion. Without a configuration the requests are grouped by
// host if byHost, else by the peer's address.
func NewCriterion(cfg *config.SourceCriterion, byHost bool, warn option.Warn) (*Criterion, error) {
	c := &Criterion{seed: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	if cfg == nil {
		cfg = &config.SourceCriterion{}
	}
	set := 0
	for _, on := range []bool{cfg.IPStrategy != nil, cfg.RequestHeaderName != "", cfg.RequestHost} {
		if on {
			set++
		}
	}
	if set > 1 {
		return nil, option.Errorf("sourceCriterion", "keep one of them", "ipStrategy, requestHeaderName and requestHost exclude each other")
	}
	c.header, c.host = cfg.RequestHeaderName, cfg.RequestHost || set == 0 && byHost
	if c.header == "" && !c.host {
		s, err := NewStrategy("sourceCriterion.ipStrategy", cfg.IPStrategy, warn)
		if err != nil {
			return nil, err
		}
		c.strategy = s
	}
	return c, nil
}

// Key returns the group of a request.
func (c *Criterion) Key(ex *exchange.Exchange) Key {
	switch {
	case c.strategy != nil:
		b := c.strategy.Addr(ex).As16()
		return Key{maphash.Bytes(c.seed[0], b[:]), maphash.Bytes(c.seed[1], b[:])}
	case c.header != "":
		v := ex.Req.Fields.Get(c.header)
		return Key{maphash.String(c.seed[0], v), maphash.String(c.seed[1], v)}
	}
	var buf [256]byte
	b := appendHost(buf[:0], ex.Req.Host)
	return Key{maphash.Bytes(c.seed[0], b), maphash.Bytes(c.seed[1], b)}
}

// Text returns the group of a request as text, for a store shared with other routers.
func (c *Criterion) Text(ex *exchange.Exchange) string {
	switch {
	case c.strategy != nil:
		a := c.strategy.Addr(ex)
		if !a.IsValid() {
			return ""
		}
		return a.String()
	case c.header != "":
		return strings.Clone(ex.Req.Fields.Get(c.header))
	}
	return string(appendHost(nil, ex.Req.Host))
}

// appendHost appends the host in lower case and without its port: neither makes another
// site, so neither may make another bucket.
func appendHost(b []byte, host string) []byte {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	for i := range len(host) {
		c := host[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		b = append(b, c)
	}
	return b
}
