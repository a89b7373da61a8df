package header

import (
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// secure sets the fields that make browsers careful and checks the host.
type secure struct {
	hosts     []string
	hostProxy []string
	tlsProxy  []set
	fields    []set
	tlsFields []set // over TLS only
	sts       string
	forceSTS  bool
}

// newSecure returns nil where no option of the security part is set.
func newSecure(cfg *config.Headers, warn option.Warn) (*secure, error) {
	s := &secure{hosts: cfg.AllowedHosts, hostProxy: cfg.HostsProxyHeaders, forceSTS: cfg.ForceSTSHeader}
	for _, k := range slices.Sorted(maps.Keys(cfg.SSLProxyHeaders)) {
		s.tlsProxy = append(s.tlsProxy, set{k, cfg.SSLProxyHeaders[k]})
	}
	if cfg.SSLRedirect != nil || cfg.SSLTemporaryRedirect != nil || cfg.SSLHost != nil || cfg.SSLForceHost != nil {
		warn.Say("sslRedirect", "use the redirectScheme middleware", "sslRedirect, sslTemporaryRedirect, sslHost and sslForceHost have no effect any more")
	}
	if cfg.FeaturePolicy != nil {
		warn.Say("featurePolicy", "use permissionsPolicy", "has no effect any more")
	}
	for _, f := range []set{
		{"X-Frame-Options", either(cfg.CustomFrameOptionsValue, cfg.FrameDeny, "DENY")},
		{"X-Content-Type-Options", either("", cfg.ContentTypeNosniff, "nosniff")},
		{"X-XSS-Protection", either(cfg.CustomBrowserXSSValue, cfg.BrowserXSSFilter, "1; mode=block")},
		{"Content-Security-Policy", cfg.ContentSecurityPolicy},
		{"Content-Security-Policy-Report-Only", cfg.ContentSecurityPolicyReportOnly},
		{"Referrer-Policy", cfg.ReferrerPolicy},
		{"Permissions-Policy", cfg.PermissionsPolicy},
	} {
		if err := add(&s.fields, f); err != nil {
			return nil, err
		}
	}
	if !cfg.IsDevelopment {
		if err := add(&s.tlsFields, set{"Public-Key-Pins", cfg.PublicKey}); err != nil {
			return nil, err
		}
		s.sts = sts(cfg)
	} else {
		s.hosts = nil
	}
	if len(s.fields)+len(s.tlsFields)+len(s.hosts) == 0 && s.sts == "" && !securitySet(cfg) {
		return nil, nil
	}
	return s, nil
}

// securitySet reports whether an option of the security part is set that has no effect by itself.
func securitySet(cfg *config.Headers) bool {
	return cfg.IsDevelopment || cfg.ForceSTSHeader || cfg.STSSeconds != 0 || cfg.STSIncludeSubdomains || cfg.STSPreload ||
		len(cfg.AllowedHosts) > 0 || len(cfg.HostsProxyHeaders) > 0 || len(cfg.SSLProxyHeaders) > 0
}

// add appends f if it has a value; the value is joined to one line.
func add(to *[]set, f set) error {
	v, err := oneLine(f.name, f.value)
	if err == nil && v != "" {
		*to = append(*to, set{f.name, v})
	}
	return err
}

func either(custom string, on bool, standard string) string {
	switch {
	case custom != "":
		return custom
	case on:
		return standard
	}
	return ""
}

func sts(cfg *config.Headers) string {
	if cfg.STSSeconds == 0 {
		return ""
	}
	v := "max-age=" + strconv.FormatInt(cfg.STSSeconds, 10)
	if cfg.STSIncludeSubdomains {
		v += "; includeSubDomains"
	}
	if cfg.STSPreload {
		v += "; preload"
	}
	return v
}

// hostAllowed checks the host, or what a proxy before the edge says it was.
func (s *secure) hostAllowed(ex *exchange.Exchange) bool {
	if len(s.hosts) == 0 {
		return true
	}
	host := ex.Req.Host
	for _, name := range s.hostProxy {
		if h := ex.Req.Fields.Get(name); h != "" {
			host = h
			break
		}
	}
	for _, h := range s.hosts {
		if exchange.EqualFold(h, host) {
			return true
		}
	}
	return false
}

// badHost answers as the reference does, with a status that says less than it should.
func (s *secure) badHost(ex *exchange.Exchange) exchange.Verdict {
	ex.Reply(http.StatusInternalServerError, exchange.HostDenied, "Bad Host\n")
	ex.Resp.Fields.Add("X-Content-Type-Options", "nosniff")
	return exchange.Answer
}

// isTLS reports whether the client used TLS, to the edge or to a proxy before it.
func (s *secure) isTLS(ex *exchange.Exchange) bool {
	if ex.Req.TLS != nil {
		return true
	}
	for _, f := range s.tlsProxy {
		if ex.Req.Fields.Get(f.name) == f.value {
			return true
		}
	}
	return false
}

func (s *secure) respond(ex *exchange.Exchange, tls bool) {
	for _, f := range s.fields {
		ex.Resp.Fields.Set(f.name, f.value)
	}
	if tls {
		for _, f := range s.tlsFields {
			ex.Resp.Fields.Set(f.name, f.value)
		}
	}
	if s.sts != "" && (tls || s.forceSTS) {
		ex.Resp.Fields.Set("Strict-Transport-Security", s.sts)
	}
}
