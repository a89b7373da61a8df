package config

// Middleware is one HTTP middleware: exactly one of its kinds is set.
type Middleware struct {
	AddPrefix         *AddPrefix         `json:"addPrefix,omitempty"`
	StripPrefix       *StripPrefix       `json:"stripPrefix,omitempty"`
	StripPrefixRegex  *StripPrefixRegex  `json:"stripPrefixRegex,omitempty"`
	ReplacePath       *ReplacePath       `json:"replacePath,omitempty"`
	ReplacePathRegex  *ReplacePathRegex  `json:"replacePathRegex,omitempty"`
	Chain             *Chain             `json:"chain,omitempty"`
	IPWhiteList       *IPWhiteList       `json:"ipWhiteList,omitempty"`
	IPAllowList       *IPAllowList       `json:"ipAllowList,omitempty"`
	Headers           *Headers           `json:"headers,omitempty"`
	EncodedCharacters *EncodedCharacters `json:"encodedCharacters,omitempty" cfg:"empty"`
	Errors            *ErrorPage         `json:"errors,omitempty"`
	RateLimit         *RateLimit         `json:"rateLimit,omitempty"`
	RedirectRegex     *RedirectRegex     `json:"redirectRegex,omitempty"`
	RedirectScheme    *RedirectScheme    `json:"redirectScheme,omitempty"`
	BasicAuth         *BasicAuth         `json:"basicAuth,omitempty"`
	DigestAuth        *DigestAuth        `json:"digestAuth,omitempty"`
	ForwardAuth       *ForwardAuth       `json:"forwardAuth,omitempty"`
	InFlightReq       *InFlightReq       `json:"inFlightReq,omitempty"`
	Buffering         *Buffering         `json:"buffering,omitempty"`
	CircuitBreaker    *CircuitBreaker    `json:"circuitBreaker,omitempty"`
	Compress          *Compress          `json:"compress,omitempty" cfg:"empty"`
	PassTLSClientCert *PassTLSClientCert `json:"passTLSClientCert,omitempty"`
	Retry             *Retry             `json:"retry,omitempty"`
	ContentType       *ContentType       `json:"contentType,omitempty" cfg:"empty"`
	GRPCWeb           *GRPCWeb           `json:"grpcWeb,omitempty"`
	// Plugin is accepted and reported as not supported.
	Plugin map[string]map[string]any `json:"plugin,omitempty"`

	// The kinds below are ours; labels spell them under the root "sluice." only.
	IPDenyList      *IPDenyList      `json:"ipDenyList,omitempty" cfg:"sluice"`
	Respond         *Respond         `json:"respond,omitempty" cfg:"sluice"`
	Maintenance     *Maintenance     `json:"maintenance,omitempty" cfg:"sluice,empty"`
	RewriteLocation *RewriteLocation `json:"rewriteLocation,omitempty" cfg:"sluice,empty"`

	// Broken is as in Router: the routers of this middleware answer 503.
	Broken string `json:"-" cfg:"-"`
}

// GuardKinds are the kinds, by their keys, that keep somebody out or bound what they may
// ask for. A router that names one which cannot be built is not served without it.
func GuardKinds() []string {
	return []string{"basicAuth", "digestAuth", "forwardAuth", "ipAllowList", "ipWhiteList", "ipDenyList",
		"rateLimit", "inFlightReq", "encodedCharacters", "maintenance"}
}

// AddPrefix puts Prefix before the path.
type AddPrefix struct {
	// Prefix that is added.
	Prefix string `json:"prefix,omitempty"`
}

// StripPrefix removes the first matching prefix and reports it in X-Forwarded-Prefix.
type StripPrefix struct {
	// Prefixes that are looked for; the first that matches is removed.
	Prefixes []string `json:"prefixes,omitempty"`
	// ForceSlash is deprecated: it makes an empty remaining path "/".
	ForceSlash *bool `json:"forceSlash,omitempty"`
}

// StripPrefixRegex removes the part of the path that matches one of Regex.
type StripPrefixRegex struct {
	// Regex list; the first that matches at the beginning is removed.
	Regex []string `json:"regex,omitempty"`
}

// ReplacePath replaces the path and reports the old one in X-Replaced-Path.
type ReplacePath struct {
	Path string `json:"path,omitempty"`
}

// ReplacePathRegex rewrites the path and reports the old one in X-Replaced-Path.
type ReplacePathRegex struct {
	Regex string `json:"regex,omitempty"`
	// Replacement may hold $1 or ${name}; in compose files $$1.
	Replacement string `json:"replacement,omitempty"`
}

// Chain runs other middlewares in order.
type Chain struct {
	// Middlewares in the order they see the request.
	Middlewares []string `json:"middlewares,omitempty"`
}

// IPStrategy says which address of a request counts as the client's.
type IPStrategy struct {
	// Depth counts from the right of X-Forwarded-For; zero takes the peer address.
	Depth int `json:"depth,omitempty"`
	// ExcludedIPs are skipped from the right of X-Forwarded-For.
	ExcludedIPs []string `json:"excludedIPs,omitempty"`
	// IPv6Subnet groups IPv6 addresses by their first bits.
	IPv6Subnet *int `json:"ipv6Subnet,omitempty"`
}

// IPWhiteList is the deprecated spelling of IPAllowList.
type IPWhiteList struct {
	SourceRange []string    `json:"sourceRange,omitempty"`
	IPStrategy  *IPStrategy `json:"ipStrategy,omitempty" cfg:"empty"`
}

// IPAllowList lets only these addresses in.
type IPAllowList struct {
	// SourceRange lists addresses and ranges, such as 10.0.0.0/8.
	SourceRange []string    `json:"sourceRange,omitempty"`
	IPStrategy  *IPStrategy `json:"ipStrategy,omitempty" cfg:"empty"`
	// RejectStatusCode of the refusal; zero means 403.
	RejectStatusCode int `json:"rejectStatusCode,omitempty"`
}

// IPDenyList keeps these addresses out.
type IPDenyList struct {
	// SourceRange lists addresses and ranges, such as 10.0.0.0/8.
	SourceRange []string    `json:"sourceRange,omitempty"`
	IPStrategy  *IPStrategy `json:"ipStrategy,omitempty" cfg:"empty"`
	// RejectStatusCode of the refusal; zero means 403.
	RejectStatusCode int `json:"rejectStatusCode,omitempty"`
}

// Headers sets, removes and checks fields of requests and responses.
type Headers struct {
	// An empty value removes the field.
	CustomRequestHeaders  map[string]string `json:"customRequestHeaders,omitempty"`
	CustomResponseHeaders map[string]string `json:"customResponseHeaders,omitempty"`

	AccessControlAllowCredentials bool     `json:"accessControlAllowCredentials,omitempty"`
	AccessControlAllowHeaders     []string `json:"accessControlAllowHeaders,omitempty"`
	AccessControlAllowMethods     []string `json:"accessControlAllowMethods,omitempty"`
	// AccessControlAllowOriginList lists origins, or "*".
	AccessControlAllowOriginList      []string `json:"accessControlAllowOriginList,omitempty"`
	AccessControlAllowOriginListRegex []string `json:"accessControlAllowOriginListRegex,omitempty"`
	AccessControlExposeHeaders        []string `json:"accessControlExposeHeaders,omitempty"`
	// AccessControlMaxAge in seconds; nil sends none, zero forbids caching.
	AccessControlMaxAge *int64 `json:"accessControlMaxAge,omitempty"`
	// AddVaryHeader adds Vary: Origin.
	AddVaryHeader bool `json:"addVaryHeader,omitempty"`

	// AllowedHosts lists the hosts that are answered; empty means any.
	AllowedHosts []string `json:"allowedHosts,omitempty"`
	// HostsProxyHeaders are fields that may hold the host, such as X-Forwarded-Host.
	HostsProxyHeaders []string `json:"hostsProxyHeaders,omitempty"`
	// The four below are deprecated in favour of redirectScheme.
	SSLRedirect          *bool   `json:"sslRedirect,omitempty"`
	SSLTemporaryRedirect *bool   `json:"sslTemporaryRedirect,omitempty"`
	SSLHost              *string `json:"sslHost,omitempty"`
	SSLForceHost         *bool   `json:"sslForceHost,omitempty"`
	// SSLProxyHeaders are fields with values that tell of HTTPS, for stsSeconds.
	SSLProxyHeaders map[string]string `json:"sslProxyHeaders,omitempty"`

	// STSSeconds is max-age of Strict-Transport-Security; zero sends none.
	STSSeconds           int64 `json:"stsSeconds,omitempty"`
	STSIncludeSubdomains bool  `json:"stsIncludeSubdomains,omitempty"`
	STSPreload           bool  `json:"stsPreload,omitempty"`
	// ForceSTSHeader sends it on clear connections too.
	ForceSTSHeader bool `json:"forceSTSHeader,omitempty"`
	// FrameDeny sends X-Frame-Options: DENY.
	FrameDeny               bool   `json:"frameDeny,omitempty"`
	CustomFrameOptionsValue string `json:"customFrameOptionsValue,omitempty"`
	// ContentTypeNosniff sends X-Content-Type-Options: nosniff.
	ContentTypeNosniff bool `json:"contentTypeNosniff,omitempty"`
	// BrowserXSSFilter sends X-XSS-Protection: 1; mode=block.
	BrowserXSSFilter                bool   `json:"browserXssFilter,omitempty"`
	CustomBrowserXSSValue           string `json:"customBrowserXSSValue,omitempty"`
	ContentSecurityPolicy           string `json:"contentSecurityPolicy,omitempty"`
	ContentSecurityPolicyReportOnly string `json:"contentSecurityPolicyReportOnly,omitempty"`
	PublicKey                       string `json:"publicKey,omitempty"`
	ReferrerPolicy                  string `json:"referrerPolicy,omitempty"`
	PermissionsPolicy               string `json:"permissionsPolicy,omitempty"`
	// IsDevelopment leaves allowedHosts and STS out.
	IsDevelopment bool `json:"isDevelopment,omitempty"`
	// FeaturePolicy has no effect any more; PermissionsPolicy has taken its place.
	FeaturePolicy *string `json:"featurePolicy,omitempty"`
}

// EncodedCharacters refuses paths with these encoded characters unless allowed.
type EncodedCharacters struct {
	AllowEncodedSlash         bool `json:"allowEncodedSlash,omitempty"`
	AllowEncodedBackSlash     bool `json:"allowEncodedBackSlash,omitempty"`
	AllowEncodedNullCharacter bool `json:"allowEncodedNullCharacter,omitempty"`
	AllowEncodedSemicolon     bool `json:"allowEncodedSemicolon,omitempty"`
	AllowEncodedPercent       bool `json:"allowEncodedPercent,omitempty"`
	AllowEncodedQuestionMark  bool `json:"allowEncodedQuestionMark,omitempty"`
	AllowEncodedHash          bool `json:"allowEncodedHash,omitempty"`
}

// ErrorPage replaces answers of these statuses by a page of another service.
type ErrorPage struct {
	// Status codes or ranges ("500-599") that are replaced.
	Status []string `json:"status,omitempty"`
	// StatusRewrites maps codes or ranges to the code that is sent instead.
	StatusRewrites map[string]int `json:"statusRewrites,omitempty"`
	// Service that has the pages.
	Service string `json:"service,omitempty"`
	// Query is the page's path; {status}, {originalStatus} and {url} are put in.
	Query string `json:"query,omitempty"`
	// ErrorRequestHeaders are the request fields passed on; nil means all.
	ErrorRequestHeaders *[]string `json:"errorRequestHeaders,omitempty"`
}

// SourceCriterion says what requests are grouped by.
type SourceCriterion struct {
	IPStrategy *IPStrategy `json:"ipStrategy,omitempty" cfg:"empty"`
	// RequestHeaderName groups by the value of a request field.
	RequestHeaderName string `json:"requestHeaderName,omitempty"`
	// RequestHost groups by host.
	RequestHost bool `json:"requestHost,omitempty"`
}

// RateLimit allows Average requests per Period and group, and bursts above.
type RateLimit struct {
	// Average requests in each Period; zero means no limit.
	Average int64 `json:"average,omitempty"`
	// Period for Average.
	Period Duration `json:"period,omitempty"`
	// Burst is how many requests may come at once.
	Burst           int64            `json:"burst,omitempty"`
	SourceCriterion *SourceCriterion `json:"sourceCriterion,omitempty"`
	Redis           *Redis           `json:"redis,omitempty" cfg:"empty"`
}

// SetDefaults sets a period of 1 s and a burst of 1.
func (r *RateLimit) SetDefaults() { r.Period, r.Burst = 1e9, 1 }

// Redis is where rate limits are shared.
type Redis struct {
	Endpoints      []string   `json:"endpoints,omitempty"`
	TLS            *ClientTLS `json:"tls,omitempty" cfg:"empty"`
	Username       string     `json:"username,omitempty"`
	Password       string     `json:"password,omitempty" cfg:"secret"`
	DB             int        `json:"db,omitempty"`
	PoolSize       int        `json:"poolSize,omitempty"`
	MinIdleConns   int        `json:"minIdleConns,omitempty"`
	MaxActiveConns int        `json:"maxActiveConns,omitempty"`
	ReadTimeout    *Duration  `json:"readTimeout,omitempty"`
	WriteTimeout   *Duration  `json:"writeTimeout,omitempty"`
	DialTimeout    *Duration  `json:"dialTimeout,omitempty"`
}

// SetDefaults sets localhost:6379 and time-outs of 3, 3 and 5 s.
func (r *Redis) SetDefaults() {
	rd, wr, di := Duration(3e9), Duration(3e9), Duration(5e9)
	r.Endpoints = []string{"localhost:6379"}
	r.ReadTimeout, r.WriteTimeout, r.DialTimeout = &rd, &wr, &di
}

// ClientTLS is TLS towards another service of the edge: an auth server, a daemon, Redis.
type ClientTLS struct {
	CA                 string `json:"ca,omitempty"`
	CAOptional         *bool  `json:"caOptional,omitempty"`
	Cert               string `json:"cert,omitempty"`
	Key                string `json:"key,omitempty" cfg:"secret"`
	InsecureSkipVerify bool   `json:"insecureSkipVerify,omitempty"`
}

// RedirectRegex redirects where the whole URL matches Regex.
type RedirectRegex struct {
	Regex string `json:"regex,omitempty"`
	// Replacement may hold $1 or ${name}; in compose files $$1.
	Replacement string `json:"replacement,omitempty"`
	// Permanent sends 301 (308 for methods other than GET) instead of 302 (307).
	Permanent bool `json:"permanent,omitempty"`
}

// RedirectScheme redirects to another scheme or port.
type RedirectScheme struct {
	// Scheme of the new address.
	Scheme string `json:"scheme,omitempty"`
	// Port of the new address; empty means the scheme's own.
	Port string `json:"port,omitempty"`
	// Permanent sends 301 (308 for methods other than GET) instead of 302 (307).
	Permanent bool `json:"permanent,omitempty"`
}

// BasicAuth asks for a user and password (RFC 7617).
type BasicAuth struct {
	// Users as "name:hash", by bcrypt, MD5 (apr1) or SHA1; see sluice passwd.
	Users []string `json:"users,omitempty" cfg:"secret"`
	// UsersFile has one user a line.
	UsersFile string `json:"usersFile,omitempty"`
	// Realm shown to the user; empty means "traefik".
	Realm string `json:"realm,omitempty"`
	// RemoveHeader keeps Authorization from the server.
	RemoveHeader bool `json:"removeHeader,omitempty"`
	// HeaderField gets the name of the user.
	HeaderField string `json:"headerField,omitempty"`
}

// DigestAuth asks for a user and password (RFC 2617, MD5).
type DigestAuth struct {
	// Users as "name:realm:hash", as htdigest writes them.
	Users        []string `json:"users,omitempty" cfg:"secret"`
	UsersFile    string   `json:"usersFile,omitempty"`
	RemoveHeader bool     `json:"removeHeader,omitempty"`
	Realm        string   `json:"realm,omitempty"`
	HeaderField  string   `json:"headerField,omitempty"`
}

// ForwardAuth asks another server whether a request may pass.
type ForwardAuth struct {
	// Address of the auth server; 2xx lets the request pass.
	Address string     `json:"address,omitempty"`
	TLS     *ClientTLS `json:"tls,omitempty"`
	// TrustForwardHeader passes the X-Forwarded-* fields on as they are; false removes
	// them all first; nil, as the reference has it, keeps those that the edge does not set.
	TrustForwardHeader *bool `json:"trustForwardHeader,omitempty"`
	// AuthResponseHeaders are copied from the auth server's answer to the request.
	AuthResponseHeaders      []string `json:"authResponseHeaders,omitempty"`
	AuthResponseHeadersRegex string   `json:"authResponseHeadersRegex,omitempty"`
	// AuthRequestHeaders are the request fields the auth server sees; empty means all.
	AuthRequestHeaders       []string `json:"authRequestHeaders,omitempty"`
	AddAuthCookiesToResponse []string `json:"addAuthCookiesToResponse,omitempty"`
	HeaderField              string   `json:"headerField,omitempty"`
	// ForwardBody sends the request's body to the auth server.
	ForwardBody bool `json:"forwardBody,omitempty"`
	// MaxBodySize in bytes; -1 means any.
	MaxBodySize *int64 `json:"maxBodySize,omitempty"`
	// MaxResponseBodySize in bytes; nil means 4 MiB, -1 any.
	MaxResponseBodySize    *int64 `json:"maxResponseBodySize,omitempty"`
	PreserveLocationHeader bool   `json:"preserveLocationHeader,omitempty"`
	PreserveRequestMethod  bool   `json:"preserveRequestMethod,omitempty"`
	AuthSigninURL          string `json:"authSigninURL,omitempty"`
}

// SetDefaults forwards bodies of any size.
func (f *ForwardAuth) SetDefaults() { n := int64(-1); f.MaxBodySize = &n }

// InFlightReq bounds requests under way per group.
type InFlightReq struct {
	// Amount of requests at the same time in a group.
	Amount          int64            `json:"amount,omitempty"`
	SourceCriterion *SourceCriterion `json:"sourceCriterion,omitempty"`
}

// Buffering reads whole bodies before passing them on. Sizes are in bytes; zero means any.
type Buffering struct {
	MaxRequestBodyBytes  int64 `json:"maxRequestBodyBytes,omitempty"`
	MemRequestBodyBytes  int64 `json:"memRequestBodyBytes,omitempty"`
	MaxResponseBodyBytes int64 `json:"maxResponseBodyBytes,omitempty"`
	MemResponseBodyBytes int64 `json:"memResponseBodyBytes,omitempty"`
	// RetryExpression such as IsNetworkError() && Attempts() < 3.
	RetryExpression string `json:"retryExpression,omitempty"`
}

// CircuitBreaker stops asking a service that fails.
type CircuitBreaker struct {
	// Expression such as NetworkErrorRatio() > 0.30 that opens the breaker.
	Expression string `json:"expression,omitempty"`
	// CheckPeriod between two looks at the expression.
	CheckPeriod Duration `json:"checkPeriod,omitempty"`
	// FallbackDuration for which an open breaker refuses.
	FallbackDuration Duration `json:"fallbackDuration,omitempty"`
	// RecoveryDuration over which requests are let through again.
	RecoveryDuration Duration `json:"recoveryDuration,omitempty"`
	// ResponseCode of a refusal.
	ResponseCode int `json:"responseCode,omitempty"`
}

// SetDefaults sets 100 ms, 10 s, 10 s and 503.
func (c *CircuitBreaker) SetDefaults() {
	c.CheckPeriod, c.FallbackDuration, c.RecoveryDuration, c.ResponseCode = 100e6, 10e9, 10e9, 503
}

// Compress compresses answers.
type Compress struct {
	// ExcludedContentTypes are never compressed.
	ExcludedContentTypes []string `json:"excludedContentTypes,omitempty"`
	// IncludedContentTypes alone are compressed.
	IncludedContentTypes []string `json:"includedContentTypes,omitempty"`
	// MinResponseBodyBytes below which nothing is compressed; zero means 1024.
	MinResponseBodyBytes int `json:"minResponseBodyBytes,omitempty"`
	// Encodings offered, best first.
	Encodings       []string `json:"encodings,omitempty"`
	DefaultEncoding string   `json:"defaultEncoding,omitempty"`
}

// SetDefaults sets gzip, br and zstd.
func (c *Compress) SetDefaults() { c.Encodings = []string{"gzip", "br", "zstd"} }

// PassTLSClientCert hands the client's certificate to the server.
type PassTLSClientCert struct {
	PEM  bool               `json:"pem,omitempty"`
	Info *TLSClientCertInfo `json:"info,omitempty"`
}

// TLSClientCertInfo chooses what X-Forwarded-Tls-Client-Cert-Info tells.
type TLSClientCertInfo struct {
	NotAfter     bool                  `json:"notAfter,omitempty"`
	NotBefore    bool                  `json:"notBefore,omitempty"`
	SANs         bool                  `json:"sans,omitempty"`
	SerialNumber bool                  `json:"serialNumber,omitempty"`
	Subject      *TLSClientCertSubject `json:"subject,omitempty"`
	Issuer       *TLSClientCertIssuer  `json:"issuer,omitempty"`
}

// TLSClientCertSubject chooses parts of the subject.
type TLSClientCertSubject struct {
	Country            bool `json:"country,omitempty"`
	Province           bool `json:"province,omitempty"`
	Locality           bool `json:"locality,omitempty"`
	Organization       bool `json:"organization,omitempty"`
	OrganizationalUnit bool `json:"organizationalUnit,omitempty"`
	CommonName         bool `json:"commonName,omitempty"`
	SerialNumber       bool `json:"serialNumber,omitempty"`
	DomainComponent    bool `json:"domainComponent,omitempty"`
}

// TLSClientCertIssuer chooses parts of the issuer.
type TLSClientCertIssuer struct {
	Country         bool `json:"country,omitempty"`
	Province        bool `json:"province,omitempty"`
	Locality        bool `json:"locality,omitempty"`
	Organization    bool `json:"organization,omitempty"`
	CommonName      bool `json:"commonName,omitempty"`
	SerialNumber    bool `json:"serialNumber,omitempty"`
	DomainComponent bool `json:"domainComponent,omitempty"`
}

// Retry repeats requests that failed.
type Retry struct {
	// Attempts in all.
	Attempts int `json:"attempts,omitempty"`
	// InitialInterval before the second attempt; it doubles.
	InitialInterval Duration `json:"initialInterval,omitempty"`
	Timeout         Duration `json:"timeout,omitempty"`
	// MaxRequestBodyBytes bounds what is kept to repeat a request; nil means 2 MiB.
	MaxRequestBodyBytes *int64 `json:"maxRequestBodyBytes,omitempty"`
	// Status codes or ranges of answers that are tried again.
	Status                     []string `json:"status,omitempty"`
	DisableRetryOnNetworkError bool     `json:"disableRetryOnNetworkError,omitempty"`
	RetryNonIdempotentMethod   bool     `json:"retryNonIdempotentMethod,omitempty"`
}

// SetDefaults keeps bodies up to 2 MiB.
func (r *Retry) SetDefaults() { n := int64(2 << 20); r.MaxRequestBodyBytes = &n }

// ContentType turns on guessing of a missing Content-Type.
type ContentType struct {
	AutoDetect *bool `json:"autoDetect,omitempty"`
}

// GRPCWeb translates gRPC-Web to gRPC.
type GRPCWeb struct {
	// AllowOrigins lists origins, or "*".
	AllowOrigins []string `json:"allowOrigins,omitempty"`
}

// Respond answers by itself.
type Respond struct {
	// Status of the answer; zero means 200.
	Status  int               `json:"status,omitempty"`
	Body    string            `json:"body,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
}

// Maintenance answers 503 with a page, but for the addresses allowed in.
type Maintenance struct {
	// Enabled is true unless set to false.
	Enabled *bool `json:"enabled,omitempty"`
	// Allow lists addresses and ranges that are let in.
	Allow []string `json:"allow,omitempty"`
	// Message on the page.
	Message string `json:"message,omitempty"`
	// RetryAfter in seconds; zero sends none.
	RetryAfter int `json:"retryAfter,omitempty"`
}

// RewriteLocation puts a stripped prefix back into Location, Content-Location and
// the Path of cookies; never for "//host" or foreign origins.
type RewriteLocation struct {
	Cookies *bool `json:"cookies,omitempty"`
}
