package body

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

type errorPage struct {
	statuses statusSet
	rewrites []rewriteStatus
	page     http.Handler
	query    string
	fields   []string // nil: all
}

type rewriteStatus struct {
	from statusSet
	to   int
}

// NewErrors replaces answers of some statuses by a page of another service.
func NewErrors(cfg *config.ErrorPage, service func(name string) (http.Handler, error), warn option.Warn) (exchange.Stage, error) {
	if cfg.Service == "" {
		return nil, option.Errorf("service", "name the service that has the pages", "is empty")
	}
	if service == nil {
		return nil, option.Errorf("service", "", "no service can be named here")
	}
	e := &errorPage{query: cfg.Query}
	var err error
	if e.statuses, err = parseStatuses("status", cfg.Status, warn); err != nil {
		return nil, err
	}
	if len(e.statuses) == 0 {
		warn.Say("status", "write for example 500-599", "is empty: no answer is replaced")
	}
	for _, from := range slices.Sorted(maps.Keys(cfg.StatusRewrites)) {
		set, err := parseStatuses("statusRewrites", []string{from}, warn)
		if err != nil {
			return nil, err
		}
		to := cfg.StatusRewrites[from]
		if to < 200 || to > 999 {
			return nil, option.Errorf("statusRewrites", "write for example 404", "%d is not the status of an answer", to)
		}
		e.rewrites = append(e.rewrites, rewriteStatus{set, to})
	}
	if cfg.ErrorRequestHeaders != nil {
		if len(*cfg.ErrorRequestHeaders) == 0 {
			// The reference passes all on for an empty list; a list that says so is kept working.
			warn.Say("errorRequestHeaders", "name the fields to pass on", "is empty: all fields are passed on, as with the reference")
		}
		for _, n := range *cfg.ErrorRequestHeaders {
			e.fields = append(e.fields, http.CanonicalHeaderKey(n))
		}
	}
	if e.page, err = service(cfg.Service); err != nil {
		return nil, err
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.serve(w, r, next) })
	}, nil
}

func (e *errorPage) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	sent := watch(r)
	g := newGate(w, func(status int) bool { return !e.statuses.has(status) })
	passed := g.run(next, r)
	header := sent.end()
	if passed {
		return
	}
	original, status := g.status, g.status
	for _, rw := range e.rewrites {
		if rw.from.has(original) {
			status = rw.to
			break
		}
	}
	page := e.request(r, header, sent.url(r), status, original)
	if page == nil {
		http.Error(w, http.StatusText(status), status)
		return
	}
	e.page.ServeHTTP(&statusWriter{ResponseWriter: w, status: status}, page)
}

// sentFields follow a request's fields through the middlewares between the pages and the
// server, as which the page is asked for: a password that is removed on the way is not for
// the service of the pages either.
type sentFields struct {
	ex     *exchange.Exchange
	before func(*exchange.Request)
	header http.Header
}

func watch(r *http.Request) *sentFields {
	s := &sentFields{ex: exchange.FromContext(r.Context())}
	if s.ex == nil {
		s.header = r.Header.Clone()
		return s
	}
	s.before = s.ex.Log.Sending
	s.ex.Log.Sending = func(req *exchange.Request) {
		s.header = headerOf(&req.Fields)
		if s.before != nil {
			s.before(req)
		}
	}
	return s
}

// end gives what was sent last, or would have been, where no server was asked.
func (s *sentFields) end() http.Header {
	if s.ex == nil {
		return s.header
	}
	s.ex.Log.Sending = s.before
	if s.header == nil {
		s.header = headerOf(&s.ex.Req.Fields)
	}
	return s.header
}

// url is what the client asked for, with the host and the path that the middlewares in between
// have made of its own.
func (s *sentFields) url(r *http.Request) *url.URL {
	u := &url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	proto := r.Header.Get("X-Forwarded-Proto")
	if s.ex != nil {
		u.Host, proto = s.ex.Req.Host, s.ex.Req.Fields.Get("X-Forwarded-Proto")
		u.Path, u.RawPath = s.ex.Req.Path, s.ex.Req.Path
		if s.ex.Log.Bare {
			u.Path, u.RawPath = "", ""
		} else if plain, err := url.PathUnescape(u.RawPath); err == nil {
			u.Path = plain
		}
	}
	if exchange.EqualFold(proto, "https") || exchange.EqualFold(proto, "wss") || proto == "" && r.TLS != nil {
		u.Scheme = "https"
	}
	return u
}

func headerOf(f *exchange.Fields) http.Header {
	h := make(http.Header, f.Len())
	for _, g := range f.All() {
		h.Add(g.Name, g.Value)
	}
	return h
}

// request is the question for the page, or nil where the query makes no URL.
func (e *errorPage) request(r *http.Request, header http.Header, asked *url.URL, status, original int) *http.Request {
	query := "/"
	if e.query != "" {
		query = "/" + strings.TrimPrefix(e.query, "/")
		query = strings.NewReplacer("{status}", strconv.Itoa(status), "{originalStatus}", strconv.Itoa(original),
			"{url}", url.QueryEscape(asked.String())).Replace(query)
	}
	u, err := url.Parse("http://" + asked.Host + query)
	if err != nil {
		return nil
	}
	// The page is a request of its own beside the client's: no Exchange is shared.
	page, err := http.NewRequestWithContext(exchange.NewContext(r.Context(), nil), http.MethodGet, u.String(), nil)
	if err != nil {
		return nil
	}
	// Without a RemoteAddr nothing is appended to X-Forwarded-For, as with the reference.
	page.Host, page.RequestURI, page.TLS = asked.Host, u.RequestURI(), r.TLS
	if e.fields == nil {
		page.Header = header
	} else {
		for _, n := range e.fields {
			if v := header[n]; len(v) > 0 {
				page.Header[n] = v
			}
		}
	}
	for _, n := range []string{"Content-Length", "Transfer-Encoding", "Trailer", "Expect", "Upgrade", "Connection", "Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Range", "If-Unmodified-Since"} {
		page.Header.Del(n)
	}
	return page
}

// statusWriter gives an answer another status.
type statusWriter struct {
	http.ResponseWriter
	status int
	done   bool
}

// Unwrap serves http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	if informational(status) || w.done {
		return
	}
	w.done = true
	w.ResponseWriter.WriteHeader(w.status)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.ResponseWriter.Write(p)
}
