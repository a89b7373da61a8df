package config

// TCP is the TCP part of a Dynamic.
type TCP struct {
	Routers           map[string]*TCPRouter           `json:"routers,omitempty"`
	Services          map[string]*TCPService          `json:"services,omitempty"`
	Middlewares       map[string]*TCPMiddleware       `json:"middlewares,omitempty"`
	ServersTransports map[string]*TCPServersTransport `json:"serversTransports,omitempty" cfg:"sluice"`
}

// TCPRouter sends connections its rule matches to a service.
type TCPRouter struct {
	EntryPoints []string `json:"entryPoints,omitempty"`
	Middlewares []string `json:"middlewares,omitempty"`
	Service     string   `json:"service,omitempty"`
	// Rule such as HostSNI(`example.com`); HostSNI(`*`) takes connections without TLS.
	Rule       string        `json:"rule,omitempty"`
	RuleSyntax string        `json:"ruleSyntax,omitempty"`
	Priority   int           `json:"priority,omitempty"`
	TLS        *TCPRouterTLS `json:"tls,omitempty" cfg:"empty"`
	// Broken is as in Router; connections are closed.
	Broken string `json:"-" cfg:"-"`
}

// TCPRouterTLS terminates TLS, or passes it through.
type TCPRouterTLS struct {
	// Passthrough leaves TLS to the server.
	Passthrough  bool     `json:"passthrough"`
	Options      string   `json:"options,omitempty"`
	CertResolver string   `json:"certResolver,omitempty"`
	Domains      []Domain `json:"domains,omitempty"`
}

// TCPService is where connections go: exactly one kind is set.
type TCPService struct {
	LoadBalancer *TCPLoadBalancer `json:"loadBalancer,omitempty"`
	Weighted     *TCPWeighted     `json:"weighted,omitempty" cfg:"sluice"`
}

// TCPLoadBalancer shares connections among servers.
type TCPLoadBalancer struct {
	Servers          []TCPServer    `json:"servers,omitempty" cfg:"one:server"`
	ServersTransport string         `json:"serversTransport,omitempty"`
	ProxyProtocol    *ProxyProtocol `json:"proxyProtocol,omitempty" cfg:"empty"`
	// TerminationDelay is deprecated; set it in a serversTransport.
	TerminationDelay *int            `json:"terminationDelay,omitempty"`
	HealthCheck      *TCPHealthCheck `json:"healthCheck,omitempty" cfg:"empty"`
	// Idle is as in LoadBalancer, and so is AutoHold. Set by providers.
	Idle     *Idle    `json:"-" cfg:"-"`
	AutoHold Duration `json:"-" cfg:"-"`
}

// TCPServer is one server of a TCPLoadBalancer.
type TCPServer struct {
	// Address such as 10.0.0.5:5432.
	Address string `json:"address,omitempty"`
	// TLS towards the server.
	TLS  bool   `json:"tls,omitempty"`
	Port string `json:"-" cfg:"port,label"`
}

// ProxyProtocol makes the edge send a PROXY header to the server.
type ProxyProtocol struct {
	// Version is 1 or 2.
	Version int `json:"version,omitempty"`
}

// SetDefaults sets version 2.
func (p *ProxyProtocol) SetDefaults() { p.Version = 2 }

// TCPHealthCheck connects to each server regularly.
type TCPHealthCheck struct {
	Port int `json:"port,omitempty"`
	// Send after the connection stands.
	Send string `json:"send,omitempty"`
	// Expect this answer.
	Expect            string    `json:"expect,omitempty"`
	Interval          Duration  `json:"interval,omitempty"`
	UnhealthyInterval *Duration `json:"unhealthyInterval,omitempty"`
	Timeout           Duration  `json:"timeout,omitempty"`
}

// SetDefaults sets every 30 s with 5 s time-out.
func (h *TCPHealthCheck) SetDefaults() { h.Interval, h.Timeout = 30e9, 5e9 }

// TCPWeighted shares connections among services.
type TCPWeighted struct {
	Services    []WeightedService `json:"services,omitempty"`
	HealthCheck *ServiceHealth    `json:"healthCheck,omitempty" cfg:"empty"`
}

// TCPMiddleware is one of its kinds.
type TCPMiddleware struct {
	InFlightConn *TCPInFlightConn `json:"inFlightConn,omitempty"`
	IPAllowList  *TCPIPAllowList  `json:"ipAllowList,omitempty"`
	IPWhiteList  *TCPIPAllowList  `json:"ipWhiteList,omitempty"`
	// Broken is as in Router.
	Broken string `json:"-" cfg:"-"`
}

// TCPInFlightConn bounds connections of one client address.
type TCPInFlightConn struct {
	// Amount of connections at the same time.
	Amount int64 `json:"amount,omitempty"`
}

// TCPIPAllowList lets only these addresses in.
type TCPIPAllowList struct {
	// SourceRange lists addresses and ranges.
	SourceRange []string `json:"sourceRange,omitempty"`
}

// TCPServersTransport tunes how TCP servers are reached.
type TCPServersTransport struct {
	// DialKeepAlive between probes of quiet connections.
	DialKeepAlive Duration       `json:"dialKeepAlive,omitempty"`
	DialTimeout   Duration       `json:"dialTimeout,omitempty"`
	ProxyProtocol *ProxyProtocol `json:"proxyProtocol,omitempty" cfg:"empty"`
	// TerminationDelay after one side closed; negative means for ever.
	TerminationDelay Duration   `json:"terminationDelay,omitempty"`
	TLS              *TLSClient `json:"tls,omitempty" cfg:"empty"`
}

// SetDefaults sets keep-alive 15 s, dial 30 s and termination delay 100 ms.
func (t *TCPServersTransport) SetDefaults() {
	t.DialKeepAlive, t.DialTimeout, t.TerminationDelay = 15e9, 30e9, 100e6
}

// TLSClient is TLS towards a TCP server.
type TLSClient struct {
	ServerName         string        `json:"serverName,omitempty"`
	InsecureSkipVerify bool          `json:"insecureSkipVerify,omitempty"`
	RootCAs            []string      `json:"rootCAs,omitempty"`
	Certificates       []Certificate `json:"certificates,omitempty"`
	PeerCertURI        string        `json:"peerCertURI,omitempty"`
	PeerCertSANs       []PeerCertSAN `json:"peerCertSANs,omitempty"`
	Spiffe             *Spiffe       `json:"spiffe,omitempty" cfg:"empty"`
}

// UDP is the UDP part of a Dynamic.
type UDP struct {
	Routers  map[string]*UDPRouter  `json:"routers,omitempty"`
	Services map[string]*UDPService `json:"services,omitempty"`
}

// UDPRouter sends every session of its entry points to a service.
type UDPRouter struct {
	EntryPoints []string `json:"entryPoints,omitempty"`
	Service     string   `json:"service,omitempty"`
}

// UDPService is where sessions go: exactly one kind is set.
type UDPService struct {
	LoadBalancer *UDPLoadBalancer `json:"loadBalancer,omitempty"`
	Weighted     *UDPWeighted     `json:"weighted,omitempty" cfg:"sluice"`
}

// UDPLoadBalancer shares sessions among servers.
type UDPLoadBalancer struct {
	Servers []UDPServer `json:"servers,omitempty" cfg:"one:server"`
	// Idle is as in LoadBalancer. Set by providers.
	Idle *Idle `json:"-" cfg:"-"`
}

// UDPServer is one server of a UDPLoadBalancer.
type UDPServer struct {
	// Address such as 10.0.0.5:53.
	Address string `json:"address,omitempty"`
	Port    string `json:"-" cfg:"port,label"`
}

// UDPWeighted shares sessions among services.
type UDPWeighted struct {
	Services []WeightedService `json:"services,omitempty"`
}

// TLS is the TLS part of a Dynamic.
type TLS struct {
	Certificates []StoreCertificate     `json:"certificates,omitempty" cfg:"nolabel"`
	Options      map[string]*TLSOptions `json:"options,omitempty" cfg:"sluice"`
	Stores       map[string]*TLSStore   `json:"stores,omitempty"`
}

// FileOrContent is a path, or the content itself where a file of that name cannot be.
type FileOrContent string

// Certificate is a certificate chain and its key.
type Certificate struct {
	// CertFile is a file, or PEM.
	CertFile FileOrContent `json:"certFile,omitempty"`
	// KeyFile is a file, or PEM.
	KeyFile FileOrContent `json:"keyFile,omitempty" cfg:"secret"`
}

// StoreCertificate is a certificate offered to clients. Only the store "default" is used.
type StoreCertificate struct {
	// CertFile is a file, or PEM.
	CertFile FileOrContent `json:"certFile,omitempty"`
	// KeyFile is a file, or PEM.
	KeyFile FileOrContent `json:"keyFile,omitempty" cfg:"secret"`
	Stores  []string      `json:"stores,omitempty"`
}

// TLSStore holds the certificate for names that have none.
type TLSStore struct {
	DefaultCertificate   *Certificate   `json:"defaultCertificate,omitempty" cfg:"nolabel"`
	DefaultGeneratedCert *GeneratedCert `json:"defaultGeneratedCert,omitempty"`
}

// GeneratedCert is a default certificate that a resolver obtains.
type GeneratedCert struct {
	Resolver string  `json:"resolver,omitempty"`
	Domain   *Domain `json:"domain,omitempty"`
}

// TLSOptions tune TLS towards clients.
type TLSOptions struct {
	// MinVersion such as VersionTLS12.
	MinVersion string `json:"minVersion,omitempty"`
	// MaxVersion such as VersionTLS13.
	MaxVersion string `json:"maxVersion,omitempty"`
	// CipherSuites by name; TLS 1.3 has its own.
	CipherSuites []string `json:"cipherSuites,omitempty"`
	// CurvePreferences such as X25519, CurveP256.
	CurvePreferences []string   `json:"curvePreferences,omitempty"`
	ClientAuth       ClientAuth `json:"clientAuth,omitempty"`
	// SNIStrict refuses names without a certificate.
	SNIStrict bool `json:"sniStrict,omitempty"`
	// ALPNProtocols offered, best first.
	ALPNProtocols         []string `json:"alpnProtocols,omitempty"`
	DisableSessionTickets bool     `json:"disableSessionTickets,omitempty"`
	// PreferServerCipherSuites is accepted and has no effect.
	PreferServerCipherSuites *bool `json:"preferServerCipherSuites,omitempty"`
}

// SetDefaults sets the ALPN protocols h2, http/1.1 and acme-tls/1.
func (o *TLSOptions) SetDefaults() { o.ALPNProtocols = []string{"h2", "http/1.1", "acme-tls/1"} }

// ClientAuth asks clients for certificates.
type ClientAuth struct {
	// CAFiles that sign clients' certificates.
	CAFiles []FileOrContent `json:"caFiles,omitempty"`
	// ClientAuthType is NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert.
	ClientAuthType string `json:"clientAuthType,omitempty"`
}
