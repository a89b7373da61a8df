package loop

import (
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/telemetry"
)

// arrive notes what the record needs from before ops and forwarding rules change it.
func (l *loop) arrive(cl *client) {
	if l.sink == nil {
		return
	}
	req, t := &cl.ex.Req, &cl.tally
	t.method, t.upgrade = req.Method, req.Upgrade
	if cl.trusted {
		t.forwardedFor = req.Fields.Get("X-Forwarded-For")
	}
	t.eventStream = req.Fields.Get("Accept") == "text/event-stream"
	if w := l.g.opts.Wants; w.Request() {
		// Kept by cl until the end, since many requests of a loop are under way at once.
		for _, f := range req.Fields.All() {
			if w.RequestHeader(f.Name) {
				cl.asked = append(cl.asked, telemetry.Header{Name: f.Name, Value: f.Value})
			}
		}
	}
}

// tallyAnswer counts bytes of the answer's body.
func (l *loop) tallyAnswer(cl *client, u *server, part []byte) {
	if u.framing == exchange.Streamed && cl.mode != unChunk {
		return // the scanner knows the sum at the end
	}
	cl.tally.originBytes += int64(len(part))
}

// record tells the sink of the exchange that ends.
func (l *loop) record(cl *client) {
	if l.sink == nil {
		return
	}
	ex, t, r := cl.ex, &cl.tally, &l.rec
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
	r.Peer, r.ForwardedFor, r.User = req.Peer, t.forwardedFor, ex.Log.User
	r.Method, r.Host, r.Target, r.Proto = t.method, req.Host, req.Target, req.Proto
	r.TraceID, r.SpanID = ex.Log.TraceID, ex.Log.SpanID
	r.Upgrade, r.EventStream = t.upgrade, t.eventStream
	if s := req.TLS; s != nil {
		r.TLSVersion, r.TLSCipher = s.Version, s.CipherSuite
		if len(s.PeerCertificates) > 0 {
			r.TLSClientSubject = s.PeerCertificates[0].Subject.String()
		}
	}
	r.Status, r.OriginStatus = ex.Resp.Status, t.originStatus
	r.RequestHead, r.RequestBytes = t.reqHead, t.reqBytes
	if req.Framing == exchange.Streamed {
		r.RequestBytes += cl.chunks.Total()
	}
	r.OriginBytes, r.ResponseHead = t.originBytes, t.respHead
	r.ResponseBytes = t.respBytes
	if req.Method != "HEAD" && cl.mode != dropIt {
		r.ResponseBytes += t.originBytes
	}
	r.Retries, r.Start, r.Duration = ex.Log.Retries, ex.Now, l.now-ex.Now
	if t.originAt > 0 {
		r.OriginDuration = l.now - t.originAt
	}
	r.RequestHeaders = append(r.RequestHeaders, cl.asked...)
	l.answerFields(cl, r)
	l.sink.Request(r)
	r.Reset()
	clear(cl.asked)
	cl.asked = cl.asked[:0]
}

func (l *loop) answerFields(cl *client, r *telemetry.Record) {
	w := l.g.opts.Wants
	if !w.Response() {
		return
	}
	for _, f := range cl.ex.Resp.Fields.All() {
		if w.ResponseHeader(f.Name) {
			h := telemetry.Header{Name: f.Name, Value: f.Value}
			r.ResponseHeaders = append(r.ResponseHeaders, h)
			if cl.tally.originStatus != 0 {
				r.OriginHeaders = append(r.OriginHeaders, h)
			}
		}
	}
}

// recordRefusal counts a request that was never understood.
func (l *loop) recordRefusal(cl *client, status int, reason exchange.Reason) {
	if l.sink == nil {
		return
	}
	r := &l.rec
	r.EntryPoint, r.Reason, r.Peer, r.Status, r.Start = cl.entry.cfg.Name, string(reason), cl.peer, status, l.now
	l.sink.Request(r)
	r.Reset()
}
