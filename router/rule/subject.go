package rule

import (
	"net/netip"
	"strings"
	"sync"
	"unsafe"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Subject is what rules look at, brought into the form they compare. It lives on the
// stack of whoever matches; call Done when the matching is over. Its zero value is an
// empty TCP subject.
type Subject struct {
	Req *exchange.Request
	// Host is the name asked for, in lower case, without port and brackets. Of a TCP
	// connection it is the server name of the ClientHello.
	Host string
	// Path has its unreserved and odd characters decoded, and only those.
	Path string
	// Peer is the client's address; never one that a header tells.
	Peer netip.Addr
	// ALPN are the protocols of a ClientHello.
	ALPN []string

	pool *Pool
	mem  *scratch
}

// Pool holds memory for subjects. The zero value is ready to use.
type Pool struct{ p sync.Pool }

type scratch struct{ buf []byte }

// HTTP readies s for a request.
func (s *Subject) HTTP(req *exchange.Request, pool *Pool) {
	s.Req, s.pool, s.Peer = req, pool, req.Peer.Addr().Unmap()
	s.Host = s.lower(trimPort(req.Host))
	s.Path = s.routingPath(req.Path)
}

// TCP readies s for a connection: its server name, protocols and client.
func (s *Subject) TCP(sni string, alpn []string, peer netip.Addr, pool *Pool) {
	s.pool, s.ALPN, s.Peer = pool, alpn, peer.Unmap()
	s.Host = s.lower(strings.TrimSuffix(sni, "."))
}

// Done gives the subject's memory back; its strings must not be used any more.
func (s *Subject) Done() {
	if s.mem != nil {
		if cap(s.mem.buf) <= 64<<10 {
			s.pool.p.Put(s.mem)
		}
		s.mem = nil
	}
}

// room returns the scratch memory with n more bytes of capacity. Earlier strings in it stay valid.
func (s *Subject) room(n int) []byte {
	if s.mem == nil {
		if s.pool != nil {
			s.mem, _ = s.pool.p.Get().(*scratch)
		}
		if s.mem == nil {
			s.mem = &scratch{buf: make([]byte, 0, 1024)}
		}
		s.mem.buf = s.mem.buf[:0]
	}
	if len(s.mem.buf)+n > cap(s.mem.buf) {
		s.mem.buf = make([]byte, 0, max(2*cap(s.mem.buf), n)) // what aliases the old block keeps it
	}
	return s.mem.buf
}

func (s *Subject) keep(buf []byte, from int) string {
	s.mem.buf = buf
	return unsafe.String(unsafe.SliceData(buf[from:]), len(buf)-from)
}

// trimPort takes the port and the brackets of an IPv6 address off an authority.
func trimPort(h string) string {
	h = strings.TrimSpace(h)
	if strings.HasPrefix(h, "[") {
		if i := strings.IndexByte(h, ']'); i > 0 {
			return h[1:i]
		}
		return h
	}
	if i := strings.IndexByte(h, ':'); i >= 0 && strings.IndexByte(h[i+1:], ':') < 0 {
		return h[:i]
	}
	return h
}

func (s *Subject) lower(h string) string {
	for i := 0; i < len(h); i++ {
		if h[i] >= 'A' && h[i] <= 'Z' {
			buf := s.room(len(h))
			from := len(buf)
			for j := 0; j < len(h); j++ {
				c := h[j]
				if c >= 'A' && c <= 'Z' {
					c |= 0x20
				}
				buf = append(buf, c)
			}
			return s.keep(buf, from)
		}
	}
	return h
}

// routingPath decodes escapes as the reference does before matching: all but those of
// reserved characters (RFC 3986 §2.2) and of the percent sign, whose meaning would change.
func (s *Subject) routingPath(p string) string {
	i := strings.IndexByte(p, '%')
	if i < 0 {
		return p
	}
	buf := s.room(len(p))
	from := len(buf)
	buf = append(buf, p[:i]...)
	for ; i < len(p); i++ {
		if p[i] != '%' || i+2 >= len(p) || !isHex(p[i+1]) || !isHex(p[i+2]) {
			buf = append(buf, p[i])
			continue
		}
		if c := unhex(p[i+1])<<4 | unhex(p[i+2]); strings.IndexByte(":/?#[]@!$&'()*+,;=%", c) >= 0 {
			buf = append(buf, '%', upperHex(p[i+1]), upperHex(p[i+2]))
		} else {
			buf = append(buf, c)
		}
		i += 2
	}
	return s.keep(buf, from)
}

// cutPair takes the first pair off a query. Pairs with a semicolon count as malformed,
// as net/url has it: both come back as what no key unescapes to.
func cutPair(q string) (key, val, rest string) {
	pair, rest, _ := strings.Cut(q, "&")
	if strings.IndexByte(pair, ';') >= 0 {
		return "%", "", rest
	}
	key, val, _ = strings.Cut(pair, "=")
	return key, val, rest
}

// unescapesTo reports whether the query component enc stands for want.
func unescapesTo(enc, want string) bool {
	if strings.IndexByte(enc, '%') < 0 && strings.IndexByte(enc, '+') < 0 {
		return enc == want
	}
	j := 0
	for i := 0; i < len(enc); i++ {
		c := enc[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%':
			if i+2 >= len(enc) || !isHex(enc[i+1]) || !isHex(enc[i+2]) {
				return false
			}
			c = unhex(enc[i+1])<<4 | unhex(enc[i+2])
			i += 2
		}
		if j == len(want) || want[j] != c {
			return false
		}
		j++
	}
	return j == len(want)
}

func validEscapes(s string) bool {
	for i := strings.IndexByte(s, '%'); i >= 0 && i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
			return false
		}
	}
	return true
}

// unescape decodes a query component with valid escapes.
func (s *Subject) unescape(v string) string {
	if strings.IndexByte(v, '%') < 0 && strings.IndexByte(v, '+') < 0 {
		return v
	}
	buf := s.room(len(v))
	from := len(buf)
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			c = unhex(v[i+1])<<4 | unhex(v[i+2])
			i += 2
		}
		buf = append(buf, c)
	}
	// The value is used at once and its room is free again: the length is not kept.
	return unsafe.String(unsafe.SliceData(buf[from:]), len(buf)-from)
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

func upperHex(c byte) byte {
	if c >= 'a' {
		return c - 0x20
	}
	return c
}
