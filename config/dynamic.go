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
	// EntryPoints the router listens on; empty means the default ones.
	EntryPoints []string `json:"entryPoints,omitempty"`
	// Middlewares in the order they see the request.
	Middlewares []string `json:"middlewares,omitempty"`
	Service     string   `json:"service,omitempty"`
	Rule        string   `json:"rule,omitempty"`
	// RuleSyntax is "v3", "v2" or empty for the default of the static configuration.
	RuleSyntax string `json:"ruleSyntax,omitempty"`
	// Priority orders routers, highest first. Zero means the length of the rule.
	Priority      int                  `json:"priority,omitempty"`
	ParentRefs    []string             `json:"parentRefs,omitempty" cfg:"nolabel"`
	TLS           *RouterTLS           `json:"tls,omitempty" cfg:"empty"`
	Observability *RouterObservability `json:"observability,omitempty"`
}

// RouterTLS makes a router answer TLS requests only.
type RouterTLS struct {
	Options      string   `json:"options,omitempty"`
	CertResolver string   `json:"certResolver,omitempty"`
	Domains      []Domain `json:"domains,omitempty"`
}

// Domain is a certificate's main name and its further names.
type Domain struct {
	Main string   `json:"main,omitempty"`
	SANs []string `json:"sans,omitempty"`
}

// RouterObservability switches logs, metrics and traces of one router; nil fields inherit.
type RouterObservability struct {
	AccessLogs     *bool  `json:"accessLogs,omitempty"`
	Metrics        *bool  `json:"metrics,omitempty"`
	Tracing        *bool  `json:"tracing,omitempty"`
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
	ServersTransport   string              `json:"serversTransport,omitempty"`
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
	URL string `json:"url,omitempty"`
	// Weight of the server; nil means 1, zero takes no requests.
	Weight       *int `json:"weight,omitempty"`
	PreservePath bool `json:"preservePath,omitempty"`
	// Scheme and Port exist in labels only; the Docker and Swarm providers turn them into URL.
	Scheme string `json:"-" cfg:"scheme,label"`
	Port   string `json:"-" cfg:"port,label"`
	// Fenced marks a server that is known to be stopping or not yet ready: it stays
	// listed, and takes no new requests. Set by providers, never by users.
	Fenced bool `json:"-" cfg:"-"`
	// Origin names what the server is, for reasons and logs ("container web-1"). Set by providers.
	Origin string `json:"-" cfg:"-"`
}

// ResponseForwarding tunes how answers are flushed to the client.
type ResponseForwarding struct {
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
	Name     string `json:"name,omitempty"`
	Secure   bool   `json:"secure,omitempty"`
	HTTPOnly bool   `json:"httpOnly,omitempty"`
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
	Scheme string `json:"scheme,omitempty"`
	// Mode is http or grpc.
	Mode     string   `json:"mode,omitempty"`
	Path     string   `json:"path,omitempty"`
	Method   string   `json:"method,omitempty"`
	Status   int      `json:"status,omitempty"`
	Port     int      `json:"port,omitempty"`
	Interval Duration `json:"interval,omitempty"`
	// UnhealthyInterval is used while a server is down; nil means Interval.
	UnhealthyInterval *Duration         `json:"unhealthyInterval,omitempty"`
	Timeout           Duration          `json:"timeout,omitempty"`
	Hostname          string            `json:"hostname,omitempty"`
	FollowRedirects   *bool             `json:"followRedirects"`
	Headers           map[string]string `json:"headers,omitempty"`
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
	FailureWindow     Duration `json:"failureWindow,omitempty"`
	MaxFailedAttempts int      `json:"maxFailedAttempts,omitempty"`
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
	Service    string `json:"service,omitempty"`
	MirrorBody *bool  `json:"mirrorBody,omitempty"`
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
	Service     string          `json:"service,omitempty"`
	Fallback    string          `json:"fallback,omitempty"`
	HealthCheck *ServiceHealth  `json:"healthCheck,omitempty" cfg:"empty"`
	Errors      *FailoverErrors `json:"errors,omitempty"`
}

// FailoverErrors names the answers on which a request is repeated on the fallback.
type FailoverErrors struct {
	// MaxRequestBodyBytes bounds what is kept to repeat a request; -1 means any.
	MaxRequestBodyBytes *int64   `json:"maxRequestBodyBytes,omitempty"`
	Status              []string `json:"status,omitempty"`
}

// SetDefaults keeps bodies of any size.
func (f *FailoverErrors) SetDefaults() { n := int64(-1); f.MaxRequestBodyBytes = &n }

// ServersTransport tunes how servers are reached.
type ServersTransport struct {
	ServerName         string        `json:"serverName,omitempty"`
	InsecureSkipVerify bool          `json:"insecureSkipVerify,omitempty"`
	RootCAs            []string      `json:"rootCAs,omitempty"`
	Certificates       []Certificate `json:"certificates,omitempty"`
	CipherSuites       []string      `json:"cipherSuites,omitempty"`
	MinVersion         string        `json:"minVersion,omitempty"`
	MaxVersion         string        `json:"maxVersion,omitempty"`
	// MaxIdleConnsPerHost bounds idle connections to one server; zero means 200.
	MaxIdleConnsPerHost int                 `json:"maxIdleConnsPerHost,omitempty"`
	ForwardingTimeouts  *ForwardingTimeouts `json:"forwardingTimeouts,omitempty"`
	DisableHTTP2        bool                `json:"disableHTTP2,omitempty"`
	PeerCertURI         string              `json:"peerCertURI,omitempty"`
	PeerCertSANs        []PeerCertSAN       `json:"peerCertSANs,omitempty"`
	Spiffe              *Spiffe             `json:"spiffe,omitempty" cfg:"empty"`
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
	DialTimeout           Duration `json:"dialTimeout,omitempty"`
	ResponseHeaderTimeout Duration `json:"responseHeaderTimeout,omitempty"`
	IdleConnTimeout       Duration `json:"idleConnTimeout,omitempty"`
	ReadIdleTimeout       Duration `json:"readIdleTimeout,omitempty"`
	PingTimeout           Duration `json:"pingTimeout,omitempty"`
}

// SetDefaults sets dial 30 s, idle connections 90 s and ping 15 s.
func (f *ForwardingTimeouts) SetDefaults() {
	f.DialTimeout, f.IdleConnTimeout, f.PingTimeout = 30e9, 90e9, 15e9
}
