// Package record tells telemetry of an exchange, in the same words from either lane. It does
// no I/O.
package record

import (
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/telemetry"
)

// Arrival is what a record needs of a request as it came, from before ops and forwarding rules
// change it. The zero value is ready to use.
type Arrival struct {
	Method, Upgrade, ForwardedFor string
	eventStream                   bool
	fields                        []telemetry.Header
}

// Note takes what is needed of req, whose peer is known. It keeps the strings of req, and
// allocates only where w wants fields.
func (a *Arrival) Note(req *exchange.Request, w *telemetry.Wants) {
	a.Method, a.Upgrade = req.Method, req.Upgrade
	if req.PeerTrusted {
		a.ForwardedFor = req.Fields.Get("X-Forwarded-For")
	}
	a.eventStream = req.Fields.Get("Accept") == "text/event-stream"
	if !w.Request() {
		return
	}
	for _, f := range req.Fields.All() {
		if w.RequestHeader(f.Name) {
			a.fields = append(a.fields, telemetry.Header{Name: f.Name, Value: f.Value})
		}
	}
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
	r.Upgrade, r.EventStream = a.Upgrade, a.eventStream
	if t := req.TLS; t != nil {
		r.TLSVersion, r.TLSCipher = t.Version, t.CipherSuite
		if len(t.PeerCertificates) > 0 {
			r.TLSClientSubject = t.PeerCertificates[0].Subject.String()
		}
	}
	r.Status, r.OriginStatus = ex.Resp.Status, originStatus
	r.Retries, r.Start = ex.Log.Retries, ex.Now
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
