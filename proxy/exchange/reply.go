package exchange

import (
	"net/http"
	"strings"
)

// The answers of the edge that both lanes make stand here, so that they are the same
// bytes in either. Their texts and fields are the reference's.

// NotFound answers 404: no router matches.
func (ex *Exchange) NotFound(r Reason) Verdict {
	ex.Reply(http.StatusNotFound, r, "404 page not found\n")
	ex.Resp.Fields.Add("X-Content-Type-Options", "nosniff")
	return Answer
}

// retryAfter is what clients are told whose service may get a server soon, in seconds.
const retryAfter = "5"

// Unavailable answers 503: the service has no server that may be asked.
func (ex *Exchange) Unavailable(r Reason) Verdict {
	if r == NoReason {
		r = NoServer
	}
	text := "no available server\n"
	if ex.Backend.FailedOver {
		text = http.StatusText(http.StatusServiceUnavailable) + "\n" // the reference's failover words it so
	}
	ex.Reply(http.StatusServiceUnavailable, r, text)
	ex.Resp.Fields.Add("X-Content-Type-Options", "nosniff")
	if ex.Backend.Holder != nil || r == Waking {
		ex.Resp.Fields.Add("Retry-After", retryAfter)
	}
	return Answer
}

// Browses reports whether the client shows pages to people: it says so itself, where
// programs accept anything or nothing.
func (ex *Exchange) Browses() bool {
	m := ex.Req.Method
	return (m == "GET" || m == "HEAD" || m == "POST") && strings.Contains(ex.Req.Fields.Get("Accept"), "text/html")
}

// Refused answers a well-formed request that the entry point's rules refuse
// (wire.PrepareRequest).
func (ex *Exchange) Refused(status int, r Reason) Verdict {
	ex.Reply(status, r, http.StatusText(status)+"\n")
	ex.Resp.Fields.Add("X-Content-Type-Options", "nosniff")
	return Answer
}

// UpstreamFailed answers for a server that could not be reached or did not answer well,
// or for a client that went away meanwhile, with the status of r. There is no Content-Type.
func (ex *Exchange) UpstreamFailed(r Reason) Verdict {
	status, text := r.Status(), ""
	if status == StatusClientGone {
		text = "Client Closed Request"
	}
	ex.Reply(status, r, text)
	ex.Resp.StatusText = text
	ex.Resp.Fields.Reset()
	return Answer
}

// StatusClientGone is the status of a request whose client went away before the answer;
// nobody sees it but logs and metrics, and clients that closed only their sending half.
const StatusClientGone = 499

// Status is the status that goes with a failure at a server or of a request's body.
func (r Reason) Status() int {
	switch r {
	case DialTimeout, UpstreamSlow:
		return http.StatusGatewayTimeout
	case ReadTimeout:
		// The reference's; a half-sent body is the client's fault, but 504 is what its users know.
		return http.StatusGatewayTimeout
	case ClientGone:
		return StatusClientGone
	case ServiceError, Failure:
		return http.StatusInternalServerError
	case NoServer, NoServerUp, Starting, Waking, RouterBroken, Draining:
		return http.StatusServiceUnavailable
	case BadRequest:
		return http.StatusBadRequest
	case BodyTooLarge:
		return http.StatusRequestEntityTooLarge
	case HeadTooLarge:
		return http.StatusRequestHeaderFieldsTooLarge
	default:
		return http.StatusBadGateway
	}
}

// RunResponseFrom calls the response ops asked for since mark (see Pending), inner to
// outer, and forgets them; done ops stay. A segment behind a stage uses it.
func (ex *Exchange) RunResponseFrom(mark int) {
	for i := len(ex.pend) - 1; i >= mark; i-- {
		if p := ex.pend[i]; p.resp != nil {
			p.resp.Response(ex, p.arg)
		}
	}
	n := min(mark, len(ex.pend))
	for _, p := range ex.pend[n:] {
		if p.done != nil {
			ex.pend[n] = p
			n++
		}
	}
	clear(ex.pend[n:])
	ex.pend = ex.pend[:n]
}

// ForgetTried readies ex for a further attempt by a stage that repeats requests.
func (ex *Exchange) ForgetTried() {
	clear(ex.tried[:])
	ex.ntried = 0
}
