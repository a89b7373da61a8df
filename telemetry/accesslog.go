package telemetry

import (
	"crypto/tls"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// The formats of the access log.
const (
	formatCommon     = "common"
	formatGenericCLF = "genericCLF"
	formatJSON       = "json"
)

// format writes lines. It is immutable.
type format struct {
	kind string
	selection
	// reasons is set where every line that has a Reason tells it; else those of answers that
	// somebody will wonder about do (see wondered). The reference has no such field.
	reasons bool
	// keys are `"Name":` of the fields, quoted the same with the quote of a text behind.
	keys, quoted [fieldCount]string
}

func newFormat(c *config.AccessLog) *format {
	f := &format{kind: c.Format}
	switch {
	case c.Format == "", strings.EqualFold(c.Format, formatCommon):
		f.kind = formatCommon
	case strings.EqualFold(c.Format, formatGenericCLF):
		f.kind = formatGenericCLF
	case strings.EqualFold(c.Format, formatJSON):
		f.kind = formatJSON
	default: // as the reference; validation has warned
		f.kind = formatCommon
	}
	f.selection = newSelection(c.Fields)
	if c.Fields != nil {
		for name, m := range c.Fields.Names {
			f.reasons = f.reasons || strings.EqualFold(name, "Reason") && strings.EqualFold(m, "keep")
		}
	}
	for i, name := range fieldNames() {
		f.keys[i] = `"` + name + `":`
		f.quoted[i] = f.keys[i] + `"`
	}
	return f
}

// wants tells which header fields the format writes.
func (f *format) wants() fields {
	var w fields
	if f.kind != formatJSON {
		for _, name := range []string{"Referer", "User-Agent"} {
			if f.headers.of(name) != drop {
				w.request = append(w.request, name)
			}
		}
		w.anyRequest = len(w.request) > 0
		return w
	}
	if f.headers.all(drop) {
		return w
	}
	all := f.headers.byDefault != drop
	return fields{
		anyRequest: true, anyResponse: true, requestAll: all, responseAll: all,
		request: f.headers.kept(), response: f.headers.kept(),
	}
}

// append adds the line of r, which is the count-th request.
func (f *format) append(dst []byte, r *Record, count uint64, m *memo) []byte {
	c := &m.clock
	c.set(floorSecond(r.Start))
	if r.Connection {
		return f.appendConnection(dst, r, count, c)
	}
	if f.kind == formatJSON {
		return f.appendJSONLine(dst, r, count, m)
	}
	return f.appendCLF(dst, r, count, c)
}

func floorSecond(ns int64) int64 { return ns / int64(time.Second) }

// appendCLF writes the Common Log Format; "common" adds what the reference adds to it.
func (f *format) appendCLF(dst []byte, r *Record, count uint64, c *clock) []byte {
	dst = f.clfHost(dst, r)
	dst = append(dst, " - "...)
	if f.drops[fClientUsername] || r.User == "" {
		dst = append(dst, '-')
	} else {
		dst = appendWord(dst, r.User) // of a client that may not have a password for it
	}
	dst = append(dst, " ["...)
	dst = f.clfTime(dst, c)
	dst = append(dst, "] \""...)
	dst = f.clfText(dst, fRequestMethod, r.Method, true)
	dst = append(dst, ' ')
	if f.drops[fRequestPath] {
		dst = append(dst, '-')
	} else {
		dst = f.appendPath(dst, r.Target, appendTarget)
	}
	dst = append(dst, ' ')
	dst = f.clfText(dst, fRequestProtocol, r.Proto, true)
	dst = append(dst, "\" "...)
	dst = f.clfNumber(dst, fDownstreamStatus, int64(r.Status))
	dst = append(dst, ' ')
	dst = f.clfNumber(dst, fDownstreamContentSize, r.downstreamSize())
	dst = append(dst, ' ')
	dst = f.clfHeader(dst, r, "Referer")
	dst = append(dst, ' ')
	dst = f.clfHeader(dst, r, "User-Agent")
	if f.kind == formatGenericCLF {
		return append(dst, '\n')
	}
	dst = append(dst, ' ')
	dst = f.clfNumber(dst, fRequestCount, int64(count))
	dst = append(dst, " \""...)
	dst = f.clfText(dst, fRouterName, r.Router, true)
	dst = append(dst, "\" \""...)
	dst = f.clfText(dst, fServiceURL, r.ServerURL, true)
	dst = append(dst, "\" "...)
	ms := r.Duration / int64(time.Millisecond)
	if f.drops[fDuration] {
		ms = 0
	}
	dst = strconv.AppendInt(dst, ms, 10)
	return append(dst, "ms\n"...)
}

func (f *format) clfHost(dst []byte, r *Record) []byte {
	if r.ForwardedFor != "" || !r.Peer.IsValid() {
		return f.clfText(dst, fClientHost, r.ForwardedFor, false)
	}
	if f.drops[fClientHost] {
		return append(dst, '-')
	}
	return r.Peer.Addr().Unmap().AppendTo(dst)
}

func (f *format) clfTime(dst []byte, c *clock) []byte {
	switch {
	case !f.drops[fStartUTC]:
		return append(dst, c.clf...)
	case !f.drops[fStartLocal]:
		return append(dst, c.clfLocal...)
	}
	return append(dst, '-')
}

func (f *format) clfText(dst []byte, which field, s string, quoted bool) []byte {
	if f.drops[which] || s == "" {
		return append(dst, '-')
	}
	return appendText(dst, s, quoted)
}

func (f *format) clfNumber(dst []byte, which field, n int64) []byte {
	if f.drops[which] {
		return append(dst, '-')
	}
	return strconv.AppendInt(dst, n, 10)
}

func (f *format) clfHeader(dst []byte, r *Record, name string) []byte {
	dst = append(dst, '"')
	at := len(dst)
	for i := range r.RequestHeaders {
		h := &r.RequestHeaders[i]
		if !foldEqual(h.Name, name) || h.Value == "" {
			continue
		}
		switch f.headers.of(name) {
		case keep:
			dst = appendText(dst, h.Value, true)
		case redact:
			dst = append(dst, redactedText...)
		}
		break
	}
	if len(dst) == at {
		dst = append(dst, '-')
	}
	return append(dst, '"')
}

// appendPath appends the path and query of a target, its query parameters kept, dropped
// or redacted, through add, which escapes.
func (f *format) appendPath(dst []byte, target string, add func([]byte, string) []byte) []byte {
	if len(target) > 0 && target[0] != '/' {
		if i := strings.Index(target, "://"); i > 0 {
			rest := target[i+3:]
			if j := strings.IndexAny(rest, "/?"); j >= 0 {
				target = rest[j:]
			} else {
				target = "/"
			}
		}
	}
	if f.query.byDefault == keep && len(f.query.names) == 0 {
		return add(dst, target)
	}
	path, query, has := strings.Cut(target, "?")
	dst = add(dst, path)
	if !has {
		return dst
	}
	sep := byte('?')
	for len(query) > 0 {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, _, valued := strings.Cut(pair, "=")
		m := f.queryMode(name)
		if m == drop {
			continue
		}
		dst = append(dst, sep)
		sep = '&'
		if m == redact && valued {
			dst = add(dst, name)
			dst = append(append(dst, '='), redactedText...)
			continue
		}
		if m == redact {
			dst = append(dst, redactedText...)
			continue
		}
		dst = add(dst, pair)
	}
	return dst
}

func (f *format) queryMode(name string) mode {
	if strings.ContainsAny(name, "%+") {
		// A name written with escapes is the same name to its reader.
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
	}
	return f.query.of(name)
}

// hostPort splits an authority as net.SplitHostPort does. One that has no port, or cannot
// be split, is the host as it stands, and its port "-".
func hostPort(authority string) (host, port string) {
	colon := strings.LastIndexByte(authority, ':')
	if colon < 0 {
		return authority, "-"
	}
	host, port = authority[:colon], authority[colon+1:]
	if authority[0] == '[' {
		if strings.IndexByte(authority, ']') != colon-1 || strings.IndexByte(authority[1:], '[') >= 0 || strings.IndexByte(port, ']') >= 0 {
			return authority, "-"
		}
		return host[1 : colon-1], port
	}
	if strings.ContainsAny(host, ":[]") || strings.ContainsAny(port, "[]") {
		return authority, "-"
	}
	return host, port
}

func tlsVersionName(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "1.0"
	case tls.VersionTLS11:
		return "1.1"
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS13:
		return "1.3"
	}
	return "unknown"
}

func appendAddr(dst []byte, a netip.AddrPort) []byte {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).AppendTo(dst)
}
