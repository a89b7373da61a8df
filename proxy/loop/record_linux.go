package loop

import "github.com/sluice-edge/sluice/proxy/exchange"

// arrive notes what the record needs from before ops and forwarding rules change it.
func (l *loop) arrive(cl *client) {
	if l.sink == nil {
		return
	}
	cl.came.Note(cl.ex, l.g.opts.Wants) // kept by cl: many requests of a loop are under way at once
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
	cl.came.Fill(r, ex, l.g.opts.Wants, t.originStatus)
	r.RequestHead, r.RequestBytes = t.reqHead, t.reqBytes
	if ex.Req.Framing == exchange.Streamed {
		r.RequestBytes += cl.chunks.Total()
	}
	r.OriginBytes, r.ResponseHead = t.originBytes, t.respHead
	r.ResponseBytes = t.respBytes
	if ex.Req.Method != "HEAD" && cl.mode != dropIt {
		r.ResponseBytes += t.originBytes
	}
	r.Duration = l.now - ex.Now
	if t.originAt > 0 {
		r.OriginDuration = l.now - t.originAt
	}
	l.sink.Request(r)
	r.Reset()
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
