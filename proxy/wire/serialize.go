package wire

import (
	"net/http"
	"strconv"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// RequestOptions tell how a request goes to a server.
type RequestOptions struct {
	// Host replaces the request's Host if not empty.
	Host string
	// Prefix is put before the path.
	Prefix string
	// Close asks the server to close after its answer.
	Close bool
}

// OptionsFor returns the options that ex.Backend asks for.
func OptionsFor(ex *exchange.Exchange) RequestOptions {
	var o RequestOptions
	ep := ex.Backend.Endpoint
	if ep == nil {
		return o
	}
	if ex.Backend.DropHost {
		o.Host = ep.Host
	}
	o.Prefix = ep.Path
	return o
}

// AppendRequest appends the head of req for an HTTP/1.1 server. Framing and Length of req
// decide the framing, whatever its fields say; Host comes from req.Host.
func AppendRequest(dst []byte, req *exchange.Request, o RequestOptions) []byte {
	dst = append(dst, req.Method...)
	dst = append(dst, ' ')
	dst = append(dst, o.Prefix...)
	dst = append(dst, req.Path...)
	if req.HasQuery {
		dst = append(dst, '?')
		dst = append(dst, req.Query...)
	}
	host := req.Host
	if o.Host != "" {
		host = o.Host
	}
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, host...)
	dst = append(dst, '\r', '\n')
	switch {
	case req.Framing == exchange.Streamed:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case req.Framing == exchange.Sized && req.Length > 0, expectsBody(req.Method):
		n := int64(0)
		if req.Framing == exchange.Sized {
			n = req.Length
		}
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, n, 10)
		dst = append(dst, '\r', '\n')
	}
	dst = appendFields(dst, req.Fields.All())
	if o.Close {
		dst = append(dst, "Connection: close\r\n"...)
	}
	return append(dst, '\r', '\n')
}

// expectsBody reports whether the absence of a body is said by "Content-Length: 0" (RFC 9110 §8.6).
func expectsBody(method string) bool {
	return method == "POST" || method == "PUT" || method == "PATCH"
}

// appendFields appends fields but for those that the framing writes.
func appendFields(dst []byte, fields []exchange.Field) []byte {
	for i := range fields {
		f := &fields[i]
		switch len(f.Name) {
		case 14:
			if is(f.Name, "content-length") {
				continue
			}
		case 17:
			if is(f.Name, "transfer-encoding") {
				continue
			}
		}
		dst = appendField(dst, f.Name, f.Value)
	}
	return dst
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

// ResponseOptions tell how an answer goes to a client.
type ResponseOptions struct {
	// HTTP10 answers a client that speaks HTTP/1.0: a Streamed body must then be sent without chunks, until the connection closes.
	HTTP10 bool
	// Close says that the connection ends after the answer.
	Close bool
	// Head is set for the answer to HEAD, which has a head as if there were a body.
	Head bool
	// Date is added where the server sent none (RFC 9110 §6.6.1), if not empty.
	Date string
}

// AppendResponse appends the head of resp. Framing and Length decide the framing; the
// Content-Length of an answer that has no body (to HEAD, or 304) is passed on.
func AppendResponse(dst []byte, resp *exchange.Response, o ResponseOptions) []byte {
	if o.HTTP10 {
		dst = append(dst, "HTTP/1.0 "...)
	} else {
		dst = append(dst, "HTTP/1.1 "...)
	}
	dst = strconv.AppendInt(dst, int64(resp.Status), 10)
	dst = append(dst, ' ')
	if resp.StatusText != "" {
		dst = append(dst, resp.StatusText...)
	} else {
		dst = append(dst, http.StatusText(resp.Status)...)
	}
	dst = append(dst, '\r', '\n')
	dst = appendFields(dst, resp.Fields.All())
	if o.Date != "" && resp.Status >= 200 && !resp.Fields.Has("Date") {
		dst = appendField(dst, "Date", o.Date)
	}
	dst = appendFraming(dst, resp, o)
	switch {
	case resp.Status == 101:
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(dst, resp.Upgrade...)
		dst = append(dst, '\r', '\n')
	case resp.Status < 200:
	case o.Close:
		dst = append(dst, "Connection: close\r\n"...)
	case o.HTTP10:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return append(dst, '\r', '\n')
}

func appendFraming(dst []byte, resp *exchange.Response, o ResponseOptions) []byte {
	n := int64(-1)
	switch {
	case resp.Status < 200 || resp.Status == 204:
		return dst // RFC 9110 §8.6: no Content-Length in these
	case resp.Framing == exchange.Sized:
		n = resp.Length
	case resp.Framing == exchange.Streamed && !o.HTTP10:
		return append(dst, "Transfer-Encoding: chunked\r\n"...)
	case resp.Framing == exchange.NoBody && (o.Head || resp.Status == 304):
		v := resp.Fields.Get("Content-Length")
		if v == "" {
			return dst
		}
		return appendField(dst, "Content-Length", v)
	case resp.Framing == exchange.NoBody:
		n = 0
	}
	if n < 0 {
		return dst
	}
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '\r', '\n')
}
