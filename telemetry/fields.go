package telemetry

import (
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// field is one field of the access log. The order is that of their names, in which the
// JSON format writes them.
type field uint8

const (
	fBytesFromClient field = iota
	fBytesToClient
	fClientAddr
	fClientHost
	fClientPort
	fClientUsername
	fDownstreamContentSize
	fDownstreamStatus
	fDuration
	fGzipRatio
	fOriginContentSize
	fOriginDuration
	fOriginStatus
	fOverhead
	fReason
	fRequestAddr
	fRequestContentSize
	fRequestCount
	fRequestHost
	fRequestMethod
	fRequestPath
	fRequestPort
	fRequestProtocol
	fRequestScheme
	fRetryAttempts
	fRouterName
	fServerName
	fServiceAddr
	fServiceName
	fServiceURL
	fSpanID
	fStartLocal
	fStartUTC
	fTLSCipher
	fTLSClientSubject
	fTLSVersion
	fTraceID
	fEntryPointName
	fProtocol
	fSpanIDNew
	fTraceIDNew
	fieldCount
)

// fieldNames returns the names as the JSON format and the configuration spell them. The
// trace fields stand twice: the reference keeps its old spellings beside the new ones.
func fieldNames() [fieldCount]string {
	return [fieldCount]string{
		"BytesFromClient", "BytesToClient", "ClientAddr", "ClientHost", "ClientPort", "ClientUsername",
		"DownstreamContentSize", "DownstreamStatus", "Duration", "GzipRatio",
		"OriginContentSize", "OriginDuration", "OriginStatus", "Overhead", "Reason",
		"RequestAddr", "RequestContentSize", "RequestCount", "RequestHost", "RequestMethod",
		"RequestPath", "RequestPort", "RequestProtocol", "RequestScheme", "RetryAttempts",
		"RouterName", "ServerName", "ServiceAddr", "ServiceName", "ServiceURL", "SpanId",
		"StartLocal", "StartUTC", "TLSCipher", "TLSClientSubject", "TLSVersion", "TraceId",
		"entryPointName", "protocol", "span_id", "trace_id",
	}
}

// mode is what happens to a field.
type mode uint8

const (
	keep mode = iota
	drop
	redact
)

const redactedText = "REDACTED"

// parseMode takes what it does not know as the default, as the reference does; validation has warned.
func parseMode(s string, byDefault mode) mode {
	switch strings.ToLower(s) {
	case "keep":
		return keep
	case "drop":
		return drop
	case "redact":
		return redact
	}
	return byDefault
}

// named is a default mode with exceptions, whose names are in lower case.
type named struct {
	byDefault mode
	names     map[string]mode
}

func newNamed(defaultMode string, byDefault mode, names map[string]string) named {
	n := named{byDefault: parseMode(defaultMode, byDefault), names: make(map[string]mode, len(names))}
	for name, text := range names {
		n.names[strings.ToLower(name)] = parseMode(text, n.byDefault)
	}
	return n
}

// of returns the mode of name, in any case.
func (n *named) of(name string) mode {
	if len(n.names) > 0 {
		// Few names: a walk needs no lower-cased copy of name.
		for known, m := range n.names {
			if foldEqual(known, name) {
				return m
			}
		}
	}
	return n.byDefault
}

// all reports whether everything has mode m.
func (n *named) all(m mode) bool {
	if n.byDefault != m {
		return false
	}
	for _, other := range n.names {
		if other != m {
			return false
		}
	}
	return true
}

// kept lists the names that are not dropped, sorted.
func (n *named) kept() []string {
	var list []string
	for name, m := range n.names {
		if m != drop {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// dropped reports whether a field is left out. Fields are kept or dropped: "redact" is
// the default for them, and keeps where it is the default itself, as in the reference.
func (n *named) dropped(name string) bool {
	m := n.of(name)
	if m == redact {
		m = n.byDefault
	}
	return m == drop
}

// selection says what becomes of each field, header field and query parameter.
type selection struct {
	drops   [fieldCount]bool
	headers named
	query   named
}

func newSelection(c *config.AccessLogFields) selection {
	var s selection
	if c == nil {
		c = &config.AccessLogFields{}
		c.SetDefaults()
	}
	fields := newNamed(c.DefaultMode, keep, c.Names)
	for i, name := range fieldNames() {
		s.drops[i] = fields.dropped(name)
	}
	s.headers.byDefault = drop
	if h := c.Headers; h != nil {
		s.headers = newNamed(h.DefaultMode, drop, h.Names)
	}
	if q := c.QueryParameters; q != nil {
		s.query = newNamed(q.DefaultMode, keep, q.Names)
	}
	return s
}
