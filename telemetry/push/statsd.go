package push

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
)

// maxPacket is how much goes into a UDP packet: it must fit a frame of Ethernet.
const maxPacket = 1432

// StatsD speaks the protocol of StatsD, with tags where it is Datadog's agent. Durations are
// told by the middles of their buckets, each with how many it stands for as its sample rate;
// a single one is told exactly.
type StatsD struct {
	network, address, prefix string
	datadog                  bool
}

// NewStatsD returns a sender to address; datadog says that it is Datadog's agent.
func NewStatsD(address, prefix string, datadog bool) *StatsD {
	s := &StatsD{network: "udp", address: address, prefix: prefix, datadog: datadog}
	if datadog {
		for scheme, network := range map[string]string{"unix://": "unix", "unixgram://": "unixgram", "unixstream://": "unixstream"} {
			if path, ok := strings.CutPrefix(address, scheme); ok {
				s.network, s.address = network, path
			}
		}
	}
	if s.address == "" {
		s.address = "localhost:8125"
	}
	if s.prefix == "" {
		s.prefix = "traefik"
	}
	return s
}

// statsdName is a metric's name behind the prefix.
func (s *Reading) statsdName() string {
	scope := s.Of.String() + "."
	switch s.What {
	case Reloads:
		return "config.reload.total"
	case LastReload:
		return "config.reload.lastSuccessTimestamp"
	case Connections:
		return "open.connections"
	case CertsNotAfter:
		return "tls.certs.notAfterTimestamp"
	case Requests:
		return scope + "request.total"
	case RequestsTLS:
		return scope + "request.tls.total"
	case RequestDuration:
		return scope + "request.duration"
	case RequestBytes:
		return scope + "requests.bytes.total"
	case ResponseBytes:
		return scope + "responses.bytes.total"
	case Retries:
		return "service.retries.total"
	}
	return "service.server.up"
}

func (s *StatsD) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	switch s.network {
	case "unix": // which kind of socket it is only trying tells
		c, err := d.DialContext(ctx, "unixgram", s.address)
		if errors.Is(err, syscall.EPROTOTYPE) {
			return d.DialContext(ctx, "unix", s.address)
		}
		return c, err
	case "unixstream":
		return d.DialContext(ctx, "unix", s.address)
	}
	return d.DialContext(ctx, s.network, s.address)
}

// Push implements Receiver.
func (s *StatsD) Push(ctx context.Context, list []Reading) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if by, ok := ctx.Deadline(); ok {
		_ = c.SetWriteDeadline(by)
	}
	var packet, line []byte
	for i := range list {
		for _, v := range s.values(&list[i]) {
			line = s.line(line[:0], &list[i], v)
			if len(packet) > 0 && len(packet)+len(line) > maxPacket {
				if _, err := c.Write(packet); err != nil {
					return err
				}
				packet = packet[:0]
			}
			packet = append(packet, line...)
		}
	}
	if len(packet) > 0 {
		_, err = c.Write(packet)
	}
	return err
}

// Totals implements Receiver.
func (s *StatsD) Totals() bool { return false }

// Close implements Receiver.
func (s *StatsD) Close() {}

// value is a line of its own: a value, its kind, and how many it stands for.
type value struct {
	v    float64
	kind string
	n    uint64
}

func (s *StatsD) values(one *Reading) []value {
	switch {
	case one.Hist == nil && one.Gauge:
		return []value{{one.Value, "g", 1}}
	case one.Hist == nil:
		return []value{{one.Value, "c", 1}}
	}
	kind, scale := "ms", 1000.0
	if s.datadog {
		kind, scale = "h", 1
	}
	if one.Value == 1 {
		return []value{{one.Sum * scale, kind, 1}}
	}
	var out []value
	for i, n := range one.Hist {
		if n > 0 {
			out = append(out, value{middle(FineBounds(), i) * scale, kind, n})
		}
	}
	return out
}

// middle is the middle of a bucket; of the last its lower bound, as it has no upper.
func middle(bounds []float64, i int) float64 {
	switch {
	case i == 0:
		return bounds[0] / 2
	case i == len(bounds):
		return bounds[i-1]
	}
	return (bounds[i-1] + bounds[i]) / 2
}

func (s *StatsD) line(b []byte, one *Reading, v value) []byte {
	b = fmt.Appendf(b, "%s.%s:", s.prefix, one.statsdName())
	b = strconv.AppendFloat(b, v.v, 'f', 6, 64)
	b = append(append(b, '|'), v.kind...)
	if v.n > 1 {
		b = strconv.AppendFloat(append(b, "|@"...), 1/float64(v.n), 'g', -1, 64)
	}
	if s.datadog {
		for i := 0; i+1 < len(one.Labels); i += 2 {
			sep := ","
			if i == 0 {
				sep = "|#"
			}
			b = append(append(append(append(b, sep...), one.Labels[i]...), ':'), tagValue(one.Labels[i+1])...)
		}
	}
	return append(b, '\n')
}

// tagValue takes out what would end a tag or a line.
func tagValue(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == ',' || r == '|':
			return '_'
		}
		return r
	}, s)
}
