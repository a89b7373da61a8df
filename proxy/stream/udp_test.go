package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
)

// udpServer answers every datagram with its name and what it got.
func udpServer(t *testing.T, name string) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, maxDatagram)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(fmt.Appendf(nil, "%s%s", name, b[:n]), from)
		}
	}()
	t.Cleanup(func() { _ = pc.Close(); <-done })
	return pc.LocalAddr().String()
}

// udpTo starts a UDP in front of servers and returns a client of it.
func udpTo(t *testing.T, o UDPOptions, servers ...string) net.Conn {
	t.Helper()
	lb := &config.UDPLoadBalancer{}
	for _, s := range servers {
		lb.Servers = append(lb.Servers, config.UDPServer{Address: s})
	}
	b, err := NewBook(nil, nil).Begin().UDP("s", lb)
	if err != nil {
		t.Fatal(err)
	}
	uc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	u := NewUDP(uc, o, zerolog.Nop())
	u.SetService(b)
	done := make(chan struct{})
	go func() { defer close(done); _ = u.Run() }()
	c, err := net.Dial("udp", u.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = u.Shutdown(ctx)
		<-done
	})
	return c
}

// Answers leave from the address that the client called, which may be one of several.
func TestUDPAnswersFromTheAddressCalled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems choose the address")
	}
	for network, calls := range map[string][]string{"udp4": {"127.0.0.1", "127.0.0.2", "127.0.0.3"}, "udp": {"127.0.0.2", "::1"}} {
		b, err := NewBook(nil, nil).Begin().UDP("s", &config.UDPLoadBalancer{Servers: []config.UDPServer{{Address: udpServer(t, "a ")}}})
		if err != nil {
			t.Fatal(err)
		}
		uc, err := net.ListenUDP(network, nil)
		if err != nil {
			t.Skip(err)
		}
		u := NewUDP(uc, UDPOptions{}, zerolog.Nop())
		u.SetService(b)
		done := make(chan struct{})
		go func() { defer close(done); _ = u.Run() }()
		for _, addr := range calls {
			c, err := net.Dial("udp", net.JoinHostPort(addr, strconv.Itoa(uc.LocalAddr().(*net.UDPAddr).Port)))
			if err != nil {
				t.Skip(err) // no IPv6
			}
			for range 2 {
				if got, err := hear(t, c, "hello", 10*time.Second); got != "a hello" {
					t.Errorf("%s at %s: %q %v", network, addr, got, err)
				}
			}
			_ = c.Close()
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = u.Shutdown(ctx)
		<-done
	}
}

// hear sends a datagram and returns what comes within the time.
func hear(t *testing.T, c net.Conn, text string, limit time.Duration) (string, error) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(limit))
	b := make([]byte, maxDatagram)
	n, err := c.Read(b)
	return string(b[:n]), err
}

// A server that refuses loses its sessions: the client's next datagrams reach another one
// long before the session would end.
func TestUDPLeavesADeadServer(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := pc.LocalAddr().String()
	_ = pc.Close()
	c := udpTo(t, UDPOptions{Timeout: time.Minute}, dead, udpServer(t, "live "))
	for try := range 20 {
		got, err := hear(t, c, "hello", 250*time.Millisecond)
		if err == nil {
			if got != "live hello" {
				t.Fatalf("%q", got)
			}
			return
		}
		if try == 19 {
			t.Fatal("the session stays with a server that is not there")
		}
	}
}

func TestUDPDatagramsWithoutContent(t *testing.T) {
	for _, empty := range []bool{false, true} {
		t.Run(fmt.Sprint(empty), func(t *testing.T) {
			c := udpTo(t, UDPOptions{Timeout: time.Minute, Empty: empty}, udpServer(t, "a "))
			limit := 100 * time.Millisecond
			if empty {
				limit = 10 * time.Second
			}
			got, err := hear(t, c, "", limit)
			if empty && got != "a " || !empty && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%q %v", got, err)
			}
			if got, err := hear(t, c, "next", 10*time.Second); got != "a next" {
				t.Errorf("%q %v", got, err)
			}
			// Answers without content are treated alike.
			silent := udpTo(t, UDPOptions{Timeout: time.Minute, Empty: empty}, udpServer(t, ""))
			if _, err := hear(t, silent, "", limit); empty != (err == nil) {
				t.Errorf("an empty answer: %v", err)
			}
		})
	}
}
