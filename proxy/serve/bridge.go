package serve

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/upstream"
)

// tail runs the http.Handler behind the ops of a route.
func (l *life) tail(ctx context.Context) (cut bool) {
	l.borrowed = true
	if l.watch != nil {
		// A handler's context ends with its client; watching begins at once where there is
		// no body to read, since a handler's waiting cannot be seen from here.
		if l.body == nil {
			l.stopWatch = sync.OnceFunc(l.watch())
			defer l.stopWatch()
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
	}
	w := &writer{l: l, header: http.Header{}}
	ctx = context.WithValue(exchange.NewContext(ctx, l.ex), lifeKey{}, l)
	r := newRequest(ctx, l.ex, l.body)
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler { //nolint:errorlint // the documented sentinel
				l.s.cfg.Log.Error().Interface("panic", p).Msg("handler panicked")
			}
			if !l.front.headSent() && p != http.ErrAbortHandler { //nolint:errorlint // as above
				l.ex.Reply(http.StatusInternalServerError, exchange.Failure, "")
				cut = l.answer()
				return
			}
			cut = true
		}
	}()
	l.ex.Route.Tail.ServeHTTP(w, r)
	return w.finish() != nil
}

type lifeKey struct{}

// newRequest is the exchange's request as handlers see it.
func newRequest(ctx context.Context, ex *exchange.Exchange, body upstream.Source) *http.Request {
	req := &ex.Req
	r := &http.Request{
		Method: req.Method, Proto: req.Proto, Host: req.Host, RequestURI: req.Target,
		Header: toHeader(&req.Fields), TLS: req.TLS, RemoteAddr: req.Peer.String(),
		URL: toURL(req), Body: http.NoBody,
	}
	r.ProtoMajor, r.ProtoMinor, _ = http.ParseHTTPVersion(req.Proto)
	switch req.Framing {
	case exchange.Sized:
		r.ContentLength = req.Length
	case exchange.Streamed:
		r.ContentLength = -1
		r.TransferEncoding = []string{"chunked"}
	}
	if body != nil && req.Framing != exchange.NoBody {
		b := &requestBody{src: body}
		r.Body = b
		if names := req.Fields.Get("Trailer"); names != "" {
			r.Trailer = http.Header{}
			for n := range strings.SplitSeq(names, ",") {
				r.Trailer[http.CanonicalHeaderKey(strings.TrimSpace(n))] = nil
			}
		}
		b.trailer = r.Trailer
	}
	return r.WithContext(ctx)
}

func toURL(req *exchange.Request) *url.URL {
	u := &url.URL{RawQuery: req.Query, ForceQuery: req.HasQuery && req.Query == ""}
	u.Path, u.RawPath = unescape(req.Path), req.Path
	if u.RawPath == u.Path {
		u.RawPath = ""
	}
	return u
}

func unescape(path string) string {
	if p, err := url.PathUnescape(path); err == nil {
		return p
	}
	return path
}

func toHeader(f *exchange.Fields) http.Header {
	h := make(http.Header, f.Len()+4)
	// One backing array for the usual one value a name.
	vals := make([]string, f.Len())
	for i, x := range f.All() {
		k := http.CanonicalHeaderKey(x.Name)
		if have, ok := h[k]; ok {
			h[k] = append(have, x.Value)
			continue
		}
		vals[i] = x.Value
		h[k] = vals[i : i+1 : i+1]
	}
	return h
}

// fromHeader makes f say what h says. Fields that are unchanged keep their place and the
// spelling of their name; new ones follow in the order of their names.
func fromHeader(f *exchange.Fields, h http.Header, skip func(name string) bool) {
	used := make(map[string]int, len(h))
	f.DelFunc(func(x *exchange.Field) bool {
		k := http.CanonicalHeaderKey(x.Name)
		vals := h[k]
		i := used[k]
		if i >= len(vals) || skip != nil && skip(k) {
			return true
		}
		x.Value = vals[i]
		used[k] = i + 1
		return false
	})
	var fresh []string
	for k, vals := range h {
		if used[k] < len(vals) && (skip == nil || !skip(k)) {
			fresh = append(fresh, k)
		}
	}
	slices.Sort(fresh)
	for _, k := range fresh {
		for _, v := range h[k][used[k]:] {
			f.Add(k, v)
		}
	}
}

// requestBody is the body as handlers read it.
type requestBody struct {
	src     upstream.Source
	trailer http.Header
	closed  bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.src.Read(p)
	if err == io.EOF && b.trailer != nil {
		if tr := b.src.Trailers(); tr != nil {
			for _, f := range tr.All() {
				if k := http.CanonicalHeaderKey(f.Name); hasKey(b.trailer, k) {
					b.trailer[k] = append(b.trailer[k], f.Value)
				}
			}
		}
		b.trailer = nil
	}
	return n, err
}

func hasKey(h http.Header, k string) bool { _, ok := h[k]; return ok }

func (b *requestBody) Close() error { b.closed = true; return nil }

// Source gives the body back to the upstream client, which knows more ways to read it.
func (b *requestBody) Source() upstream.Source { return b.src }

// writer is the http.ResponseWriter of a tail over a front.
type writer struct {
	l       *life
	header  http.Header
	wrote   bool // WriteHeader was called
	started bool // the head went to the front
	status  int
	buf     []byte
	trailer []string // announced
	err     error
	hijack  bool
}

// headRoom is how much of a body waits for the handler's end, so that a short one gets a Content-Length.
const headRoom = 2 << 10

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	switch {
	case w.wrote || w.hijack:
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		f := new(exchange.Fields)
		fromHeader(f, w.header, nil)
		w.l.ex.Resp.StatusText = ""
		_ = w.l.front.Info(status, f)
	default:
		w.wrote, w.status = true, status
		if _, sized := w.header["Content-Length"]; sized || status == http.StatusSwitchingProtocols || bodyless(status) {
			w.start(-1)
		}
	}
}

func bodyless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

// start gives the head to the front. length is the body's, or -1 if it is not known.
func (w *writer) start(length int) {
	if w.started {
		return
	}
	w.started = true
	resp := &w.l.ex.Resp
	if resp.Status != w.status {
		resp.Status, resp.StatusText = w.status, ""
	}
	if t := w.header["Trailer"]; len(t) > 0 {
		for n := range strings.SplitSeq(strings.Join(t, ","), ",") {
			w.trailer = append(w.trailer, http.CanonicalHeaderKey(strings.TrimSpace(n)))
		}
	}
	fromHeader(&resp.Fields, w.header, func(k string) bool {
		return strings.HasPrefix(k, http.TrailerPrefix) || slices.Contains(w.trailer, k)
	})
	resp.Framing, resp.Length = exchange.Streamed, 0
	switch cl := w.header.Get("Content-Length"); {
	case w.status == http.StatusSwitchingProtocols:
		resp.Framing, resp.Upgrade = exchange.NoBody, w.header.Get("Upgrade")
		resp.Fields.Del("Upgrade")
		resp.Fields.Del("Connection")
		return // Hijack sends it
	case bodyless(w.status):
		resp.Framing = exchange.NoBody
	case cl != "":
		if n, err := strconv.ParseInt(cl, 10, 64); err == nil && n >= 0 {
			resp.Framing, resp.Length = exchange.Sized, n
		}
	case length >= 0 && w.l.ex.Req.Method == "HEAD" && length == 0:
		resp.Framing = exchange.NoBody // the length of what GET would give is not known
	case length >= 0 && len(w.header[http.TrailerPrefix]) == 0 && len(w.trailer) == 0:
		resp.Framing, resp.Length = exchange.Sized, int64(length)
	}
	if strings.EqualFold(w.header.Get("Connection"), "close") {
		w.l.front.doomed()
	}
	resp.Fields.Del("Connection")
	resp.Fields.Del("Transfer-Encoding")
	if w.err = w.l.front.Head(); w.err == nil && len(w.buf) > 0 {
		_, w.err = w.l.front.Write(w.buf)
		w.buf = nil
	}
}

func (w *writer) Write(p []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.hijack:
		return 0, http.ErrHijacked
	case bodyless(w.status):
		return 0, http.ErrBodyNotAllowed
	}
	if !w.started {
		if len(w.buf)+len(p) <= headRoom {
			w.buf = append(w.buf, p...)
			return len(p), nil
		}
		w.start(-1)
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.l.front.Write(p)
	w.err = err
	return n, err
}

// Flush implements http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls.
func (w *writer) FlushError() error {
	if w.hijack {
		return http.ErrHijacked
	}
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	w.start(-1)
	if w.err == nil {
		w.err = w.l.front.Flush()
	}
	return w.err
}

// finish ends the answer after the handler has returned. An error means that it is not whole.
func (w *writer) finish() error {
	if w.hijack {
		return nil
	}
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	if w.status == http.StatusSwitchingProtocols {
		return errors.New("101 without taking the connection")
	}
	w.start(len(w.buf))
	if w.err != nil {
		return w.err
	}
	var tr exchange.Fields
	for _, k := range w.trailer {
		for _, v := range w.header[k] {
			tr.Add(k, v)
		}
	}
	var late []string
	for k := range w.header {
		if strings.HasPrefix(k, http.TrailerPrefix) {
			late = append(late, k)
		}
	}
	slices.Sort(late)
	for _, k := range late {
		for _, v := range w.header[k] {
			tr.Add(strings.TrimPrefix(k, http.TrailerPrefix), v)
		}
	}
	return w.l.front.End(&tr)
}

// Hijack implements http.Hijacker. After WriteHeader(101) the head is sent first; before
// it, the taker sends one.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	a, ok := w.l.front.(*answer)
	if !ok {
		return nil, nil, http.ErrNotSupported
	}
	if w.hijack || w.wrote && w.status != http.StatusSwitchingProtocols {
		return nil, nil, http.ErrHijacked
	}
	w.hijack = true
	if w.l.stopWatch != nil {
		w.l.stopWatch()
	}
	var c net.Conn
	var early []byte
	var err error
	if w.wrote {
		c, early, err = a.Upgrade()
	} else {
		c, early = a.take()
	}
	if err != nil {
		return nil, nil, err
	}
	br := bufio.NewReaderSize(&earlyReader{early, c}, max(len(early), 4096))
	_, _ = br.Peek(len(early)) // takers ask Buffered for what is there already
	return c, bufio.NewReadWriter(br, bufio.NewWriter(c)), nil
}

// earlyReader reads what was there already, then the connection.
type earlyReader struct {
	early []byte
	c     net.Conn
}

func (r *earlyReader) Read(p []byte) (int, error) {
	if len(r.early) > 0 {
		n := copy(p, r.early)
		r.early = r.early[n:]
		return n, nil
	}
	return r.c.Read(p)
}

// SetReadDeadline and SetWriteDeadline serve http.ResponseController.
func (w *writer) SetReadDeadline(t time.Time) error {
	if a, ok := w.l.front.(*answer); ok {
		return a.h.c.SetReadDeadline(t)
	}
	return http.ErrNotSupported
}

// SetWriteDeadline bounds the writes from now on.
func (w *writer) SetWriteDeadline(t time.Time) error {
	if a, ok := w.l.front.(*answer); ok {
		return a.h.c.SetWriteDeadline(t)
	}
	return http.ErrNotSupported
}

// EnableFullDuplex is always given.
func (w *writer) EnableFullDuplex() error { return nil }
