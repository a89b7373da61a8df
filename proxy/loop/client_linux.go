package loop

import (
	"net/netip"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/record"
)

// client is a connection from a client.
type client struct {
	conn
	entry       *Entry
	tls         *tlsSide
	fr          *frames            // of a connection of HTTP/2
	st          *stream            // of a stream of one
	ex          *exchange.Exchange // the request under way
	srv         *server            // asked for it
	peer, local netip.AddrPort
	born        int64
	writeBy     int64 // end of the write timeout, 0 for none
	requests    int
	seen        int   // bytes of an incomplete head that were searched for its end
	headBy      int64 // when an incomplete head must be complete
	budget      int   // bytes that may still be dropped

	trusted  bool
	closing  bool // no further request after this one
	headSent bool // the final head of the answer is out
	bodyDone bool // the request has been read to its end
	cont     bool // 100 (Continue) is owed to the client
	handed   uint8
	mode     bodyMode
	// lastFail is why the server asked before could not be reached.
	lastFail exchange.Reason
	first    []byte // the whole body, kept for a repetition; nil if it cannot be repeated
	behind   []byte // what was read behind part, during ask

	tally tally
	came  record.Arrival
}

// tally is what the record needs beside the exchange.
type tally struct {
	reqBytes, respBytes, respHead, reqHead int64
	originBytes, originAt                  int64
	originStatus                           int
}

const clientSlab = 32

func (l *loop) newClient() *client {
	if len(l.clients) == 0 {
		slab := make([]client, clientSlab)
		for i := range slab {
			l.clients = append(l.clients, &slab[i])
		}
	}
	n := len(l.clients) - 1
	cl := l.clients[n]
	l.clients = l.clients[:n]
	cl.conn.cl, cl.timer.c, cl.fd = cl, &cl.conn, -1
	return cl
}

func (l *loop) freeClient(cl *client) {
	if st := cl.st; st != nil && len(l.streams) < maxExchanges {
		*st = stream{tail: st.tail[:0]}
		l.streams = append(l.streams, st)
	}
	*cl = client{}
	l.clients = append(l.clients, cl)
}

// admit takes a new connection.
func (l *loop) admit(e *Entry, fd int32, peer netip.AddrPort) {
	cl := l.newClient()
	cl.entry, cl.peer, cl.born = e, peer, l.now
	if !l.register(&cl.conn, fd) {
		l.k.Close(fd)
		l.freeClient(cl)
		return
	}
	l.count(cl, 1)
	l.current = &cl.conn
	cl.state = cHead
	if e.readsProxy() {
		cl.state = cProxy
	}
	l.known(cl)
	if cl.state == cHead && e.raw() {
		l.handOver(cl, CauseRaw, nil) // at once: the server may have to speak first
		return
	}
	if t := e.cfg.ReadTimeout; t > 0 {
		l.wheel.set(&cl.timer, l.now+int64(t))
	}
	cl.readable = true // what came with the handshake needs no event
	l.clientReadable(cl)
}

// known is called once the client's address is certain.
func (l *loop) known(cl *client) {
	if cl.state == cProxy {
		return
	}
	cl.trusted = cl.entry.cfg.Forwarding.Trusts(cl.peer.Addr())
}

// count notes that a client came to the loop or left it.
func (l *loop) count(cl *client, d int) {
	cl.entry.open.Add(int64(d))
	l.open += d
	l.load.Store(int64(l.open))
}

// clientReadable lets a client's state machine read.
func (l *loop) clientReadable(cl *client) {
	switch cl.state {
	case cProxy, cHead:
		l.readHead(cl)
	case cBody:
		l.readBody(cl)
	case cWait:
		if cl.hup {
			l.watchClient(cl)
		}
	case cDiscard:
		l.discard(cl)
	case cTunnel:
		l.relay(&cl.conn)
	case cFrames:
		l.readFrames(cl)
	case cLinger:
		l.linger(cl)
	}
}

// proceed lets the client go on in the next turn if there is more to read and its state wants it.
func (l *loop) proceed(cl *client) {
	next := cl.state <= cHead && len(cl.in) > 0 && cl.seen == 0 // a further request is here already
	if !cl.dead && (next || cl.readable && cl.state != cWait && cl.state != cFlush) {
		l.later(&cl.conn)
	}
}

// watchClient looks whether a client that waits for its answer has gone away.
func (l *loop) watchClient(cl *client) {
	if len(cl.in) > 0 {
		return // it has sent a further request and then its end; that counts when it is its turn
	}
	n, r := l.recv(&cl.conn, l.rb[headroom:headroom+quantum])
	switch r {
	case got:
		cl.in = append(l.buffer(n), l.rb[headroom:headroom+n]...)
		cl.seen = 0
	case ended:
		if !cl.entry.cfg.FinishHalfClosed {
			l.clientGone(cl, true)
		} else {
			cl.closing = true
		}
	case failed:
		l.clientGone(cl, false)
	}
}

// clientGone ends the request of a client that went away. One that has only closed its
// sending half still gets the answer that says so, as from the reference.
func (l *loop) clientGone(cl *client, half bool) {
	if half && !cl.headSent {
		l.clientsFault(cl, exchange.ClientGone)
		return
	}
	l.kill(cl)
}

// sendFailed is called when sending to c has failed.
func (l *loop) sendFailed(c *conn) {
	if c.cl != nil {
		l.kill(c.cl)
		return
	}
	// The server may have answered before it closed: what it said is read first.
	u := c.sv
	u.deaf = true
	l.recycle(u.out)
	u.out = nil
	if u.state == sTunnel {
		l.tunnelEnded(c)
		return
	}
	u.readable = true
	l.later(c)
	l.drained(c)
}

// drained is called when all that waited for c is sent.
func (l *loop) drained(c *conn) {
	if cl := c.cl; cl != nil {
		switch {
		case cl.state == cFrames:
			l.framesDrained(cl)
		case cl.state == cBridge:
			l.bridgeDrained(cl)
		case cl.state == cFlush:
			l.next(cl)
		case cl.state == cTunnel:
			l.tunnelDrained(c)
		case cl.srv != nil && cl.srv.readable:
			l.later(&cl.srv.conn)
		}
		return
	}
	u := c.sv
	if u.state == sTunnel {
		l.tunnelDrained(c)
	} else if cl := u.client; cl != nil && cl.state == cBody && cl.readable {
		l.waitFor(cl)
		l.later(&cl.conn)
	}
}
