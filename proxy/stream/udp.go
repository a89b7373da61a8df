package stream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const (
	// maxDatagram is the largest UDP payload.
	maxDatagram = 65535
	// maxSessions bounds the sessions of a port: each holds a socket.
	maxSessions = 16384
)

// UDP forwards the datagrams of one port. A session is a client's address; it stays with
// its server until both sides were silent for the time-out.
type UDP struct {
	conn    *net.UDPConn
	timeout time.Duration
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

// NewUDP forwards what comes to conn, which it owns, once Run is called. A timeout of zero
// means 3 s.
func NewUDP(conn *net.UDPConn, timeout time.Duration, log zerolog.Logger) *UDP {
	if timeout <= 0 {
		timeout = defaultUDPTimeout
	}
	u := &UDP{conn: conn, timeout: timeout, log: log, sessions: map[netip.AddrPort]*session{}}
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
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := u.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			u.log.Debug().Err(err).Msg("reading a datagram")
			continue
		}
		if s := u.session(from); s != nil {
			s.last.Store(time.Now().UnixNano())
			// A server that is not there answers by ICMP, which a later call reports; UDP has
			// no way to tell the client.
			_, _ = s.conn.Write(buf[:n])
		}
	}
}

type session struct {
	u    *UDP
	peer netip.AddrPort
	srv  *Server
	conn net.Conn
	last atomic.Int64
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

// answers passes on what the server sends, and ends the session after silence.
func (s *session) answers() {
	defer func() {
		s.u.mu.Lock()
		delete(s.u.sessions, s.peer)
		s.u.mu.Unlock()
		_ = s.conn.Close()
		s.srv.leave()
	}()
	buf := make([]byte, maxDatagram)
	for {
		_ = s.conn.SetReadDeadline(time.Unix(0, s.last.Load()).Add(s.u.timeout))
		n, err := s.conn.Read(buf)
		if err != nil {
			var ne net.Error
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case errors.As(err, &ne) && ne.Timeout():
				if time.Since(time.Unix(0, s.last.Load())) >= s.u.timeout {
					return
				}
			default:
				// "Connection refused" by ICMP: the server may come back within the session.
				if time.Since(time.Unix(0, s.last.Load())) >= s.u.timeout {
					return
				}
				time.Sleep(time.Millisecond)
			}
			continue
		}
		s.last.Store(time.Now().UnixNano())
		_, _ = s.u.conn.WriteToUDPAddrPort(buf[:n], s.peer)
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
