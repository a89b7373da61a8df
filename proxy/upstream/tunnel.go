package upstream

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// upgrade turns client and server into a tunnel after a 101 answer.
func (t *talk) upgrade() (Result, *Error) {
	ex, c := t.call.Ex, t.conn
	if !wire.Switched(ex) {
		return Answered, &Error{Reason: exchange.UpstreamBad, Err: errors.New("101 for a protocol that was not asked for")}
	}
	if !t.uploaded() {
		// RFC 9110 §7.8: the client's bytes are the body's until that has ended, and two must not read them.
		return Answered, &Error{Reason: exchange.UpstreamBad, Err: errors.New("101 before the end of the request")}
	}
	if t.disarm != nil {
		t.disarm()
		t.disarm = nil
		if t.conn.aborted.Load() {
			return Answered, &Error{Reason: exchange.ClientGone, Err: io.EOF}
		}
	}
	t.call.OriginStatus = 101
	wire.OutgoingResponse(ex)
	t.headed = true
	client, early, err := t.call.Sink.Upgrade()
	if err != nil {
		return Broken, t.clientGone(err)
	}
	_ = c.nc.SetDeadline(time.Time{})
	_ = client.SetDeadline(time.Time{})
	t.call.TunnelIn, t.call.TunnelOut = Tunnel(client, c.nc, early, c.buf[c.r:c.w])
	c.close()
	return Tunneled, nil
}

// Tunnel copies between a and b in both directions until both have ended or one has
// failed, and closes both. fromA and fromB are bytes already read from them. A side that
// ends its sending half is passed on as such, so that the other may finish. It returns how
// many bytes came from a and from b.
func Tunnel(a, b net.Conn, fromA, fromB []byte) (nA, nB int64) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		nB = shovel(a, b, fromB)
	}()
	nA = shovel(b, a, fromA)
	<-done
	_ = a.Close()
	_ = b.Close()
	return nA, nB
}

// shovel copies src to dst until src ends, and passes the end on.
func shovel(dst, src net.Conn, first []byte) (n int64) {
	if len(first) > 0 {
		k, err := dst.Write(first)
		n = int64(k)
		if err != nil {
			cut(dst, src)
			return n
		}
	}
	bp := bodyBufs.Get().(*[]byte)
	defer bodyBufs.Put(bp)
	for {
		k, err := src.Read(*bp)
		if k > 0 {
			w, werr := dst.Write((*bp)[:k])
			n += int64(w)
			if werr != nil {
				cut(dst, src)
				return n
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if closeWrite(dst) != nil {
				cut(dst, src)
			}
			return n
		default:
			cut(dst, src)
			return n
		}
	}
}

func cut(a, b net.Conn) {
	_ = a.Close()
	_ = b.Close()
}

// errNoHalfClose means that a connection cannot end its sending half alone.
var errNoHalfClose = errors.New("no half-close")

func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errNoHalfClose
}
