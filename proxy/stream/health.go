package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// check is the health check of one load balancer.
type check struct {
	balancer *Balancer
	cfg      config.TCPHealthCheck
}

// run checks every server, the first time at once.
func (c *check) run(ctx context.Context, tell func(service, address string, up bool, cause error)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range c.balancer.servers {
		wg.Go(func() {
			for {
				err := c.probe(ctx, s)
				if ctx.Err() != nil {
					return
				}
				if s.down.Swap(err != nil) != (err != nil) && tell != nil {
					tell(c.balancer.name, s.Address, err == nil, err)
				}
				t := time.NewTimer(c.pause(err == nil))
				select {
				case <-t.C:
				case <-ctx.Done():
					t.Stop()
					return
				}
			}
		})
	}
}

func (c *check) pause(up bool) time.Duration {
	d := c.cfg.Interval
	if !up && c.cfg.UnhealthyInterval != nil {
		d = *c.cfg.UnhealthyInterval
	}
	if d <= 0 {
		d = config.Duration(30 * time.Second)
	}
	return time.Duration(d)
}

// maxExpect bounds how much of an answer is read when looking for what is expected.
const maxExpect = 64 << 10

// probe connects to a server, says what is to be said and waits for what is expected.
func (c *check) probe(ctx context.Context, s *Server) error {
	limit := time.Duration(c.cfg.Timeout)
	if limit <= 0 {
		limit = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	addr := s.Address
	if c.cfg.Port > 0 {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return err
		}
		addr = net.JoinHostPort(host, strconv.Itoa(c.cfg.Port))
	}
	nc, err := dial(ctx, s, addr, netip.AddrPort{}, netip.AddrPort{})
	if err != nil {
		return err
	}
	defer func() { _ = nc.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if c.cfg.Send != "" {
		if _, err := nc.Write([]byte(c.cfg.Send)); err != nil {
			return err
		}
	}
	return expect(nc, []byte(c.cfg.Expect))
}

var errUnexpected = errors.New("the answer is not the expected one")

func expect(nc net.Conn, want []byte) error {
	if len(want) == 0 {
		return nil
	}
	var got []byte
	buf := make([]byte, 4096)
	for len(got) < maxExpect {
		n, err := nc.Read(buf)
		got = append(got, buf[:n]...)
		if bytes.HasPrefix(got, want) {
			return nil
		}
		if len(got) >= len(want) {
			return fmt.Errorf("%w: %q", errUnexpected, got[:min(len(got), 64)])
		}
		if err != nil {
			return err
		}
	}
	return errUnexpected
}
