package wire

import (
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// The protocol versions as Request.Proto has them.
const (
	HTTP10 = "HTTP/1.0"
	HTTP11 = "HTTP/1.1"
)

// Preface begins every HTTP/2 connection (RFC 9113 §3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// MinRequest is the length of the shortest request line, "G / HTTP/1.1" with its end. Like
// the reference, which looks for HTTP/2 in as many bytes, the lanes judge no new connection
// in clear text by fewer.
const MinRequest = 14

// IsPreface reports whether b begins the HTTP/2 preface; more is set where b is a true beginning of it.
func IsPreface(b []byte) (yes, more bool) {
	if len(b) >= len(Preface) {
		return str(b[:len(Preface)]) == Preface, false
	}
	return false, str(b) == Preface[:len(b)]
}

// ParseRequest reads the request head at the beginning of b into req and returns its length
// with the empty line. n == 0 with a nil error means that more bytes are needed; b may then be
// given again with more, and any split of the input leads to the same result. err is an *Error.
//
// Strings of req alias b. Host and Transfer-Encoding are not among req.Fields: Host and
// Framing say what they said. Fields of req that a head does not tell (TLS, Peer, Local,
// EntryPoint, PeerTrusted) are left alone.
func ParseRequest(b []byte, req *exchange.Request, lim *Limits) (n int, err error) {
	max := lim.head()
	cut := len(b) >= max
	if len(b) > max {
		b = b[:max]
	}
	n, e := parseRequest(b, req, lim)
	if e != nil {
		return 0, e
	}
	if n == 0 && cut {
		return 0, ErrHeadTooLarge
	}
	return n, nil
}

func parseRequest(b []byte, req *exchange.Request, lim *Limits) (int, *Error) {
	p := blankLines(b)
	if p == len(b) || len(b) == p+1 && b[p] == '\r' && p < 2*maxBlank {
		return 0, nil
	}
	if class[b[p]]&isToken == 0 {
		return 0, ErrRequestLine // at once: TLS or noise on a clear port has no line end to wait for
	}
	l, n, e := line(b[p:])
	if n == 0 {
		return 0, e
	}
	p += n
	authority, e := requestLine(l, req)
	if e != nil {
		return 0, e
	}
	var s requestState
	req.Fields.Reset()
	left := lim.fields()
	for {
		l, n, e := line(b[p:])
		if n == 0 {
			return 0, e
		}
		p += n
		if len(l) == 0 {
			break
		}
		f, e := field(l)
		if e != nil {
			return 0, e
		}
		if left--; left < 0 {
			return 0, ErrManyFields
		}
		keep, e := s.note(f)
		if e != nil {
			return 0, e
		}
		if keep {
			req.Fields.Add(f.Name, f.Value)
		}
	}
	if req.Method == "CONNECT" && (lim == nil || !lim.AllowConnect) {
		return 0, ErrConnect
	}
	if e := s.finish(req, authority); e != nil {
		return 0, e
	}
	return p, nil
}

// requestLine reads method, target and version, and returns the authority of an absolute target.
func requestLine(l []byte, req *exchange.Request) (authority string, e *Error) {
	m := 0
	for m < len(l) && class[l[m]]&isToken != 0 {
		m++
	}
	if m == 0 || m == len(l) || l[m] != ' ' {
		return "", ErrMethod
	}
	v := len(l) - len(HTTP11)
	if v <= m+1 || l[v-1] != ' ' {
		return "", ErrRequestLine
	}
	switch str(l[v:]) {
	case HTTP11:
		req.Proto = HTTP11
	case HTTP10:
		req.Proto = HTTP10
	default:
		if str(l[v:v+5]) == "HTTP/" && l[v+6] == '.' && l[v+5]-'0' <= 9 && l[v+7]-'0' <= 9 {
			return "", ErrVersion
		}
		return "", ErrRequestLine
	}
	req.Method, req.Target = str(l[:m]), str(l[m+1:v-1])
	return splitTarget(req)
}

// splitTarget fills Path and Query from Target (RFC 9112 §3.2) and returns the authority of an absolute target.
func splitTarget(req *exchange.Request) (authority string, e *Error) {
	t := req.Target
	for i := 0; i < len(t); i++ {
		if t[i] == '#' {
			return "", ErrFragment
		}
		if class[t[i]]&isTarget == 0 {
			return "", ErrTarget
		}
	}
	switch {
	case t == "":
		return "", ErrTarget
	case t[0] == '/':
	case req.Method == "CONNECT":
		req.Path, req.Query, req.HasQuery = "", "", false
		if !all(t, isHost) {
			return "", ErrTarget
		}
		return t, nil
	case t == "*":
		if req.Method != "OPTIONS" {
			return "", ErrTarget
		}
		req.Path, req.Query, req.HasQuery = t, "", false
		return "", nil
	default:
		if authority, t, e = absolute(t); e != nil {
			return "", e
		}
	}
	req.Path, req.Query, req.HasQuery = t, "", false
	for i := 0; i < len(t); i++ {
		switch t[i] {
		case '?':
			req.Path, req.Query, req.HasQuery = t[:i], t[i+1:], true
			if i == 0 {
				req.Path = "/"
			}
			return authority, nil
		case '%':
			if i+2 >= len(t) || class[t[i+1]]&class[t[i+2]]&isHex == 0 {
				return "", ErrEscape
			}
		}
	}
	if t == "" {
		req.Path = "/"
	}
	return authority, nil
}

// absolute splits an absolute target into authority and path with query.
func absolute(t string) (authority, rest string, e *Error) {
	i := 0
	for i < len(t) && t[i] != ':' {
		c := t[i] | 0x20
		if !(c >= 'a' && c <= 'z') && (i == 0 || !(t[i] >= '0' && t[i] <= '9' || t[i] == '+' || t[i] == '-' || t[i] == '.')) {
			return "", "", ErrTarget
		}
		i++
	}
	if i == 0 || len(t) < i+3 || t[i:i+3] != "://" {
		return "", "", ErrTarget
	}
	t = t[i+3:]
	for i = 0; i < len(t) && t[i] != '/' && t[i] != '?'; i++ {
		// A user in the authority is refused: RFC 9110 §4.2.4 forbids senders to make one.
		if class[t[i]]&isHost == 0 {
			return "", "", ErrTarget
		}
	}
	return t[:i], t[i:], nil
}

// requestState gathers what the fields say about framing and the connection.
type requestState struct {
	host              string
	hosts             int
	length            int64
	sized, chunked    bool
	expect            bool
	conn              connection
	upgrade           string
	badCoding, twoTEs bool
}

// note looks at a field and reports whether it stays in the list.
func (s *requestState) note(f exchange.Field) (keep bool, e *Error) {
	switch len(f.Name) {
	case 4:
		if is(f.Name, "host") {
			s.hosts++
			if s.hosts > 1 {
				return false, ErrHosts
			}
			if !all(f.Value, isHost) {
				return false, ErrHost
			}
			s.host = f.Value
			return false, nil
		}
	case 6:
		if is(f.Name, "expect") {
			if !is(f.Value, "100-continue") {
				return false, ErrExpect
			}
			// It stays: the server decides, and its 100 (Continue) is passed back.
			s.expect = true
		}
	case 7:
		if is(f.Name, "upgrade") && s.upgrade == "" {
			s.upgrade = f.Value
		}
		if is(f.Name, "trailer") && !trailersAllowed(f.Value) {
			return false, ErrTrailerName
		}
	case 10:
		if is(f.Name, "connection") && !s.conn.read(f.Value) {
			return false, ErrOptions
		}
	case 14:
		if is(f.Name, "content-length") {
			if s.sized {
				return false, ErrLengths
			}
			n, ok := length(f.Value)
			if !ok {
				return false, ErrLength
			}
			s.sized, s.length = true, n
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

func (s *requestState) finish(req *exchange.Request, authority string) *Error {
	v11 := req.Proto == HTTP11
	switch {
	case s.hosts == 0 && v11:
		return ErrNoHost // RFC 9112 §3.2
	case s.chunked && s.sized:
		return ErrLengthAndCoding // RFC 9112 §6.1: ought to be handled as an error
	case s.chunked && (!v11 || s.twoTEs):
		return ErrCodings
	case s.badCoding:
		return ErrCoding
	}
	req.Host = s.host
	if authority != "" {
		req.Host = authority // RFC 9112 §3.2.2: the target wins
	}
	req.Framing, req.Length = exchange.NoBody, 0
	switch {
	case s.chunked:
		req.Framing = exchange.Streamed
	case s.sized:
		req.Framing, req.Length = exchange.Sized, s.length
	}
	req.KeepAlive = v11 && !s.conn.close || !v11 && s.conn.keepAlive && !s.conn.close
	// RFC 9110 §10.1.1: an HTTP/1.0 client's expectation is ignored.
	req.Expect100 = s.expect && v11 && (s.chunked || s.length > 0)
	req.Upgrade = ""
	// A server that went over to HTTP/2 would take further requests past the edge.
	if v11 && s.conn.upgrade && !hasToken(s.upgrade, "h2c") {
		req.Upgrade = s.upgrade
	}
	return nil
}
