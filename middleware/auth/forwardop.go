package auth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// NewForward builds forwardAuth: an op that waits for the auth server, or a stage where
// the auth server wants to see the body, too.
func NewForward(cfg *config.ForwardAuth, state *memory.State, warn option.Warn) (exchange.Op, exchange.Stage, error) {
	f, err := newForward(cfg, state, warn)
	if err != nil {
		return nil, nil, err
	}
	if cfg.ForwardBody {
		return nil, f.stage, nil
	}
	return f, nil, nil
}

// Request implements exchange.Op.
func (f *forward) Request(ex *exchange.Exchange) exchange.Verdict {
	if !ex.MayBlock {
		return exchange.Block
	}
	in := &inbound{
		method: ex.Req.Method, host: ex.Req.Host, tls: ex.Req.TLS != nil, uri: ex.Req.Path,
		remote: ex.Req.Peer.Addr().Unmap().String(), header: http.Header{},
		trace: ex.Trace,
	}
	if ex.Req.HasQuery {
		in.uri += "?" + ex.Req.Query
	}
	for _, g := range ex.Req.Fields.All() {
		in.header.Add(g.Name, g.Value)
	}
	out, err := f.ask(ex.Ctx, in)
	if err != nil {
		return failed(ex, ex.Ctx, err)
	}
	f.note(ex, out)
	if !out.pass {
		return f.deny(ex, out)
	}
	f.admit(ex, out)
	return exchange.Next
}

// failed answers for an auth server that does not, as the reference does: 500, or 401 where
// it says more than it may.
func failed(ex *exchange.Exchange, ctx context.Context, err error) exchange.Verdict {
	switch {
	case ctx != nil && ctx.Err() != nil:
		return ex.UpstreamFailed(exchange.ClientGone)
	case errors.Is(err, errAnswerTooLarge):
		ex.Reply(http.StatusUnauthorized, exchange.AuthFailed, "")
	default:
		ex.Reply(http.StatusInternalServerError, exchange.AuthFailed, "")
	}
	ex.Resp.Fields.Reset()
	ex.Body, ex.Resp.Length = nil, 0
	return exchange.Answer
}

// note tells the access log who the auth server says it was.
func (f *forward) note(ex *exchange.Exchange, out *outcome) {
	if f.userField == "" {
		return
	}
	if u := out.header.Get(f.userField); u != "" {
		ex.Log.User = u
	}
}

// deny passes the auth server's answer on to the client.
func (f *forward) deny(ex *exchange.Exchange, out *outcome) exchange.Verdict {
	reason := exchange.AuthDenied
	if out.status == http.StatusUnauthorized {
		reason = exchange.AuthRequired
		if f.signin != "" {
			return signin(ex, f.signin)
		}
	}
	ex.Resp.Status, ex.Resp.StatusText, ex.Reason = out.status, "", reason
	ex.Resp.Fields.Reset()
	for _, n := range sortedNames(out.header) {
		for _, v := range out.header[n] {
			ex.Resp.Fields.Add(n, v)
		}
	}
	if out.location != "" {
		ex.Resp.Fields.Set("Location", out.location)
	}
	ex.Body = out.body
	ex.Resp.Framing, ex.Resp.Length = exchange.Sized, int64(len(out.body))
	return exchange.Answer
}

// signin sends the client to the page where it signs in, with the little page that
// net/http makes for those that do not follow.
func signin(ex *exchange.Exchange, to string) exchange.Verdict {
	p := &page{header: http.Header{}}
	asked := &http.Request{Method: ex.Req.Method, URL: &url.URL{Path: ex.Req.Path}}
	http.Redirect(p, asked, to, http.StatusFound)
	ex.Resp.Status, ex.Resp.StatusText, ex.Reason = http.StatusFound, "", exchange.AuthRequired
	ex.Resp.Fields.Reset()
	for _, n := range sortedNames(p.header) {
		ex.Resp.Fields.Add(n, p.header.Get(n))
	}
	ex.Body = p.body
	ex.Resp.Framing, ex.Resp.Length = exchange.Sized, int64(len(p.body))
	return exchange.Answer
}

// page is an answer in memory.
type page struct {
	header http.Header
	body   []byte
}

// Header implements http.ResponseWriter.
func (p *page) Header() http.Header { return p.header }

// WriteHeader implements http.ResponseWriter.
func (p *page) WriteHeader(int) {}

// Write implements http.ResponseWriter.
func (p *page) Write(b []byte) (int, error) { p.body = append(p.body, b...); return len(b), nil }

func sortedNames(h http.Header) []string {
	var names []string
	for n := range h {
		if n != "Content-Length" && n != "Date" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

// admit gives the request what the auth server says about it.
func (f *forward) admit(ex *exchange.Exchange, out *outcome) {
	if len(f.responseFields) > 0 || f.responseRegex != nil {
		h := http.Header{}
		for _, g := range ex.Req.Fields.All() {
			k := http.CanonicalHeaderKey(g.Name)
			h[k] = append(h[k], g.Value)
		}
		before := h.Clone()
		f.adopt(h, out.header)
		fields := &ex.Req.Fields
		fields.DelFunc(func(g *exchange.Field) bool {
			k := http.CanonicalHeaderKey(g.Name)
			return !slices.Equal(h[k], before[k])
		})
		for _, k := range sortedNames(h) {
			if !slices.Equal(h[k], before[k]) {
				for _, v := range h[k] {
					fields.Add(k, v)
				}
			}
		}
	}
	if auth := out.header["Set-Cookie"]; len(f.cookies) > 0 && len(auth) > 0 {
		ex.OnResponse(&authCookies{f, auth}, 0)
	}
}

// authCookies adds the auth server's cookies to the answer.
type authCookies struct {
	f    *forward
	auth []string
}

// Response implements exchange.ResponseOp.
func (c *authCookies) Response(ex *exchange.Exchange, _ uint64) {
	var own []string
	for _, g := range ex.Resp.Fields.All() {
		if exchange.EqualFold(g.Name, "Set-Cookie") {
			own = append(own, g.Value)
		}
	}
	ex.Resp.Fields.Del("Set-Cookie")
	for _, v := range c.f.addCookies(own, c.auth) {
		ex.Resp.Fields.Add("Set-Cookie", v)
	}
}

var errBodyTooLarge = errors.New("the body is larger than maxBodySize")

// stage asks with the request's body, which it reads before.
func (f *forward) stage(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ex := exchange.FromContext(r.Context())
		if ex == nil {
			ex = new(exchange.Exchange)
		}
		body, err := f.read(r)
		switch {
		case errors.Is(err, errBodyTooLarge):
			// The reference's answer; 413 would say more.
			ex.Reason = exchange.BodyTooLarge
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusUnauthorized)
			return
		case err != nil:
			ex.UpstreamFailed(exchange.ReadTimeout)
			send(w, ex)
			return
		}
		in := &inbound{
			method: r.Method, host: r.Host, tls: r.TLS != nil, uri: r.URL.RequestURI(),
			remote: peer(r), header: r.Header.Clone(), body: body, trace: ex.Trace,
		}
		out, err := f.ask(r.Context(), in)
		if err != nil {
			failed(ex, r.Context(), err)
			send(w, ex)
			return
		}
		f.note(ex, out)
		if !out.pass {
			f.deny(ex, out)
			send(w, ex)
			return
		}
		r2 := r.WithContext(r.Context())
		r2.Header = r.Header.Clone()
		if body != nil {
			r2.Body = io.NopCloser(bytes.NewReader(body))
			if len(r.Trailer) == 0 { // trailers follow chunks only
				r2.ContentLength, r2.TransferEncoding = int64(len(body)), nil
			}
		}
		f.adopt(r2.Header, out.header)
		if auth := out.header["Set-Cookie"]; len(f.cookies) > 0 && len(auth) > 0 {
			w = &cookieWriter{ResponseWriter: w, f: f, auth: auth}
		}
		next.ServeHTTP(w, r2)
	})
}

// read reads the body; nil means that there is none.
func (f *forward) read(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil, nil
	}
	if f.maxBody < 0 {
		return io.ReadAll(r.Body)
	}
	if r.ContentLength > f.maxBody {
		return nil, errBodyTooLarge
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, f.maxBody+1))
	if err == nil && int64(len(b)) > f.maxBody {
		return nil, errBodyTooLarge
	}
	return b, err
}

func peer(r *http.Request) string {
	for i := len(r.RemoteAddr) - 1; i >= 0; i-- {
		if r.RemoteAddr[i] == ':' {
			host := r.RemoteAddr[:i]
			if len(host) > 1 && host[0] == '[' {
				host = host[1 : len(host)-1]
			}
			return host
		}
	}
	return r.RemoteAddr
}

// send writes the answer that ex holds.
func send(w http.ResponseWriter, ex *exchange.Exchange) {
	h := w.Header()
	for _, g := range ex.Resp.Fields.All() {
		h.Add(g.Name, g.Value)
	}
	h.Set("Content-Length", strconv.Itoa(len(ex.Body)))
	if ex.Resp.Status == http.StatusNotModified || ex.Resp.Status == http.StatusNoContent {
		h.Del("Content-Length")
	}
	w.WriteHeader(ex.Resp.Status)
	_, _ = w.Write(ex.Body)
}

// cookieWriter adds the auth server's cookies when the head is written.
type cookieWriter struct {
	http.ResponseWriter
	f    *forward
	auth []string
	done bool
}

// Unwrap serves http.ResponseController.
func (w *cookieWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *cookieWriter) WriteHeader(status int) {
	if !w.done && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.done = true
		h := w.Header()
		if v := w.f.addCookies(h["Set-Cookie"], w.auth); len(v) > 0 {
			h["Set-Cookie"] = v
		} else {
			delete(h, "Set-Cookie")
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *cookieWriter) Write(p []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}
