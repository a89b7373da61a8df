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
	if !Token(req.Method) {
		return false, ErrMethod // "GET /a" would be another request line for an HTTP/1.1 server
	}
	switch {
	case !Token(req.Method):
		return false, ErrMethod // "GET /a" would be another request line for a server
	case req.Method == "CONNECT":
		return false, ErrConnect
	}
	if e := framedTarget(req); e != nil {
		return false, e
	}
	var s framedState
	list := req.Fields.All()
	if len(list) > DefaultMaxFields {
		return false, ErrManyFields
	}
	n := 0
	for i := range list {
		keep, e := s.note(req, list, i, n)
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
	if s.cookies > 1 {
		joinCookies(ex, list, n, s.cookie-1)
	} else {
		req.Fields.Truncate(n)
	}
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
	te     bool
	expect bool

	cookie  int // place of the first Cookie, plus 1
	cookies int
}

// joinCookies makes the Cookie fields among the first n of list one, at the place of the
// first. It copies each once: a head may have a thousand of them, and each joined to all
// before it would cost gigabytes.
func joinCookies(ex *exchange.Exchange, list []exchange.Field, n, first int) {
	var small [512]byte
	out, w := small[:0], first+1
	for i := first; i < n; i++ {
		f := &list[i]
		switch {
		case len(f.Name) != 6 || !is(f.Name, "cookie"):
			list[w] = *f
			w++
		case i == first:
			out = append(out, f.Value...)
		default:
			out = append(append(out, "; "...), f.Value...)
		}
	}
	list[first].Value = str(ex.Hold(out))
	ex.Req.Fields.Truncate(w)
}

// note looks at the field at i, whose place will be n, and reports whether it stays.
func (s *framedState) note(req *exchange.Request, list []exchange.Field, i, n int) (keep bool, e *Error) {
	f := &list[i]
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
		case is(f.Name, "cookie"):
			if s.cookies++; s.cookies == 1 {
				s.cookie = n + 1
			}
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

// InFrames reports whether a field of an answer may be sent in frames: not one that is for
// a connection of HTTP/1.1 (RFC 9113 §8.2.2).
func InFrames(name string) bool { return !hopByHop(name) }
