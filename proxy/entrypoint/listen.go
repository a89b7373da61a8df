package entrypoint

import (
	"context"
	"net"
	"time"
)

// keepAlive finds clients that vanished without a word.
const keepAlive = 15 * time.Second

// Listen opens a TCP listener. With reusePort other processes, or further listeners of
// this one, may listen at the same address and share the connections.
func Listen(ctx context.Context, a Address, reusePort bool) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: keepAlive}
	if reusePort {
		lc.Control = reuse
	}
	return lc.Listen(ctx, "tcp", a.String())
}

// ListenUDP opens a UDP socket.
func ListenUDP(ctx context.Context, a Address, reusePort bool) (*net.UDPConn, error) {
	lc := net.ListenConfig{}
	if reusePort {
		lc.Control = reuse
	}
	c, err := lc.ListenPacket(ctx, "udp", a.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil //nolint:forcetypeassert // "udp" gives one
}
