package telemetry

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"net/textproto"
	"strconv"
	"time"
)

// lineOfJSON is a line of JSON that is being written: the fields in the order of their names,
// as the reference has them. What has no value is left out.
// wondered reports whether who reads the log will ask why the edge answered so: nothing was
// found, or nothing could serve it. That a password or a limit was in the way, the status says.
func wondered(status int) bool { return status == http.StatusNotFound || status >= 500 }

type lineOfJSON struct {
	b []byte
	f *format
}

func (f *format) appendJSONLine(dst []byte, r *Record, count uint64, m *memo) []byte {
	l := lineOfJSON{append(dst, '{'), f}
	l.client(r)
	l.user(r)
	l.number(fDownstreamContentSize, r.downstreamSize())
	l.number(fDownstreamStatus, int64(r.Status))
	l.number(fDuration, r.Duration)
	l.origin(r)
	if f.reasons || wondered(r.Status) {
		l.text(fReason, r.Reason)
	}
	route := f.route(r, l.request(f, r, count), m)
	l.b = append(l.b, route.text...)
	l.text(fSpanID, r.SpanID)
	l.start(r, &m.clock)
	l.tls(r)
	l.text(fTraceID, r.TraceID)
	l.b = f.jsonHeaders(l.b, "downstream_", r.ResponseHeaders)
	l.b = append(l.b, route.entry...)
	l.b = f.jsonHeaders(l.b, "origin_", r.OriginHeaders)
	l.b = f.jsonHeaders(l.b, "request_", r.RequestHeaders)
	l.text(fSpanIDNew, r.SpanID)
	l.end(r, &m.ends)
	l.text(fTraceIDNew, r.TraceID)
	l.b[len(l.b)-1] = '}'
	return append(l.b, '\n')
}

func (l *lineOfJSON) text(which field, s string) {
	if s == "" || l.f.drops[which] {
		return
	}
	if !isPlain(s) {
		l.b = append(l.b, l.f.keys[which]...)
		l.b = append(appendJSON(l.b, s), ',')
		return
	}
	b := append(append(l.b, l.f.quoted[which]...), s...)
	l.b = append(b, '"', ',')
}

// value is text for what is there even where it is empty.
func (l *lineOfJSON) value(which field, s string) {
	if s == "" {
		l.plain(which, nil)
		return
	}
	l.text(which, s)
}

// plain is text for what needs no escapes.
func (l *lineOfJSON) plain(which field, s []byte) {
	if l.f.drops[which] {
		return
	}
	b := append(append(l.b, l.f.quoted[which]...), s...)
	l.b = append(b, '"', ',')
}

func (l *lineOfJSON) number(which field, n int64) {
	if l.f.drops[which] {
		return
	}
	b := append(l.b, l.f.keys[which]...)
	if uint64(n) < 10 {
		l.b = append(b, byte('0'+n), ',')
		return
	}
	l.b = append(strconv.AppendInt(b, n, 10), ',')
}

func (l *lineOfJSON) client(r *Record) {
	var text [64]byte
	addr, host, port := []byte("-"), []byte("-"), []byte("-")
	if r.Peer.IsValid() {
		addr = appendAddr(text[:0], r.Peer)
		colon := bytes.LastIndexByte(addr, ':')
		host, port = bytes.Trim(addr[:colon], "[]"), addr[colon+1:]
	}
	l.plain(fClientAddr, addr)
	if r.ForwardedFor != "" {
		l.text(fClientHost, r.ForwardedFor)
	} else {
		l.plain(fClientHost, host)
	}
	l.plain(fClientPort, port)
}

func (l *lineOfJSON) user(r *Record) {
	switch {
	case r.User != "":
		l.text(fClientUsername, r.User)
	case !l.f.drops[fClientUsername]:
		l.b = append(l.b, `"ClientUsername":"-",`...)
	}
}

// origin tells of the service's own answer. Where it made none (a refused dial), the edge's
// answer in its place counts as it; where no server was asked, its fields are zero. The
// reference does so too.
func (l *lineOfJSON) origin(r *Record) {
	status, size, took, sent := r.OriginStatus, r.OriginBytes, r.OriginDuration, r.downstreamSize()
	switch {
	case !r.reached():
		status, size, took = 0, 0, 0
	case status == 0:
		status, size = r.Status, sent
	case r.Status == http.StatusSwitchingProtocols:
		size = 0
	}
	if size != sent && sent != 0 && !l.f.drops[fGzipRatio] {
		l.b = append(l.b, l.f.keys[fGzipRatio]...)
		l.b = append(strconv.AppendFloat(l.b, float64(size)/float64(sent), 'g', -1, 64), ',')
	}
	l.number(fOriginContentSize, size)
	l.number(fOriginDuration, took)
	l.number(fOriginStatus, int64(status))
	l.number(fOverhead, max(0, r.Duration-took))
}

// request tells of the request, and returns the port of its host for what follows.
func (l *lineOfJSON) request(f *format, r *Record, count uint64) (port string) {
	l.text(fRequestAddr, r.Host)
	l.number(fRequestContentSize, r.requestSize())
	l.number(fRequestCount, int64(count))
	var host string
	host, port = hostPort(r.Host)
	if r.Host != "" {
		l.value(fRequestHost, host)
	}
	l.text(fRequestMethod, r.Method)
	if !f.drops[fRequestPath] {
		b := append(l.b, f.quoted[fRequestPath]...)
		l.b = append(f.appendPath(b, r.Target, appendJSONInner), '"', ',')
	}
	return port
}

func (l *lineOfJSON) start(r *Record, c *clock) {
	var text [80]byte
	nano := appendNano(text[:0], r.Start%int64(time.Second))
	if !l.f.drops[fStartLocal] {
		b := append(append(l.b, l.f.quoted[fStartLocal]...), c.local...)
		b = append(append(b, nano...), c.zone...)
		l.b = append(b, '"', ',')
	}
	if !l.f.drops[fStartUTC] {
		b := append(append(l.b, l.f.quoted[fStartUTC]...), c.utc...)
		l.b = append(append(b, nano...), 'Z', '"', ',')
	}
}

// end tells when the line was made.
func (l *lineOfJSON) end(r *Record, c *clock) {
	l.b = append(l.b, `"time":"`...)
	c.set(floorSecond(r.Start + r.Duration))
	l.b = append(l.b, c.local...)
	l.b = append(l.b, c.zone...)
	l.b = append(l.b, '"', ',')
}

func (l *lineOfJSON) tls(r *Record) {
	if r.TLSVersion == 0 {
		return
	}
	l.text(fTLSCipher, tls.CipherSuiteName(r.TLSCipher))
	l.text(fTLSClientSubject, r.TLSClientSubject)
	l.text(fTLSVersion, tlsVersionName(r.TLSVersion))
}

// appendJSONInner appends s escaped for a JSON string, without its quotes.
func appendJSONInner(dst []byte, s string) []byte {
	if isPlain(s) {
		return append(dst, s...)
	}
	at := len(dst)
	dst = appendJSON(dst, s)
	copy(dst[at:], dst[at+1:len(dst)-1])
	return dst[:len(dst)-2]
}

// jsonHeaders appends each kept name once, its values joined by commas.
func (f *format) jsonHeaders(dst []byte, prefix string, headers []Header) []byte {
	for i := range headers {
		name := headers[i].Name
		m := f.headers.of(name)
		if m == drop || hasHeader(headers[:i], name) {
			continue
		}
		dst = append(append(dst, '"'), prefix...)
		// Names are tokens; HTTP/2 sends them in lower case.
		dst = appendJSONInner(dst, textproto.CanonicalMIMEHeaderKey(name))
		dst = append(dst, '"', ':', '"')
		if m == redact {
			dst = append(dst, redactedText...)
		} else {
			dst = appendJSONInner(dst, headers[i].Value)
			for _, more := range headers[i+1:] {
				if foldEqual(more.Name, name) {
					dst = appendJSONInner(append(dst, ','), more.Value)
				}
			}
		}
		dst = append(dst, '"', ',')
	}
	return dst
}

func hasHeader(headers []Header, name string) bool {
	for i := range headers {
		if foldEqual(headers[i].Name, name) {
			return true
		}
	}
	return false
}
