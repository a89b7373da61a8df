package epoll

import (
	"net"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// wait returns the events that come within a second.
func wait(t *testing.T, p *Poll) []syscall.EpollEvent {
	t.Helper()
	evs := make([]syscall.EpollEvent, 8)
	return evs[:p.Wait(evs, true, 1000)]
}

func TestPoll(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.End()
	if n := p.Wait(make([]syscall.EpollEvent, 1), false, 0); n != 0 {
		t.Fatalf("%d events of nothing", n)
	}
	go func() {
		time.Sleep(10 * time.Millisecond)
		p.Wake()
	}()
	if evs := wait(t, p); len(evs) != 1 || evs[0].Pad != 0 || !p.Woken(evs[0].Fd) {
		t.Fatalf("woken by %+v", evs)
	}

	fds, addr, err := Listen("127.0.0.1:0", false, 2)
	if err != nil {
		t.Fatal(err)
	}
	p.WatchListener(fds[0], false)
	p.WatchListener(fds[1], false)
	to := netip.MustParseAddrPort(addr.String())
	if _, _, err := Listen(addr.String(), false, 1); err == nil {
		t.Error("a port in use is given away")
	}
	out, pending, e := p.Dial(Target{Addr: to})
	if e != 0 || p.Watch(out, 7) != 0 {
		t.Fatal(e)
	}
	in := int32(-1)
	for in < 0 || pending {
		for _, ev := range wait(t, p) {
			switch {
			case ev.Pad == 7 && ev.Events&Out != 0:
				if e := p.Dialled(out); e != 0 {
					t.Fatal(e)
				}
				pending = false
			case ev.Pad == 0:
				var peer netip.AddrPort
				if in, peer, e = p.Accept(ev.Fd); e != 0 || peer.Addr() != to.Addr() {
					t.Fatal(in, peer, e)
				}
			}
		}
	}
	b := make([]byte, 8)
	if _, e := p.Read(in, b); e != syscall.EAGAIN {
		t.Errorf("Read of nothing: %v", e)
	}
	if n, e := p.Write(out, []byte("abc")); n != 3 || e != 0 {
		t.Fatal(n, e)
	}
	time.Sleep(10 * time.Millisecond)
	if n, e := p.Peek(in); n != 1 || e != 0 {
		t.Errorf("Peek: %d, %v", n, e)
	}
	if n, e := p.Read(in, b); n != 3 || e != 0 {
		t.Errorf("Read: %d, %v", n, e)
	}
	if v, err := syscall.GetsockoptInt(int(in), syscall.IPPROTO_TCP, syscall.TCP_NODELAY); v == 0 || err != nil {
		t.Errorf("TCP_NODELAY is not inherited: %d, %v", v, err)
	}
	p.Shut(out)
	time.Sleep(10 * time.Millisecond)
	if n, e := p.Read(in, b); n != 0 || e != 0 {
		t.Errorf("Read of the end: %d, %v", n, e)
	}
	p.Reset(in)
	time.Sleep(10 * time.Millisecond)
	if _, e := p.Read(out, b); e != syscall.ECONNRESET {
		t.Errorf("Read after a reset: %v", e)
	}
	if _, e := p.Write(out, b); e != syscall.EPIPE {
		t.Errorf("Write after a reset: %v", e)
	}
	p.Close(out)
	closeAll(fds)
	if _, _, e := p.Dial(Target{Addr: to}); e != syscall.ECONNREFUSED && e != 0 {
		t.Errorf("Dial to nobody: %v", e)
	}
}

func TestUnix(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.End()
	for _, name := range []string{filepath.Join(t.TempDir(), "s"), "@sluice-epoll-test"} {
		ln, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		fd, _, e := p.Dial(Target{Path: name})
		if e != 0 {
			t.Fatalf("%s: %v", name, e)
		}
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if n, e := p.Write(fd, []byte("x")); n != 1 || e != 0 {
			t.Error(n, e)
		}
		// A net.Conn's descriptor and back.
		dup, err := Descriptor(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Conn(dup)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if n, err := again.Read(b); n != 1 || err != nil {
			t.Error(n, err)
		}
		again.Close()
		c.Close()
		p.Close(fd)
		ln.Close()
	}
	if _, _, e := p.Dial(Target{Path: string(make([]byte, 200))}); e != syscall.ENAMETOOLONG {
		t.Errorf("a long path: %v", e)
	}
}

func TestDuplicates(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fds, err := Duplicates(ln.(*net.TCPListener), 2)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // the duplicates go on
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	closeAll(fds)
}
