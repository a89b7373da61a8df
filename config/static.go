package config

// Static is what is read once at start: entry points, providers, logs, resolvers.
type Static struct {
	Global                *Global                         `json:"global,omitempty"`
	Core                  *Core                           `json:"core,omitempty"`
	ServersTransport      *StaticServersTransport         `json:"serversTransport,omitempty"`
	TCPServersTransport   *StaticTCPServersTransport      `json:"tcpServersTransport,omitempty"`
	EntryPoints           map[string]*EntryPoint          `json:"entryPoints,omitempty"`
	Providers             *Providers                      `json:"providers,omitempty"`
	API                   *API                            `json:"api,omitempty" cfg:"empty"`
	Metrics               *Metrics                        `json:"metrics,omitempty"`
	Ping                  *Ping                           `json:"ping,omitempty" cfg:"empty"`
	Log                   *Log                            `json:"log,omitempty" cfg:"empty"`
	AccessLog             *AccessLog                      `json:"accessLog,omitempty" cfg:"empty"`
	Tracing               *Tracing                        `json:"tracing,omitempty" cfg:"empty"`
	HostResolver          *HostResolver                   `json:"hostResolver,omitempty" cfg:"empty"`
	CertificatesResolvers map[string]*CertificateResolver `json:"certificatesResolvers,omitempty"`
	Experimental          *Experimental                   `json:"experimental,omitempty"`
	Spiffe                *SpiffeClient                   `json:"spiffe,omitempty"`
	OCSP                  *OCSP                           `json:"ocsp,omitempty" cfg:"empty"`
	// Sluice holds settings that are ours; they merge from every source.
	Sluice *Sluice `json:"sluice,omitempty"`
}

// Sluice holds the static settings that the reference does not have.
type Sluice struct {
	// Lane is "auto" or "handler", which keeps every request off the event loops.
	Lane string `json:"lane,omitempty"`
	// HTTP2Lane is "auto" or "handler", which keeps HTTP/2 alone off the event loops.
	HTTP2Lane string `json:"http2Lane,omitempty"`
	// Loops is the number of event loops; zero means one a core.
	Loops int `json:"loops,omitempty"`
	// MergeSources merges file, flags and environment instead of taking the first that yields anything.
	MergeSources bool `json:"mergeSources,omitempty"`
	// Strict turns warnings about the configuration at start into errors.
	Strict bool `json:"strict,omitempty"`
	// ReadTimeoutMode is "progress" (time without a byte) or "total", the reference's meaning.
	ReadTimeoutMode string `json:"readTimeoutMode,omitempty"`
	// ReasonHeader tells trusted peers that send the field X-Sluice-Reason the Reason of an answer; nil means true.
	ReasonHeader *bool `json:"reasonHeader,omitempty"`
	// FinishHalfClosed finishes the answer for a client that has closed its sending half. Off,
	// that counts as going away, as in the reference: the two cannot be told apart, and servers
	// should not work for clients that are gone.
	FinishHalfClosed bool `json:"finishHalfClosed,omitempty"`
	// Pages answers browsers with error pages instead of the reference's plain text.
	Pages *Pages `json:"pages,omitempty" cfg:"empty"`
	// Compat404 gives the reference's 404 where a known host has no live server, or a router a
	// guard that cannot be built, instead of 503.
	Compat404 bool `json:"compat404,omitempty"`
	// Hold is how long a request waits for the replacement of a container that has gone, where
	// its label sluice.hold does not say; nil means 10 s, zero does not wait.
	Hold *Duration `json:"hold,omitempty"`
	// Ready is the probe a container that has started must pass before its first request, where
	// its label sluice.ready does not say: tcp (the default), http:/path or none.
	Ready string `json:"ready,omitempty"`
	// Sleep, set to false, leaves the labels sluice.idle to another router of the same engine. Each
	// router sees its own requests only, so one of several must do it.
	Sleep *bool `json:"sleep,omitempty"`
	// KeepPrivileges keeps every capability of a router that is started as root. Off, it keeps three: to
	// read files whoever owns them, to mend their mode, and to bind ports below 1024.
	KeepPrivileges bool `json:"keepPrivileges,omitempty"`
	// Ranges are files with an address or range on each line, by the name that stands for them in
	// trustedIPs. A name that is built in (loopback, private, docker, swarm, cloudflare) is replaced.
	Ranges map[string]string `json:"ranges,omitempty"`
}

// DefaultHold is how long requests wait for a replacement where nothing else is said.
const DefaultHold = Duration(10e9)

// Pages tunes the built-in error pages.
type Pages struct {
	// Dir holds STATUS.html files that replace the built-in ones.
	Dir string `json:"dir,omitempty"`
}

// Global holds switches of the reference that are accepted.
type Global struct {
	// CheckNewVersion is accepted; nothing is looked up.
	CheckNewVersion bool `json:"checkNewVersion,omitempty"`
	// SendAnonymousUsage is accepted; nothing is sent.
	SendAnonymousUsage     bool `json:"sendAnonymousUsage,omitempty"`
	NotAppendXForwardedFor bool `json:"notAppendXForwardedFor,omitempty"`
}

// Core holds the default rule syntax.
type Core struct {
	// DefaultRuleSyntax is v3 or v2.
	DefaultRuleSyntax string `json:"defaultRuleSyntax,omitempty"`
}

// SetDefaults sets v3.
func (c *Core) SetDefaults() { c.DefaultRuleSyntax = "v3" }

// StaticServersTransport is the default transport to HTTP servers.
type StaticServersTransport struct {
	// InsecureSkipVerify accepts any certificate of the servers.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
	// RootCAs that sign the servers' certificates: files or PEM.
	RootCAs []string `json:"rootCAs,omitempty"`
	// MaxIdleConnsPerHost bounds idle connections to one server.
	MaxIdleConnsPerHost int                 `json:"maxIdleConnsPerHost,omitempty"`
	ForwardingTimeouts  *ForwardingTimeouts `json:"forwardingTimeouts,omitempty"`
	Spiffe              *Spiffe             `json:"spiffe,omitempty" cfg:"empty"`
}

// SetDefaults sets 200 idle connections a host.
func (s *StaticServersTransport) SetDefaults() {
	s.MaxIdleConnsPerHost = 200
	s.ForwardingTimeouts = &ForwardingTimeouts{}
	s.ForwardingTimeouts.SetDefaults()
}

// StaticTCPServersTransport is the default transport to TCP servers.
type StaticTCPServersTransport struct {
	DialKeepAlive    Duration   `json:"dialKeepAlive,omitempty"`
	DialTimeout      Duration   `json:"dialTimeout,omitempty"`
	TerminationDelay Duration   `json:"terminationDelay,omitempty"`
	TLS              *TLSClient `json:"tls,omitempty" cfg:"empty"`
}

// SetDefaults sets 15 s, 30 s and 100 ms.
func (t *StaticTCPServersTransport) SetDefaults() {
	t.DialKeepAlive, t.DialTimeout, t.TerminationDelay = 15e9, 30e9, 100e6
}

// EntryPoint is a listener.
type EntryPoint struct {
	// Address is "[host]:port[/tcp|/udp]".
	Address string `json:"address,omitempty"`
	// SluiceAddresses are further addresses of the same entry point.
	SluiceAddresses []string `json:"sluiceAddresses,omitempty"`
	// AllowACMEByPass lets routers answer ACME challenges.
	AllowACMEByPass bool `json:"allowACMEByPass,omitempty"`
	// ReusePort lets several processes listen on the port.
	ReusePort bool `json:"reusePort,omitempty"`
	// AsDefault makes it an entry point of routers that name none; without any mark all are.
	AsDefault bool                 `json:"asDefault,omitempty"`
	Transport *EntryPointTransport `json:"transport,omitempty"`
	// ProxyProtocol reads the PROXY header of load balancers in front.
	ProxyProtocol    *EntryPointProxyProtocol `json:"proxyProtocol,omitempty" cfg:"empty"`
	ForwardedHeaders *ForwardedHeaders        `json:"forwardedHeaders,omitempty"`
	HTTP             EntryPointHTTP           `json:"http,omitempty"`
	HTTP2            *HTTP2                   `json:"http2,omitempty"`
	// HTTP3 offers HTTP/3 on the UDP port of the same number.
	HTTP3         *HTTP3                   `json:"http3,omitempty" cfg:"empty"`
	UDP           *EntryPointUDP           `json:"udp,omitempty"`
	Observability *EntryPointObservability `json:"observability,omitempty"`
}

// SetDefaults sets every part's defaults.
func (e *EntryPoint) SetDefaults() {
	e.Transport = &EntryPointTransport{}
	e.Transport.SetDefaults()
	e.ForwardedHeaders = &ForwardedHeaders{}
	e.UDP = &EntryPointUDP{Timeout: 3e9}
	e.HTTP.SetDefaults()
	e.HTTP2 = &HTTP2{}
	e.HTTP2.SetDefaults()
	e.Observability = &EntryPointObservability{}
	e.Observability.SetDefaults()
}

// EntryPointTransport holds time-outs and connection life.
type EntryPointTransport struct {
	LifeCycle          *LifeCycle          `json:"lifeCycle,omitempty"`
	RespondingTimeouts *RespondingTimeouts `json:"respondingTimeouts,omitempty"`
	// KeepAliveMaxTime after which a client's connection is closed; zero means never.
	KeepAliveMaxTime Duration `json:"keepAliveMaxTime,omitempty"`
	// KeepAliveMaxRequests after which a client's connection is closed; zero means never.
	KeepAliveMaxRequests int `json:"keepAliveMaxRequests,omitempty"`
}

// SetDefaults sets the defaults of its parts.
func (t *EntryPointTransport) SetDefaults() {
	t.LifeCycle = &LifeCycle{}
	t.LifeCycle.SetDefaults()
	t.RespondingTimeouts = &RespondingTimeouts{}
	t.RespondingTimeouts.SetDefaults()
}

// LifeCycle says how the entry point ends.
type LifeCycle struct {
	// RequestAcceptGraceTimeout is how long new requests are taken after a stop signal, while /ping tells.
	RequestAcceptGraceTimeout Duration `json:"requestAcceptGraceTimeout,omitempty"`
	// GraceTimeOut is how long running requests may finish after that.
	GraceTimeOut Duration `json:"graceTimeOut,omitempty"`
}

// SetDefaults sets 10 s for running requests.
func (l *LifeCycle) SetDefaults() { l.GraceTimeOut = 10e9 }

// RespondingTimeouts bound what clients may take. Zero means no limit.
type RespondingTimeouts struct {
	// ReadTimeout of a request; time without progress unless sluice.readTimeoutMode is total.
	ReadTimeout Duration `json:"readTimeout,omitempty"`
	// WriteTimeout of an answer.
	WriteTimeout Duration `json:"writeTimeout,omitempty"`
	// IdleTimeout of a connection between requests.
	IdleTimeout Duration `json:"idleTimeout,omitempty"`
}

// SetDefaults sets read 60 s and idle 180 s.
func (r *RespondingTimeouts) SetDefaults() { r.ReadTimeout, r.IdleTimeout = 60e9, 180e9 }

// EntryPointProxyProtocol says from whom PROXY headers are read.
type EntryPointProxyProtocol struct {
	// Insecure takes PROXY headers from anyone.
	Insecure bool `json:"insecure,omitempty"`
	// TrustedIPs lists addresses and ranges whose PROXY headers count; loopback, private, docker,
	// swarm, cloudflare and the names of sluice.ranges stand for theirs.
	TrustedIPs []string `json:"trustedIPs,omitempty"`
}

// ForwardedHeaders says whose X-Forwarded-* fields are kept.
type ForwardedHeaders struct {
	// Insecure trusts everyone.
	Insecure bool `json:"insecure,omitempty"`
	// TrustedIPs lists addresses and ranges whose fields are kept; names are as in proxyProtocol.
	TrustedIPs []string `json:"trustedIPs,omitempty"`
	// Connection lists fields that a client's Connection may name and that pass all the same.
	Connection []string `json:"connection,omitempty"`
	// NotAppendXForwardedFor leaves the peer out of X-Forwarded-For.
	NotAppendXForwardedFor bool `json:"notAppendXForwardedFor,omitempty"`
	// AddXForwardedSchemeHeaders adds X-Forwarded-Scheme and X-Scheme.
	AddXForwardedSchemeHeaders bool `json:"addXForwardedSchemeHeaders,omitempty"`
}

// EntryPointHTTP holds what applies to HTTP on an entry point.
type EntryPointHTTP struct {
	Redirections *Redirections `json:"redirections,omitempty"`
	// Middlewares before those of every router, with provider: auth@file.
	Middlewares []string `json:"middlewares,omitempty"`
	// TLS of routers that have none of their own.
	TLS               *EntryPointTLS          `json:"tls,omitempty" cfg:"empty"`
	EncodedCharacters *EntryPointEncodedChars `json:"encodedCharacters,omitempty"`
	// EncodeQuerySemicolons writes ; in queries as %3B. Else each becomes &.
	EncodeQuerySemicolons bool `json:"encodeQuerySemicolons,omitempty"`
	// SanitizePath takes //, . and .. out of paths before routing.
	SanitizePath *bool `json:"sanitizePath,omitempty"`
	// MaxHeaderBytes of a request's head; one of HTTP/1 may have 4 KiB more.
	MaxHeaderBytes int `json:"maxHeaderBytes,omitempty"`
	// UnderscoreHeadersStrategy is keep, delete or reject.
	UnderscoreHeadersStrategy string `json:"underscoreHeadersStrategy,omitempty"`
	// AliasHeadersStrategy is keep, delete or reject, for every name that has something else than letters,
	// digits and dashes: servers that make variables of fields take such a name for one with dashes.
	AliasHeadersStrategy string `json:"aliasHeadersStrategy,omitempty"`
}

// SetDefaults sets path cleaning, 1 MiB of head and kept underscores.
func (h *EntryPointHTTP) SetDefaults() {
	t := true
	h.SanitizePath = &t
	h.MaxHeaderBytes = 1 << 20
	h.UnderscoreHeadersStrategy = "keep"
}

// Redirections holds the redirection of a whole entry point.
type Redirections struct {
	EntryPoint *RedirectEntryPoint `json:"entryPoint,omitempty"`
}

// RedirectEntryPoint redirects everything to another entry point.
type RedirectEntryPoint struct {
	// To is an entry point's name or ":port".
	To string `json:"to,omitempty"`
	// Scheme of the new address.
	Scheme string `json:"scheme,omitempty"`
	// Permanent sends 301 (308 for methods other than GET) instead of 302 (307).
	Permanent bool `json:"permanent,omitempty"`
	// Priority of the redirection among the routers.
	Priority int `json:"priority,omitempty"`
}

// SetDefaults sets https, permanent, the highest priority but one.
func (r *RedirectEntryPoint) SetDefaults() {
	r.Scheme, r.Permanent, r.Priority = "https", true, 1<<63-2
}

// EntryPointTLS is the default TLS of an entry point's routers.
type EntryPointTLS struct {
	Options      string   `json:"options,omitempty"`
	CertResolver string   `json:"certResolver,omitempty"`
	Domains      []Domain `json:"domains,omitempty"`
}

// EntryPointEncodedChars refuses paths with these encoded characters where false; nil means true.
type EntryPointEncodedChars struct {
	AllowEncodedSlash         *bool `json:"allowEncodedSlash,omitempty"`
	AllowEncodedBackSlash     *bool `json:"allowEncodedBackSlash,omitempty"`
	AllowEncodedNullCharacter *bool `json:"allowEncodedNullCharacter,omitempty"`
	AllowEncodedSemicolon     *bool `json:"allowEncodedSemicolon,omitempty"`
	AllowEncodedPercent       *bool `json:"allowEncodedPercent,omitempty"`
	AllowEncodedQuestionMark  *bool `json:"allowEncodedQuestionMark,omitempty"`
	AllowEncodedHash          *bool `json:"allowEncodedHash,omitempty"`
}

// HTTP2 limits HTTP/2.
type HTTP2 struct {
	// MaxConcurrentStreams of a connection.
	MaxConcurrentStreams      int `json:"maxConcurrentStreams,omitempty"`
	MaxDecoderHeaderTableSize int `json:"maxDecoderHeaderTableSize,omitempty"`
	MaxEncoderHeaderTableSize int `json:"maxEncoderHeaderTableSize,omitempty"`
}

// SetDefaults sets 250 streams and tables of 4096 bytes.
func (h *HTTP2) SetDefaults() {
	h.MaxConcurrentStreams, h.MaxDecoderHeaderTableSize, h.MaxEncoderHeaderTableSize = 250, 4096, 4096
}

// HTTP3 offers HTTP/3.
type HTTP3 struct {
	// AdvertisedPort in Alt-Svc; zero means the entry point's own.
	AdvertisedPort int `json:"advertisedPort,omitempty"`
}

// EntryPointUDP tunes UDP sessions.
type EntryPointUDP struct {
	// Timeout after which a quiet session ends.
	Timeout Duration `json:"timeout,omitempty"`
	// SluiceEmptyDatagrams passes datagrams without content on, which are dropped else; services such as daytime and time are asked by one.
	SluiceEmptyDatagrams bool `json:"sluiceEmptyDatagrams,omitempty"`
}

// SetDefaults sets 3 s.
func (u *EntryPointUDP) SetDefaults() { u.Timeout = 3e9 }

// EntryPointObservability switches logs, metrics and traces of an entry point; nil means true.
type EntryPointObservability struct {
	AccessLogs *bool `json:"accessLogs,omitempty"`
	Metrics    *bool `json:"metrics,omitempty"`
	Tracing    *bool `json:"tracing,omitempty"`
	// TraceVerbosity is minimal or detailed.
	TraceVerbosity string `json:"traceVerbosity,omitempty"`
}

// SetDefaults turns all on.
func (o *EntryPointObservability) SetDefaults() {
	a, m, t := true, true, true
	o.AccessLogs, o.Metrics, o.Tracing, o.TraceVerbosity = &a, &m, &t, "minimal"
}

// Providers says where dynamic configuration comes from.
type Providers struct {
	// ProvidersThrottleDuration is the least time between two updates of a provider in a burst.
	ProvidersThrottleDuration Duration `json:"providersThrottleDuration,omitempty"`
	// Precedence of providers between routers of equal priority, first wins.
	Precedence []string        `json:"precedence,omitempty"`
	Docker     *DockerProvider `json:"docker,omitempty" cfg:"empty"`
	Swarm      *SwarmProvider  `json:"swarm,omitempty" cfg:"empty"`
	File       *FileProvider   `json:"file,omitempty" cfg:"empty"`
	Rest       *RestProvider   `json:"rest,omitempty" cfg:"empty"`
	HTTP       *HTTPProvider   `json:"http,omitempty" cfg:"empty"`
}

// SetDefaults sets 2 s.
func (p *Providers) SetDefaults() { p.ProvidersThrottleDuration = 2e9 }

// Engine is how a Docker engine is reached and read; shared by Docker and Swarm.
type Engine struct {
	// Endpoint is unix://, tcp://, http:// or ssh://.
	Endpoint string `json:"endpoint,omitempty"`
	// Username for an engine behind a proxy.
	Username string     `json:"username,omitempty"`
	Password string     `json:"password,omitempty" cfg:"secret"`
	TLS      *ClientTLS `json:"tls,omitempty" cfg:"empty"`
	// HTTPClientTimeout of questions to the engine; zero means none.
	HTTPClientTimeout Duration `json:"httpClientTimeout,omitempty"`
	// ExposedByDefault exposes containers without traefik.enable.
	ExposedByDefault bool `json:"exposedByDefault,omitempty"`
	// DefaultRule of routers without a rule; a template of .Name, .ContainerName and .Labels.
	DefaultRule string `json:"defaultRule,omitempty"`
	// Constraints such as Label(`stage`,`prod`) that containers must meet.
	Constraints string `json:"constraints,omitempty"`
	// Network containers are reached on, unless a label names another.
	Network string `json:"network,omitempty"`
	// UseBindPortIP reaches containers by their published address and port.
	UseBindPortIP bool `json:"useBindPortIP,omitempty"`
	// Watch follows the engine's events.
	Watch bool `json:"watch,omitempty"`
	// AllowEmptyServices keeps routers of unhealthy containers; they answer 503.
	AllowEmptyServices bool `json:"allowEmptyServices,omitempty"`
}

// SetDefaults sets the local socket, exposed by default, watched, and the default rule.
func (e *Engine) SetDefaults() {
	e.Endpoint = "unix:///var/run/docker.sock"
	e.ExposedByDefault = true
	e.Watch = true
	e.DefaultRule = "Host(`{{ normalize .Name }}`)"
}

// DockerProvider reads containers. Its embedded fields are keys of its own level.
type DockerProvider struct {
	Engine `json:",inline"`
	Sluice *DockerSluice `json:"sluice,omitempty"`
}

// SwarmProvider reads Swarm services.
type SwarmProvider struct {
	Engine `json:",inline"`
	// RefreshSeconds between two listings besides events.
	RefreshSeconds Duration `json:"refreshSeconds,omitempty"`
}

// SetDefaults sets the engine's defaults and 15 s.
func (s *SwarmProvider) SetDefaults() { s.Engine.SetDefaults(); s.RefreshSeconds = 15e9 }

// FileProvider reads dynamic configuration files.
type FileProvider struct {
	// Filename of one dynamic file.
	Filename string `json:"filename,omitempty"`
	// Directory of dynamic files, with its sub-directories.
	Directory string `json:"directory,omitempty"`
	// Watch follows changes.
	Watch bool `json:"watch,omitempty"`
	// DebugLogGeneratedTemplate logs what templates make.
	DebugLogGeneratedTemplate bool `json:"debugLogGeneratedTemplate,omitempty"`
}

// SetDefaults watches.
func (f *FileProvider) SetDefaults() { f.Watch = true }

// RestProvider takes configuration by PUT.
type RestProvider struct {
	// Insecure mounts PUT /api/providers/rest on the entry point traefik.
	Insecure bool `json:"insecure,omitempty"`
}

// HTTPProvider polls an endpoint for configuration.
type HTTPProvider struct {
	// Endpoint that is asked for a dynamic file.
	Endpoint     string   `json:"endpoint,omitempty"`
	PollInterval Duration `json:"pollInterval,omitempty"`
	PollTimeout  Duration `json:"pollTimeout,omitempty"`
	// Headers of the question.
	Headers             map[string]string `json:"headers,omitempty" cfg:"secret"`
	TLS                 *ClientTLS        `json:"tls,omitempty" cfg:"empty"`
	MaxResponseBodySize int64             `json:"maxResponseBodySize,omitempty"`
}

// SetDefaults polls every 5 s with 5 s time-out, answers of any size.
func (h *HTTPProvider) SetDefaults() {
	h.PollInterval, h.PollTimeout, h.MaxResponseBodySize = 5e9, 5e9, -1
}

// API turns on the API and the dashboard.
type API struct {
	// BasePath of API and dashboard.
	BasePath string `json:"basePath,omitempty"`
	// Insecure mounts API and dashboard on the entry point traefik, without asking who comes.
	Insecure bool `json:"insecure,omitempty"`
	// Dashboard at /dashboard/.
	Dashboard bool `json:"dashboard,omitempty"`
	// Debug adds /debug/pprof and /debug/vars.
	Debug              bool `json:"debug,omitempty"`
	DisableDashboardAd bool `json:"disableDashboardAd,omitempty"`
	// DashboardName is shown in the dashboard.
	DashboardName string `json:"dashboardName,omitempty"`
}

// SetDefaults turns the dashboard on at "/".
func (a *API) SetDefaults() { a.BasePath, a.Dashboard = "/", true }

// Ping turns on /ping.
type Ping struct {
	// EntryPoint that answers /ping.
	EntryPoint string `json:"entryPoint,omitempty"`
	// ManualRouting mounts nothing; route to ping@internal.
	ManualRouting bool `json:"manualRouting,omitempty"`
	// TerminatingStatusCode of /ping after a stop signal.
	TerminatingStatusCode int `json:"terminatingStatusCode,omitempty"`
}

// SetDefaults sets the entry point "traefik" and status 503.
func (p *Ping) SetDefaults() { p.EntryPoint, p.TerminatingStatusCode = "traefik", 503 }

// Log tunes the process log.
type Log struct {
	// Level is TRACE, DEBUG, INFO, WARN, ERROR, FATAL or PANIC.
	Level string `json:"level,omitempty"`
	// Format is common or json.
	Format string `json:"format,omitempty"`
	// NoColor writes common logs without colours.
	NoColor bool `json:"noColor,omitempty"`
	// FilePath of the log; empty means standard output.
	FilePath string `json:"filePath,omitempty"`
	// MaxSize in MB after which the file is rotated.
	MaxSize int `json:"maxSize,omitempty"`
	// MaxAge in days of rotated files.
	MaxAge int `json:"maxAge,omitempty"`
	// MaxBackups is how many rotated files are kept.
	MaxBackups int `json:"maxBackups,omitempty"`
	// Compress rotated files.
	Compress bool `json:"compress,omitempty"`
	// OTLP sends the log to a collector too; experimental.otlplogs must be set.
	OTLP *OTLPLogs `json:"otlp,omitempty" cfg:"empty"`
}

// SetDefaults sets level ERROR and format common.
func (l *Log) SetDefaults() { l.Level, l.Format = "ERROR", "common" }

// AccessLog turns on the access log.
type AccessLog struct {
	// FilePath of the log; empty means standard output.
	FilePath string `json:"filePath,omitempty"`
	// Format is common, genericCLF or json.
	Format  string            `json:"format,omitempty"`
	Filters *AccessLogFilters `json:"filters,omitempty"`
	Fields  *AccessLogFields  `json:"fields,omitempty"`
	// BufferingSize in lines that may wait to be written.
	BufferingSize int64 `json:"bufferingSize,omitempty"`
	// AddInternals logs requests to the program's own services too.
	AddInternals bool `json:"addInternals,omitempty"`
	// DualOutput writes the log beside sending it by OTLP.
	DualOutput bool `json:"dualOutput,omitempty"`
	// OTLP sends the log to a collector; experimental.otlplogs must be set.
	OTLP   *OTLPLogs        `json:"otlp,omitempty" cfg:"empty"`
	Sluice *AccessLogSluice `json:"sluice,omitempty"`
}

// AccessLogSluice is what the reference's access log does not have.
type AccessLogSluice struct {
	// TCP adds a line for each connection that a TCP router took, at its end.
	TCP bool `json:"tcp,omitempty"`
}

// SetDefaults sets the common format and default fields.
func (a *AccessLog) SetDefaults() {
	a.Format = "common"
	a.Filters = &AccessLogFilters{}
	a.Fields = &AccessLogFields{}
	a.Fields.SetDefaults()
}

// AccessLogFilters keep only some requests; they are joined by or.
type AccessLogFilters struct {
	// StatusCodes or ranges ("400-499").
	StatusCodes []string `json:"statusCodes,omitempty"`
	// RetryAttempts keeps requests that were tried again.
	RetryAttempts bool `json:"retryAttempts,omitempty"`
	// MinDuration keeps requests that took longer.
	MinDuration Duration `json:"minDuration,omitempty"`
}

// AccessLogFields says which fields are kept, dropped or redacted.
type AccessLogFields struct {
	// DefaultMode is keep, drop or redact.
	DefaultMode string `json:"defaultMode,omitempty"`
	// Names maps fields to their mode.
	Names           map[string]string      `json:"names,omitempty"`
	Headers         *AccessLogFieldHeaders `json:"headers,omitempty"`
	QueryParameters *AccessLogFieldQuery   `json:"queryParameters,omitempty"`
}

// SetDefaults keeps fields and drops headers.
func (f *AccessLogFields) SetDefaults() {
	f.DefaultMode = "keep"
	f.Headers = &AccessLogFieldHeaders{DefaultMode: "drop"}
	f.QueryParameters = &AccessLogFieldQuery{DefaultMode: "keep"}
}

// AccessLogFieldHeaders is AccessLogFields for header fields.
type AccessLogFieldHeaders struct {
	// DefaultMode is keep, drop or redact.
	DefaultMode string `json:"defaultMode,omitempty"`
	// Names maps header fields to their mode.
	Names map[string]string `json:"names,omitempty"`
}

// AccessLogFieldQuery is AccessLogFields for query parameters.
type AccessLogFieldQuery struct {
	DefaultMode string            `json:"defaultMode,omitempty"`
	Names       map[string]string `json:"names,omitempty"`
}

// HostResolver follows CNAMEs of the Host before matching.
type HostResolver struct {
	// CnameFlattening follows CNAMEs.
	CnameFlattening bool   `json:"cnameFlattening,omitempty"`
	ResolvConfig    string `json:"resolvConfig,omitempty"`
	ResolvDepth     int    `json:"resolvDepth,omitempty"`
}

// SetDefaults sets /etc/resolv.conf and depth 5.
func (h *HostResolver) SetDefaults() { h.ResolvConfig, h.ResolvDepth = "/etc/resolv.conf", 5 }

// CertificateResolver obtains certificates.
type CertificateResolver struct {
	ACME *ACME `json:"acme,omitempty"`
	// Tailscale is not supported; it is known so that this can be said.
	Tailscale *struct{} `json:"tailscale,omitempty" cfg:"empty"`
}

// ACME obtains certificates by RFC 8555.
type ACME struct {
	// Email of the account.
	Email string `json:"email,omitempty"`
	// CAServer is the directory of the certificate authority.
	CAServer string `json:"caServer,omitempty"`
	// PreferredChain is the common name of the issuer to prefer.
	PreferredChain    string   `json:"preferredChain,omitempty"`
	Profile           string   `json:"profile,omitempty"`
	EmailAddresses    []string `json:"emailAddresses,omitempty"`
	DisableCommonName bool     `json:"disableCommonName,omitempty"`
	// Storage keeps account and certificates: the file acme.json, or dir:, sealed:, redis: or postgres: addresses.
	Storage string `json:"storage,omitempty"`
	// KeyType is EC256, EC384, RSA2048, RSA4096 or RSA8192.
	KeyType string `json:"keyType,omitempty"`
	EAB     *EAB   `json:"eab,omitempty"`
	// CertificatesDuration in hours, from which the time of renewal follows.
	CertificatesDuration        int      `json:"certificatesDuration,omitempty"`
	ClientTimeout               Duration `json:"clientTimeout,omitempty"`
	ClientResponseHeaderTimeout Duration `json:"clientResponseHeaderTimeout,omitempty"`
	CertificateTimeout          Duration `json:"certificateTimeout,omitempty"`
	// CACertificates to trust when speaking with the authority.
	CACertificates   []string       `json:"caCertificates,omitempty"`
	CASystemCertPool bool           `json:"caSystemCertPool,omitempty"`
	CAServerName     string         `json:"caServerName,omitempty"`
	DNSChallenge     *DNSChallenge  `json:"dnsChallenge,omitempty" cfg:"empty"`
	HTTPChallenge    *HTTPChallenge `json:"httpChallenge,omitempty" cfg:"empty"`
	TLSChallenge     *TLSChallenge  `json:"tlsChallenge,omitempty" cfg:"empty"`
	// StorageKey encrypts private keys in storage: 32 bytes as hex or base64, or a file that holds them.
	StorageKey FileOrContent `json:"storageKey,omitempty" cfg:"secret"`
	// StorageOldKeys are read as well; what they encrypt is encrypted with storageKey at the start.
	StorageOldKeys []FileOrContent `json:"storageOldKeys,omitempty" cfg:"secret"`
	// ShareSessions lets replicas resume each other's TLS sessions: the secrets of session tickets go
	// to the storage that they share, encrypted with storageKey.
	ShareSessions bool `json:"shareSessions,omitempty"`
	// Fallback is another resolver, which orders where this one failed three times.
	Fallback string `json:"fallback,omitempty"`
	// Preflight says whether names are looked at before an order: warn, strict or off.
	Preflight string `json:"preflight,omitempty"`
	// PruneAfter is how long a certificate is kept that no router names; negative keeps it for ever.
	PruneAfter Duration `json:"pruneAfter,omitempty"`
	// ExportDir is a directory that gets every certificate as PEM files.
	ExportDir string `json:"exportDir,omitempty"`
	// OnRenew is a command to run, or an http(s) address to post to, for each certificate obtained.
	OnRenew  string        `json:"onRenew,omitempty" cfg:"secret"`
	Limits   *ACMELimits   `json:"limits,omitempty" cfg:"empty"`
	OnDemand *ACMEOnDemand `json:"onDemand,omitempty" cfg:"empty"`
}

// ACMELimits are limits of the authority that are kept here first. Zero takes Let's
// Encrypt's where that is the authority, and else sets no limit; negative sets none.
type ACMELimits struct {
	// NewOrders in 3 hours.
	NewOrders int `json:"newOrders,omitempty"`
	// CertificatesPerDomain in 7 days, of new names below one registered domain.
	CertificatesPerDomain int `json:"certificatesPerDomain,omitempty"`
	// DuplicateCertificates in 7 days, for the same set of names.
	DuplicateCertificates int `json:"duplicateCertificates,omitempty"`
	// FailedValidations of a name in an hour.
	FailedValidations int `json:"failedValidations,omitempty"`
}

// ACMEOnDemand obtains certificates at the first handshake, for hosts that a router of the
// resolver takes and that are allowed.
type ACMEOnDemand struct {
	// Ask is an address that is called with ?domain=HOST; 2xx allows the host.
	Ask string `json:"ask,omitempty"`
	// Allow are hosts that are allowed; *.example.com stands for one label, **.example.com for any.
	Allow []string `json:"allow,omitempty"`
	// PerMinute bounds the hosts for which orders begin.
	PerMinute int `json:"perMinute,omitempty"`
	// Wait is how long a handshake waits for its certificate.
	Wait Duration `json:"wait,omitempty"`
}

// SetDefaults sets 10 orders a minute and a wait of 30 s.
func (o *ACMEOnDemand) SetDefaults() { o.PerMinute, o.Wait = 10, 30e9 }

// SetDefaults sets Let's Encrypt, acme.json, RSA4096 and 90 days.
func (a *ACME) SetDefaults() {
	a.CAServer = defaultCA
	a.Storage, a.KeyType, a.CertificatesDuration = "acme.json", "RSA4096", 2160
	a.ClientTimeout, a.ClientResponseHeaderTimeout, a.CertificateTimeout = 120e9, 30e9, 30e9
	a.Preflight, a.PruneAfter = "warn", 30*24*3600e9
}

// EAB binds the ACME account to an account of the CA.
type EAB struct {
	KID         string `json:"kid,omitempty"`
	HMACEncoded string `json:"hmacEncoded,omitempty" cfg:"secret"`
}

// DNSChallenge answers by DNS records.
type DNSChallenge struct {
	// Provider of the zone; its secrets come from the environment.
	Provider string `json:"provider,omitempty"`
	// Resolvers asked whether records are there.
	Resolvers               []string        `json:"resolvers,omitempty"`
	Propagation             *DNSPropagation `json:"propagation,omitempty" cfg:"empty"`
	DelayBeforeCheck        Duration        `json:"delayBeforeCheck,omitempty"`
	DisablePropagationCheck bool            `json:"disablePropagationCheck,omitempty"`
	// Env are the provider's variables for this resolver; NAME_FILE takes the value from a file.
	Env map[string]string `json:"env,omitempty" cfg:"secret"`
	// EnvFile is a file of NAME=value lines, for example a secret.
	EnvFile string `json:"envFile,omitempty"`
}

// DNSPropagation tunes the wait for DNS records.
type DNSPropagation struct {
	DisableChecks    bool `json:"disableChecks,omitempty"`
	DisableANSChecks bool `json:"disableANSChecks,omitempty"`
	RequireAllRNS    bool `json:"requireAllRNS,omitempty"`
	// DelayBeforeChecks before the first look for the records.
	DelayBeforeChecks Duration `json:"delayBeforeChecks,omitempty"`
}

// HTTPChallenge answers on an HTTP entry point.
type HTTPChallenge struct {
	// EntryPoint on port 80.
	EntryPoint string `json:"entryPoint,omitempty"`
	// Delay before the authority is told to look.
	Delay Duration `json:"delay,omitempty"`
}

// TLSChallenge answers within TLS handshakes.
type TLSChallenge struct {
	Delay Duration `json:"delay,omitempty"`
}

// Experimental holds switches of the reference; what is not supported is reported.
type Experimental struct {
	Plugins              map[string]map[string]any `json:"plugins,omitempty"`
	LocalPlugins         map[string]map[string]any `json:"localPlugins,omitempty"`
	AbortOnPluginFailure bool                      `json:"abortOnPluginFailure,omitempty"`
	FastProxy            *FastProxy                `json:"fastProxy,omitempty" cfg:"empty"`
	// OTLPLogs allows log.otlp and accessLog.otlp.
	OTLPLogs bool `json:"otlplogs,omitempty"`
}

// FastProxy is accepted and has no effect: requests are fast by default.
type FastProxy struct {
	Debug bool `json:"debug,omitempty"`
}

// SpiffeClient is accepted and reported as not supported.
type SpiffeClient struct {
	WorkloadAPIAddr string `json:"workloadAPIAddr,omitempty"`
}

// OCSP staples OCSP responses to certificates that name a responder.
type OCSP struct {
	// ResponderOverrides are responders to ask in place of those that certificates name.
	ResponderOverrides map[string]string `json:"responderOverrides,omitempty"`
}
