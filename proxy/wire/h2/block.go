package h2

import (
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// Block is a decoded field block: the head of a request or trailers.
type Block struct {
	Method, Scheme, Authority, Path string
	// Fields has the names as they came, in lower case.
	Fields exchange.Fields
	// Bad is set where the block is malformed (RFC 9113 §8.1.1): the stream is to be reset.
	Bad bool
	// TooLarge is set where fields were left out because there are too many, or too long ones.
	TooLarge bool

	max, fields int
	size        int
	seen        uint8 // pseudo-header fields
	mute        func(bool)
	names       []byte
}

const (
	sawMethod = 1 << iota
	sawScheme
	sawAuthority
	sawPath
)

func (h *Block) begin() {
	h.Method, h.Scheme, h.Authority, h.Path = "", "", "", ""
	h.Fields.Reset()
	h.Bad, h.TooLarge, h.size, h.seen = false, false, 0, 0
	h.mute(true)
}

// take is called for each field.
func (h *Block) take(f hpack.HeaderField) {
	// RFC 9113 §6.5.2: the size of a field list.
	if h.size += len(f.Name) + len(f.Value) + 32; h.size > h.max {
		h.TooLarge = true
		h.mute(false)
		return
	}
	if !wire.FieldValue(f.Value) {
		h.Bad = true
		return
	}
	if len(f.Name) > 0 && f.Name[0] == ':' {
		h.pseudo(f.Name, f.Value)
		return
	}
	if !wire.LowerName(f.Name) {
		h.Bad = true
		return
	}
	if h.Fields.Len() >= h.fields {
		h.TooLarge = true
		return
	}
	h.Fields.Add(f.Name, f.Value)
}

// pseudo takes a pseudo-header field: each once, and before all others (RFC 9113 §8.3).
func (h *Block) pseudo(name, value string) {
	var bit uint8
	switch name {
	case ":method":
		bit, h.Method = sawMethod, value
	case ":scheme":
		bit, h.Scheme = sawScheme, value
	case ":authority":
		bit, h.Authority = sawAuthority, value
	case ":path":
		bit, h.Path = sawPath, value
	}
	if bit == 0 || h.seen&bit != 0 || h.Fields.Len() > 0 {
		h.Bad = true
	}
	h.seen |= bit
}

// Size is the size of the block as RFC 9113 §6.5.2 counts it, where it is not TooLarge.
func (h *Block) Size() int { return h.size }

// Trailers reports whether the block is good as trailers.
func (h *Block) Trailers() bool { return !h.Bad && h.seen == 0 && !h.TooLarge }

// errLarge answers a head of more fields than are taken.
var errLarge = wire.ErrHeadTooLarge

// Request makes the block the head in ex, with the names in their usual spelling. end is
// END_STREAM. A malformed head (ok is false) ends its stream; err says what is to be answered.
func (h *Block) Request(ex *exchange.Exchange, end bool) (err *wire.Error, ok bool) { //nolint:revive // ok is the graver one
	if h.Bad {
		return nil, false
	}
	connect := h.Method == "CONNECT"
	switch {
	case connect && (h.seen&(sawScheme|sawPath) != 0 || h.Authority == ""):
		return nil, false
	case connect:
	case h.Method == "" || h.Path == "" || h.Scheme != "https" && h.Scheme != "http":
		if !h.TooLarge {
			return nil, false
		}
	}
	req := &ex.Req
	req.Method, req.Host, req.Target, req.Proto = h.Method, h.Authority, h.Path, wire.HTTP20
	if connect {
		req.Target = h.Authority
	}
	req.KeepAlive = true
	req.Fields, h.Fields = h.Fields, req.Fields
	h.spell(ex)
	if h.TooLarge {
		return errLarge, true
	}
	sized, e := wire.FramedHead(ex)
	if e != nil {
		return e, !malformed(e, h)
	}
	switch {
	case end && sized && req.Length > 0:
		return nil, false // RFC 9113 §8.1.1: its length is not that of its DATA
	case end || sized && req.Length == 0:
		req.Framing, req.Length, req.Expect100 = exchange.NoBody, 0, false
	case sized:
		req.Framing = exchange.Sized
	default:
		req.Framing = exchange.Streamed
	}
	return nil, true
}

// malformed reports whether a head that HTTP/1.1 would answer 400 is malformed as a message of
// frames (RFC 9113 §8.3.1, §8.1.1), in the reference's reading.
func malformed(e *wire.Error, h *Block) bool {
	switch e {
	case wire.ErrHost, wire.ErrHosts, wire.ErrLength, wire.ErrTrailerName:
		return true
	case wire.ErrTarget:
		return h.Path[0] != '/' && h.Path != "*"
	}
	return false
}

// Trailing returns the block's fields as trailers, in memory of their own.
func (h *Block) Trailing() (f exchange.Fields) {
	for _, x := range h.Fields.All() {
		f.Add(wire.String(spelled(nil, x.Name)), x.Value)
	}
	return f
}

func spelled(b []byte, name string) []byte {
	up := true
	for j := 0; j < len(name); j++ {
		c := name[j]
		if up && c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		up = c == '-'
		b = append(b, c)
	}
	return b
}

// spell gives names the spelling that HTTP/1.1 messages usually have: some servers behind
// the edge know no other.
func (h *Block) spell(ex *exchange.Exchange) {
	list := ex.Req.Fields.All()
	b := h.names[:0]
	for i := range list {
		b = spelled(b, list[i].Name)
	}
	h.names = b[:0]
	if cap(b) > 16<<10 {
		h.names = nil
	}
	s := wire.String(ex.Hold(b))
	for i := range list {
		n := len(list[i].Name)
		list[i].Name, s = s[:n], s[n:]
	}
}
