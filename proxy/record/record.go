// Package record tells telemetry of an exchange, in the same words from either lane. It does
// no I/O.
package record

import (
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/telemetry"
)

// Arrival is what a record needs of a request as it came, from before ops and forwarding rules
// change it. The zero value is ready to use.
type Arrival struct {
	Method, ForwardedFor string
	protocol             telemetry.Protocol
	fields               []telemetry.Header
	taken                bool
}

// Note takes what is needed of the request of ex, whose peer is known. It keeps its strings,
// and allocates only where w wants fields. Those are taken when the request goes to a server,
// after the middlewares, or at its end: the reference logs them as they are then.
func (a *Arrival) Note(ex *exchange.Exchange, w *telemetry.Wants) {
	req := &ex.Req
	a.Method = req.Method
	if req.PeerTrusted {
		a.ForwardedFor = forwardedFor(&req.Fields)
	}
	a.protocol = protocolOf(req)
	ex.Log.Sending = nil
	if w.Request() {
		ex.Log.Sending = func(req *exchange.Request) { a.take(req, w) }
	}
}

// take takes the fields that w wants.
func (a *Arrival) take(req *exchange.Request, w *telemetry.Wants) {
	clear(a.fields)
	a.fields, a.taken = a.fields[:0], true
	for _, f := range req.Fields.All() {
		if !w.RequestHeader(f.Name) {
			continue
		}
		if exchange.EqualFold(f.Name, "Connection") {
			// What concerns this connection alone is no word about the request.
			if req.Upgrade == "" && (exchange.EqualFold(f.Value, "close") || exchange.EqualFold(f.Value, "keep-alive")) {
				continue
			}
			if req.Upgrade != "" {
				f.Value = "Upgrade"
			}
		}
		a.fields = append(a.fields, telemetry.Header{Name: f.Name, Value: f.Value})
	}
}

// forwardedFor is the value of all X-Forwarded-For fields as one.
func forwardedFor(fields *exchange.Fields) string {
	const name = "X-Forwarded-For"
	i := fields.Index(name, 0)
	if i < 0 {
		return ""
	}
	all := fields.At(i).Value
	for i = fields.Index(name, i+1); i >= 0; i = fields.Index(name, i+1) {
		all += ", " + fields.At(i).Value
	}
	return all
}

// protocolOf is what a request speaks, by the reference's order of looking.
func protocolOf(req *exchange.Request) telemetry.Protocol {
	const stream = "text/event-stream"
	if exchange.EqualFold(req.Upgrade, "websocket") {
		return telemetry.WebSocket
	}
	for accept := req.Fields.Get("Accept"); len(accept) >= len(stream); {
		var one string
		if one, accept, _ = strings.Cut(accept, ","); exchange.EqualFold(strings.TrimSpace(one), stream) {
			return telemetry.EventStream
		}
	}
	if req.Method != "POST" {
		return telemetry.PlainHTTP // gRPC knows no other method
	}
	switch content := req.Fields.Get("Content-Type"); {
	case strings.HasPrefix(content, "application/grpc-web"):
		return telemetry.GRPCWeb
	case strings.HasPrefix(content, "application/grpc"):
		return telemetry.GRPC
	}
	return telemetry.PlainHTTP
}

// grpcStatus is how a call of gRPC ended. The status stands in the head of an answer
// without messages, else in its trailers.
func grpcStatus(ex *exchange.Exchange) uint8 {
	const unknown, highest = 2, 16
	text := ex.Resp.Fields.Get("Grpc-Status")
	if text == "" {
		text = ex.Log.GRPCStatus
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil || n > highest {
		return unknown
	}
	return uint8(n)
}

// Reset makes a ready for another request and keeps the room of its fields.
func (a *Arrival) Reset() {
	clear(a.fields)
	*a = Arrival{fields: a.fields[:0]}
}

// Fill fills r, which is new or reset, with all of the exchange but sizes, durations and the
// request's end. originStatus is the status of the server's answer, 0 where none answered.
func (a *Arrival) Fill(r *telemetry.Record, ex *exchange.Exchange, w *telemetry.Wants, originStatus int) {
	req := &ex.Req
	r.EntryPoint, r.Reason = req.EntryPoint, string(ex.Reason)
	if rt := ex.Route; rt != nil {
		r.Router, r.Service = rt.Router, rt.Service
		r.Internal, r.NoAccessLog, r.NoMetrics = rt.Internal, rt.NoAccessLog, rt.NoMetrics
	}
	if ep := ex.Backend.Endpoint; ep != nil {
		r.ServerURL, r.ServerAddr = ep.URL, ep.Addr
		if ex.Backend.Service != r.Service {
			r.Balancer = ex.Backend.Service
		}
	}
	r.Peer, r.ForwardedFor, r.User = req.Peer, a.ForwardedFor, ex.Log.User
	r.Method, r.Host, r.Target, r.Proto = a.Method, req.Host, req.Target, req.Proto
	r.TraceID, r.SpanID = ex.Log.TraceID, ex.Log.SpanID
	if r.Protocol = a.protocol; r.Protocol >= telemetry.GRPCWeb {
		r.GRPCStatus = grpcStatus(ex)
	}
	if t := req.TLS; t != nil {
		r.TLSVersion, r.TLSCipher = t.Version, t.CipherSuite
		if len(t.PeerCertificates) > 0 {
			r.TLSClientSubject = t.PeerCertificates[0].Subject.String()
		}
	}
	r.Status, r.OriginStatus = ex.Resp.Status, originStatus
	r.Retries, r.Start = ex.Log.Retries, ex.Now
	if w.Request() && !a.taken {
		a.take(&ex.Req, w)
	}
	r.RequestHeaders = append(r.RequestHeaders, a.fields...)
	if !w.Response() {
		return
	}
	for _, f := range ex.Resp.Fields.All() {
		if w.ResponseHeader(f.Name) {
			h := telemetry.Header{Name: f.Name, Value: f.Value}
			r.ResponseHeaders = append(r.ResponseHeaders, h)
			if originStatus != 0 {
				r.OriginHeaders = append(r.OriginHeaders, h)
			}
		}
	}
}
