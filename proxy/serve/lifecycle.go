package serve

import (
	"context"
	"errors"
	"net/http"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/record"
	"github.com/sluice-edge/sluice/proxy/upstream"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// front is the client's side of an exchange, of either protocol.
type front interface {
	upstream.Sink
	// headSent reports whether the final head is out (or on its way).
	headSent() bool
	// doomed says that the connection must end after the answer: what follows in it
	// cannot be trusted.
	doomed()
	// stranded reports that so much of the request's body is still to come that it will not
	// be read for the sake of the connection. Nobody reads it while this is asked.
	stranded() bool
}

// life is one exchange from its head to its end.
type life struct {
	s     *Server
	ex    *exchange.Exchange
	body  upstream.Source // nil without a body
	front front
	watch func() (stop func())
	// conn is the client's connection where it has one of its own, of HTTP/1.
	conn *h1
	// stopWatch ends the watching of a tail's client.
	stopWatch func()
	call      upstream.Call
	// What the record needs from before the ops.
	came record.Arrival
	// borrowed is set once handlers may keep strings of the exchange beyond its end.
	borrowed bool
}

// begin prepares and matches a fresh request and runs it.
func (l *life) begin(ctx context.Context) (cut bool) {
	ex := l.ex
	l.arrive()
	if err := wire.PrepareRequest(ex, l.s.cfg.Forwarding); err != nil {
		var e *wire.Error
		if !errors.As(err, &e) {
			e = wire.ErrRequestLine
		}
		ex.Refused(e.Status, e.Reason)
		return l.answer()
	}
	if ex.Req.Path == "*" {
		ex.Able()
		return l.answer()
	}
	var reason exchange.Reason
	ex.Route, reason = l.s.matcher.Load().Match(ex)
	ex.Reason = reason
	return l.run(ctx)
}

// run takes a matched request through its ops to its end. It reports whether the
// connection or stream must be cut, because the client has an answer that is not whole.
func (l *life) run(ctx context.Context) (cut bool) {
	ex := l.ex
	ex.Ctx, ex.MayBlock = ctx, true
	if l.came.Method == "" {
		l.arrive() // came from the loop lane
	}
	switch {
	case ex.Route == nil && ex.Reason == exchange.Misdirected:
		ex.Reply(http.StatusMisdirectedRequest, ex.Reason, "")
		return l.answer()
	case ex.Route == nil:
		ex.NotFound(ex.Reason)
		return l.answer()
	case ex.Route.Broken != exchange.NoReason:
		ex.Reply(http.StatusServiceUnavailable, ex.Route.Broken, "")
		return l.answer()
	}
	ex.Reason = exchange.NoReason
	switch ex.RunOps() {
	case exchange.Answer:
		return l.answer()
	case exchange.Block: // an op that waits for what will not come: MayBlock is set
		ex.Reply(http.StatusInternalServerError, exchange.Failure, "")
		return l.answer()
	}
	switch {
	case ex.Route.Tail != nil:
		return l.tail(ctx)
	case ex.Route.To != nil:
		return l.forward(ctx)
	}
	ex.Unavailable(exchange.NoServer)
	return l.answer()
}

func (l *life) forward(ctx context.Context) (cut bool) {
	l.call = upstream.Call{Ex: l.ex, To: l.ex.Route.To, Body: l.body, Sink: l.front, Watch: l.watch, Private: l.private()}
	switch l.s.cfg.Client.Do(ctx, &l.call) {
	case upstream.Answered:
		return l.answer()
	case upstream.Broken:
		return true
	}
	return false
}

// private gives the connections to servers that only this client's is to use: from the first
// request on whose credentials hold for connections. Clients of HTTP/2 leave such schemes to
// HTTP/1.1.
func (l *life) private() *upstream.Private {
	if l.conn == nil {
		return nil
	}
	if l.conn.private == nil && l.ex.Req.Binds {
		l.conn.private = upstream.NewPrivate()
	}
	return l.conn.private
}

// answer sends the answer of the edge that is in ex.
func (l *life) answer() (cut bool) {
	ex := l.ex
	if ex.Req.PeerTrusted && l.s.cfg.ReasonHeader && ex.Reason != exchange.NoReason && ex.Req.Fields.Has("X-Sluice-Reason") {
		ex.Resp.Fields.Set("X-Sluice-Reason", string(ex.Reason))
	}
	if fatal(ex.Reason) || l.front.stranded() {
		l.front.doomed()
	}
	l.s.dress(ex)
	return sendReply(l.front, ex) != nil
}

// dress lets the entry point change an answer of the edge.
func (s *Server) dress(ex *exchange.Exchange) {
	if s.cfg.Dress != nil && ex.Reason != exchange.NoReason {
		s.cfg.Dress(ex)
	}
}

// fatal reports the reasons after which a connection cannot go on: its next byte may be
// anything.
func fatal(r exchange.Reason) bool {
	switch r {
	case exchange.BadRequest, exchange.ReadTimeout, exchange.ClientGone, exchange.BodyTooLarge, exchange.HeadTooLarge:
		return true
	}
	return false
}

// sendReply sends an answer that is in ex as a whole.
func sendReply(s upstream.Sink, ex *exchange.Exchange) error {
	switch ex.Resp.Framing {
	case exchange.NoBody, exchange.Sized:
		ex.Resp.Framing, ex.Resp.Length = exchange.Sized, int64(len(ex.Body))
	}
	body := ex.Body
	if st := ex.Resp.Status; st == http.StatusNoContent || st == http.StatusNotModified {
		ex.Resp.Framing, ex.Resp.Length, body = exchange.NoBody, 0, nil
	}
	if err := s.Head(); err != nil {
		return err
	}
	if len(body) > 0 {
		if _, err := s.Write(body); err != nil {
			return err
		}
	}
	return s.End(nil)
}

// badText is the body of an answer to a request that is not HTTP, as the reference has it.
func badText(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "400 Bad Request"
	case http.StatusRequestHeaderFieldsTooLarge:
		return "431 Request Header Fields Too Large"
	}
	return ""
}
