package entrypoint

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/sluice-edge/sluice/config"
)

// offer is the Alt-Svc field that tells clients of HTTP/3; browsers keep it for 30 days.
func offer(c *config.HTTP3, a Address) string {
	port := a.Port
	if c.AdvertisedPort > 0 {
		port = strconv.Itoa(c.AdvertisedPort)
	}
	return `h3=":` + port + `"; ma=2592000`
}

// listenH3 opens the UDP port beside a TCP one, where HTTP/3 is asked for.
func (e *EntryPoint) listenH3(ctx context.Context, beside net.Addr) error {
	if e.cfg.EP.HTTP3 == nil || e.cfg.TLS == nil {
		return nil
	}
	a, err := ParseAddress(beside.String())
	if err != nil {
		return err
	}
	var c *net.UDPConn
	if len(e.cfg.Packets) > 0 {
		c, e.cfg.Packets = e.cfg.Packets[0], e.cfg.Packets[1:]
	} else if c, err = ListenUDP(ctx, a, e.cfg.EP.ReusePort); err != nil {
		e.closeListeners()
		return fmt.Errorf("entry point %s: http3: %w", e.cfg.Name, err)
	}
	e.mu.Lock()
	e.h3 = append(e.h3, e.server.NewH3(c, e.cfg.TLS))
	e.mu.Unlock()
	return nil
}
