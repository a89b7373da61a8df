package upstream

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// sockState is what a peek at a socket shows.
type sockState uint8

const (
	sockQuiet sockState = iota
	sockBytes
	sockEnded
)

// connBuf is the read buffer of a connection; larger heads grow it.
const connBuf = 4 << 10

// conn is one HTTP/1.1 connection to a server. One request uses it at a time.
type conn struct {
	p    *pool
	nc   net.Conn
	tls  bool
	peek *peeker

	buf   []byte
	r, w  int
	small []byte // the own buffer, while buf is a lent one

	idleSince time.Time
	reused    bool
	aborted   atomic.Bool
}

func newConn(p *pool, nc net.Conn) *conn {
	c := &conn{p: p, nc: nc, buf: make([]byte, connBuf)}
	if tc, ok := nc.(*tls.Conn); ok {
		c.tls = true
		c.peek = newPeeker(tc.NetConn())
	} else {
		c.peek = newPeeker(nc)
	}
	return c
}

// open reports whether the server still holds the connection open, as far as one can see without reading.
func (c *conn) open() bool {
	s := c.peek.state()
	return s == sockQuiet || s == sockBytes && c.tls
}

// tlsPeek is how long to wait for the rest of a TLS record between requests.
const tlsPeek = time.Millisecond

// quiet reports whether the connection is open and holds no byte. Under TLS bytes may be a
// session ticket or the closing alert: only reading tells.
func (c *conn) quiet() bool {
	switch s := c.peek.state(); {
	case s == sockQuiet:
		return true
	case s == sockEnded || !c.tls:
		return false
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(tlsPeek))
	n, err := c.nc.Read(c.buf[:1])
	if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	return c.nc.SetReadDeadline(time.Time{}) == nil
}

func (c *conn) close() { _ = c.nc.Close() }

// abort ends the connection under the feet of whoever reads or writes it.
func (c *conn) abort() {
	c.aborted.Store(true)
	c.close()
}

// fill reads more bytes behind those that are buffered. It grows the buffer up to limit
// bytes and returns errFull beyond.
func (c *conn) fill(limit int) error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.buf) {
		switch {
		case c.r > 0:
			c.w = copy(c.buf, c.buf[c.r:c.w])
			c.r = 0
		case len(c.buf) < limit:
			b := make([]byte, min(2*len(c.buf), limit))
			copy(b, c.buf)
			c.buf = b
		default:
			return errFull
		}
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

var errFull = errors.New("the head of the answer is too large")

// isClosed reports whether err means that the other side has closed or reset.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.ErrUnexpectedEOF)
}
