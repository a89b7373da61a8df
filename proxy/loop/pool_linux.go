package loop

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/loop/epoll"
)

// pool holds a loop's idle connections to an endpoint, the last used at the end.
type pool struct {
	ep   *exchange.Endpoint
	idle []*server
	max  int

	// to is where to connect, for an address or a path; host and port where a name must be looked up.
	to      epoll.Target
	host    string
	port    uint16
	addrs   []netip.Addr
	looked  int64 // when
	asking  bool
	waiting []*server
	bad     bool // Addr makes no sense
}

// pool returns the pool of ep.
func (l *loop) pool(ep *exchange.Endpoint) *pool {
	id := int(ep.ID)
	for id >= len(l.pools) {
		l.pools = append(l.pools, make([]*pool, max(16, len(l.pools), id+1-len(l.pools)))...)
	}
	p := l.pools[id]
	if p == nil || p.ep != ep {
		p = newPool(ep, len(l.g.loops))
		l.pools[id] = p
	}
	return p
}

func newPool(ep *exchange.Endpoint, loops int) *pool {
	p := &pool{ep: ep, max: 200}
	if t := ep.Transport; t != nil && t.MaxIdlePerHost != 0 {
		p.max = t.MaxIdlePerHost
	}
	if p.max > 0 {
		p.max = max(1, (p.max+loops-1)/max(1, loops))
	}
	if ep.Network == "unix" {
		p.to.Path = ep.Addr
		return p
	}
	host, port, err := net.SplitHostPort(ep.Addr)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil {
		p.bad = true
		return p
	}
	p.port = uint16(n)
	if a, err := netip.ParseAddr(host); err == nil {
		p.to.Addr = netip.AddrPortFrom(a, p.port)
		return p
	}
	p.host = host
	return p
}

// forget makes the next connection look the name up again.
func (p *pool) forget() { p.looked = 0 }

// idle takes the connection that was used last, if there is one. For a request that must not
// be sent twice it is made sure, as far as one can, that the server has not closed it.
func (l *loop) idle(p *pool, cl *client) *server {
	for n := len(p.idle); n > 0; n = len(p.idle) {
		u := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		u.state, u.reused, u.got, u.interim, u.seen = sHead, true, false, 0, 0
		if u.hup || (u.readable || !idempotent(cl.ex.Req.Method)) && l.stale(u) {
			l.drop(u)
			continue
		}
		return u
	}
	return nil
}

// stale reports that a kept connection has something to say, or its end: both make it useless.
func (l *loop) stale(u *server) bool {
	if n, e := l.k.Peek(u.fd); e != eAgain || n > 0 {
		return true
	}
	u.readable = false
	return false
}

const (
	// surplusTime is how long connections beyond the limit stay: between the answers of one
	// turn and the requests of the next many are idle that are needed at once.
	surplusTime = int64(time.Second)
	// maxSurplus is up to how many times the limit; one below minSurplus is meant as it is.
	maxSurplus = 16
	minSurplus = 32
)

// most is how many connections are kept for a moment.
func (p *pool) most() int {
	if p.max < minSurplus {
		return p.max
	}
	return p.max * maxSurplus
}

// rest puts u into its pool.
func (l *loop) rest(u *server) {
	p := u.pool
	if p.max < 0 || p.ep.Leaving() || l.draining && l.open == 0 {
		l.drop(u)
		return
	}
	surplus := len(p.idle) >= p.max
	if surplus && len(p.idle) >= p.most() {
		l.drop(p.idle[0])
	}
	u.state, u.place = sIdle, len(p.idle)
	p.idle = append(p.idle, u)
	d := int64(0)
	if t := p.ep.Transport; t != nil && t.IdleConnTimeout > 0 {
		d = l.now + int64(t.IdleConnTimeout)
	}
	if surplus {
		d = sooner(d, l.now+surplusTime)
	}
	l.wheel.set(&u.timer, d)
	if u.readable {
		l.later(&u.conn) // the last read may have ended where the answer did
	}
}

// drop closes the connection to a server and forgets it.
func (l *loop) drop(u *server) {
	if u.dead {
		return
	}
	if u.state == sIdle {
		p := u.pool
		if u.place < len(p.idle) && p.idle[u.place] == u {
			p.idle = append(p.idle[:u.place], p.idle[u.place+1:]...)
			for i := u.place; i < len(p.idle); i++ {
				p.idle[i].place = i
			}
		}
	}
	fd := u.fd
	l.bury(&u.conn)
	if fd >= 0 {
		l.k.Close(fd)
	}
}

// sweep closes idle connections to endpoints that are leaving or gone.
func (l *loop) sweep() {
	for _, p := range l.pools {
		if p == nil || !p.ep.Leaving() {
			continue
		}
		for len(p.idle) > 0 {
			l.drop(p.idle[len(p.idle)-1])
		}
	}
	l.leaveDials()
}

// resolvedFor is how long addresses of a name are used without asking again.
const resolvedFor = int64(time.Second)

// dial begins a connection to the endpoint.
func (l *loop) dial(p *pool) (*server, exchange.Reason) {
	u := l.newServer()
	u.pool = p
	switch {
	case p.bad:
		l.freeServer(u)
		return nil, exchange.DialFailed
	case p.host == "":
		if failure := l.connect(u, p.to); failure != exchange.NoReason {
			l.abandon(u)
			return nil, failure
		}
		return u, exchange.NoReason
	case l.now-p.looked < resolvedFor && len(p.addrs) > 0:
		if failure := l.connectAny(u, p.addrs); failure != exchange.NoReason {
			l.abandon(u)
			return nil, failure
		}
		return u, exchange.NoReason
	}
	u.state = sResolve
	p.waiting = append(p.waiting, u)
	l.lookUp(p)
	return u, exchange.NoReason
}

// abandon gives up a server without a descriptor.
func (l *loop) abandon(u *server) {
	l.wheel.unlink(&u.timer)
	l.freeServer(u)
}

// connectAny tries addresses until one does not fail at once.
func (l *loop) connectAny(u *server, addrs []netip.Addr) exchange.Reason {
	failure := exchange.DialNoHost
	for i, a := range addrs {
		u.alts = addrs[i+1:]
		if failure = l.connect(u, epoll.Target{Addr: netip.AddrPortFrom(a, u.pool.port)}); failure == exchange.NoReason {
			break
		}
	}
	return failure
}

// connect begins to connect u.
func (l *loop) connect(u *server, to epoll.Target) exchange.Reason {
	fd, pending, e := l.k.Dial(to)
	if e != 0 {
		return dialReason(e)
	}
	u.state = sHead
	if pending {
		u.state = sDial
	}
	if !l.register(&u.conn, fd) {
		l.k.Close(fd)
		u.fd = -1
		return exchange.DialFailed
	}
	return exchange.NoReason
}

// redial gives u a new descriptor, for another address of the same server.
func (l *loop) redial(u *server, a netip.Addr) bool {
	if u.fd >= 0 {
		l.conns[u.fd] = nil
		l.k.Close(u.fd)
		u.fd = -1
	}
	u.readable, u.hup, u.eof = false, false, false
	if l.connect(u, epoll.Target{Addr: netip.AddrPortFrom(a, u.pool.port)}) != exchange.NoReason {
		return false
	}
	if u.state == sHead { // at once
		l.dialled(u)
	}
	return true
}

func (l *loop) expectDial(u *server) {
	d := int64(0)
	if t := u.pool.ep.Transport; t != nil && t.DialTimeout > 0 {
		d = l.now + int64(t.DialTimeout)
	}
	l.wheel.set(&u.timer, d)
}

// lookUp asks for the addresses of p's name, in a goroutine of its own.
func (l *loop) lookUp(p *pool) {
	if p.asking {
		return
	}
	p.asking = true
	limit := 10 * time.Second
	if t := p.ep.Transport; t != nil && t.DialTimeout > 0 {
		limit = t.DialTimeout
	}
	host, resolve := p.host, l.g.resolve
	l.g.helpers.Add(1)
	go func() {
		defer l.g.helpers.Done()
		ctx, cancel := context.WithTimeout(l.g.ctx, limit)
		defer cancel()
		addrs, err := resolve(ctx, host)
		l.post(func(l *loop) { l.lookedUp(p, addrs, err) })
	}()
}

// lookedUp connects those who waited for the addresses.
func (l *loop) lookedUp(p *pool, addrs []netip.Addr, err error) {
	p.asking = false
	failure := exchange.DialNoHost
	if err != nil && context.DeadlineExceeded == err {
		failure = exchange.DialTimeout
	}
	if err == nil && len(addrs) > 0 {
		p.addrs, p.looked = addrs, l.now
	}
	waiting := p.waiting
	p.waiting = nil
	for _, u := range waiting {
		if u.dead || u.state != sResolve || u.pool != p {
			continue
		}
		f := failure
		if err == nil && len(addrs) > 0 {
			f = l.connectAny(u, addrs)
		}
		switch {
		case f != exchange.NoReason:
			u.alts = nil
			l.dialFailed(u, f)
		case u.state == sHead:
			l.dialled(u)
		}
	}
}
