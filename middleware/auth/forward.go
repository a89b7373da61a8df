package auth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/middleware/trust"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

const (
	// authTimeout bounds a question to the auth server, its answer included.
	authTimeout = 30 * time.Second
	// maxAnswer bounds the auth server's answer where maxResponseBodySize is not set.
	maxAnswer = 4 << 20
)

// forward asks another server whether a request may pass. The op and the stage of
// forwardAuth share it.
type forward struct {
	address        string
	client         *http.Client
	trust          *bool
	requestFields  map[string]bool // nil: all
	responseFields []string
	responseRegex  *regexp.Regexp
	cookies        []string
	userField      string
	maxBody        int64 // -1: any
	maxAnswer      int64
	keepLocation   bool
	keepMethod     bool
	signin         string
}

// authClient is an http.Client that State closes.
type authClient struct{ *http.Client }

// Close closes idle connections.
func (c *authClient) Close() error { c.CloseIdleConnections(); return nil }

func newForward(cfg *config.ForwardAuth, state *memory.State, warn option.Warn) (*forward, error) {
	u, err := url.Parse(cfg.Address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		// The reference notices when it asks, and answers 500: nothing passes either way.
		warn.Say("address", "write for example http://auth:9091/api/verify", "%q is not the URL of a server: every request gets 500", cfg.Address)
	}
	f := &forward{
		address: cfg.Address, trust: cfg.TrustForwardHeader, userField: cfg.HeaderField,
		cookies: cfg.AddAuthCookiesToResponse, keepLocation: cfg.PreserveLocationHeader, keepMethod: cfg.PreserveRequestMethod,
		signin: cfg.AuthSigninURL, maxBody: -1, maxAnswer: maxAnswer,
	}
	if cfg.MaxBodySize != nil {
		f.maxBody = *cfg.MaxBodySize
	}
	if cfg.MaxResponseBodySize != nil {
		if f.maxAnswer = *cfg.MaxResponseBodySize; f.maxAnswer < 0 {
			f.maxAnswer = math.MaxInt64 - 1
		}
	}
	if len(cfg.AuthRequestHeaders) > 0 {
		f.requestFields = map[string]bool{}
		for _, n := range cfg.AuthRequestHeaders {
			f.requestFields[http.CanonicalHeaderKey(n)] = true
		}
	}
	for _, n := range cfg.AuthResponseHeaders {
		if err := checkFieldName("authResponseHeaders", n); err != nil {
			return nil, err
		}
		f.responseFields = append(f.responseFields, http.CanonicalHeaderKey(n))
	}
	if cfg.AuthResponseHeadersRegex != "" {
		if f.responseRegex, err = regexp.Compile(cfg.AuthResponseHeadersRegex); err != nil {
			return nil, option.Errorf("authResponseHeadersRegex", "write for example ^Remote-", "%q is not a regular expression: %v", cfg.AuthResponseHeadersRegex, err)
		}
	}
	if f.signin != "" {
		if u, err := url.Parse(f.signin); err != nil || strings.ContainsAny(f.signin, "\r\n") || u.String() == "" {
			return nil, option.Errorf("authSigninURL", "write for example https://login.example.com/", "%q is not a URL", f.signin)
		}
	}
	if cfg.TLS != nil && cfg.TLS.CAOptional != nil {
		warn.Say("tls.caOptional", "leave it out", "has no effect any more")
	}
	f.client, err = newClient(cfg, state)
	return f, err
}

func newClient(cfg *config.ForwardAuth, state *memory.State) (*http.Client, error) {
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: authTimeout, KeepAlive: authTimeout}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second,
		MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: true, DisableCompression: true,
	}
	if cfg.TLS != nil {
		var err error
		if t.TLSClientConfig, err = trust.ClientTLS("tls", cfg.TLS); err != nil {
			return nil, err
		}
	}
	// Routes that name the same server share its connections, and a reload keeps them.
	return memory.Get(state, memory.Key([]any{cfg.Address, cfg.TLS}, "forwardAuth"), func() *authClient {
		return &authClient{&http.Client{
			Transport: t, Timeout: authTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
	}).Client, nil
}

// inbound is the request to ask about.
type inbound struct {
	method, host, uri string
	tls               bool
	remote            string // the peer's address, without its port
	header            http.Header
	body              []byte         // nil: not forwarded
	trace             exchange.Trace // nil: not traced
}

// outcome is what the auth server said.
type outcome struct {
	pass     bool
	status   int
	header   http.Header
	body     []byte
	location string // resolved; "" for none
}

var errAnswerTooLarge = errors.New("the auth server's answer is larger than maxResponseBodySize")

// ask puts the question.
func (f *forward) ask(ctx context.Context, in *inbound) (*outcome, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	method := http.MethodGet
	if f.keepMethod {
		method = in.method
	}
	var body io.Reader
	if in.body != nil {
		body = bytes.NewReader(in.body)
	}
	req, err := http.NewRequestWithContext(ctx, method, f.address, body)
	if err != nil {
		return nil, err
	}
	req.Header = f.question(in)
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header["User-Agent"] = []string{""} // none, rather than the library's own
	}
	resp, err := f.do(req, in.trace)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	out := &outcome{status: resp.StatusCode, header: resp.Header, pass: resp.StatusCode >= 200 && resp.StatusCode < 300}
	if out.body, err = io.ReadAll(io.LimitReader(resp.Body, f.maxAnswer+1)); err != nil {
		return nil, err
	}
	if int64(len(out.body)) > f.maxAnswer {
		return nil, errAnswerTooLarge
	}
	if !out.pass {
		removeHop(out.header)
		if out.location, err = f.location(resp); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// location is where the auth server sends the client, or "".
func (f *forward) location(resp *http.Response) (string, error) {
	to := resp.Header.Get("Location")
	if to == "" {
		return "", nil
	}
	u, err := url.Parse(to)
	if err == nil && !f.keepLocation {
		u, err = resp.Location()
	}
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// do sends the question, as a part of the request's trace.
func (f *forward) do(req *http.Request, trace exchange.Trace) (*http.Response, error) {
	if trace == nil {
		return f.client.Do(req)
	}
	fields, end := trace.Call("AuthRequest", req.Method, f.address)
	for _, g := range fields {
		req.Header.Set(g.Name, g.Value)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		end(0)
		return nil, err
	}
	end(resp.StatusCode)
	return resp, nil
}

// hop are the fields that are for one connection only (RFC 9110 §7.6.1). Authorization
// fields of proxies go through, as with the reference.
func removeHop(h http.Header) {
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, n := range []string{"Connection", "Keep-Alive", "Te", "Trailer", "Trailers", "Transfer-Encoding", "Upgrade"} {
		delete(h, n)
	}
}

// question makes the fields of the question. It changes in.header. What the client says of
// the way it came stays where trustForwardHeader says so; where that is not set, as much of
// it stays as the reference has always left.
func (f *forward) question(in *inbound) http.Header {
	h := in.header
	removeHop(h)
	delete(h, "Content-Length")
	believe := f.trust != nil && *f.trust
	for n := range h {
		keep := f.requestFields == nil || f.requestFields[n]
		if forwarded(n) && f.trust != nil {
			keep = believe
		}
		if !keep {
			delete(h, n)
		}
	}
	peers := in.remote
	if v := h["X-Forwarded-For"]; believe && len(v) > 0 {
		peers = strings.Join(v, ", ") + ", " + in.remote
	}
	h.Set("X-Forwarded-For", peers)
	set := func(name, value string) {
		if !believe || len(h[name]) == 0 {
			h.Set(name, value)
		}
	}
	set("X-Forwarded-Method", in.method)
	set("X-Forwarded-Proto", in.scheme())
	set("X-Forwarded-Host", in.host)
	set("X-Forwarded-Uri", in.uri)
	if f.trust != nil {
		set("X-Forwarded-Port", in.port(h.Get("X-Forwarded-Proto")))
	}
	return h
}

// forwarded reports whether only proxies may set a field.
func forwarded(name string) bool {
	return strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip"
}

func (in *inbound) scheme() string {
	if in.tls {
		return "https"
	}
	return "http"
}

// port is the port that the client named, or that of the scheme, which may be a proxy's word.
func (in *inbound) port(scheme string) string {
	if _, port, err := net.SplitHostPort(in.host); err == nil && port != "" {
		return port
	}
	if in.tls || scheme == "https" || scheme == "wss" {
		return "443"
	}
	return "80"
}

// adopt gives h what the auth server says about the user, in place of what the client said.
func (f *forward) adopt(h, answer http.Header) {
	for _, n := range f.responseFields {
		for have := range h {
			if sameVariable(have, n) {
				delete(h, have)
			}
		}
		if v := answer[n]; len(v) > 0 {
			h[n] = slices.Clone(v)
		}
	}
	if f.responseRegex == nil {
		return
	}
	for n := range h {
		// "Remote_User" is the same variable as "Remote-User" to servers in the manner of CGI.
		if f.responseRegex.MatchString(n) || f.responseRegex.MatchString(http.CanonicalHeaderKey(strings.Map(dashes, n))) {
			delete(h, n)
		}
	}
	for n, v := range answer {
		if f.responseRegex.MatchString(n) {
			h[n] = slices.Clone(v)
		}
	}
}

// addCookies returns the Set-Cookie values of an answer with those of the auth server that
// are asked for put in place of the answer's own of the same name.
func (f *forward) addCookies(own, auth []string) []string {
	var out []string
	for _, c := range own {
		if !slices.Contains(f.cookies, cookieName(c)) {
			out = append(out, c)
		}
	}
	for _, c := range auth {
		if slices.Contains(f.cookies, cookieName(c)) {
			out = append(out, c)
		}
	}
	return out
}

func cookieName(setCookie string) string {
	name, _, _ := strings.Cut(setCookie, "=")
	return strings.TrimSpace(name)
}
