package rewrite

import (
	"net/url"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

type rewriteLocation struct{ cookies bool }

// NewRewriteLocation puts what stripPrefix removed back into Location, Content-Location
// and the Path of cookies. It stands before or behind stripPrefix alike.
func NewRewriteLocation(cfg *config.RewriteLocation) exchange.Op {
	return &rewriteLocation{cookies: cfg.Cookies == nil || *cfg.Cookies}
}

func (r *rewriteLocation) Request(ex *exchange.Exchange) exchange.Verdict {
	ex.OnResponse(r, 0)
	return exchange.Next
}

// Response implements exchange.ResponseOp.
func (r *rewriteLocation) Response(ex *exchange.Exchange, _ uint64) {
	prefix := ex.Log.StrippedPrefix
	if prefix == "" {
		return
	}
	fields := &ex.Resp.Fields
	for i := range fields.Len() {
		f := fields.At(i)
		switch {
		case exchange.EqualFold(f.Name, "Location"), exchange.EqualFold(f.Name, "Content-Location"):
			f.Value = relocate(ex, f.Value, prefix)
		case r.cookies && exchange.EqualFold(f.Name, "Set-Cookie"):
			f.Value = recookie(ex, f.Value, prefix)
		}
	}
}

// relocate puts prefix into a reference to this very origin.
func relocate(ex *exchange.Exchange, loc, prefix string) string {
	if strings.HasPrefix(loc, "/") {
		if strings.HasPrefix(loc, "//") || strings.HasPrefix(loc, `/\`) || below(loc, prefix) {
			return loc
		}
		return ex.HoldString(prefix, loc)
	}
	i := strings.Index(loc, "://")
	if i < 0 {
		return loc // relative to the request's own path: right as it is
	}
	u, err := url.Parse(loc)
	if err != nil || u.User != nil || !ownOrigin(ex, u) {
		return loc
	}
	at := i + len("://")
	if j := strings.IndexAny(loc[at:], "/?#"); j >= 0 {
		at += j
	} else {
		at = len(loc)
	}
	if below(loc[at:], prefix) {
		return loc
	}
	return ex.HoldString(loc[:at], prefix, loc[at:])
}

// ownOrigin reports whether u names the host that the client asked.
func ownOrigin(ex *exchange.Exchange, u *url.URL) bool {
	if u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	if strings.EqualFold(u.Host, ex.Req.Host) {
		return true
	}
	fwd := ex.Req.Fields.Get("X-Forwarded-Host")
	return fwd != "" && strings.EqualFold(u.Host, fwd)
}

// below reports whether path is prefix or lies under it.
func below(path, prefix string) bool {
	if !strings.HasPrefix(path, prefix) {
		return false
	}
	rest := path[len(prefix):]
	return rest == "" || rest[0] == '/' || rest[0] == '?' || rest[0] == '#'
}

// recookie puts prefix before the Path attribute of a cookie.
func recookie(ex *exchange.Exchange, cookie, prefix string) string {
	for at := strings.IndexByte(cookie, ';'); at >= 0; {
		rest := cookie[at+1:]
		end := strings.IndexByte(rest, ';')
		attr := rest
		if end >= 0 {
			attr = rest[:end]
		}
		name, value, ok := strings.Cut(attr, "=")
		if ok && exchange.EqualFold(strings.TrimSpace(name), "path") {
			value = strings.TrimSpace(value)
			if !strings.HasPrefix(value, "/") || below(value, prefix) {
				return cookie
			}
			if value == "/" {
				value = ""
			}
			tail := ""
			if end >= 0 {
				tail = rest[end:]
			}
			return ex.HoldString(cookie[:at+1], name, "=", prefix, value, tail)
		}
		if end < 0 {
			return cookie
		}
		at += 1 + end
	}
	return cookie
}
