package stream

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

const (
	// maxDatagram is the largest UDP payload.
	maxDatagram = 65535
	// maxSessions bounds the sessions of a port: each holds a socket.
	maxSessions = 16384
	// maxTold is room for what the kernel tells of a datagram.
	maxTold = 128
)

// UDP forwards the datagrams of one port. A session is a client's address; it stays with
// its server until both sides were silent for the time-out.
type UDP struct {
	conn    *net.UDPConn
	opts    UDPOptions
	log     zerolog.Logger
	service atomic.Pointer[udpService]

	mu       sync.Mutex
	sessions map[netip.AddrPort]*session
	ended    bool
	wg       sync.WaitGroup
}

type udpService struct{ Service }

// defaultUDPTimeout is the reference's.
const defaultUDPTimeout = 3 * time.Second

// UDPOptions tune a UDP. The zero value is ready to use.
type UDPOptions struct {
	// Timeout is the silence that ends a session; zero means 3 s.
	Timeout time.Duration
	// Empty passes datagrams without content on. The reference drops them, whoever sends
	// them; they keep a session alive all the same.
	Empty bool
}

// NewUDP forwards what comes to conn, which it owns, once Run is called.
func NewUDP(conn *net.UDPConn, o UDPOptions, log zerolog.Logger) *UDP {
	if o.Timeout <= 0 {
		o.Timeout = defaultUDPTimeout
	}
	u := &UDP{conn: conn, opts: o, log: log, sessions: map[netip.AddrPort]*session{}}
	u.service.Store(&udpService{})
	return u
}

// SetService swaps the service; sessions keep their server. Nil drops new sessions.
func (u *UDP) SetService(s Service) { u.service.Store(&udpService{s}) }

// Addr is where it listens.
func (u *UDP) Addr() net.Addr { return u.conn.LocalAddr() }

// Open counts the sessions.
func (u *UDP) Open() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.sessions)
}

// Run forwards until Shutdown.
func (u *UDP) Run() error {
	buf, told := make([]byte, maxDatagram), make([]byte, maxTold)
	if !tellLocal(u.conn) {
		told = nil
	}
	for {
		n, k, _, from, err := u.conn.ReadMsgUDPAddrPort(buf, told)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			u.log.Debug().Err(err).Msg("reading a datagram")
			continue
		}
		// A server that is not there answers by ICMP, which a later call reports: then the
		// session is over, and the datagram opens another one, with the next server. UDP has
		// no way to tell the client.
		for range 2 {
			s := u.session(from)
			if s == nil {
				break
			}
			s.calledAt(told[:k])
			if s.send(buf[:n]) {
				break
			}
			u.forget(s)
		}
	}
}

// calledAt notes at which address the client called, so that the answers leave from there: a
// machine may have several, and a client takes no answer from another one. Only Run calls it.
func (s *session) calledAt(told []byte) {
	if len(told) == 0 || bytes.Equal(told, s.told) {
		return
	}
	s.told = append(s.told[:0], told...)
	from := replyFrom(told)
	s.from.Store(&from)
}

// answer sends a datagram to the client.
func (s *session) answer(b []byte) {
	if from := s.from.Load(); from != nil && len(*from) > 0 {
		if _, _, err := s.u.conn.WriteMsgUDPAddrPort(b, *from, s.peer); err == nil {
			return // else the address is gone
		}
	}
	_, _ = s.u.conn.WriteToUDPAddrPort(b, s.peer)
}

// send passes a datagram to the server. False means that it was not sent.
func (s *session) send(b []byte) bool {
	s.last.Store(time.Now().UnixNano())
	if len(b) == 0 && !s.u.opts.Empty {
		return true
	}
	_, err := s.conn.Write(b)
	return err == nil || errors.Is(err, syscall.EMSGSIZE)
}

// forget ends a session; the client's next datagram begins another one.
func (u *UDP) forget(s *session) {
	u.mu.Lock()
	if u.sessions[s.peer] == s {
		delete(u.sessions, s.peer)
	}
	u.mu.Unlock()
	_ = s.conn.Close()
}

type session struct {
	u    *UDP
	peer netip.AddrPort
	srv  *Server
	conn net.Conn
	last atomic.Int64
	told []byte // what was told of the client's last datagram, and what is to be told for answers
	from atomic.Pointer[[]byte]
}

// session finds or begins the session of a client; nil where there is no server. Only Run
// calls it.
func (u *UDP) session(peer netip.AddrPort) *session {
	u.mu.Lock()
	s, full := u.sessions[peer], u.ended || len(u.sessions) >= maxSessions
	u.mu.Unlock()
	to := u.service.Load().Service
	if s != nil || full || to == nil {
		return s
	}
	srv := to.Pick()
	if srv == nil {
		if b, ok := to.(*Balancer); ok {
			b.wake() // for what comes later: datagrams do not wait
		}
		return nil
	}
	c, err := net.Dial("udp", srv.Address) //nolint:noctx // does not wait but for a name
	if err != nil {
		u.log.Debug().Err(err).Str("serverURL", srv.Address).Msg("UDP session not begun")
		return nil
	}
	s = &session{u: u, peer: peer, srv: srv, conn: c}
	s.last.Store(time.Now().UnixNano())
	srv.enter()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		_ = c.Close()
		srv.leave()
		return nil
	}
	u.sessions[peer] = s
	u.wg.Go(s.answers)
	return s
}

// answers passes on what the server sends, and ends the session after silence, or when the
// server refuses what it was sent (ICMP).
func (s *session) answers() {
	defer func() {
		s.u.forget(s)
		s.srv.leave()
	}()
	buf := make([]byte, maxDatagram)
	for {
		_ = s.conn.SetReadDeadline(time.Unix(0, s.last.Load()).Add(s.u.opts.Timeout))
		n, err := s.conn.Read(buf)
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Since(time.Unix(0, s.last.Load())) < s.u.opts.Timeout:
			continue // the client said something meanwhile
		default:
			return
		}
		s.last.Store(time.Now().UnixNano())
		if n > 0 || s.u.opts.Empty {
			s.answer(buf[:n])
		}
	}
}

// Shutdown takes no new sessions, lets those under way end by silence until ctx ends, and
// closes the port.
func (u *UDP) Shutdown(ctx context.Context) error {
	u.mu.Lock()
	u.ended = true
	u.mu.Unlock()
	done := make(chan struct{})
	go func() { u.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		u.mu.Lock()
		for _, s := range u.sessions {
			_ = s.conn.Close()
		}
		u.mu.Unlock()
		<-done
	}
	_ = u.conn.Close()
	return ctx.Err()
}
