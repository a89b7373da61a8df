package loop

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// Entry is an entry point of a Group.
type Entry struct {
	g         *Group
	cfg       EntryPoint
	limits    wire.Limits
	inFrames  wire.Limits // of the heads of HTTP/2
	tlsConfig *tls.Config
	addr      net.Addr
	ending    atomic.Bool
	matcher   atomic.Pointer[matcherBox]
	open      atomic.Int64
}

type matcherBox struct{ exchange.Matcher }

// nobody matches nothing.
type nobody struct{}

func (nobody) Match(*exchange.Exchange) (*exchange.Route, exchange.Reason) {
	return nil, exchange.NoRouter
}

// SetMatcher swaps the routes; requests under way keep theirs.
func (e *Entry) SetMatcher(m exchange.Matcher) { e.matcher.Store(&matcherBox{m}) }

// Open is the number of its clients on the loops.
func (e *Entry) Open() int { return int(e.open.Load()) }

// Addr is where the entry point listens.
func (e *Entry) Addr() net.Addr { return e.addr }

// Adopt takes a clear connection that waits for its first request, with bytes that were read
// from it. False leaves it where it is.
func (e *Entry) Adopt(c net.Conn, buffered []byte) bool {
	tr := traveller{entry: e, born: time.Now().UnixNano()}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		tr.peer = a.AddrPort()
		tr.peer = netip.AddrPortFrom(tr.peer.Addr().Unmap(), tr.peer.Port())
	}
	return tr.comeBack(c, buffered)
}

func (e *Entry) raw() bool { return e.cfg.Raw != nil && e.cfg.Raw() }

// readsProxy reports whether connections may begin with a PROXY header. The header of a peer
// that is not believed is read and forgotten, as the reference does it.
func (e *Entry) readsProxy() bool { return e.cfg.ProxyInsecure || len(e.cfg.ProxyFrom) > 0 }

// believes reports whether a's PROXY headers count.
func (e *Entry) believes(a netip.Addr) bool {
	return e.cfg.ProxyInsecure || wire.InNetworks(e.cfg.ProxyFrom, a)
}

func (g *Group) newEntry(cfg EntryPoint) (*Entry, error) {
	if cfg.Forwarding == nil || cfg.HandOver == nil {
		return nil, fmt.Errorf("entry point %s: Forwarding and HandOver are needed", cfg.Name)
	}
	e := &Entry{g: g, cfg: cfg, limits: wire.Limits{MaxHead: cfg.MaxHead}}
	if e.limits.MaxHead <= 0 {
		e.limits.MaxHead = wire.DefaultMaxHead
	}
	e.inFrames = e.limits
	e.limits.MaxHead += wire.HeadSlack
	e.SetMatcher(nobody{})
	if cfg.TLS != nil {
		e.tlsConfig = &tls.Config{GetConfigForClient: cfg.TLS, MinVersion: tls.VersionTLS10} // the callback's result says what holds
	}
	return e, nil
}

// CloseListener ends the accepting of new connections; what waits in the queue is taken.
func (e *Entry) CloseListener() {
	for _, l := range e.g.loops {
		l.post(func(l *loop) { l.stopListening(e) })
	}
}

// Shutdown ends one entry point while the others go on: it closes the listeners, lets
// requests under way finish, and cuts what is left when ctx ends.
func (e *Entry) Shutdown(ctx context.Context) error {
	e.ending.Store(true)
	for _, l := range e.g.loops {
		l.post(func(l *loop) {
			l.stopListening(e)
			l.endIdle(e)
		})
	}
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for e.open.Load() > 0 {
		select {
		case <-t.C:
		case <-e.g.done:
			return nil
		case <-ctx.Done():
			for _, l := range e.g.loops {
				l.post(func(l *loop) { l.killAll(e) })
			}
			return ctx.Err()
		}
	}
	return nil
}

// stopListening closes the sockets of an entry point, or of all for nil.
func (l *loop) stopListening(e *Entry) {
	l.listen = slices.DeleteFunc(l.listen, func(ls *listener) bool {
		if e != nil && ls.entry != e {
			return false
		}
		// What is in the queue already would be reset.
		for {
			fd, peer, errno := l.k.Accept(ls.fd)
			if errno != 0 {
				break
			}
			l.admit(ls.entry, fd, peer)
		}
		l.k.Close(ls.fd)
		return true
	})
}

// endIdle ends the connections that wait for a request, of one entry point or of all.
func (l *loop) endIdle(e *Entry) {
	for _, c := range l.conns {
		if c != nil && !c.dead && c.state == cFrames && (e == nil || c.cl.entry == e) {
			l.leaveFrames(c.cl)
			continue
		}
		if c == nil || c.dead || c.cl == nil || c.state > cHead || len(c.in) > 0 || e != nil && c.cl.entry != e {
			continue
		}
		if c.cl.requests > 0 {
			l.finish(c.cl)
		} else {
			l.wheel.set(&c.timer, l.now+int64(newConnGrace))
		}
	}
}

func (l *loop) killAll(e *Entry) {
	for _, c := range l.conns {
		if c != nil && !c.dead && c.cl != nil && c.cl.entry == e {
			l.kill(c.cl)
		}
	}
}

// framed reports whether HTTP/2 is served by the loops.
func (e *Entry) framed() bool { return e.cfg.HandStream != nil }

// leaving reports whether a client's connection is to end after the request in hand.
func (l *loop) leaving(cl *client) bool { return l.draining || cl.entry.ending.Load() }
