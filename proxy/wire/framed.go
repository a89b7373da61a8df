package wire

import "github.com/sluice-edge/sluice/proxy/exchange"

// HTTP20 is HTTP/2 as Request.Proto has it.
const HTTP20 = "HTTP/2.0"

// LowerName reports whether s is a field name as HTTP/2 and 3 have them: a token without
// upper-case letters (RFC 9113 §8.2.1).
func LowerName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; class[c]&isToken == 0 || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return s != ""
}

// Token reports whether s is a token (RFC 9110 §5.6.2).
func Token(s string) bool { return s != "" && all(s, isToken) }

// FieldValue reports whether s holds nothing that a field value must not.
func FieldValue(s string) bool { return valueBytes(bytesOf(s)) }

// String makes a string of b without copying; b must not change any more.
func String(b []byte) string { return str(b) }

// FramedHead checks the head of a request that came in frames (HTTP/2 and 3) and completes
// it: path and query from the target, Host from the field where there was no authority, one
// Cookie (RFC 9113 §8.2.3). Method, Host, Target and Fields of ex.Req must be set. sized
// reports a Content-Length, which is in ex.Req.Length then.
func FramedHead(ex *exchange.Exchange) (sized bool, err *Error) {
	req := &ex.Req
	if req.Method == "CONNECT" {
		return false, ErrConnect
	}
	if e := framedTarget(req); e != nil {
		return false, e
	}
	var s framedState
	list := req.Fields.All()
	n := 0
	for i := range list {
		keep, e := s.note(ex, list, i, n)
		if e != nil {
			return false, e
		}
		if !keep {
			continue
		}
		if n != i {
			list[n] = list[i]
		}
		n++
	}
	req.Fields.Truncate(n)
	req.Length, req.Expect100, req.Upgrade = s.length, s.expect, ""
	if !all(req.Host, isHost) {
		return false, ErrHost
	}
	return s.sized, nil
}

// framedTarget is splitTarget for targets that are a path, or "*".
func framedTarget(req *exchange.Request) *Error {
	t := req.Target
	if t == "" || t[0] != '/' && (t != "*" || req.Method != "OPTIONS") {
		return ErrTarget
	}
	_, e := splitTarget(req)
	if e == ErrFragment {
		e = ErrTarget
	}
	return e
}

// framedState gathers what fields say about the message.
type framedState struct {
	length int64
	sized  bool
	hosts  int
	cookie int // place of the first Cookie, plus 1
	te     bool
	expect bool
}

// note looks at the field at i, whose place will be n, and reports whether it stays.
func (s *framedState) note(ex *exchange.Exchange, list []exchange.Field, i, n int) (keep bool, e *Error) {
	f, req := &list[i], &ex.Req
	switch len(f.Name) {
	case 2:
		if is(f.Name, "te") {
			if s.te || f.Value != "trailers" && f.Value != "" {
				return false, ErrConnectionField
			}
			s.te = true
		}
	case 4:
		if is(f.Name, "host") {
			s.hosts++
			// RFC 9113 §8.3.1: one that names something else makes the request malformed.
			if s.hosts > 1 || req.Host != "" && !exchange.EqualFold(req.Host, f.Value) {
				return false, ErrHosts
			}
			req.Host = f.Value
			return false, nil
		}
	case 6:
		switch {
		case is(f.Name, "cookie") && s.cookie > 0:
			first := &list[s.cookie-1]
			first.Value = ex.HoldString(first.Value, "; ", f.Value)
			return false, nil
		case is(f.Name, "cookie"):
			s.cookie = n + 1
		case is(f.Name, "expect"):
			if !is(f.Value, "100-continue") {
				return false, ErrExpect
			}
			s.expect = true
			return false, nil // the edge says it; streams wait for nobody
		}
	case 7:
		if is(f.Name, "upgrade") {
			return false, ErrConnectionField
		}
		if is(f.Name, "trailer") && !trailersAllowed(f.Value) {
			return false, ErrTrailerName
		}
	case 10:
		if is(f.Name, "connection") || is(f.Name, "keep-alive") {
			return false, ErrConnectionField
		}
	case 14:
		if is(f.Name, "content-length") {
			return true, s.size(f.Value)
		}
	case 16:
		if is(f.Name, "proxy-connection") {
			return false, ErrConnectionField
		}
	case 17:
		if is(f.Name, "transfer-encoding") {
			return false, ErrConnectionField
		}
	}
	return true, nil
}

func (s *framedState) size(v string) *Error {
	if s.sized {
		return ErrLengths
	}
	n, ok := length(v)
	if !ok {
		return ErrLength
	}
	s.sized, s.length = true, n
	return nil
}
