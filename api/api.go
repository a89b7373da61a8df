// Package api answers the JSON API: the reference's paths in the reference's shapes
// under /api/, and the edge's own under /api/sluice/. It only reads: nothing here
// changes a live object.
package api

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/dashboard"
	"github.com/sluice-edge/sluice/telemetry"
)

// Options say what the API shows. Functions are called for each request and must be safe
// for concurrent use; a nil one means that there is nothing to show.
type Options struct {
	// Static is the configuration at start, with defaults; Static.API may be nil.
	Static *config.Static
	// Runtime returns the configuration that is live.
	Runtime func() *config.Runtime
	// ServerStatus returns server URL -> "UP" or "DOWN" of an HTTP service; TCPServerStatus
	// server address -> the same of a TCP service. Without the latter all are shown as up.
	ServerStatus    func(service string) map[string]string
	TCPServerStatus func(service string) map[string]string
	// Certificates returns the certificates that are offered to clients.
	Certificates func() []*x509.Certificate
	// Issued returns what the certificate resolvers hold and wait for.
	Issued func() []Issued
	// Counters returns the live counters.
	Counters func() telemetry.Counters
	// Explain says which routers a request would meet and why the others do not match.
	Explain func(ctx context.Context, q ExplainRequest) (any, error)
	// Version and Codename name the program; Start is when it started.
	Version, Codename string
	Start             time.Time
}

// ExplainRequest is a request to explain: what a client would send, and where.
type ExplainRequest struct {
	Method string `json:"method,omitempty"`
	// URL is absolute ("https://a.test/x?y"); its scheme tells TLS.
	URL     string              `json:"url"`
	Headers map[string][]string `json:"headers,omitempty"`
	// EntryPoint is the entry point's name; empty means every one.
	EntryPoint string `json:"entryPoint,omitempty"`
	// Client is the client's address; empty means an address no rule speaks of.
	Client string `json:"client,omitempty"`
}

// server holds what the handlers share.
type server struct {
	Options
	events limiter
}

// New returns the handler of api@internal: the API, the dashboard unless it is off, and
// the debug paths if they are on.
func New(o Options) http.Handler {
	if o.Static == nil {
		o.Static = &config.Static{}
	}
	if o.Start.IsZero() {
		o.Start = time.Now()
	}
	s := &server{Options: o, events: newLimiter(maxEventClients)}
	settings := o.Static.API
	if settings == nil {
		settings = &config.API{Dashboard: true}
	}
	mux := http.NewServeMux()
	s.mountAPI(mux)
	if settings.Dashboard {
		mountDashboard(mux)
	}
	base := strings.TrimRight(settings.BasePath, "/")
	h := below(base, mux, settings.Dashboard)
	if !settings.Debug {
		return h
	}
	// The debug paths stand beside the base path, as in the reference, and below it: the
	// router of api.insecure leads there only.
	debug := http.NewServeMux()
	mountDebug(debug)
	stripped := http.StripPrefix(base, debug)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/debug/"):
			debug.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, base+"/debug/"):
			stripped.ServeHTTP(w, r)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// below serves h under the base path. The base path itself leads to the dashboard, with
// a slash behind it there is nothing; without a base path "/" leads there.
func below(base string, h http.Handler, withDashboard bool) http.Handler {
	home := base
	if home == "" {
		home = "/"
	}
	stripped := http.StripPrefix(base, h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == home && withDashboard && r.Method != http.MethodGet && r.Method != http.MethodHead:
			notAllowed(w, r)
		case r.URL.Path == home && withDashboard:
			http.Redirect(w, r, forwardedPrefix(r)+base+"/dashboard/", http.StatusFound)
		case strings.HasPrefix(r.URL.Path, base+"/") && r.URL.Path != base+"/":
			stripped.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

func (s *server) mountAPI(mux *http.ServeMux) {
	for path, h := range map[string]http.HandlerFunc{
		"/rawdata":          s.rawdata,
		"/overview":         s.overview,
		"/version":          s.version,
		"/support-dump":     s.supportDump,
		"/entrypoints":      listAll(s.entryPoints),
		"/entrypoints/{id}": item("entry point", s.entryPoint),

		"/certificates":      list(s.certificates),
		"/certificates/{id}": item("certificate", s.certificate),

		"/http/routers":          list(s.httpRouters),
		"/http/routers/{id}":     item("router", s.httpRouter),
		"/http/services":         list(s.httpServices),
		"/http/services/{id}":    item("service", s.httpService),
		"/http/middlewares":      list(s.httpMiddlewares),
		"/http/middlewares/{id}": item("middleware", s.httpMiddleware),

		"/tcp/routers":          list(s.tcpRouters),
		"/tcp/routers/{id}":     item("router", s.tcpRouter),
		"/tcp/services":         list(s.tcpServices),
		"/tcp/services/{id}":    item("service", s.tcpService),
		"/tcp/middlewares":      list(s.tcpMiddlewares),
		"/tcp/middlewares/{id}": item("middleware", s.tcpMiddleware),

		"/udp/routers":       list(s.udpRouters),
		"/udp/routers/{id}":  item("router", s.udpRouter),
		"/udp/services":      list(s.udpServices),
		"/udp/services/{id}": item("service", s.udpService),

		"/sluice/status":       s.status,
		"/sluice/problems":     s.problems,
		"/sluice/certificates": list(s.issued),
		"/sluice/servers":      list(s.servers),
		"/sluice/reasons":      s.reasons,
		"/sluice/static":       s.static,
		"/sluice/events":       s.stream,
		"/sluice/explain":      s.explainGet,
		"/sluice/openapi.json": s.openAPI,
	} {
		mux.HandleFunc("GET /api"+path, h)
		if !strings.HasPrefix(path, "/sluice/") { // the reference answers GET alone
			mux.HandleFunc("HEAD /api"+path, notAllowed)
		}
	}
	mux.HandleFunc("POST /api/sluice/explain", s.explainPost)
}

func mountDashboard(mux *http.ServeMux) {
	mux.Handle("GET /dashboard/", http.StripPrefix("/dashboard", dashboard.Handler()))
	// Without this the mux would redirect; the reference answers 404.
	mux.HandleFunc("GET /dashboard", http.NotFound)
}

func notAllowed(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", http.MethodGet)
	w.WriteHeader(http.StatusMethodNotAllowed)
}

// forwardedPrefix is what a stripPrefix of the user's router removed, so that redirects
// lead back through it. An absolute URL in its place is ignored: it would lead elsewhere.
func forwardedPrefix(r *http.Request) string {
	prefix := r.Header.Get("X-Forwarded-Prefix")
	if prefix == "" {
		return ""
	}
	u, err := url.Parse(prefix)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, "/") {
		return ""
	}
	return strings.TrimRight(u.EscapedPath(), "/")
}

func (s *server) runtime() *config.Runtime {
	if s.Runtime != nil {
		if rt := s.Runtime(); rt != nil {
			return rt
		}
	}
	return &config.Runtime{}
}

func (s *server) version(w http.ResponseWriter, _ *http.Request) {
	settings := s.Static.API
	if settings == nil {
		settings = &config.API{}
	}
	// The reference writes this type in full here, and a short one elsewhere.
	writeJSONAs(w, "application/json; charset=UTF-8", struct {
		Version            string    `json:"Version"`
		Codename           string    `json:"Codename"`
		StartDate          time.Time `json:"startDate"`
		DashboardName      string    `json:"dashboardName,omitempty"`
		DisableDashboardAd bool      `json:"disableDashboardAd,omitempty"`
	}{s.Version, s.Codename, s.Start, settings.DashboardName, settings.DisableDashboardAd})
}

func writeJSON(w http.ResponseWriter, v any) { writeJSONAs(w, "application/json", v) }

func writeJSONAs(w http.ResponseWriter, contentType string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "the answer cannot be encoded")
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	_, _ = w.Write(append(b, '\n'))
}

// writeError answers with the reference's error object.
func writeError(w http.ResponseWriter, status int, message string) {
	b, err := json.Marshal(struct {
		Message string `json:"message"`
	}{message})
	if err != nil {
		b = []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
