package serve

import (
	"sync"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/upstream"
	"github.com/sluice-edge/sluice/telemetry"
)

var records = sync.Pool{New: func() any { return new(telemetry.Record) }}

// end ends the exchange: done ops, the record. The sizes are of what the client sent and got.
// ended is Record.Ended, or 0.
func (l *life) end(in, out, head, ended int64) {
	ex := l.ex
	ex.Release(exchange.OK)
	if s := l.s.cfg.Records; s != nil {
		r := records.Get().(*telemetry.Record)
		l.fill(r)
		r.RequestBytes, r.ResponseBytes, r.ResponseHead = in+l.call.TunnelIn, out+l.call.TunnelOut, head
		if l.call.TunnelIn+l.call.TunnelOut == 0 {
			r.Ended = ended
		}
		s.Request(r)
		r.Reset()
		records.Put(r)
	}
	ex.RunDone()
}

// arrive notes what ops and forwarding rules change later.
func (l *life) arrive() {
	ex := l.ex
	if ex.Req.PeerTrusted {
		l.forwardedFor = ex.Req.Fields.Get("X-Forwarded-For")
	}
	if w := l.s.cfg.Wants; w.Request() {
		for _, f := range ex.Req.Fields.All() {
			if w.RequestHeader(f.Name) {
				l.asked = append(l.asked, telemetry.Header{Name: f.Name, Value: f.Value})
			}
		}
	}
	l.eventStream = ex.Req.Fields.Get("Accept") == "text/event-stream"
	l.upgrade = ex.Req.Upgrade
	l.method = ex.Req.Method
}

func (l *life) fill(r *telemetry.Record) {
	ex := l.ex
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
	r.Peer, r.ForwardedFor, r.User = req.Peer, l.forwardedFor, ex.Log.User
	r.Method, r.Host, r.Target, r.Proto = l.method, req.Host, req.Target, req.Proto
	r.TraceID, r.SpanID = ex.Log.TraceID, ex.Log.SpanID
	r.Upgrade, r.EventStream = l.upgrade, l.eventStream
	if t := req.TLS; t != nil {
		r.TLSVersion, r.TLSCipher = t.Version, t.CipherSuite
		if len(t.PeerCertificates) > 0 {
			r.TLSClientSubject = t.PeerCertificates[0].Subject.String()
		}
	}
	r.Status, r.OriginStatus, r.OriginBytes = ex.Resp.Status, l.call.OriginStatus, l.call.OriginBytes
	r.Retries = ex.Log.Retries
	r.Start = ex.Now
	r.Duration = time.Now().UnixNano() - ex.Now
	r.OriginDuration = l.call.OriginDuration
	r.RequestHeaders = append(r.RequestHeaders, l.asked...)
	if w := l.s.cfg.Wants; w.Response() {
		for _, f := range ex.Resp.Fields.All() {
			if w.ResponseHeader(f.Name) {
				h := telemetry.Header{Name: f.Name, Value: f.Value}
				r.ResponseHeaders = append(r.ResponseHeaders, h)
				if l.call.OriginStatus != 0 {
					r.OriginHeaders = append(r.OriginHeaders, h)
				}
			}
		}
	}
}

// refusal is a request that was never understood: it only counts.
type refusal struct {
	h      *h1
	status int
	reason exchange.Reason
}

func (s *Server) record(f *refusal) {
	if s.cfg.Records == nil {
		return
	}
	s.cfg.Records.Request(&telemetry.Record{
		EntryPoint: s.cfg.EntryPoint, Reason: string(f.reason), Peer: f.h.c.Peer, Status: f.status,
		Start: time.Now().UnixNano(),
	})
}

var _ upstream.Sink = (*answer)(nil)
