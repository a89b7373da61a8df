package wire

import (
	"bytes"
	"encoding/binary"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// The limits where Limits has none.
const (
	DefaultMaxHead   = 1 << 20
	DefaultMaxFields = 1000
)

// HeadSlack is how much more than an entry point's limit a head of HTTP/1 may have, in bytes:
// the reference's server does not count the buffer that it reads ahead.
const HeadSlack = 4 << 10

// Limits bound a head. The zero value takes the defaults; a nil *Limits does, too.
type Limits struct {
	// MaxHead bounds a head with its empty line, in bytes.
	MaxHead int
	// MaxFields bounds the number of fields.
	MaxFields int
	// AllowConnect lets the method CONNECT pass, which is otherwise answered 501.
	AllowConnect bool
}

func (l *Limits) head() int {
	if l == nil || l.MaxHead <= 0 {
		return DefaultMaxHead
	}
	return l.MaxHead
}

func (l *Limits) fields() int {
	if l == nil || l.MaxFields <= 0 {
		return DefaultMaxFields
	}
	return l.MaxFields
}

// HeadEnd returns the length of the head at the beginning of b, its empty line included, or
// 0 if b has no end of a head. Bytes before from have been searched already. It is a quick
// test before a copy and a parse; whether the head is good, the parsers say.
func HeadEnd(b []byte, from int) int {
	skip := blankLines(b)
	from = max(from-3, skip)
	if from >= len(b) {
		return 0
	}
	i := bytes.Index(b[from:], crlfcrlf)
	if i < 0 {
		return 0
	}
	return from + i + 4
}

var crlfcrlf = []byte("\r\n\r\n")

// maxBlank is how many empty lines before a request line are skipped (RFC 9112 §2.2).
const maxBlank = 2

func blankLines(b []byte) int {
	n := 0
	for n < 2*maxBlank && len(b) >= n+2 && b[n] == '\r' && b[n+1] == '\n' {
		n += 2
	}
	return n
}

// line returns the line at the beginning of b without its CRLF, and its length with it; n is 0 if the line is not complete.
func line(b []byte) (l []byte, n int, err *Error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil, 0, nil
	}
	if i == 0 || b[i-1] != '\r' {
		return nil, 0, ErrLineEnd
	}
	return b[:i-1], i + 1, nil
}

// field splits a field line.
func field(l []byte) (f exchange.Field, err *Error) {
	if l[0] == ' ' || l[0] == '\t' {
		return f, ErrFold // RFC 9112 §5.2: a server may refuse obs-fold
	}
	c := 0
	for c < len(l) && class[l[c]]&isToken != 0 {
		c++
	}
	// RFC 9112 §5.1: no blank between name and colon.
	if c == 0 || c == len(l) || l[c] != ':' {
		return f, ErrFieldName
	}
	v := trimBlanks(l[c+1:])
	if !valueBytes(v) {
		return f, ErrFieldValue
	}
	return exchange.Field{Name: str(l[:c]), Value: str(v)}, nil
}

// valueBytes reports whether v consists of HTAB, SP, VCHAR and obs-text, eight bytes at a time.
func valueBytes(v []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(v); i += 8 {
		x := binary.LittleEndian.Uint64(v[i:])
		del := x ^ ones*0x7f
		// A byte below 0x20, or 0x7f (which makes a zero byte of del), sets a high bit. A byte
		// above one may do so too: then it is looked at closely.
		if (x-ones*0x20)&^x&high|(del-ones)&^del&high != 0 {
			for _, c := range v[i : i+8] {
				if class[c]&isValue == 0 {
					return false
				}
			}
		}
	}
	for ; i < len(v); i++ {
		if class[v[i]]&isValue == 0 {
			return false
		}
	}
	return true
}

// length reads a Content-Length: digits only, at most 18.
func length(s string) (int64, bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	n := int64(0)
	for i := 0; i < len(s); i++ {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int64(d)
	}
	return n, true
}

// connection is what Connection fields say.
type connection struct {
	close, keepAlive, upgrade bool
	options                   int
}

// maxOptions bounds the connection options of a head: each costs a walk over the fields.
const maxOptions = 64

// read takes a Connection field and reports whether the number of options is still sane.
func (c *connection) read(list string) bool {
	for list != "" {
		var t string
		t, list = nextToken(list)
		if c.options++; c.options > maxOptions {
			return false
		}
		switch len(t) {
		case 5:
			c.close = c.close || is(t, "close")
		case 7:
			c.upgrade = c.upgrade || is(t, "upgrade")
		case 10:
			c.keepAlive = c.keepAlive || is(t, "keep-alive")
		}
	}
	return true
}
