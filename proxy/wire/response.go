package wire

import "github.com/sluice-edge/sluice/proxy/exchange"

// ParseResponse reads the response head at the beginning of b into resp; method is that of
// its request. It returns like ParseRequest. Interim (1xx) heads are read like others.
//
// Strings of resp alias b. Transfer-Encoding is not among resp.Fields: Framing says it.
// Content-Length stays, so that the answer to HEAD keeps it.
func ParseResponse(b []byte, resp *exchange.Response, method string, lim *Limits) (n int, err error) {
	max := lim.head()
	cut := len(b) >= max
	if len(b) > max {
		b = b[:max]
	}
	n, e := parseResponse(b, resp, method, lim)
	if e != nil {
		return 0, e
	}
	if n == 0 && cut {
		return 0, ErrResponseLarge
	}
	return n, nil
}

func parseResponse(b []byte, resp *exchange.Response, method string, lim *Limits) (int, *Error) {
	if len(b) > 0 && b[0] != 'H' {
		return 0, ErrStatusLine
	}
	l, p, e := line(b)
	if e != nil {
		return 0, ErrStatusLine
	}
	if p == 0 {
		return 0, nil
	}
	v11, e := statusLine(l, resp)
	if e != nil {
		return 0, e
	}
	s := responseState{v11: v11}
	resp.Fields.Reset()
	left := lim.fields()
	for {
		l, n, e := line(b[p:])
		if e != nil {
			return 0, ErrResponseField
		}
		if n == 0 {
			return 0, nil
		}
		p += n
		if len(l) == 0 {
			break
		}
		f, e := field(l)
		if e != nil {
			return 0, ErrResponseField
		}
		if left--; left < 0 {
			return 0, ErrResponseLarge
		}
		keep, e := s.note(f)
		if e != nil {
			return 0, e
		}
		if keep {
			resp.Fields.Add(f.Name, f.Value)
		}
	}
	if e := s.finish(resp, method); e != nil {
		return 0, e
	}
	return p, nil
}

func statusLine(l []byte, resp *exchange.Response) (v11 bool, e *Error) {
	if len(l) < 12 || str(l[:5]) != "HTTP/" || l[8] != ' ' {
		return false, ErrStatusLine
	}
	switch str(l[:8]) {
	case HTTP11:
		v11 = true
	case HTTP10:
	default:
		return false, ErrResponseVersion
	}
	s := 0
	for _, c := range l[9:12] {
		if c < '0' || c > '9' {
			return false, ErrStatusLine
		}
		s = s*10 + int(c-'0')
	}
	if s < 100 {
		return false, ErrStatus
	}
	resp.Status, resp.StatusText = s, ""
	if len(l) > 12 {
		if l[12] != ' ' {
			return false, ErrStatusLine
		}
		resp.StatusText = str(l[13:])
		if !all(resp.StatusText, isValue) {
			return false, ErrStatusLine
		}
	}
	return v11, nil
}

type responseState struct {
	v11                    bool
	length                 int64
	sized, chunked, twoTEs bool
	badCoding              bool
	conn                   connection
	upgrade                string
}

func (s *responseState) note(f exchange.Field) (keep bool, e *Error) {
	switch len(f.Name) {
	case 7:
		if is(f.Name, "upgrade") && s.upgrade == "" {
			s.upgrade = f.Value
		}
	case 10:
		if is(f.Name, "connection") && !s.conn.read(f.Value) {
			return false, ErrResponseField
		}
	case 14:
		if is(f.Name, "content-length") {
			n, ok := length(f.Value)
			if !ok || s.sized && n != s.length {
				return false, ErrResponseLength
			}
			// RFC 9112 §6.3 allows equal values to be read as one; the second is dropped.
			again := s.sized
			s.sized, s.length = true, n
			return !again, nil
		}
	case 17:
		if is(f.Name, "transfer-encoding") {
			s.twoTEs = s.twoTEs || s.chunked
			s.badCoding = s.badCoding || !is(f.Value, "chunked")
			s.chunked = true
			return false, nil
		}
	}
	return true, nil
}

// finish decides the framing by RFC 9112 §6.3.
func (s *responseState) finish(resp *exchange.Response, method string) *Error {
	resp.KeepAlive = !s.conn.close && (s.v11 || s.conn.keepAlive)
	resp.Upgrade, resp.Length = "", 0
	if s.sized {
		resp.Length = s.length
	}
	switch {
	case resp.Status == 101:
		if !s.conn.upgrade || s.upgrade == "" {
			return ErrSwitchingUnasked
		}
		resp.Upgrade = s.upgrade
		resp.Framing = exchange.NoBody
		return nil
	case resp.Status < 200, resp.Status == 204, resp.Status == 304, method == "HEAD":
		resp.Framing = exchange.NoBody
		return nil
	case s.chunked && s.sized:
		return ErrResponseFraming
	case s.chunked && (s.badCoding || s.twoTEs || !s.v11):
		return ErrResponseCoding
	case s.chunked:
		resp.Framing = exchange.Streamed
	case s.sized:
		resp.Framing = exchange.Sized
	default:
		resp.Framing = exchange.UntilClose
		resp.KeepAlive = false
	}
	return nil
}
