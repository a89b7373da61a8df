package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// tlsSide is the connection below a tls.Conn. During the handshake, and in the handler lane,
// it is an ordinary net.Conn; on a loop it holds bytes between crypto/tls and the loop.
//
// crypto/tls keeps a partial record when its connection reports a temporary error, and goes
// on with it at the next Read; TestShim holds it to that for each Go release.
type tlsSide struct {
	net.Conn
	tc     *tls.Conn
	state  tls.ConnectionState
	pre    []byte // read before the handshake began
	onLoop bool
	// raw is ciphertext for crypto/tls to read; dry is set when the socket has no more.
	raw []byte
	dry bool
	out []byte // ciphertext that crypto/tls has written

	// idle is set while crypto/tls holds neither bytes to be read nor part of a record: then
	// there is no use in asking it before more came. records follows what it was given.
	idle    bool
	records recordEnds
}

// recordEnds finds the ends of TLS records (RFC 8446 §5.1) in what passes.
type recordEnds struct {
	header, body int // bytes seen of a header, and missing of a body
}

func (r *recordEnds) pass(b []byte) {
	for len(b) > 0 {
		if r.body > 0 && r.header == 0 {
			k := min(r.body, len(b))
			r.body -= k
			b = b[k:]
			continue
		}
		switch r.header {
		case 3:
			r.body = int(b[0]) << 8
		case 4:
			r.body |= int(b[0])
		}
		r.header = (r.header + 1) % recordHeader
		b = b[1:]
	}
}

// between reports that the last record is complete.
func (r *recordEnds) between() bool { return r.header == 0 && r.body == 0 }

const (
	recordHeader = 5
	recordData   = 23 // application_data
)

// oneRecord reports whether b is exactly one record of application data.
func oneRecord(b []byte) bool {
	return len(b) > recordHeader && b[0] == recordData && int(b[3])<<8|int(b[4]) == len(b)-recordHeader
}

// errWait tells crypto/tls that there are no bytes now.
type errWait struct{}

func (errWait) Error() string   { return "no bytes now" }
func (errWait) Timeout() bool   { return true }
func (errWait) Temporary() bool { return true }

var wait net.Error = errWait{}

func (t *tlsSide) Read(p []byte) (int, error) {
	if t.onLoop {
		if len(t.raw) == 0 {
			return 0, wait
		}
		n := copy(p, t.raw)
		t.raw = t.raw[n:]
		t.records.pass(p[:n])
		return n, nil
	}
	if len(t.pre) > 0 {
		n := copy(p, t.pre)
		if t.pre = t.pre[n:]; len(t.pre) == 0 {
			t.pre = nil
		}
		t.records.pass(p[:n])
		return n, nil
	}
	n, err := t.Conn.Read(p)
	t.records.pass(p[:n])
	return n, err
}

func (t *tlsSide) Write(p []byte) (int, error) {
	if t.onLoop {
		t.out = append(t.out, p...)
		return len(p), nil
	}
	return t.Conn.Write(p)
}

// Close closes nothing on a loop, which does that itself.
func (t *tlsSide) Close() error {
	if t.onLoop {
		return nil
	}
	return t.Conn.Close()
}

func (t *tlsSide) SetDeadline(d time.Time) error {
	if t.onLoop {
		return nil
	}
	return t.Conn.SetDeadline(d)
}

func (t *tlsSide) SetReadDeadline(d time.Time) error {
	if t.onLoop {
		return nil
	}
	return t.Conn.SetReadDeadline(d)
}

func (t *tlsSide) SetWriteDeadline(d time.Time) error {
	if t.onLoop {
		return nil
	}
	return t.Conn.SetWriteDeadline(d)
}

// LocalAddr and RemoteAddr are not known on a loop; nobody asks there.
func (t *tlsSide) LocalAddr() net.Addr {
	if t.onLoop {
		return nil
	}
	return t.Conn.LocalAddr()
}

func (t *tlsSide) RemoteAddr() net.Addr {
	if t.onLoop {
		return nil
	}
	return t.Conn.RemoteAddr()
}

// recvTLS reads decrypted bytes: all that are there, without asking the kernel or crypto/tls
// more than needed. Records that crypto/tls holds need no event, so it is asked to the end.
func (l *loop) recvTLS(cl *client, b []byte) (int, received) {
	t, c := cl.tls, &cl.conn
	if l.pb == nil {
		l.pb = make([]byte, quantum)
	}
	borrowed := false // t.raw is in the loop's buffer, not in t's own memory
	one := false      // t.raw was one record, and crypto/tls held nothing before
	sum, r := 0, again
	for {
		if !t.idle || len(t.raw) > 0 {
			n, err := t.tc.Read(b[sum:])
			sum += n
			if err == nil && sum == len(b) {
				t.idle = false
				break
			}
			if err == nil && !one {
				t.idle = false
				continue
			}
			if _, waits := err.(errWait); err != nil && !waits {
				r = failed
				if errors.Is(err, io.EOF) {
					r, c.eof = ended, true
				}
				c.readable = sum > 0
				t.dry = true
				break
			}
			t.idle = t.records.between()
		}
		if t.dry && !c.hup {
			t.dry = false
			c.readable = false
			break
		}
		k, kr := l.recvKernel(c)
		if kr != got {
			if kr != again {
				r = kr
			}
			c.readable = sum > 0 && kr != again
			break
		}
		t.raw, borrowed = l.pb[:k], true
		one = t.idle && oneRecord(t.raw)
	}
	l.settleTLS(cl, borrowed)
	if sum > 0 {
		return sum, got
	}
	return 0, r
}

// recvKernel reads ciphertext.
func (l *loop) recvKernel(c *conn) (int, received) {
	t := c.cl.tls
	for {
		n, e := l.k.Read(c.fd, l.pb)
		switch {
		case e == syscall.EINTR:
		case e == syscall.EAGAIN:
			t.dry = false
			return 0, again
		case e != 0:
			return 0, failed
		case n == 0:
			// Without close_notify: cut off, or a careless client; the request counts as far as it is whole.
			c.eof = true
			return 0, ended
		default:
			t.dry = n < len(l.pb)
			return n, got
		}
	}
}

// settleTLS keeps ciphertext that was not used in memory of its own, since the loop's buffer
// serves others next, and sends what crypto/tls had to say by itself (alerts, key updates).
func (l *loop) settleTLS(cl *client, borrowed bool) {
	t := cl.tls
	if len(t.raw) > 0 && borrowed {
		t.raw = append([]byte(nil), t.raw...)
	}
	if len(t.raw) == 0 {
		t.raw = nil
	}
	if len(t.out) > 0 {
		out := t.out
		t.out = nil
		if !cl.dead {
			l.sendRaw(&cl.conn, out)
		}
	}
}

// seal encrypts b; the result is good until the next call.
func (l *loop) seal(t *tlsSide, b []byte) ([]byte, bool) {
	t.out = l.tb[:0]
	_, err := t.tc.Write(b)
	out := t.out
	t.out = nil
	if cap(out) <= 256<<10 {
		l.tb = out[:0]
	}
	return out, err == nil
}

// goodbye sends close_notify.
func (l *loop) goodbye(cl *client) {
	t := cl.tls
	t.out = l.tb[:0]
	err := t.tc.CloseWrite()
	out := t.out
	t.out = nil
	l.tb = out[:0]
	if err == nil {
		l.sendRaw(&cl.conn, out)
	}
}
