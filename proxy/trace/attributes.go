package trace

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"unsafe"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/telemetry/otlp"
)

func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// describeRequest gives the entry point's span the attributes of a server, by the semantic
// conventions for HTTP.
func (a *active) describeRequest(ex *exchange.Exchange) {
	s, req := &a.spans[0], &ex.Req
	s.attr("entry_point", req.EntryPoint)
	s.attr("http.request.method", req.Method)
	s.attr("network.protocol.version", version(req.Proto))
	switch req.Framing {
	case exchange.NoBody:
		s.number("http.request.body.size", 0)
	case exchange.Sized:
		s.number("http.request.body.size", req.Length)
	default:
		s.number("http.request.body.size", -1)
	}
	path, err := url.PathUnescape(req.Path)
	if err != nil {
		path = req.Path
	}
	s.attr("url.path", path)
	s.attr("url.query", a.t.safeQuery(req.Query))
	scheme := req.Fields.Get("X-Forwarded-Proto")
	if scheme == "" {
		scheme = schemeOf(req)
	}
	s.attr("url.scheme", scheme)
	s.attr("user_agent.original", req.Fields.Get("User-Agent"))
	s.attr("server.address", req.Host)
	peer := req.Peer.Addr().Unmap().String()
	client := peer
	if first, _, _ := strings.Cut(req.Fields.Get("X-Forwarded-For"), ","); strings.TrimSpace(first) != "" {
		client = strings.TrimSpace(first) // the entry point has dropped what it does not trust
	}
	s.attr("network.peer.address", peer)
	s.attr("client.address", client)
	s.number("client.port", int64(req.Peer.Port()))
	s.number("network.peer.port", int64(req.Peer.Port()))
	captureFields(s, a.t.request, &req.Fields)
}

func schemeOf(req *exchange.Request) string {
	if req.TLS != nil {
		return "https"
	}
	return "http"
}

// describeCall gives the span of a request to a server the attributes of a client.
func (a *active) describeCall(s *span, ex *exchange.Exchange, ep *exchange.Endpoint) {
	req := &ex.Req
	s.attr("http.request.method", req.Method)
	s.attr("network.protocol.version", version(req.Proto))
	scheme := ep.Scheme
	if scheme == "h2c" || scheme == "" {
		scheme = "http"
	}
	full := scheme + "://" + ep.Host + ep.Path + req.Path
	if q := a.t.safeQuery(req.Query); q != "" {
		full += "?" + q
	}
	s.attr("url.full", full)
	s.attr("url.scheme", scheme)
	s.attr("user_agent.original", req.Fields.Get("User-Agent"))
	address(s, ep.Addr, scheme)
	captureFields(s, a.t.request, &req.Fields)
}

// address tells where a request goes to.
func address(s *span, hostPort, scheme string) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		host, port = hostPort, ""
	}
	n, err := strconv.ParseInt(port, 10, 64)
	if err != nil {
		n = 80
		if scheme == "https" {
			n = 443
		}
	}
	s.attr("network.peer.address", host)
	s.number("network.peer.port", n)
	s.attr("server.address", host)
	s.number("server.port", n)
}

// captureResponse notes the fields of an answer that the configuration names.
func (a *active) captureResponse(s *span, ex *exchange.Exchange) {
	captureFields(s, a.t.response, &ex.Resp.Fields)
}

func captureFields(s *span, list []captured, f *exchange.Fields) {
	for _, c := range list {
		var values []string
		for _, x := range f.All() {
			if exchange.EqualFold(x.Name, c.field) {
				values = append(values, x.Value)
			}
		}
		if values != nil {
			s.attrs = otlp.AppendListAttr(s.attrs, attributes, c.attribute, values)
		}
	}
}

// version is a protocol's, as the semantic conventions write it.
func version(proto string) string {
	switch proto {
	case "HTTP/2.0":
		return "2"
	case "HTTP/3.0":
		return "3"
	}
	return strings.TrimPrefix(proto, "HTTP/")
}

// safeQuery puts REDACTED in place of the values of parameters that are not safe.
func (t *Tracer) safeQuery(query string) string {
	if query == "" {
		return ""
	}
	var b strings.Builder
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		key, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if err != nil || !t.isSafe(name) {
			value = "REDACTED"
		}
		b.WriteString(key + "=" + value)
	}
	return b.String()
}

// safeURL is safeQuery for a whole URL; who asks is redacted too.
func (t *Tracer) safeURL(full string) string {
	u, err := url.Parse(full)
	if err != nil {
		return ""
	}
	if u.User != nil {
		u.User = url.UserPassword("REDACTED", "REDACTED")
	}
	u.RawQuery = t.safeQuery(u.RawQuery)
	return u.String()
}
