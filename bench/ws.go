package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// keyGUID is the constant of RFC 6455 section 1.3.
const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// runWSEcho serves WebSocket echo on an address, and "ok" to anything else.
func runWSEcho(args []string) error {
	srv := &http.Server{Addr: args[0], ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Sec-Websocket-Key")
		if key == "" {
			_, _ = io.WriteString(w, "ok")
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		sum := sha1.Sum([]byte(key + keyGUID))
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
		buf := make([]byte, 4096)
		for {
			n, err := readFrame(rw.Reader, buf[8:])
			if err != nil {
				return
			}
			from := frameHead(buf, 8, n, false)
			if _, err := c.Write(buf[from : 8+n]); err != nil {
				return
			}
		}
	})}
	return srv.ListenAndServe()
}

// readFrame reads a frame below 64 KiB and unmasks it in place.
func readFrame(r *bufio.Reader, buf []byte) (int, error) {
	var h [2]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, err
	}
	n := int(h[1] & 0x7f)
	if n == 126 {
		var l [2]byte
		if _, err := io.ReadFull(r, l[:]); err != nil {
			return 0, err
		}
		n = int(binary.BigEndian.Uint16(l[:]))
	}
	var mask [4]byte
	if h[1]&0x80 != 0 {
		if _, err := io.ReadFull(r, mask[:]); err != nil {
			return 0, err
		}
	}
	if n > len(buf) {
		return 0, io.ErrShortBuffer
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return 0, err
	}
	for i := range buf[:n] {
		buf[i] ^= mask[i&3]
	}
	return n, nil
}

// frameHead writes a frame head that ends at offset at, and returns where it begins.
func frameHead(buf []byte, at, n int, masked bool) int {
	m := byte(0)
	if masked {
		m = 0x80
		at -= 4
		clear(buf[at : at+4])
	}
	if n < 126 {
		buf[at-2], buf[at-1] = 0x82, m|byte(n)
		return at - 2
	}
	binary.BigEndian.PutUint16(buf[at-2:], uint16(n))
	buf[at-4], buf[at-3] = 0x82, m|126
	return at - 4
}

// wsDial opens a WebSocket.
func wsDial(addr, host string) (net.Conn, *bufio.Reader, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, nil, err
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", host)
	br := bufio.NewReaderSize(c, 1024)
	for first := true; ; first = false {
		line, err := br.ReadString('\n')
		if err == nil && first && !strings.Contains(line, " 101 ") {
			err = fmt.Errorf("answer %q", line)
		}
		if err != nil {
			_ = c.Close()
			return nil, nil, err
		}
		if line == "\r\n" {
			break
		}
	}
	_ = c.SetDeadline(time.Time{})
	return c, br, nil
}

// echo sends one message of size bytes and reads it back.
func echo(c net.Conn, br *bufio.Reader, buf, back []byte, size int) error {
	from := frameHead(buf, 16, size, true)
	if _, err := c.Write(buf[from : 16+size]); err != nil {
		return err
	}
	n, err := readFrame(br, back)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes came back of %d", n, size)
	}
	return err
}

// wsLoad echoes messages over conns WebSockets.
func wsLoad(addr string, d time.Duration, conns, size int) load {
	var errs atomic.Int64
	lat := make([][]time.Duration, conns)
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			c, br, err := wsDial(addr, "localhost")
			if err != nil {
				errs.Add(1)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(end.Add(5 * time.Second))
			buf, back := make([]byte, size+16), make([]byte, size+16)
			for time.Now().Before(end) {
				t := time.Now()
				if echo(c, br, buf, back, size) != nil {
					errs.Add(1)
					return
				}
				lat[i] = append(lat[i], time.Since(t))
			}
		})
	}
	wg.Wait()
	return sum(lat, d, int(errs.Load()))
}

// wsIdle opens n WebSockets that have carried one message, and returns what
// closes them.
func wsIdle(addr string, n int) (open, errs int, done func()) {
	var mu sync.Mutex
	var keep []net.Conn
	var wg sync.WaitGroup
	gate := make(chan struct{}, 50)
	for range n {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			c, br, err := wsDial(addr, "localhost")
			if err == nil {
				err = echo(c, br, make([]byte, 80), make([]byte, 80), 64)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs++
				return
			}
			keep = append(keep, c)
		})
	}
	wg.Wait()
	return len(keep), errs, func() {
		for _, c := range keep {
			_ = c.Close()
		}
	}
}
