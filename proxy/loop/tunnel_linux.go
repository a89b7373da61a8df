package loop

import (
	"strings"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// halfOpen is how long a tunnel may be silent after one side has ended.
const halfOpen = 10 * time.Second

// switchProtocols turns both connections into a tunnel. b is what the server sent behind its head.
func (l *loop) switchProtocols(u *server, b []byte) {
	cl := u.client
	ex := cl.ex
	if !wire.Switched(ex) {
		l.serverFailed(u, exchange.UpstreamBad)
		return
	}
	cl.tally.originStatus = 101
	wire.OutgoingResponse(ex)
	ex.RunResponse()
	head := wire.AppendResponse(l.ob[:0], &ex.Resp, wire.ResponseOptions{Date: l.date})
	l.ob = head[:0]
	cl.tally.respHead = int64(len(head))
	cl.tally.respBytes += int64(len(b))
	cl.headSent = true
	cl.state, u.state = cTunnel, sTunnel
	l.wheel.set(&cl.timer, 0)
	l.wheel.set(&u.timer, 0)
	early := cl.in
	cl.in = nil
	cl.tally.reqBytes += int64(len(early))
	ok := l.send(&cl.conn, l.join(head, b)) && l.send(&u.conn, early)
	l.recycle(early)
	if !ok {
		l.tunnelEnded(&cl.conn)
		return
	}
	l.slim(cl)
	if cl.readable || cl.hup {
		cl.readable = true
		l.later(&cl.conn)
	}
}

// slim frees what a tunnel, which may live for days, does not need of its exchange.
func (l *loop) slim(cl *client) {
	if w := l.g.opts.Wants; w.Request() || w.Response() {
		return
	}
	full := cl.ex
	cl.ex = full.Slim()
	cl.came.Method = cl.ex.Req.Method
	cl.came.ForwardedFor = strings.Clone(cl.came.ForwardedFor)
	l.putExchange(full)
}

// other is the other end of a tunnel.
func other(c *conn) *conn {
	if c.cl != nil {
		return &c.cl.srv.conn
	}
	return &c.sv.client.conn
}

// relay passes on what c has to say.
func (l *loop) relay(c *conn) {
	to := other(c)
	if len(to.out) > 0 {
		return
	}
	b := l.rb[headroom : headroom+quantum]
	n, r := l.recv(c, b)
	switch r {
	case again:
	case failed:
		l.tunnelEnded(c)
	case ended:
		l.halfClosed(c, to)
	default:
		cl := c.cl
		if cl != nil {
			cl.tally.reqBytes += int64(n)
		} else {
			cl = c.sv.client
			cl.tally.respBytes += int64(n)
		}
		if to.eof {
			l.wheel.set(&cl.timer, l.now+int64(halfOpen))
		}
		if !l.send(to, b[:n]) {
			l.tunnelEnded(c)
			return
		}
		if c.readable {
			l.later(c)
		}
	}
}

// halfClosed passes the end of one side on. The other may still finish what it says.
func (l *loop) halfClosed(c, to *conn) {
	if to.eof {
		l.tunnelEnded(c)
		return
	}
	cl := c.cl
	if cl == nil {
		cl = c.sv.client
	}
	l.wheel.set(&cl.timer, l.now+int64(halfOpen))
	if len(to.out) == 0 {
		l.shut(to)
	}
}

func (l *loop) shut(c *conn) {
	if c.cl != nil && c.cl.tls != nil {
		l.goodbye(c.cl)
		if len(c.out) > 0 {
			return
		}
	}
	l.k.Shut(c.fd)
}

// tunnelDrained is called when c has taken all that was sent to it.
func (l *loop) tunnelDrained(c *conn) {
	from := other(c)
	switch {
	case from.eof:
		l.shut(c)
	case from.readable:
		l.later(from)
	}
}

// tunnelEnded ends a tunnel.
func (l *loop) tunnelEnded(c *conn) {
	cl := c.cl
	if cl == nil {
		cl = c.sv.client
	}
	if cl.dead {
		return
	}
	if cl.tls != nil && !cl.eof && len(cl.out) == 0 {
		l.goodbye(cl)
	}
	u := cl.srv
	cl.srv, u.client = nil, nil
	l.drop(u)
	l.finished(cl, exchange.OK)
	l.close(cl)
}
