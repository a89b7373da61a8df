package exchange

import "net/http"

// Able answers "OPTIONS *", which asks about the edge itself (RFC 9110 §9.3.7) and is never
// routed, as the reference does: 200 and nothing else.
func (ex *Exchange) Able() Verdict {
	ex.Reply(http.StatusOK, Internal, "")
	ex.Resp.Fields.Reset()
	ex.Body, ex.Resp.Length = nil, 0
	return Answer
}
