package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// SplitAddress takes an entry point's address "[host]:port[/tcp|/udp]" apart. network is "tcp" or "udp".
func SplitAddress(address string) (network, hostport string, err error) {
	hostport, network, given := strings.Cut(address, "/")
	switch {
	case !given:
		network = "tcp"
	case strings.EqualFold(network, "tcp"), strings.EqualFold(network, "udp"):
		network = strings.ToLower(network)
	default:
		return "", "", fmt.Errorf("%q: the protocol is tcp or udp", address)
	}
	if hostport == "" {
		return "", "", fmt.Errorf("%q has no port; write \":80\"", address)
	}
	_, port, err := net.SplitHostPort(hostport)
	if err != nil {
		if _, e := strconv.ParseUint(hostport, 10, 16); e == nil {
			return "", "", fmt.Errorf("%q lacks the colon; write \":%s\"", address, hostport)
		}
		return "", "", fmt.Errorf("%q is no address; write \"host:port\" or \":port\"", address)
	}
	if _, err := net.LookupPort(network, port); err != nil { //nolint:noctx // asks no server
		return "", "", fmt.Errorf("%q: %q is no port", address, port)
	}
	return network, hostport, nil
}

// checker collects the problems of a static configuration.
type checker struct {
	s        *Static
	problems []Problem
}

func (c *checker) add(severity Severity, field, code, suggestion, format string, args ...any) {
	c.problems = append(c.problems, Problem{Field: field, Code: code, Text: fmt.Sprintf(format, args...), Suggestion: suggestion, Severity: severity})
}

// Validate checks a completed static configuration as a whole. Errors are what it
// cannot be started with; warnings are what the reference starts with as well, though it cannot work.
// Field is the key in canonical spelling.
func (s *Static) Validate() []Problem {
	c := &checker{s: s}
	names := make([]string, 0, len(s.EntryPoints))
	for name := range s.EntryPoints {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		c.entryPoint(name, s.EntryPoints[name], names)
	}
	c.resolvers(names)
	c.providers()
	c.logs()
	c.internals(names)
	c.rest()
	return c.problems
}

func (c *checker) oneOf(field, value string, fold bool, allowed ...string) {
	for _, a := range allowed {
		if value == a || fold && strings.EqualFold(value, a) {
			return
		}
	}
	if value == "" {
		return
	}
	c.add(Warning, field, CodeInvalidValue, "one of "+strings.Join(allowed, ", "), "unknown value %q; the default is used", value)
}

func (c *checker) known(field, name string, names []string) {
	for _, n := range names {
		if n == name {
			return
		}
	}
	c.add(Warning, field, CodeUnknownEntryPoint, "declared: "+strings.Join(names, ", "), "there is no entry point %q", name)
}

func (c *checker) entryPoint(name string, e *EntryPoint, names []string) {
	key := "entryPoints." + name
	if e.Address == "" {
		c.add(Error, key+".address", CodeInvalidValue, "write --entryPoints."+name+".address=:80", "the entry point %q has no address", name)
	}
	if o := e.Observability; o != nil {
		c.oneOf(key+".observability.traceVerbosity", o.TraceVerbosity, false, "minimal", "detailed")
	}
	for i, a := range append([]string{e.Address}, e.SluiceAddresses...) {
		field := key + ".address"
		if i > 0 {
			field = fmt.Sprintf("%s.sluiceAddresses.[%d]", key, i-1)
		}
		if a == "" {
			continue
		}
		if _, _, err := SplitAddress(a); err != nil {
			c.add(Error, field, CodeInvalidValue, "", "%v", err)
		}
	}
	if r := e.HTTP.Redirections; r != nil && r.EntryPoint != nil {
		c.redirect(key+".http.redirections.entryPoint", name, r.EntryPoint, names)
	}
	if e.ForwardedHeaders != nil {
		c.ranges(key+".forwardedHeaders.trustedIPs", e.ForwardedHeaders.TrustedIPs)
	}
	if e.ProxyProtocol != nil {
		c.ranges(key+".proxyProtocol.trustedIPs", e.ProxyProtocol.TrustedIPs)
	}
	if t := e.HTTP.TLS; t != nil && t.CertResolver != "" && c.s.CertificatesResolvers[t.CertResolver] == nil {
		c.add(Warning, key+".http.tls.certResolver", CodeUnknownResolver, "", "there is no certificate resolver %q", t.CertResolver)
	}
	c.fieldNames(key+".http.underscoreHeadersStrategy", e.HTTP.UnderscoreHeadersStrategy)
	c.fieldNames(key+".http.aliasHeadersStrategy", e.HTTP.AliasHeadersStrategy)
	if u, a := strings.ToLower(e.HTTP.UnderscoreHeadersStrategy), strings.ToLower(e.HTTP.AliasHeadersStrategy); a != "" && u != "" && u != "keep" && a != u {
		c.add(Error, key+".http.underscoreHeadersStrategy", CodeConflict, "leave it out", "is the old and narrower form of aliasHeadersStrategy, which says %s", a)
	}
	if h := e.HTTP2; h != nil {
		c.natural(key+".http2.maxConcurrentStreams", h.MaxConcurrentStreams)
		c.natural(key+".http2.maxDecoderHeaderTableSize", h.MaxDecoderHeaderTableSize)
		c.natural(key+".http2.maxEncoderHeaderTableSize", h.MaxEncoderHeaderTableSize)
	}
	if e.HTTP3 != nil {
		c.natural(key+".http3.advertisedPort", e.HTTP3.AdvertisedPort)
		if network, _, err := SplitAddress(e.Address); err == nil && network == "udp" {
			c.add(Error, key+".http3", CodeInvalidValue, "", "HTTP/3 needs a TCP entry point; the UDP port is opened beside it")
		}
	}
}

// fieldNames checks what is done with names that stand for others.
func (c *checker) fieldNames(field, value string) {
	switch strings.ToLower(value) {
	case "", "keep", "delete", "reject":
	default:
		c.add(Error, field, CodeInvalidValue, "write keep, delete or reject", "unknown value %q", value)
	}
}

// natural refuses what the reference refuses for a number of HTTP/2 or 3: one below zero or above 31 bits.
func (c *checker) natural(field string, n int) {
	if n < 0 || n > 1<<31-1 {
		c.add(Error, field, CodeInvalidValue, "", "%d is not a number from 0 to %d", n, 1<<31-1)
	}
}

func (c *checker) redirect(key, name string, r *RedirectEntryPoint, names []string) {
	if r.To == "" {
		c.add(Warning, key+".to", CodeInvalidValue, "name an entry point or a \":port\"", "the redirection has no target")
		return
	}
	if port, ok := strings.CutPrefix(r.To, ":"); ok {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			c.add(Warning, key+".to", CodeInvalidValue, "", "%q is no port", r.To)
		}
		return
	}
	if r.To == name {
		c.add(Warning, key+".to", CodeLoop, "", "the entry point redirects to itself")
	}
	c.known(key+".to", r.To, names)
}

func (c *checker) ranges(field string, list []string) {
	for i, s := range list {
		if _, err := netip.ParsePrefix(s); err == nil {
			continue
		}
		if _, err := netip.ParseAddr(s); err == nil {
			continue
		}
		names := c.s.Sluice.rangeNames()
		if slices.Contains(names, s) {
			continue
		}
		c.add(Error, fmt.Sprintf("%s.[%d]", field, i), CodeInvalidValue, "write 10.0.0.0/8, 10.1.2.3, or one of "+strings.Join(names, ", "), "%q is neither an address nor a range", s)
	}
}

func (c *checker) resolvers(names []string) {
	keys := make([]string, 0, len(c.s.CertificatesResolvers))
	for name := range c.s.CertificatesResolvers {
		keys = append(keys, name)
	}
	sort.Strings(keys)
	for _, name := range keys {
		r := c.s.CertificatesResolvers[name]
		key := "certificatesResolvers." + name
		if r.Tailscale != nil {
			c.add(Warning, key+".tailscale", CodeUnsupported, "run tailscale cert and name its files in tls.certificates; they are read again when they change",
				"Tailscale is not asked for certificates; routers with this resolver have the default one")
		}
		if r.ACME == nil {
			if r.Tailscale == nil {
				c.add(Warning, key, CodeInvalidValue, "write --"+key+".acme.email", "the resolver has no settings")
			}
			continue
		}
		c.acme(key+".acme", r.ACME, names)
	}
}

func (c *checker) acme(key string, a *ACME, names []string) {
	if a.Storage == "" {
		c.add(Error, key+".storage", CodeInvalidValue, "write --"+key+".storage=/data/acme.json", "the resolver needs a place to store certificates")
	}
	if u, err := url.Parse(a.CAServer); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		c.add(Error, key+".caServer", CodeInvalidValue, "", "%q is no address of a certificate authority", a.CAServer)
	}
	c.oneOf(key+".keyType", a.KeyType, true, "EC256", "EC384", "RSA2048", "RSA4096", "RSA8192")
	if a.DNSChallenge == nil && a.HTTPChallenge == nil && a.TLSChallenge == nil {
		c.add(Warning, key, CodeInvalidValue, "write --"+key+".tlsChallenge=true, .httpChallenge.entryPoint=NAME or .dnsChallenge.provider=NAME",
			"the resolver names no challenge and can obtain no certificate")
	}
	if h := a.HTTPChallenge; h != nil && h.EntryPoint != "" {
		c.known(key+".httpChallenge.entryPoint", h.EntryPoint, names)
	}
	c.oneOf(key+".preflight", a.Preflight, true, "warn", "strict", "off")
	if f := a.Fallback; f != "" {
		if r := c.s.CertificatesResolvers[f]; r == nil || r.ACME == nil || r.ACME == a {
			c.add(Error, key+".fallback", CodeUnknownResolver, "", "there is no other certificate resolver %q", f)
		}
	}
	if o := a.OnDemand; o != nil && o.Ask == "" && len(o.Allow) == 0 {
		c.add(Error, key+".onDemand", CodeInvalidValue, "write --"+key+".onDemand.ask=http://app/allowed, or .allow=*.example.com",
			"names neither ask nor allow: anybody could make orders")
	}
	if d := a.DNSChallenge; d != nil && d.Provider == "" {
		c.add(Warning, key+".dnsChallenge.provider", CodeInvalidValue, "", "the DNS challenge names no provider")
	}
	if a.EAB != nil && (a.EAB.KID == "") != (a.EAB.HMACEncoded == "") {
		c.add(Warning, key+".eab", CodeInvalidValue, "", "needs both kid and hmacEncoded")
	}
}

// precedenceNames are the providers that the reference knows, whether they are here or not.
var precedenceNames = []string{"swarm", "docker", "file", "http", "rest", "kubernetesingress", "kubernetesingressnginx", "kubernetescrd",
	"kubernetesgateway", "knative", "consulcatalog", "nomad", "ecs", "consul", "etcd", "zookeeper", "redis"}

func (c *checker) providers() {
	p := c.s.Providers
	if p == nil {
		return
	}
	for _, name := range p.Precedence {
		if !slices.Contains(precedenceNames, strings.ToLower(name)) && !strings.HasPrefix(name, "plugin-") {
			c.add(Error, "providers.precedence", CodeInvalidValue, "write names such as docker and file", "there is no provider %q", name)
		}
	}
	if f := p.File; f != nil {
		switch {
		case f.Filename == "" && f.Directory == "":
			c.add(Warning, "providers.file", CodeInvalidValue, "write --providers.file.directory=/etc/sluice/dynamic", "the file provider has neither filename nor directory")
		case f.Filename != "" && f.Directory != "":
			c.add(Warning, "providers.file.filename", CodeConflict, "name one of them", "not used, because providers.file.directory is given")
		}
	}
	if h := p.HTTP; h != nil {
		if u, err := url.Parse(h.Endpoint); err != nil || u.Host == "" {
			c.add(Warning, "providers.http.endpoint", CodeInvalidValue, "write --providers.http.endpoint=http://host/path", "%q is no address", h.Endpoint)
		}
		if h.PollInterval <= 0 {
			c.add(Warning, "providers.http.pollInterval", CodeInvalidValue, "", "must be more than nothing; 5 seconds are taken")
		}
		c.caOptional("providers.http.tls", h.TLS)
	}
	if d := p.Docker; d != nil {
		c.engine("providers.docker.endpoint", d.Endpoint)
		c.hosts(d)
		c.caOptional("providers.docker.tls", d.TLS)
	}
	if d := p.Swarm; d != nil {
		c.engine("providers.swarm.endpoint", d.Endpoint)
		c.caOptional("providers.swarm.tls", d.TLS)
	}
}

// caOptional refuses an option of Traefik v2 that forwardAuth alone still has.
func (c *checker) caOptional(field string, t *ClientTLS) {
	if t != nil && t.CAOptional != nil {
		c.add(Error, field+".caOptional", CodeUnsupported, "leave it out: the server's CA is always checked", "was removed in Traefik v3")
	}
}

func (c *checker) engine(field, endpoint string) {
	scheme, _, ok := strings.Cut(endpoint, "://")
	switch {
	case ok && (scheme == "unix" || scheme == "tcp" || scheme == "http" || scheme == "https" || scheme == "ssh" || scheme == "npipe"):
	case strings.HasPrefix(endpoint, "/"):
		c.add(Warning, field, CodeInvalidValue, "write unix://"+endpoint, "%q is no address of an engine", endpoint)
	default:
		c.add(Warning, field, CodeInvalidValue, "write unix:///var/run/docker.sock, tcp://host:2375 or ssh://user@host", "%q is no address of an engine", endpoint)
	}
}

func (c *checker) logs() {
	if l := c.s.Log; l != nil {
		c.oneOf("log.level", l.Level, true, "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC")
		c.oneOf("log.format", l.Format, true, "common", "json")
		c.otlpLogs("log.otlp", l.OTLP)
	}
	a := c.s.AccessLog
	if a == nil {
		return
	}
	c.oneOf("accessLog.format", a.Format, true, "common", "genericCLF", "json")
	c.otlpLogs("accessLog.otlp", a.OTLP)
	if f := a.Fields; f != nil {
		c.modes("accessLog.fields", f.DefaultMode, f.Names)
		if h := f.Headers; h != nil {
			c.modes("accessLog.fields.headers", h.DefaultMode, h.Names)
		}
		if q := f.QueryParameters; q != nil {
			c.modes("accessLog.fields.queryParameters", q.DefaultMode, nil)
		}
	}
	if f := a.Filters; f != nil {
		for _, text := range f.StatusCodes {
			if _, err := ParseStatusRanges([]string{text}); err != nil {
				c.add(Warning, "accessLog.filters.statusCodes", CodeInvalidValue, "", "%v; it is not used", err)
			}
		}
	}
}

// modes warns of modes of fields that are none.
func (c *checker) modes(field, byDefault string, names map[string]string) {
	c.oneOf(field+".defaultMode", byDefault, true, "keep", "drop", "redact")
	listed := make([]string, 0, len(names))
	for name := range names {
		listed = append(listed, name)
	}
	sort.Strings(listed)
	for _, name := range listed {
		c.oneOf(field+".names."+name, names[name], true, "keep", "drop", "redact")
	}
}

func (c *checker) tracing(t *Tracing) {
	if t == nil {
		return
	}
	if t.SampleRate < 0 || t.SampleRate > 1 {
		c.add(Error, "tracing.sampleRate", CodeInvalidValue, "", "must be between 0 and 1")
	}
	if len(t.GlobalAttributes) > 0 {
		text := "is the old name of resourceAttributes"
		if len(t.ResourceAttributes) > 0 {
			text = "is not used beside resourceAttributes"
		}
		c.add(Warning, "tracing.globalAttributes", CodeInvalidValue, "write --tracing.resourceAttributes", "%s", text)
	}
}

// otlpLogs warns where a log is to be sent without the switch that the reference asks for.
func (c *checker) otlpLogs(field string, l *OTLPLogs) {
	if l != nil && (c.s.Experimental == nil || !c.s.Experimental.OTLPLogs) {
		c.add(Warning, field, CodeInvalidValue, "write --experimental.otlplogs=true", "has no effect while experimental.otlplogs is not set")
	}
}

// internals checks the entry points of the API, ping and metrics.
func (c *checker) internals(names []string) {
	if p := c.s.Ping; p != nil && !p.ManualRouting {
		c.known("ping.entryPoint", p.EntryPoint, names)
	}
	m := c.s.Metrics
	if m == nil {
		return
	}
	if p := m.Prometheus; p != nil && !p.ManualRouting {
		c.known("metrics.prometheus.entryPoint", p.EntryPoint, names)
	}
	if i := m.InfluxDB2; i != nil && (i.Token == "" || i.Org == "" || i.Bucket == "") {
		c.add(Warning, "metrics.influxDB2", CodeInvalidValue, "set all three", "nothing is sent without token, org and bucket")
	}
}

func (c *checker) rest() {
	s := c.s
	if s.Core != nil {
		if v := strings.ToLower(s.Core.DefaultRuleSyntax); v != "" && v != "v2" && v != "v3" {
			c.add(Error, "core.defaultRuleSyntax", CodeInvalidValue, "write v3 or v2", "unknown rule syntax %q", s.Core.DefaultRuleSyntax)
		}
	}
	if s.API != nil && s.API.BasePath != "" && s.API.BasePath[0] != '/' {
		c.add(Error, "api.basePath", CodeInvalidValue, "write /"+s.API.BasePath, "must begin with a slash")
	}
	c.tracing(s.Tracing)
	if x := s.Experimental; x != nil {
		c.plugins("experimental.plugins.", x.Plugins)
		c.plugins("experimental.localPlugins.", x.LocalPlugins)
	}
	if t := s.ServersTransport; t != nil && t.Spiffe != nil {
		c.add(Warning, "serversTransport.spiffe", CodeUnsupported, "use serversTransport certificates", "SPIFFE is not supported")
	}
	if s.Spiffe != nil {
		c.add(Warning, "spiffe", CodeUnsupported, "use serversTransport certificates", "SPIFFE is not supported")
	}
	if h := s.HostResolver; h != nil && h.CnameFlattening {
		c.add(Warning, "hostResolver.cnameFlattening", CodeUnsupported, "write the host that clients ask for into the rule", "the CNAMEs of a host are not followed")
	}
	if s.Sluice != nil {
		c.oneOf("sluice.lane", s.Sluice.Lane, false, "auto", "handler", "loop")
		c.oneOf("sluice.http2Lane", s.Sluice.HTTP2Lane, false, "auto", "handler")
		c.oneOf("sluice.readTimeoutMode", s.Sluice.ReadTimeoutMode, false, "progress", "total")
		c.ready(s.Sluice)
		if s.Sluice.Loops < 0 {
			c.add(Error, "sluice.loops", CodeInvalidValue, "", "must not be negative")
		}
	}
}

func (c *checker) plugins(key string, plugins map[string]map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		c.add(Warning, key+name, CodeUnsupported, PluginRemedy(fmt.Sprint(name, " ", plugins[name])), "plugins are not supported; routers that use this one are closed")
	}
}
