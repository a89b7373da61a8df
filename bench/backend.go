package main

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// The backend answers as cheaply as it can, so that the machine is left to the
// proxies: one epoll loop per thread, answers prepared, request bodies counted
// and dropped. It trusts its peer; it is no example of request parsing.

const (
	soReusePort = 15 // not in package syscall
	bigPath     = "100k"
)

type backendConn struct {
	fd      int
	head    []byte
	body    int64 // bytes still to come
	chunked bool
	tail    [5]byte
	out     []byte
	closing bool
	waiting bool // for EPOLLOUT
}

func answerOf(n int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", n)
	for i := range n {
		b.WriteByte('a' + byte(i%26))
	}
	return b.Bytes()
}

// runBackend listens on 127.0.0.1:PORT with THREADS loops.
func runBackend(args []string) error {
	port, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	threads := 2
	if len(args) > 1 {
		threads, _ = strconv.Atoi(args[1])
	}
	runtime.GOMAXPROCS(threads + 1)
	small, big := answerOf(1024), answerOf(100<<10)
	errs := make(chan error, threads)
	for range threads {
		go func() { errs <- backendLoop(port, small, big) }()
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	select {
	case err := <-errs:
		return err
	case <-term:
		return nil
	}
}

func backendLoop(port int, small, big []byte) error {
	runtime.LockOSThread()
	l, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_ = syscall.SetsockoptInt(l, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	_ = syscall.SetsockoptInt(l, syscall.SOL_SOCKET, soReusePort, 1)
	if err := syscall.Bind(l, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("port %d: %w", port, err)
	}
	if err := syscall.Listen(l, 4096); err != nil {
		return err
	}
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, l, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(l)}); err != nil {
		return err
	}
	conns := map[int32]*backendConn{}
	events := make([]syscall.EpollEvent, 256)
	scratch := make([]byte, 64<<10)
	for {
		n, err := syscall.EpollWait(ep, events, -1)
		if err == syscall.EINTR {
			continue
		} else if err != nil {
			return err
		}
		for _, ev := range events[:n] {
			if ev.Fd == int32(l) {
				accept(ep, l, conns)
				continue
			}
			c := conns[ev.Fd]
			if c == nil {
				continue
			}
			ok := true
			if len(c.out) > 0 && ev.Events&syscall.EPOLLOUT != 0 {
				ok = c.flush(ep)
			}
			if ok && len(c.out) == 0 && ev.Events&(syscall.EPOLLIN|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
				ok = c.read(ep, scratch, small, big)
			}
			if !ok {
				_ = syscall.Close(c.fd)
				delete(conns, ev.Fd)
			}
		}
	}
}

func accept(ep, l int, conns map[int32]*backendConn) {
	fd, _, err := syscall.Accept4(l, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	if err != nil {
		return
	}
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}) != nil {
		_ = syscall.Close(fd)
		return
	}
	conns[int32(fd)] = &backendConn{fd: fd, head: make([]byte, 0, 4096)}
}

// flush sends what is left of an answer; false means the connection is over.
func (c *backendConn) flush(ep int) bool {
	for len(c.out) > 0 {
		n, err := syscall.Write(c.fd, c.out)
		if err == syscall.EAGAIN {
			if !c.waiting {
				c.waiting = true
				_ = syscall.EpollCtl(ep, syscall.EPOLL_CTL_MOD, c.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLOUT, Fd: int32(c.fd)})
			}
			return true
		} else if err != nil {
			return false
		}
		c.out = c.out[n:]
	}
	if c.waiting {
		c.waiting = false
		_ = syscall.EpollCtl(ep, syscall.EPOLL_CTL_MOD, c.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(c.fd)})
	}
	return !c.closing
}

func (c *backendConn) read(ep int, scratch, small, big []byte) bool {
	n, err := syscall.Read(c.fd, scratch)
	if err == syscall.EAGAIN {
		return true
	} else if err != nil || n == 0 {
		return false
	}
	got := scratch[:n]
	switch {
	case c.chunked:
		if !c.lastChunk(got) {
			return true
		}
		c.chunked = false
	case c.body > 0:
		if c.body -= int64(n); c.body > 0 {
			return true
		}
	default:
		c.head = append(c.head, got...)
		end := bytes.Index(c.head, []byte("\r\n\r\n"))
		if end < 0 {
			return len(c.head) < 64<<10
		}
		if more := c.begin(c.head[:end], c.head[end+4:]); more {
			return true
		}
	}
	c.out = small
	if first, _, _ := bytes.Cut(c.head, []byte("\r")); bytes.Contains(first, []byte(bigPath)) {
		c.out = big
	}
	c.head = c.head[:0]
	return c.flush(ep)
}

// begin looks at a request's head; true means that more of its body comes.
func (c *backendConn) begin(head, rest []byte) bool {
	c.closing = false
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimSpace(value)
		switch {
		case len(name) == 10 && strings.EqualFold(name, "connection"):
			c.closing = strings.EqualFold(value, "close")
		case len(name) == 14 && strings.EqualFold(name, "content-length"):
			n, _ := strconv.ParseInt(value, 10, 64)
			c.body = n - int64(len(rest))
		case len(name) == 17 && strings.EqualFold(name, "transfer-encoding"):
			c.chunked = true
		}
	}
	if c.chunked {
		c.tail = [5]byte{}
		if c.lastChunk(rest) {
			c.chunked = false
		}
		return c.chunked
	}
	return c.body > 0
}

// lastChunk remembers the last five bytes and reports whether they end a body.
func (c *backendConn) lastChunk(b []byte) bool {
	if len(b) >= len(c.tail) {
		copy(c.tail[:], b[len(b)-len(c.tail):])
	} else {
		copy(c.tail[:], c.tail[len(b):])
		copy(c.tail[len(c.tail)-len(b):], b)
	}
	return string(c.tail[:]) == "0\r\n\r\n"
}
