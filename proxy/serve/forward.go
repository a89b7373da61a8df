package serve

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/upstream"
)

// Forward returns the handler at the end of a tail: it sends the request to a server that
// to picks. The Exchange of the request's context is brought up to date with what stages
// changed; without one (a request that a stage made itself) a fresh one is used. Requests
// that run beside their original, as mirrors do, must not share its Exchange: give them
// exchange.NewContext(ctx, nil).
//
// Forward may be called again for the same request after it has returned, as a stage that
// retries does, if the body can be read again.
func Forward(to exchange.Service, client *upstream.Client) http.Handler {
	return &forwarder{to: to, client: client}
}

type forwarder struct {
	to     exchange.Service
	client *upstream.Client
}

// ServeHTTP implements http.Handler.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	ex := exchange.FromContext(ctx)
	own := ex == nil
	if own {
		ex = new(exchange.Exchange)
		adopt(ex, r)
		defer ex.RunDone()
	} else {
		ex.ForgetTried()
		ex.Reason = exchange.NoReason
	}
	takeRequest(ex, r)
	mark := ex.Pending()
	sink := &httpSink{w: w, ex: ex, mark: mark}
	defer sink.stop()
	call := upstream.Call{Ex: ex, To: f.to, Sink: sink, Body: sourceOf(r)}
	l, _ := ctx.Value(lifeKey{}).(*life)
	if l != nil && l.ex == ex && l.body != nil {
		call.Watch = l.watch
	}
	if l != nil && l.ex == ex {
		call.Private = l.private()
	}
	res := f.client.Do(ctx, &call)
	if l != nil && l.ex == ex {
		l.call.OriginStatus, l.call.OriginBytes = call.OriginStatus, call.OriginBytes
		l.call.OriginDuration += call.OriginDuration
		l.call.TunnelIn, l.call.TunnelOut = call.TunnelIn, call.TunnelOut
		if res == upstream.Answered && fatal(ex.Reason) {
			l.front.doomed()
		}
	}
	switch res {
	case upstream.Answered:
		if l != nil {
			l.s.dress(ex)
		}
		if sendReply(sink, ex) != nil {
			panic(http.ErrAbortHandler)
		}
	case upstream.Broken:
		panic(http.ErrAbortHandler)
	}
}

// sourceOf is the request's body as the upstream client reads it; nil without one.
func sourceOf(r *http.Request) upstream.Source {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	if b, ok := r.Body.(interface{ Source() upstream.Source }); ok {
		return b.Source()
	}
	return &readerSource{r: r}
}

// readerSource is a body that a stage has put in place of the client's.
type readerSource struct {
	r        *http.Request
	trailers exchange.Fields
}

func (s *readerSource) Read(p []byte) (int, error) {
	n, err := s.r.Body.Read(p)
	if err == io.EOF {
		s.trailers.Reset()
		for k, vals := range s.r.Trailer {
			for _, v := range vals {
				s.trailers.Add(k, v)
			}
		}
	}
	return n, err
}

func (s *readerSource) Complete() bool { return false }

func (s *readerSource) Trailers() *exchange.Fields {
	if s.trailers.Len() == 0 {
		return nil
	}
	return &s.trailers
}

// Stop closes the body: a Read that waits then returns, where the body is the stream of a client.
func (s *readerSource) Stop() { _ = s.r.Body.Close() }

// adopt makes ex the exchange of a request that came from no lane.
func adopt(ex *exchange.Exchange, r *http.Request) {
	req := &ex.Req
	req.Proto, req.Target, req.TLS = r.Proto, r.RequestURI, r.TLS
	if req.Target == "" {
		req.Target = r.URL.RequestURI()
	}
	req.Peer, _ = netip.ParseAddrPort(r.RemoteAddr)
	ex.Now = time.Now().UnixNano()
	ex.MayBlock, ex.Ctx = true, r.Context()
}

// takeRequest brings ex.Req up to date with what handlers did to r.
func takeRequest(ex *exchange.Exchange, r *http.Request) {
	req := &ex.Req
	ex.Outgoing = false
	req.Method, req.Host = r.Method, r.Host
	if req.Host == "" {
		req.Host = r.URL.Host
	}
	if r.URL.Path != unescape(req.Path) || r.URL.RawPath != "" && r.URL.RawPath != req.Path {
		req.Path, ex.Log.Bare = r.URL.EscapedPath(), false
		if req.Path == "" {
			req.Path = "/"
		}
	}
	req.Query, req.HasQuery = r.URL.RawQuery, r.URL.ForceQuery || r.URL.RawQuery != ""
	fromHeader(&req.Fields, r.Header, nil)
	req.Fields.Del("Host")
	req.Upgrade = ""
	if req.Fields.HasToken("Connection", "upgrade") && strings.HasPrefix(req.Proto, "HTTP/1") {
		req.Upgrade = req.Fields.Get("Upgrade")
	}
	switch {
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		req.Framing, req.Length, req.Expect100 = exchange.NoBody, 0, false
	case r.ContentLength > 0:
		req.Framing, req.Length = exchange.Sized, r.ContentLength
	default:
		req.Framing, req.Length = exchange.Streamed, 0
	}
}

// httpSink passes an answer on to an http.ResponseWriter.
type httpSink struct {
	w    http.ResponseWriter
	ex   *exchange.Exchange
	mark int // response ops from here on are run

	mu      sync.Mutex // w is used by the flush timer, too
	timer   *time.Timer
	every   time.Duration // 0: flush at once
	pending bool
	dead    bool
	sent    atomic.Bool
	wrote   int64
	final   func() // runs in Head, before the fields are copied; nil for none
	// outlives is set where w reads heads and trailers after the request's end, when the
	// exchange's memory is another's: x/net/http2 writes small answers then, and its tables
	// keep the fields of the connection.
	outlives bool
}

// each gives do the fields of f by their canonical names, in memory that w may keep.
func (s *httpSink) each(f *exchange.Fields, do func(k, v string)) {
	var own strings.Builder
	if s.outlives {
		n := 0
		for _, x := range f.All() {
			n += len(x.Name) + len(x.Value)
		}
		own.Grow(n)
	}
	keep := func(v string) string {
		if !s.outlives {
			return v
		}
		at := own.Len()
		own.WriteString(v)
		return own.String()[at:]
	}
	for _, x := range f.All() {
		do(keep(http.CanonicalHeaderKey(x.Name)), keep(x.Value))
	}
}

func (s *httpSink) Info(status int, f *exchange.Fields) error {
	h := s.w.Header()
	var added []string
	s.each(f, func(k, v string) {
		if _, there := h[k]; !there {
			added = append(added, k)
		}
		h[k] = append(h[k], v)
	})
	s.w.WriteHeader(status)
	for _, k := range added {
		delete(h, k)
	}
	return nil
}

// Head implements upstream.Sink.
func (s *httpSink) Head() error {
	ex := s.ex
	ex.RunResponseFrom(s.mark)
	if s.final != nil {
		s.final()
	}
	s.copyHead()
	s.every = ex.Backend.FlushInterval
	resp := &ex.Resp
	if resp.Framing != exchange.Sized || strings.HasPrefix(resp.Fields.Get("Content-Type"), "text/event-stream") {
		s.every = 0
	}
	s.sent.Store(true)
	s.w.WriteHeader(resp.Status)
	return nil
}

func (s *httpSink) copyHead() {
	h, resp := s.w.Header(), &s.ex.Resp
	s.each(&resp.Fields, func(k, v string) { h[k] = append(h[k], v) })
	switch {
	case resp.Framing == exchange.Sized:
		h["Content-Length"] = []string{strconv.FormatInt(resp.Length, 10)}
	case resp.Framing != exchange.NoBody:
		delete(h, "Content-Length")
	}
	if resp.Status == http.StatusSwitchingProtocols {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{resp.Upgrade}
	}
}

func (s *httpSink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ex.Req.Method == "HEAD" {
		return len(p), nil
	}
	n, err := s.w.Write(p)
	s.wrote += int64(n)
	return n, err
}

// Flush sends what was written: at once where the answer is a stream, else once the
// service's flush interval is over.
func (s *httpSink) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.every <= 0:
		return http.NewResponseController(s.w).Flush()
	case s.pending:
	case s.timer == nil:
		s.pending = true
		s.timer = time.AfterFunc(s.every, s.flushLate)
	default:
		s.pending = true
		s.timer.Reset(s.every)
	}
	return nil
}

func (s *httpSink) flushLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending && !s.dead {
		s.pending = false
		_ = http.NewResponseController(s.w).Flush()
	}
}

// stop ends the use of w by the timer.
func (s *httpSink) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

func (s *httpSink) End(trailers *exchange.Fields) error {
	s.stop()
	if trailers != nil {
		h := s.w.Header()
		s.each(trailers, func(k, v string) {
			k = http.TrailerPrefix + k
			h[k] = append(h[k], v)
		})
	}
	return nil
}

func (s *httpSink) Upgrade() (net.Conn, []byte, error) {
	s.ex.RunResponseFrom(s.mark)
	s.copyHead()
	s.sent.Store(true)
	s.w.WriteHeader(http.StatusSwitchingProtocols)
	c, rw, err := http.NewResponseController(s.w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := rw.Flush(); err != nil {
		return nil, nil, err
	}
	early := make([]byte, rw.Reader.Buffered())
	_, _ = io.ReadFull(rw.Reader, early)
	return c, early, nil
}

// OpHandler returns a handler that runs ops in front of next: the segment of a chain that
// stands behind a stage. The response ops of the segment see the head that next makes.
func OpHandler(ops []exchange.Op, next http.Handler) http.Handler {
	return &opHandler{ops: ops, next: next}
}

type opHandler struct {
	ops  []exchange.Op
	next http.Handler
}

// ServeHTTP implements http.Handler.
func (o *opHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ex := exchange.FromContext(r.Context())
	if ex == nil {
		ex = new(exchange.Exchange)
		adopt(ex, r)
		ex.Req.Path = r.URL.EscapedPath()
		r = r.WithContext(exchange.NewContext(r.Context(), ex))
		defer ex.RunDone()
	}
	takeRequest(ex, r)
	mark := ex.Pending()
	for _, op := range o.ops {
		if op.Request(ex) != exchange.Next {
			s := &httpSink{w: w, ex: ex, mark: mark}
			if sendReply(s, ex) != nil {
				panic(http.ErrAbortHandler)
			}
			return
		}
	}
	r = giveRequest(r.Context(), ex, r)
	if ex.Pending() == mark {
		o.next.ServeHTTP(w, r)
		return
	}
	ow := &opWriter{ResponseWriter: w, ex: ex, mark: mark}
	o.next.ServeHTTP(ow, r)
	ow.head(http.StatusOK)
}

// giveRequest brings r up to date with what ops did to ex.Req.
func giveRequest(ctx context.Context, ex *exchange.Exchange, r *http.Request) *http.Request {
	r2 := r.WithContext(ctx)
	r2.Method, r2.Host, r2.Header, r2.URL = ex.Req.Method, ex.Req.Host, toHeader(&ex.Req.Fields), toURL(&ex.Req)
	return r2
}

// opWriter runs the response ops of a segment when the head is known.
type opWriter struct {
	http.ResponseWriter
	ex   *exchange.Exchange
	mark int
	done bool
}

// Unwrap serves http.ResponseController.
func (w *opWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *opWriter) head(status int) {
	if w.done {
		return
	}
	w.done = true
	h, resp := w.Header(), &w.ex.Resp
	if resp.Status != status {
		resp.Status, resp.StatusText = status, ""
	}
	trailer := func(k string) bool { return strings.HasPrefix(k, http.TrailerPrefix) }
	fromHeader(&resp.Fields, h, trailer)
	w.ex.RunResponseFrom(w.mark)
	for k := range h {
		if !trailer(k) {
			delete(h, k)
		}
	}
	for k, v := range toHeader(&resp.Fields) {
		h[k] = v
	}
	w.ResponseWriter.WriteHeader(resp.Status)
}

func (w *opWriter) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.head(status)
}

func (w *opWriter) Write(p []byte) (int, error) {
	w.head(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

func (w *opWriter) Flush() { _ = w.FlushError() }

func (w *opWriter) FlushError() error {
	w.head(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}
