package loop

import (
	"syscall"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// state is where a conn's state machine stands.
type state uint8

// Clients.
const (
	cProxy   state = iota // a PROXY header is expected
	cHead                 // a request head is expected, or has begun
	cBody                 // the request's body is read and passed on
	cWait                 // the request is complete, its answer is awaited or passed on
	cFlush                // the answer is complete, but the client has not taken all of it
	cDiscard              // the answer is out; what is left of the request's body is dropped
	cTunnel               // after a 101
	cLinger               // our half is closed; what the client still sends is dropped
	cFrames               // a connection of HTTP/2
	cBridge               // a stream whose request the handler lane serves
)

// Servers.
const (
	sResolve state = iota + 16 // the server's name is being looked up
	sDial                      // the connection is being made
	sHead                      // an answer's head is awaited
	sBody                      // its body is passed on
	sIdle                      // in the pool
	sTunnel
)

// conn is what connections to clients and to servers have in common.
type conn struct {
	timer
	fd    int32
	gen   uint32
	state state
	// readable: reading may yield something. Edge-triggered epoll tells it once.
	readable bool
	// hup: the other side has ended its half, or the connection has failed; so reading must go on to the end.
	hup bool
	// eof: reading has come to the end.
	eof    bool
	queued bool // in loop.ready
	dead   bool

	// framing, left and chunks follow the body that is read from this connection.
	framing exchange.Framing
	left    int64
	chunks  wire.Chunks
	// in are bytes that were read and wait for more; out are bytes to send that did not fit.
	in, out []byte

	// One of these is the struct this conn is part of.
	cl *client
	sv *server
}

// take splits what belongs to c's body off b. Before trailers, part ends and c.chunks.AtTrailers reports it.
func (c *conn) take(b []byte) (part, rest []byte, done bool, err error) {
	switch c.framing {
	case exchange.Sized:
		k := min(c.left, int64(len(b)))
		c.left -= k
		return b[:k], b[k:], c.left == 0, nil
	case exchange.Streamed:
		n, done, err := c.chunks.Scan(b)
		return b[:n], b[n:], done, err
	case exchange.UntilClose:
		return b, nil, false, nil
	}
	return nil, b, true, nil
}

// received is how a read went.
type received uint8

const (
	got    received = iota // bytes came
	again                  // nothing now
	ended                  // the other side has ended its half
	failed                 // the connection is broken
)

// recv reads into b.
func (l *loop) recv(c *conn, b []byte) (int, received) {
	if !c.readable {
		return 0, again
	}
	if c.cl != nil && c.cl.tls != nil {
		return l.recvTLS(c.cl, b)
	}
	return l.recvRaw(c, b)
}

func (l *loop) recvRaw(c *conn, b []byte) (int, received) {
	for {
		n, e := l.k.Read(c.fd, b)
		switch {
		case e == syscall.EINTR:
		case e == syscall.EAGAIN:
			c.readable = false
			return 0, again
		case e != 0:
			c.readable = false
			return 0, failed
		case n == 0:
			c.readable, c.eof = false, true
			return 0, ended
		default:
			// A short read has emptied the socket; what comes later is a new event. Only the
			// end, if it was announced already, is still to be read.
			if n < len(b) && !c.hup {
				c.readable = false
			}
			return n, got
		}
	}
}

// send sends b, or keeps what does not fit. False means that the connection has failed.
func (l *loop) send(c *conn, b []byte) bool {
	if c.cl != nil && c.cl.tls != nil {
		var ok bool
		if b, ok = l.seal(c.cl.tls, b); !ok {
			return false
		}
	}
	return l.sendRaw(c, b)
}

func (l *loop) sendRaw(c *conn, b []byte) bool {
	if len(c.out) > 0 || c.state == sDial || c.state == sResolve {
		c.out = l.grow(c.out, len(b))
		c.out = append(c.out, b...)
		return true
	}
	for len(b) > 0 {
		n, e := l.k.Write(c.fd, b)
		switch {
		case e == syscall.EINTR:
		case e == syscall.EAGAIN || e == 0 && n < len(b):
			// After a part was taken the kernel tells when there is room again.
			b = b[max(n, 0):]
			c.out = append(l.buffer(len(b)), b...)
			return true
		case e != 0:
			return false
		default:
			return true
		}
	}
	return true
}

// flush sends what is kept. False means that the connection has failed.
func (l *loop) flush(c *conn) bool {
	b := c.out
	for len(b) > 0 {
		n, e := l.k.Write(c.fd, b)
		switch {
		case e == syscall.EINTR:
		case e == syscall.EAGAIN || e == 0 && n < len(b):
			b = b[max(n, 0):]
			c.out = c.out[:copy(c.out, b)]
			return true
		case e != 0:
			return false
		default:
			b = nil
		}
	}
	l.recycle(c.out)
	c.out = nil
	return true
}

// Buffers of connections that wait come in a few sizes and go back to the loop.
var bufferSizes = [...]int{4 << 10, 16 << 10, 72 << 10}

// maxSpare bounds how many buffers of a size a loop keeps.
const maxSpare = 64

// buffer returns an empty slice with room for n bytes.
func (l *loop) buffer(n int) []byte {
	for i, size := range bufferSizes {
		if n <= size {
			if k := len(l.spare[i]); k > 0 {
				b := l.spare[i][k-1]
				l.spare[i] = l.spare[i][:k-1]
				return b
			}
			return make([]byte, 0, size)
		}
	}
	return make([]byte, 0, n)
}

// recycle takes a buffer back.
func (l *loop) recycle(b []byte) {
	for i, size := range bufferSizes {
		if cap(b) == size && len(l.spare[i]) < maxSpare {
			l.spare[i] = append(l.spare[i], b[:0])
		}
	}
}

// grow returns b with room for n more bytes.
func (l *loop) grow(b []byte, n int) []byte {
	if len(b)+n <= cap(b) {
		return b
	}
	big := append(l.buffer(max(len(b)+n, min(2*cap(b), 1<<20))), b...)
	l.recycle(b)
	return big
}

// keep makes rest, the end of b, what waits in c.in. own tells that b is memory of l.buffer, which is used again.
func (l *loop) keep(c *conn, b, rest []byte, own bool) {
	switch {
	case c.dead || len(rest) == 0:
		if own {
			l.recycle(b)
		}
	case !own:
		c.in = append(l.buffer(len(rest)), rest...)
	default:
		c.in = b[:copy(b[:cap(b)], rest)]
	}
}

// later makes c go on in the next turn.
func (l *loop) later(c *conn) {
	if !c.queued {
		c.queued = true
		l.ready = append(l.ready, c)
	}
}

// register makes the kernel tell of c.
func (l *loop) register(c *conn, fd int32) bool {
	l.gen++
	if l.gen == 0 {
		l.gen = 1
	}
	c.fd, c.gen = fd, l.gen
	for int(fd) >= len(l.conns) {
		l.conns = append(l.conns, make([]*conn, max(1024, len(l.conns)))...)
	}
	if e := l.k.Watch(fd, c.gen); e != 0 {
		return false
	}
	l.conns[fd] = c
	return true
}

// bury forgets c, whose descriptor is gone or goes elsewhere.
func (l *loop) bury(c *conn) {
	c.dead = true
	if c.fd >= 0 && int(c.fd) < len(l.conns) && l.conns[c.fd] == c {
		l.conns[c.fd] = nil
	}
	l.wheel.unlink(&c.timer)
	l.recycle(c.in)
	l.recycle(c.out)
	c.in, c.out = nil, nil
	l.graves = append(l.graves, c)
}
