// Package config holds the static and dynamic configuration: names, types,
// defaults and the Problem type. It does no I/O, keeps no state and knows no provider.
//
// Every struct field has one tag, `json`, whose name is the key in files, labels,
// flags, environment variables (upper-cased) and the API alike. Keys are matched
// without regard to case. A struct with a SetDefaults method gets it called before
// values are decoded into it. The extra tag `cfg` holds words joined by commas:
//
//   - "empty": a pointer to a struct that is switched on by its bare name (`tls=true`);
//   - "-": not for users to set;
//   - "secret": redacted wherever configuration is shown;
//   - "sluice": by label only under the root "sluice.", not under "traefik.";
//   - "nolabel": never by label;
//   - "one:server": a list that labels spell as the single element "server";
//   - "scheme,label": a field without a json name that labels alone know, as "scheme".
package config

// Dynamic is all that may change while the program runs: one provider's share, or
// the merged whole. It is immutable once published.
type Dynamic struct {
	HTTP *HTTP `json:"http,omitempty"`
	TCP  *TCP  `json:"tcp,omitempty"`
	UDP  *UDP  `json:"udp,omitempty"`
	TLS  *TLS  `json:"tls,omitempty"`
}

// HTTP is the HTTP part of a Dynamic. Keys are object names; in one provider's
// share without the "@provider" suffix, in the merged whole with it.
type HTTP struct {
	Routers           map[string]*Router           `json:"routers,omitempty"`
	Services          map[string]*Service          `json:"services,omitempty"`
	Middlewares       map[string]*Middleware       `json:"middlewares,omitempty"`
	ServersTransports map[string]*ServersTransport `json:"serversTransports,omitempty" cfg:"sluice"`
}

// Router sends the requests its rule matches through middlewares to a service.
type Router struct {
	// EntryPoints that are listened on; empty means the default ones.
	EntryPoints []string `json:"entryPoints,omitempty"`
	// Middlewares in the order they see the request.
	Middlewares []string `json:"middlewares,omitempty"`
	// Service that answers; in labels the container's own if there is one only.
	Service string `json:"service,omitempty"`
	// Rule such as Host(`example.com`) && PathPrefix(`/api`); in labels the provider's defaultRule without it.
	Rule string `json:"rule,omitempty"`
	// RuleSyntax is "v3", "v2" or empty for the default of the static configuration.
	RuleSyntax string `json:"ruleSyntax,omitempty"`
	// Priority orders routers, highest first. Zero means the length of the rule.
	Priority int `json:"priority,omitempty"`
	// ParentRefs names routers behind whose middlewares this one is tried; it has their entry
	// points and TLS, and they have no service.
	ParentRefs    []string             `json:"parentRefs,omitempty" cfg:"nolabel"`
	TLS           *RouterTLS           `json:"tls,omitempty" cfg:"empty"`
	Observability *RouterObservability `json:"observability,omitempty"`
	// Broken, if not empty, is what could not be read though it may have guarded the router:
	// it answers 503 rather than open. Set by package decode, never by users.
	Broken string `json:"-" cfg:"-"`
}

// RouterTLS makes a router answer TLS requests only.
type RouterTLS struct {
	// Options names TLS options; empty means "default".
	Options string `json:"options,omitempty"`
	// CertResolver obtains the certificates of the rule's hosts.
	CertResolver string `json:"certResolver,omitempty"`
	// Domains to ask certificates for, instead of the rule's hosts.
	Domains []Domain `json:"domains,omitempty"`
}

// Domain is a certificate's main name and its further names.
type Domain struct {
	Main string   `json:"main,omitempty"`
	SANs []string `json:"sans,omitempty"`
}

// RouterObservability switches logs, metrics and traces of one router; nil fields inherit.
type RouterObservability struct {
	AccessLogs *bool `json:"accessLogs,omitempty"`
	Metrics    *bool `json:"metrics,omitempty"`
	Tracing    *bool `json:"tracing,omitempty"`
	// TraceVerbosity is minimal or detailed.
	TraceVerbosity string `json:"traceVerbosity,omitempty"`
}

// Service is where requests go: exactly one of its kinds is set.
type Service struct {
	LoadBalancer        *LoadBalancer        `json:"loadBalancer,omitempty"`
	Weighted            *Weighted            `json:"weighted,omitempty" cfg:"sluice"`
	HighestRandomWeight *HighestRandomWeight `json:"highestRandomWeight,omitempty" cfg:"sluice"`
	Mirroring           *Mirroring           `json:"mirroring,omitempty" cfg:"sluice"`
	Failover            *Failover            `json:"failover,omitempty" cfg:"sluice"`
	// Middlewares run after the router's own.
	Middlewares []string `json:"middlewares,omitempty"`
	// Broken is as in Router.
	Broken string `json:"-" cfg:"-"`
}

// LoadBalancer shares requests among servers.
type LoadBalancer struct {
	Sticky  *Sticky  `json:"sticky,omitempty" cfg:"empty"`
	Servers []Server `json:"servers,omitempty" cfg:"one:server"`
	// Strategy is wrr, p2c, hrw or leasttime.
	Strategy           string              `json:"strategy,omitempty"`
	HealthCheck        *HealthCheck        `json:"healthCheck,omitempty"`
	PassiveHealthCheck *PassiveHealthCheck `json:"passiveHealthCheck,omitempty" cfg:"empty"`
	// PassHostHeader forwards the client's Host; nil means true.
	PassHostHeader     *bool               `json:"passHostHeader"`
	ResponseForwarding *ResponseForwarding `json:"responseForwarding,omitempty"`
	// ServersTransport names how the servers are reached; empty means the static default.
	ServersTransport string `json:"serversTransport,omitempty"`
	// Hold is how long a request waits for a server while none is there, because a container is
	// being replaced; 0 answers 503 at once. Default: sluice.hold for containers, 0 for others.
	Hold *Duration `json:"hold,omitempty" cfg:"sluice"`
	// AutoHold is Hold where that is nil. Set by providers that see containers come and go.
	AutoHold Duration `json:"-" cfg:"-"`
	// SlowStart is how long a server that enters rotation gets less than its share, growing from a
	// twentieth; servers that were there before take the rest. Not with the strategy hrw.
	SlowStart *Duration `json:"slowStart,omitempty" cfg:"sluice"`
	// Coming is set where no server is there yet, but a container that has been created and not
	// started. Set by providers.
	Coming bool `json:"-" cfg:"-"`
	// Sick is set where all servers fail their health checks, or await them and are not waited
	// for: no request is held up for them. Set by providers.
	Sick bool `json:"-" cfg:"-"`
	// Idle is set where the servers sleep while nobody asks for them. Set by providers.
	Idle *Idle `json:"-" cfg:"-"`
}

// SetDefaults sets wrr, passHostHeader and the flush interval of 100 ms.
func (l *LoadBalancer) SetDefaults() {
	t := true
	l.Strategy = "wrr"
	l.PassHostHeader = &t
	l.ResponseForwarding = &ResponseForwarding{}
	l.ResponseForwarding.SetDefaults()
}

// Server is one server of a LoadBalancer.
type Server struct {
	// URL such as http://10.0.0.5:8080; the scheme is http, https or h2c.
	URL string `json:"url,omitempty"`
	// Weight among the servers; 1 if not given, zero takes no requests.
	Weight *int `json:"weight,omitempty"`
	// PreservePath keeps the URL's own path before that of the request.
	PreservePath bool `json:"preservePath,omitempty"`
	// Scheme is http, https or h2c. It and Port exist in labels only; providers turn them into URL.
	Scheme string `json:"-" cfg:"scheme,label"`
	// Port of the container; by default the lowest it exposes.
	Port string `json:"-" cfg:"port,label"`
	// Fenced marks a server that is known to be stopping or not yet ready: it stays
	// listed, and takes no new requests. Set by providers, never by users.
	Fenced bool `json:"-" cfg:"-"`
	// Origin names what the server is, for reasons and logs ("container web-1"). Set by providers.
	Origin string `json:"-" cfg:"-"`
	// Ready is the probe a server must pass before its first request: "tcp", "http:/path", or
	// empty for none. Set by providers for what has just started.
	Ready string `json:"-" cfg:"-"`
	// Epoch tells one life of the server from the next at the same URL. Set by providers.
	Epoch int64 `json:"-" cfg:"-"`
}

// ResponseForwarding tunes how answers are flushed to the client.
type ResponseForwarding struct {
	// FlushInterval is how long a part of an answer may wait for more; streams are never held.
	FlushInterval Duration `json:"flushInterval,omitempty"`
}

// SetDefaults sets the flush interval of 100 ms.
func (r *ResponseForwarding) SetDefaults() { r.FlushInterval = 100e6 }

// Sticky binds a client to a server.
type Sticky struct {
	Cookie *Cookie `json:"cookie,omitempty" cfg:"empty"`
}

// Cookie is the sticky cookie. An empty Name becomes "_" and a short hash of the service name.
type Cookie struct {
	// Name of the cookie; by default made from the service's name.
	Name string `json:"name,omitempty"`
	// Secure limits the cookie to HTTPS.
	Secure bool `json:"secure,omitempty"`
	// HTTPOnly hides the cookie from scripts.
	HTTPOnly bool `json:"httpOnly,omitempty"`
	// SameSite is none, lax or strict.
	SameSite string `json:"sameSite,omitempty"`
	// MaxAge in seconds; zero makes a session cookie, negative expires it at once.
	MaxAge int     `json:"maxAge,omitempty"`
	Path   *string `json:"path,omitempty"`
	Domain string  `json:"domain,omitempty"`
}

// SetDefaults sets the path "/".
func (c *Cookie) SetDefaults() { p := "/"; c.Path = &p }

// HealthCheck asks each server regularly whether it works.
type HealthCheck struct {
	// Scheme replaces that of the server's URL.
	Scheme string `json:"scheme,omitempty"`
	// Mode is http or grpc.
	Mode string `json:"mode,omitempty"`
	// Path that is asked.
	Path string `json:"path,omitempty"`
	// Method of the question; empty means GET.
	Method string `json:"method,omitempty"`
	// Status of a healthy answer; zero means any of 200 to 399.
	Status int `json:"status,omitempty"`
	// Port replaces that of the server's URL.
	Port int `json:"port,omitempty"`
	// Interval between two checks.
	Interval Duration `json:"interval,omitempty"`
	// UnhealthyInterval is used while a server is down; without it Interval is.
	UnhealthyInterval *Duration `json:"unhealthyInterval,omitempty"`
	// Timeout of a check.
	Timeout Duration `json:"timeout,omitempty"`
	// Hostname is the Host of the question.
	Hostname string `json:"hostname,omitempty"`
	// FollowRedirects judges the page that a redirect leads to.
	FollowRedirects *bool `json:"followRedirects"`
	// Headers are added to the question.
	Headers map[string]string `json:"headers,omitempty"`
}

// SetDefaults sets mode http, every 30 s, 5 s time-out, redirects followed.
func (h *HealthCheck) SetDefaults() {
	t := true
	h.FollowRedirects = &t
	h.Mode = "http"
	h.Interval = 30e9
	h.Timeout = 5e9
}

// PassiveHealthCheck takes a server out after failures seen in real requests.
type PassiveHealthCheck struct {
	// FailureWindow in which failures count, and for which the server stays out.
	FailureWindow Duration `json:"failureWindow,omitempty"`
	// MaxFailedAttempts until the server is taken out.
	MaxFailedAttempts int `json:"maxFailedAttempts,omitempty"`
}

// SetDefaults sets one failure within 10 s.
func (p *PassiveHealthCheck) SetDefaults() { p.FailureWindow, p.MaxFailedAttempts = 10e9, 1 }

// ServiceHealth makes a composed service report the health of its children to its parent.
type ServiceHealth struct{}

// Weighted shares requests among services.
type Weighted struct {
	Services    []WeightedService `json:"services,omitempty"`
	Sticky      *Sticky           `json:"sticky,omitempty" cfg:"empty"`
	HealthCheck *ServiceHealth    `json:"healthCheck,omitempty" cfg:"empty"`
}

// WeightedService is a child of Weighted or HighestRandomWeight.
type WeightedService struct {
	Name string `json:"name,omitempty"`
	// Weight defaults to 1.
	Weight *int `json:"weight,omitempty"`
}

// SetDefaults sets weight 1.
func (w *WeightedService) SetDefaults() { n := 1; w.Weight = &n }

// HighestRandomWeight sends each client address always to the same child service.
type HighestRandomWeight struct {
	Services    []WeightedService `json:"services,omitempty"`
	HealthCheck *ServiceHealth    `json:"healthCheck,omitempty" cfg:"empty"`
}

// Mirroring copies requests to other services and drops their answers.
type Mirroring struct {
	// Service that answers.
	Service string `json:"service,omitempty"`
	// MirrorBody copies the body too.
	MirrorBody *bool `json:"mirrorBody,omitempty"`
	// MaxBodySize in bytes; -1 means any.
	MaxBodySize *int64          `json:"maxBodySize,omitempty"`
	Mirrors     []MirrorService `json:"mirrors,omitempty"`
	HealthCheck *ServiceHealth  `json:"healthCheck,omitempty" cfg:"empty"`
}

// SetDefaults mirrors bodies of any size.
func (m *Mirroring) SetDefaults() {
	t, n := true, int64(-1)
	m.MirrorBody, m.MaxBodySize = &t, &n
}

// MirrorService is one mirror; Percent of the requests are copied to it.
type MirrorService struct {
	Name    string `json:"name,omitempty"`
	Percent int    `json:"percent,omitempty"`
}

// Failover uses Fallback while Service is down.
type Failover struct {
	// Service that is used while it is up.
	Service string `json:"service,omitempty"`
	// Fallback is used while Service is down.
	Fallback    string          `json:"fallback,omitempty"`
	HealthCheck *ServiceHealth  `json:"healthCheck,omitempty" cfg:"empty"`
	Errors      *FailoverErrors `json:"errors,omitempty"`
}

// FailoverErrors names the answers on which a request is repeated on the fallback.
type FailoverErrors struct {
	// MaxRequestBodyBytes bounds what is kept to repeat a request; -1 means any.
	MaxRequestBodyBytes *int64 `json:"maxRequestBodyBytes,omitempty"`
	// Status codes or ranges ("500-599") that count as errors.
	Status []string `json:"status,omitempty"`
}

// SetDefaults keeps bodies of any size.
func (f *FailoverErrors) SetDefaults() { n := int64(-1); f.MaxRequestBodyBytes = &n }

// ServersTransport tunes how servers are reached.
type ServersTransport struct {
	// ServerName for SNI and to check the certificate against.
	ServerName string `json:"serverName,omitempty"`
	// InsecureSkipVerify accepts any certificate of the servers.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
	// RootCAs that sign the servers' certificates: files or PEM.
	RootCAs []string `json:"rootCAs,omitempty"`
	// Certificates of the edge itself, for servers that ask for one.
	Certificates []Certificate `json:"certificates,omitempty"`
	CipherSuites []string      `json:"cipherSuites,omitempty"`
	MinVersion   string        `json:"minVersion,omitempty"`
	MaxVersion   string        `json:"maxVersion,omitempty"`
	// MaxIdleConnsPerHost bounds idle connections to one server; zero means 200.
	MaxIdleConnsPerHost int                 `json:"maxIdleConnsPerHost,omitempty"`
	ForwardingTimeouts  *ForwardingTimeouts `json:"forwardingTimeouts,omitempty"`
	// DisableHTTP2 keeps to HTTP/1.1 on TLS.
	DisableHTTP2 bool `json:"disableHTTP2,omitempty"`
	// PeerCertURI is a URI the server's certificate must carry.
	PeerCertURI  string        `json:"peerCertURI,omitempty"`
	PeerCertSANs []PeerCertSAN `json:"peerCertSANs,omitempty"`
	Spiffe       *Spiffe       `json:"spiffe,omitempty" cfg:"empty"`
}

// PeerCertSAN is a name the server's certificate must carry; Type is URI or DNSName.
type PeerCertSAN struct {
	Type  string `json:"type,omitempty"`
	Value string `json:"value,omitempty"`
}

// Spiffe is accepted and reported as not supported.
type Spiffe struct {
	IDs         []string `json:"ids,omitempty"`
	TrustDomain string   `json:"trustDomain,omitempty"`
}

// ForwardingTimeouts bound the steps of reaching a server. Zero means no limit,
// but for DialTimeout, IdleConnTimeout and PingTimeout, whose defaults SetDefaults sets.
type ForwardingTimeouts struct {
	// DialTimeout until a connection stands.
	DialTimeout Duration `json:"dialTimeout,omitempty"`
	// ResponseHeaderTimeout from the request's end to the head of the answer.
	ResponseHeaderTimeout Duration `json:"responseHeaderTimeout,omitempty"`
	// IdleConnTimeout after which an unused connection is closed.
	IdleConnTimeout Duration `json:"idleConnTimeout,omitempty"`
	// ReadIdleTimeout after which a quiet HTTP/2 connection is pinged.
	ReadIdleTimeout Duration `json:"readIdleTimeout,omitempty"`
	// PingTimeout after which an unanswered ping closes the connection.
	PingTimeout Duration `json:"pingTimeout,omitempty"`
}

// SetDefaults sets dial 30 s, idle connections 90 s and ping 15 s.
func (f *ForwardingTimeouts) SetDefaults() {
	f.DialTimeout, f.IdleConnTimeout, f.PingTimeout = 30e9, 90e9, 15e9
}
