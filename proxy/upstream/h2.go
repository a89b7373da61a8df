package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// relearn is for how long a server that chose HTTP/1.1 is not asked for HTTP/2 again.
const relearn = 5 * time.Minute

// askH2 asks by HTTP/2; tried is false where the server chose HTTP/1.1 by ALPN. The
// connection that told so is then in the pool.
func (c *Client) askH2(ctx context.Context, call *Call, p *pool) (res Result, tried bool, err *Error) {
	for again := false; ; again = true {
		cc, h1, derr := p.h2conn(ctx, call)
		if derr != nil {
			return Answered, true, derr
		}
		if h1 {
			return Answered, false, nil
		}
		call.outgoing()
		s := &stream{client: c, call: call, p: p, cc: cc}
		res, err = s.run(ctx)
		if err == nil || again || !err.Unsent || s.body != nil && s.body.hasBegun() {
			return res, true, err
		}
	}
}

// h2conn returns a connection with a stream reserved, or h1 where the server does not
// speak HTTP/2. Only one connection is dialled at a time.
func (p *pool) h2conn(ctx context.Context, call *Call) (cc *http2.ClientConn, h1 bool, err *Error) {
	h := &p.h2
	for {
		h.mu.Lock()
		if p.ep.Scheme == "https" && time.Now().Before(h.http1Until) {
			h.mu.Unlock()
			return nil, true, nil
		}
		for _, cc := range h.conns {
			if cc.ReserveNewRequest() {
				h.mu.Unlock()
				return cc, false, nil
			}
		}
		wait := h.dialing
		if wait == nil {
			h.dialing = make(chan struct{})
		}
		h.mu.Unlock()
		if wait == nil {
			return p.dialH2(ctx, call)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, false, &Error{Reason: exchange.ClientGone, Err: ctx.Err()}
		}
	}
}

func (p *pool) dialH2(ctx context.Context, call *Call) (cc *http2.ClientConn, h1 bool, err *Error) {
	h := &p.h2
	defer func() {
		h.mu.Lock()
		close(h.dialing)
		h.dialing = nil
		h.mu.Unlock()
	}()
	if call.Watch != nil {
		defer call.Watch()()
	}
	nc, derr := Dial(ctx, p.ep, []string{"h2", "http/1.1"})
	if derr != nil {
		return nil, false, asError(derr)
	}
	if tc, ok := nc.(*tls.Conn); ok && tc.ConnectionState().NegotiatedProtocol != "h2" {
		h.mu.Lock()
		h.http1Until = time.Now().Add(relearn)
		h.mu.Unlock()
		p.put(newConn(p, nc))
		return nil, true, nil
	}
	tr := p.ep.Transport
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tr == nil {
		h.tr = &http2.Transport{
			DisableCompression: true, AllowHTTP: true, IdleConnTimeout: tr.IdleConnTimeout,
			ReadIdleTimeout: tr.ReadIdleTimeout, PingTimeout: tr.PingTimeout,
			MaxHeaderListSize: uint32(p.client.opts.MaxHead),
		}
	}
	cc, cerr := h.tr.NewClientConn(nc)
	if cerr != nil || !cc.ReserveNewRequest() {
		_ = nc.Close()
		return nil, false, &Error{Reason: exchange.UpstreamBad, Err: errors.Join(errNoStream, cerr), Unsent: true}
	}
	h.conns = append(h.conns, cc)
	return cc, false, nil
}

var errNoStream = errors.New("the server's HTTP/2 connection gives no stream")

// stream is one request over HTTP/2.
type stream struct {
	client *Client
	call   *Call
	p      *pool
	cc     *http2.ClientConn
	body   *streamBody
	headed bool
	watch  watching

	slow func() // ends the request

	mu   sync.Mutex // RoundTrip may report interim answers after it has returned
	over bool
	gone error       // the client did not take an interim answer
	late *time.Timer // ends the wait for the answer's head
}

// errSlow ends a request whose answer takes too long.
var errSlow = errors.New("no answer in time")

func (s *stream) run(ctx context.Context) (Result, *Error) {
	ex := s.call.Ex
	parent := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer s.watch.end()
	s.slow = func() { cancel(errSlow) }
	req := s.request(ctx)
	s.watch.want(s.call.Watch, s.body == nil)
	if s.body != nil {
		defer s.body.finish()
	} else {
		s.sent()
	}
	resp, err := s.cc.RoundTrip(req)
	gone := s.came()
	if err != nil {
		if parent.Err() == nil && cancelledCall(ex, err) {
			return Answered, nil
		}
		return Answered, s.fail(parent, ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if gone != nil {
		return Answered, &Error{Reason: exchange.ClientGone, Err: gone}
	}
	s.call.OriginStatus = resp.StatusCode
	fromH2(ex, resp)
	wire.OutgoingResponse(ex)
	s.headed = true
	if err := s.call.Sink.Head(); err != nil {
		return Broken, &Error{Reason: exchange.ClientGone, Err: err}
	}
	if err := s.relay(parent, ctx, resp); err != nil {
		return Broken, err
	}
	return Done, nil
}

// request is the exchange's request for RoundTrip. It shares no memory with the exchange:
// RoundTrip may still encode it after it has returned.
func (s *stream) request(ctx context.Context) *http.Request {
	ex, ep := s.call.Ex, s.p.ep
	o := wire.OptionsFor(ex)
	u := &url.URL{Scheme: "https", Host: ep.Addr, RawQuery: strings.Clone(ex.Req.Query), ForceQuery: ex.Req.HasQuery}
	if ep.Scheme == "h2c" {
		u.Scheme = "http"
	}
	u.Opaque = strings.Clone(o.Prefix + ex.Req.Path)
	if strings.HasPrefix(u.Opaque, "//") {
		// An opaque part that begins so would be taken for an authority.
		u.Path, _ = url.PathUnescape(u.Opaque)
		u.RawPath, u.Opaque = u.Opaque, ""
	}
	req := &http.Request{Method: strings.Clone(ex.Req.Method), URL: u, Host: strings.Clone(ex.Req.Host), Header: http.Header{}}
	if o.Host != "" {
		req.Host = o.Host
	}
	for _, f := range ex.Req.Fields.All() {
		k := textproto.CanonicalMIMEHeaderKey(f.Name)
		switch k {
		case "Content-Length", "Connection", "Upgrade", "Expect":
			continue
		case "Trailer":
			if req.Trailer == nil {
				req.Trailer = http.Header{}
			}
			for n := range strings.SplitSeq(f.Value, ",") {
				req.Trailer[strings.Clone(textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(n)))] = nil
			}
			continue
		}
		k = strings.Clone(k)
		req.Header[k] = append(req.Header[k], strings.Clone(f.Value))
	}
	if len(req.Header["Te"]) == 0 && isGRPC(ex) {
		// gRPC servers may refuse calls without it; clients of gRPC-Web do not send it.
		req.Header["Te"] = []string{"trailers"}
	}
	if len(req.Header["User-Agent"]) == 0 {
		req.Header["User-Agent"] = []string{""} // none, rather than the library's own
	}
	if src := s.source(); src != nil {
		s.body = &streamBody{src: src, trailer: req.Trailer, read: s.read}
		s.body.cond.L = &s.body.mu
		req.Body = s.body
		req.ContentLength = -1
		if ex.Req.Framing == exchange.Sized {
			req.ContentLength = ex.Req.Length
		}
	} else {
		req.Trailer = nil
	}
	return req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: s.interim}))
}

// source is the body; one that an earlier attempt by HTTP/1.1 has read is at hand.
func (s *stream) source() Source {
	if s.call.gathered {
		return &wholeSource{Reader: strings.NewReader(string(s.call.whole)), trailers: s.call.Body.Trailers()}
	}
	if s.call.Body == nil {
		return nil
	}
	return s.call.Body
}

type wholeSource struct {
	*strings.Reader
	trailers *exchange.Fields
}

func (w *wholeSource) Complete() bool             { return true }
func (w *wholeSource) Trailers() *exchange.Fields { return w.trailers }
func (w *wholeSource) Stop()                      {}

// interim passes a 1xx head on; RoundTrip calls it before it returns.
func (s *stream) interim(code int, h textproto.MIMEHeader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || code == http.StatusContinue {
		return nil
	}
	var f exchange.Fields
	addHeader(&f, http.Header(h))
	s.call.Ex.Resp.StatusText = ""
	if err := s.call.Sink.Info(code, &f); err != nil {
		s.gone = err
	}
	return nil
}

func addHeader(f *exchange.Fields, h http.Header) {
	names := make([]string, 0, len(h))
	for k := range h {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		for _, v := range h[k] {
			f.Add(k, v)
		}
	}
}

// fromH2 fills ex.Resp.
func fromH2(ex *exchange.Exchange, resp *http.Response) {
	r := &ex.Resp
	r.Status, r.StatusText, r.Length, r.Upgrade = resp.StatusCode, "", 0, ""
	r.Fields.Reset()
	addHeader(&r.Fields, resp.Header)
	if len(resp.Trailer) > 0 {
		names := make([]string, 0, len(resp.Trailer))
		for k := range resp.Trailer {
			names = append(names, k)
		}
		slices.Sort(names)
		r.Fields.Add("Trailer", strings.Join(names, ", "))
	}
	switch {
	case ex.Req.Method == http.MethodHead || r.Status == http.StatusNoContent || r.Status == http.StatusNotModified,
		resp.ContentLength == 0 && !r.Fields.Has("Content-Length"):
		r.Framing = exchange.NoBody
	case resp.ContentLength >= 0:
		r.Framing, r.Length = exchange.Sized, resp.ContentLength
	default:
		r.Framing = exchange.Streamed
	}
}

// relay passes the body on.
func (s *stream) relay(parent, ctx context.Context, resp *http.Response) *Error {
	bp := bodyBufs.Get().(*[]byte)
	defer bodyBufs.Put(bp)
	sink := s.call.Sink
	// A head without a body goes out with the end of the stream: in gRPC the two together
	// say that the head's fields are the trailers.
	if s.call.Ex.Resp.Framing != exchange.NoBody {
		if err := sink.Flush(); err != nil {
			return &Error{Reason: exchange.ClientGone, Err: err}
		}
	}
	for {
		n, err := resp.Body.Read(*bp)
		if n > 0 {
			s.call.OriginBytes += int64(n)
			if _, werr := sink.Write((*bp)[:n]); werr != nil {
				return &Error{Reason: exchange.ClientGone, Err: werr}
			}
		}
		switch {
		case err == nil:
			if ferr := sink.Flush(); ferr != nil {
				return &Error{Reason: exchange.ClientGone, Err: ferr}
			}
		case err == io.EOF:
			var tr exchange.Fields
			addHeader(&tr, resp.Trailer)
			s.call.Ex.Log.GRPCStatus = tr.Get("Grpc-Status")
			if eerr := sink.End(&tr); eerr != nil {
				return &Error{Reason: exchange.ClientGone, Err: eerr}
			}
			return nil
		default:
			return s.fail(parent, ctx, err)
		}
	}
}

// fail says why the stream failed.
func (s *stream) fail(parent, ctx context.Context, err error) *Error {
	e := &Error{Reason: exchange.UpstreamEOF, Err: err}
	var se http2.StreamError
	var src *Error
	if s.body != nil {
		src = s.body.fault()
	}
	switch {
	case src != nil:
		return src
	case parent.Err() != nil:
		e.Reason = exchange.ClientGone
	case errors.Is(context.Cause(ctx), errSlow):
		e.Reason = exchange.UpstreamSlow
	case errors.As(err, &se):
		// RFC 9113 §8.7: a refused stream was not processed at all.
		e.Unsent = se.Code == http2.ErrCodeRefusedStream
		if se.Code == http2.ErrCodeProtocol {
			e.Reason = exchange.UpstreamBad
		}
	case unusable(err):
		e.Unsent = true
	}
	e.Unsent = e.Unsent && (s.body == nil || !s.body.hasBegun())
	return e
}

// unusable reports errors of x/net/http2 for a connection that ended before the stream was
// opened. They are not exported.
func unusable(err error) bool {
	switch err.Error() {
	case "http2: client conn not usable", "http2: client conn is closed",
		"http2: Transport received Server's graceful shutdown GOAWAY":
		return true
	}
	return false
}

// streamBody is a Source as RoundTrip reads it. RoundTrip may go on reading and closing
// after it has returned; finish ends that, since the Source belongs to the exchange.
type streamBody struct {
	src     Source
	trailer http.Header
	read    func() // called at the end of the body

	mu      sync.Mutex
	cond    sync.Cond
	began   bool
	reading bool
	closed  bool
	err     error
}

func (b *streamBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	b.began, b.reading = true, true
	b.mu.Unlock()
	n, err := b.src.Read(p)
	if err == io.EOF {
		b.read()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.cond.Broadcast()
	if err == io.EOF && b.trailer != nil {
		if tr := b.src.Trailers(); tr != nil {
			for _, f := range tr.All() {
				k := textproto.CanonicalMIMEHeaderKey(f.Name)
				if _, announced := b.trailer[k]; announced {
					b.trailer[k] = append(b.trailer[k], strings.Clone(f.Value))
				}
			}
		}
	}
	if err != nil && err != io.EOF && !b.closed {
		b.err = err
	}
	return n, err
}

// Close implements io.Closer.
func (b *streamBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		if b.reading {
			b.src.Stop()
		}
	}
	return nil
}

// finish waits until nobody reads any more.
func (b *streamBody) finish() {
	_ = b.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.reading {
		b.cond.Wait()
	}
}

// fault is the client's error, or nil.
func (b *streamBody) fault() *Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		return nil
	}
	return sourceError(b.err)
}

func (b *streamBody) hasBegun() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.began
}
