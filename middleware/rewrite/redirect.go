package rewrite

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// redirect answers with the status for the method: 301 and 302 let clients turn any
// method to GET, so other methods get 308 and 307.
func redirect(ex *exchange.Exchange, location string, permanent bool) exchange.Verdict {
	status := http.StatusFound
	switch get := ex.Req.Method == http.MethodGet; {
	case permanent && get:
		status = http.StatusMovedPermanently
	case permanent:
		status = http.StatusPermanentRedirect
	case !get:
		status = http.StatusTemporaryRedirect
	}
	ex.Reply(status, exchange.Redirected, "")
	ex.Resp.Fields.Add("Location", location)
	return exchange.Answer
}

// query returns "?" and the query, or what is left of them. A semicolon that servers get as
// "&" goes back to the client as it was sent, as in the reference.
func query(ex *exchange.Exchange) (mark, q string) {
	if ex.Req.HasQuery {
		mark = "?"
	}
	_, sent, _ := strings.Cut(ex.Req.Target, "?")
	if strings.IndexByte(sent, ';') >= 0 && strings.ReplaceAll(sent, ";", "&") == ex.Req.Query {
		return mark, sent
	}
	return mark, ex.Req.Query
}

type redirectScheme struct {
	scheme, port string
	permanent    bool
}

// NewRedirectScheme redirects to another scheme or port.
func NewRedirectScheme(cfg *config.RedirectScheme) (exchange.Op, error) {
	if cfg.Scheme == "" {
		return nil, option.Errorf("scheme", "write scheme=https", "is empty")
	}
	if i := strings.IndexFunc(cfg.Scheme, notScheme); i >= 0 {
		return nil, option.Errorf("scheme", "write scheme=https", "%q is not the name of a scheme", cfg.Scheme)
	}
	r := &redirectScheme{scheme: cfg.Scheme, permanent: cfg.Permanent}
	if cfg.Port != "" && cfg.Port != defaultPort(cfg.Scheme) {
		for _, c := range cfg.Port {
			if c < '0' || c > '9' {
				return nil, option.Errorf("port", "write for example port=8443", "%q is not a number", cfg.Port)
			}
		}
		r.port = ":" + cfg.Port
	}
	return r, nil
}

func notScheme(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.'
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

func (r *redirectScheme) Request(ex *exchange.Exchange) exchange.Verdict {
	scheme := clientScheme(ex)
	host, port := splitPort(ex.Req.Host)
	if len(port) > 0 && port[1:] == defaultPort(scheme) {
		port = ""
	}
	if scheme == r.scheme && port == r.port {
		return exchange.Next
	}
	mark, q := query(ex)
	return redirect(ex, ex.HoldString(r.scheme, "://", host, r.port, tidy(ex.Req.Path), mark, q), r.permanent)
}

// tidy escapes what clients leave unescaped in a path and a Location must not have.
func tidy(path string) string {
	odd := func(c byte) bool { return c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 }
	var b []byte
	for i := range len(path) {
		switch c := path[i]; {
		case odd(c):
			if b == nil {
				b = append(make([]byte, 0, len(path)+16), path[:i]...)
			}
			b = fmt.Appendf(b, "%%%02X", c)
		case b != nil:
			b = append(b, c)
		}
	}
	if b == nil {
		return path
	}
	return string(b)
}

// noURL answers for a rewritten URL that is none, as the reference does.
func noURL(ex *exchange.Exchange) exchange.Verdict {
	return ex.Reply(http.StatusBadGateway, exchange.Failure, "")
}

// clientScheme is the scheme the client used, as far as the edge can know: a proxy before
// it says so in X-Forwarded-Proto, which untrusted clients cannot set.
func clientScheme(ex *exchange.Exchange) string {
	switch proto := ex.Req.Fields.Get("X-Forwarded-Proto"); {
	case exchange.EqualFold(proto, "http"), exchange.EqualFold(proto, "ws"):
		return "http"
	case exchange.EqualFold(proto, "https"), exchange.EqualFold(proto, "wss"):
		return "https"
	}
	if ex.Req.TLS != nil {
		return "https"
	}
	return "http"
}

// splitPort splits an authority into host and ":port".
func splitPort(authority string) (host, port string) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.IndexByte(authority[i:], ']') >= 0 {
		return authority, ""
	}
	if i > 0 && authority[0] != '[' && strings.IndexByte(authority[:i], ':') >= 0 {
		return authority, "" // an IPv6 address without its brackets
	}
	return authority[:i], authority[i:]
}

type redirectRegex struct {
	regex       *regexp.Regexp
	replacement string
	permanent   bool
	// local: the replacement is a path of this host, whatever the client's part of it says.
	local bool
}

// NewRedirectRegex redirects where the expression matches the whole URL.
func NewRedirectRegex(cfg *config.RedirectRegex) (exchange.Op, error) {
	if cfg.Regex == "" {
		return nil, option.Errorf("regex", "write for example regex=^http://old.example/(.*)", "is empty")
	}
	re, err := compile("regex", cfg.Regex)
	if err != nil {
		return nil, err
	}
	r := &redirectRegex{regex: re, replacement: cfg.Replacement, permanent: cfg.Permanent}
	r.local = strings.HasPrefix(r.replacement, "/") && !strings.HasPrefix(r.replacement, "//")
	return r, nil
}

func (r *redirectRegex) Request(ex *exchange.Exchange) exchange.Verdict {
	scheme := "http"
	if ex.Req.TLS != nil {
		scheme = "https"
	}
	mark, q := query(ex)
	old := ex.HoldString(scheme, "://", ex.Req.Host, ex.Req.Path, mark, q)
	if !r.regex.MatchString(old) {
		return exchange.Next
	}
	text := r.regex.ReplaceAllString(old, r.replacement)
	if r.local && strings.HasPrefix(text, "/") {
		// "/${1}" with "/evil.test" for ${1} would send clients to another host.
		text = "/" + strings.TrimLeft(text, `/\`)
	}
	u, err := url.Parse(text)
	if err != nil {
		return noURL(ex)
	}
	if text == old {
		return exchange.Next
	}
	return redirect(ex, u.String(), r.permanent)
}
