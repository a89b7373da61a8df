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
func (l *life) arrive() { l.came.Note(l.ex, l.s.cfg.Wants) }

func (l *life) fill(r *telemetry.Record) {
	l.came.Fill(r, l.ex, l.s.cfg.Wants, l.call.OriginStatus)
	r.Duration = time.Now().UnixNano() - l.ex.Now
	r.OriginBytes, r.OriginDuration = l.call.OriginBytes, l.call.OriginDuration
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
