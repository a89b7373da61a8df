package serve

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// h2conn is an HTTP/2 connection: the http.Handler of its streams.
type h2conn struct {
	s     *Server
	c     Conn
	since time.Time

	mu       sync.Mutex
	requests int
}

// replayed is a connection whose first bytes were read already. The address is the client's.
type replayed struct {
	net.Conn
	first []byte
}

func (c *replayed) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (s *Server) serveH2(c Conn) {
	s.mu.Lock()
	s.streams[c.Conn] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer func() {
		_ = c.Conn.Close()
		s.mu.Lock()
		delete(s.streams, c.Conn)
		s.mu.Unlock()
		s.wg.Done()
	}()
	nc := c.Conn
	if len(c.Buffered) > 0 {
		nc = &replayed{Conn: nc, first: bytes.Clone(c.Buffered)}
	}
	_ = c.Conn.SetDeadline(time.Time{})
	s.h2.ServeConn(nc, &http2.ServeConnOpts{
		Context: context.Background(), BaseConfig: s.base, Handler: &h2conn{s: s, c: c, since: time.Now()},
	})
}

var exchanges = sync.Pool{New: func() any { return new(exchange.Exchange) }}

// ServeHTTP implements http.Handler for one stream.
func (c *h2conn) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.serve(w, r, "HTTP/2.0") }

func (c *h2conn) serve(w http.ResponseWriter, r *http.Request, proto string) {
	s := c.s
	ex := exchanges.Get().(*exchange.Exchange)
	ex.Reset()
	ex.Now, _ = s.now()
	req := &ex.Req
	req.TLS, req.Peer, req.Local = c.c.TLS, c.c.Peer, c.c.Local
	req.EntryPoint = s.cfg.EntryPoint
	req.PeerTrusted = s.cfg.Forwarding.Trusts(c.c.Peer.Addr())
	f := &h2front{httpSink: httpSink{w: w, ex: ex, outlives: true}, c: c}
	f.final = f.finalHead
	defer f.stop()
	l := life{s: s, ex: ex, front: f}
	src := &h2source{streamBody: streamBody{body: r.Body, limit: s.cfg.ReadTimeout, answered: &f.sent}, r: r}
	req.Proto = proto
	bad := parseH2(ex, r)
	if bad == nil && req.Framing != exchange.NoBody {
		l.body = src
	}
	var cut bool
	if bad != nil {
		l.arrive()
		ex.Reply(bad.Status, bad.Reason, badText(bad.Status))
		cut = l.answer()
	} else {
		cut = l.begin(r.Context())
	}
	src.Stop()
	l.end(src.read, f.wrote, 0, 0)
	if !l.borrowed {
		ex.Reset()
		exchanges.Put(ex)
	}
	if cut {
		panic(http.ErrAbortHandler) // resets the stream
	}
}

// parseH2 fills ex.Req from a request of HTTP/2 or 3. What is right is said by
// wire.FramedHead, for the loop lane too.
func parseH2(ex *exchange.Exchange, r *http.Request) *wire.Error {
	req := &ex.Req
	req.Method, req.Host, req.Target = r.Method, r.Host, r.RequestURI
	for k, vals := range r.Header {
		for _, v := range vals {
			req.Fields.Add(k, v)
		}
	}
	// x/net/http2 takes these two out of the fields.
	for k := range r.Trailer {
		req.Fields.Add("Trailer", k)
	}
	if _, err := wire.FramedHead(ex); err != nil {
		return err
	}
	req.Framing, req.Length, req.Expect100 = exchange.NoBody, 0, false
	switch {
	case r.ContentLength > 0:
		req.Framing, req.Length = exchange.Sized, r.ContentLength
	case r.ContentLength < 0:
		req.Framing = exchange.Streamed
	}
	req.KeepAlive = true
	return nil
}

// h2front is the client's side of a stream.
type h2front struct {
	framed
	httpSink
	c *h2conn
}

// finalHead completes the head of the answer.
func (f *h2front) finalHead() {
	c, resp := f.c, &f.ex.Resp
	if resp.Status == http.StatusNoContent {
		resp.Fields.Del("Content-Length") // RFC 9110 §8.6
	}
	if !resp.Fields.Has("Content-Type") {
		f.w.Header()["Content-Type"] = nil // x/net/http2 would guess one, which HTTP/1.1 does not do here
	}
	if f.ex.Req.Proto == protoHTTP3 {
		return
	}
	if c.c.TLS != nil {
		altSvc(&resp.Fields, c.s.cfg.AltSvc)
	}
	c.mu.Lock()
	c.requests++
	n := c.requests
	c.mu.Unlock()
	cfg := &c.s.cfg
	if cfg.KeepAliveMaxRequests > 0 && n >= cfg.KeepAliveMaxRequests ||
		cfg.KeepAliveMaxTime > 0 && time.Since(c.since) >= cfg.KeepAliveMaxTime {
		// Makes x/net/http2 send GOAWAY; the field itself is not sent.
		resp.Fields.Set("Connection", "close")
	}
}

func (f *h2front) headSent() bool { return f.sent.Load() }

// Upgrade implements upstream.Sink; HTTP/2 has no upgrades (RFC 9113 §8.6).
func (f *h2front) Upgrade() (net.Conn, []byte, error) { return nil, nil, http.ErrNotSupported }

// h2source is the body of a stream.
type h2source struct {
	streamBody
	r        *http.Request
	trailers exchange.Fields
}

// Read implements upstream.Source.
func (b *h2source) Read(p []byte) (int, error) {
	n, err := b.streamBody.Read(p)
	if err == io.EOF { //nolint:errorlint // io.Reader's own end
		b.trailers.Reset()
		for k, vals := range b.r.Trailer {
			for _, v := range vals {
				b.trailers.Add(k, v)
			}
		}
	}
	return n, err
}

// Complete implements upstream.Source; what is buffered in a stream cannot be seen.
func (b *h2source) Complete() bool { return false }

// Trailers implements upstream.Source.
func (b *h2source) Trailers() *exchange.Fields {
	if b.trailers.Len() == 0 {
		return nil
	}
	return &b.trailers
}
