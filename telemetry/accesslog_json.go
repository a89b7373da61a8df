package telemetry

import (
	"crypto/tls"
	"net/textproto"
	"strconv"
	"time"
)

// appendJSONLine writes the fields in the order of their names, as the reference does.
func (f *format) appendJSONLine(dst []byte, r *Record, count uint64, c *clock) []byte {
	dst = append(dst, '{')
	for i := range fEntryPointName {
		dst = f.jsonField(dst, i, r, count, c)
	}
	dst = f.jsonHeaders(dst, "downstream_", r.ResponseHeaders)
	dst = f.jsonField(dst, fEntryPointName, r, count, c)
	dst = append(dst, `"level":"info","msg":"",`...)
	dst = f.jsonHeaders(dst, "origin_", r.OriginHeaders)
	dst = f.jsonHeaders(dst, "request_", r.RequestHeaders)
	dst = f.jsonField(dst, fSpanIDNew, r, count, c)
	dst = append(dst, `"time":"`...)
	c.set(floorSecond(r.Start + r.Duration))
	dst = append(dst, c.local...)
	dst = append(dst, c.zone...)
	dst = append(dst, '"', ',')
	dst = f.jsonField(dst, fTraceIDNew, r, count, c)
	dst[len(dst)-1] = '}'
	return append(dst, '\n')
}

// jsonField appends `"Name":value,`, or nothing where there is no value.
func (f *format) jsonField(dst []byte, which field, r *Record, count uint64, c *clock) []byte {
	if f.drops[which] {
		return dst
	}
	at := len(dst)
	dst = append(dst, f.keys[which]...)
	start := len(dst)
	dst = f.jsonValue(dst, which, r, count, c)
	if len(dst) == start {
		return dst[:at]
	}
	return append(dst, ',')
}

// jsonValue appends the value of a field, or nothing where there is none.
func (f *format) jsonValue(dst []byte, which field, r *Record, count uint64, c *clock) []byte {
	switch which {
	case fClientAddr, fClientHost, fClientPort, fClientUsername:
		return jsonClient(dst, which, r)
	case fDownstreamContentSize:
		return strconv.AppendInt(dst, r.downstreamSize(), 10)
	case fDownstreamStatus:
		return strconv.AppendInt(dst, int64(r.Status), 10)
	case fDuration:
		return strconv.AppendInt(dst, r.Duration, 10)
	case fGzipRatio, fOriginContentSize, fOriginDuration, fOriginStatus, fOverhead:
		return jsonOrigin(dst, which, r)
	case fReason:
		return jsonText(dst, r.Reason)
	case fRequestContentSize:
		return strconv.AppendInt(dst, r.RequestBytes, 10)
	case fRequestCount:
		return strconv.AppendUint(dst, count, 10)
	case fRequestAddr, fRequestHost, fRequestPort, fRequestMethod, fRequestProtocol, fRequestScheme:
		return jsonRequest(dst, which, r)
	case fRequestPath:
		dst = append(dst, '"')
		dst = f.appendPath(dst, r.Target, appendJSONInner)
		return append(dst, '"')
	case fRetryAttempts:
		return strconv.AppendInt(dst, int64(r.Retries), 10)
	case fRouterName:
		return jsonText(dst, r.Router)
	case fServiceAddr:
		return jsonText(dst, r.ServerAddr)
	case fServiceName:
		return jsonText(dst, r.balancer())
	case fServiceURL:
		return jsonText(dst, r.ServerURL)
	case fStartLocal, fStartUTC:
		return jsonStart(dst, which, r, c)
	case fTLSCipher, fTLSClientSubject, fTLSVersion:
		return jsonTLS(dst, which, r)
	case fSpanID, fSpanIDNew:
		return jsonText(dst, r.SpanID)
	case fTraceID, fTraceIDNew:
		return jsonText(dst, r.TraceID)
	case fEntryPointName:
		return jsonText(dst, r.EntryPoint)
	}
	return dst
}

func jsonText(dst []byte, s string) []byte {
	if s == "" {
		return dst
	}
	return appendJSON(dst, s)
}

// appendJSONInner appends s escaped for a JSON string, without its quotes.
func appendJSONInner(dst []byte, s string) []byte {
	at := len(dst)
	dst = appendJSON(dst, s)
	copy(dst[at:], dst[at+1:len(dst)-1])
	return dst[:len(dst)-2]
}

func jsonClient(dst []byte, which field, r *Record) []byte {
	switch which {
	case fClientUsername:
		if r.User == "" {
			return append(dst, `"-"`...)
		}
		return appendJSON(dst, r.User)
	case fClientHost:
		if r.ForwardedFor != "" {
			return appendJSON(dst, r.ForwardedFor)
		}
	}
	if !r.Peer.IsValid() {
		return append(dst, `"-"`...)
	}
	dst = append(dst, '"')
	switch which {
	case fClientAddr:
		dst = appendAddr(dst, r.Peer)
	case fClientHost:
		dst = r.Peer.Addr().Unmap().AppendTo(dst)
	case fClientPort:
		dst = strconv.AppendUint(dst, uint64(r.Peer.Port()), 10)
	}
	return append(dst, '"')
}

func jsonRequest(dst []byte, which field, r *Record) []byte {
	switch which {
	case fRequestAddr:
		return appendJSON(dst, r.Host)
	case fRequestHost:
		host, _ := hostPort(r.Host)
		return appendJSON(dst, host)
	case fRequestPort:
		_, port := hostPort(r.Host)
		return appendJSON(dst, port)
	case fRequestMethod:
		return appendJSON(dst, r.Method)
	case fRequestProtocol:
		return appendJSON(dst, r.Proto)
	case fRequestScheme:
		if r.TLSVersion != 0 {
			return append(dst, `"https"`...)
		}
		return append(dst, `"http"`...)
	}
	return dst
}

// jsonOrigin tells of the service's own answer. Where it made none (a refused dial), the
// edge's answer in its place counts as it, as in the reference.
func jsonOrigin(dst []byte, which field, r *Record) []byte {
	reached := r.reached()
	if which == fOverhead {
		if reached {
			return strconv.AppendInt(dst, max(0, r.Duration-r.OriginDuration), 10)
		}
		return strconv.AppendInt(dst, r.Duration, 10)
	}
	if !reached {
		return dst
	}
	status, size := r.OriginStatus, r.OriginBytes
	if status == 0 {
		status, size = r.Status, r.ResponseBytes
	}
	switch which {
	case fOriginContentSize:
		return strconv.AppendInt(dst, size, 10)
	case fOriginDuration:
		return strconv.AppendInt(dst, r.OriginDuration, 10)
	case fOriginStatus:
		return strconv.AppendInt(dst, int64(status), 10)
	case fGzipRatio:
		if size != r.ResponseBytes && r.ResponseBytes != 0 {
			return strconv.AppendFloat(dst, float64(size)/float64(r.ResponseBytes), 'g', -1, 64)
		}
	}
	return dst
}

func jsonStart(dst []byte, which field, r *Record, c *clock) []byte {
	nano := r.Start % int64(time.Second)
	dst = append(dst, '"')
	if which == fStartUTC {
		dst = append(dst, c.utc...)
		dst = appendNano(dst, nano)
		return append(dst, 'Z', '"')
	}
	dst = append(dst, c.local...)
	dst = appendNano(dst, nano)
	dst = append(dst, c.zone...)
	return append(dst, '"')
}

func jsonTLS(dst []byte, which field, r *Record) []byte {
	if r.TLSVersion == 0 {
		return dst
	}
	switch which {
	case fTLSVersion:
		return appendJSON(dst, tlsVersionName(r.TLSVersion))
	case fTLSCipher:
		return appendJSON(dst, tls.CipherSuiteName(r.TLSCipher))
	}
	return jsonText(dst, r.TLSClientSubject)
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
