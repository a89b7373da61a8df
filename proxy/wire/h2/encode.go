package h2

import "strings"

// static has the names of the static table (RFC 7541, Appendix A) that answers have, with
// the index of the first entry of that name.
var static = map[string]name{
	"accept-ranges": {18, keep}, "access-control-allow-origin": {20, keep}, "age": {21, 0}, "allow": {22, keep},
	"cache-control": {24, keep}, "content-disposition": {25, 0}, "content-encoding": {26, keep},
	"content-language": {27, keep}, "content-length": {28, 0}, "content-location": {29, 0}, "content-range": {30, 0},
	"content-type": {31, keep}, "date": {33, keep}, "etag": {34, 0}, "expires": {36, keep}, "last-modified": {44, 0},
	"link": {45, 0}, "location": {46, 0}, "proxy-authenticate": {48, 0}, "retry-after": {53, 0}, "server": {54, keep},
	"set-cookie": {55, 0}, "strict-transport-security": {56, keep}, "vary": {59, keep}, "via": {60, keep},
	"www-authenticate": {61, keep},
	// Not in the table, but often the same.
	"access-control-allow-credentials": {0, keep}, "access-control-allow-headers": {0, keep},
	"access-control-allow-methods": {0, keep}, "access-control-expose-headers": {0, keep}, "alt-svc": {0, keep},
	"content-security-policy": {0, keep}, "cross-origin-opener-policy": {0, keep}, "cross-origin-resource-policy": {0, keep},
	"permissions-policy": {0, keep}, "referrer-policy": {0, keep}, "x-content-type-options": {0, keep},
	"x-frame-options": {0, keep}, "x-powered-by": {0, keep}, "x-xss-protection": {0, keep},
}

type name struct {
	index uint8
	how   uint8
}

// keep marks names whose values repeat, which are worth a place in the dynamic table.
const keep = 1

// Encoder encodes the heads of answers. Its dynamic table is small and holds only what is
// likely to be sent again; nothing is Huffman-coded, which would cost more time than it
// saves bytes. The zero value has no dynamic table; see SetTable.
type Encoder struct {
	table [maxEntries]entry // a ring
	first int               // place of the oldest
	n     int
	size  int
	max   int
	// told is the size the peer knows of; smaller ones must be told (RFC 7541 §4.2).
	told  int
	tell  bool
	ready bool // told is set
	// least is the smallest size since the last block, which must be told before told is.
	least int
}

type entry struct{ name, value string }

const (
	maxEntries = 16
	// maxEntry bounds a field in the dynamic table, in bytes.
	maxEntry = 256
)

// SetTable bounds the dynamic table: own is what we want, peer what the other side takes.
func (e *Encoder) SetTable(own, peer uint32) {
	limit := int(min(peer, DefaultTable)) // more is never used, and need not be told
	e.max = min(int(own), limit)
	if !e.ready {
		e.ready, e.told = true, DefaultTable
	}
	if limit != e.told {
		if !e.tell {
			e.least = limit
		}
		e.least = min(e.least, limit)
		e.told, e.tell = limit, true
	}
	e.evict(0)
}

// Begin appends what a field block must begin with, and the status.
func (e *Encoder) Begin(dst []byte, status int) []byte {
	dst = e.Update(dst)
	switch status {
	case 200:
		return append(dst, 0x88)
	case 204:
		return append(dst, 0x89)
	case 206:
		return append(dst, 0x8a)
	case 304:
		return append(dst, 0x8b)
	case 400:
		return append(dst, 0x8c)
	case 404:
		return append(dst, 0x8d)
	case 500:
		return append(dst, 0x8e)
	}
	return append(dst, 0x08, 3, byte('0'+status/100%10), byte('0'+status/10%10), byte('0'+status%10))
}

// Update appends what must be told of the dynamic table at the beginning of the next field
// block, whoever makes that.
func (e *Encoder) Update(dst []byte) []byte {
	if !e.tell {
		return dst
	}
	e.tell = false
	if e.least < e.told {
		dst = appendInt(dst, 0x20, 5, e.least)
	}
	return appendInt(dst, 0x20, 5, e.told)
}

// Field appends a field; its name may be in any case. Blocks must be sent in the order in
// which they are made.
func (e *Encoder) Field(dst []byte, name, value string) []byte {
	var buf [64]byte
	if len(name) > len(buf) || len(name) == 0 {
		return AppendLiteral(dst, name, value)
	}
	low := lower(buf[:0], name)
	nm := static[string(low)]
	if nm.how != keep || len(name)+len(value)+32 > min(maxEntry, e.max) {
		return literal(dst, int(nm.index), 0x00, 4, low, value)
	}
	for i := e.n - 1; i >= 0; i-- {
		x := &e.table[(e.first+i)%maxEntries]
		if x.value == value && x.name == string(low) {
			return appendInt(dst, 0x80, 7, 61+e.n-i)
		}
	}
	dst = literal(dst, int(nm.index), 0x40, 6, low, value)
	e.add(string(low), strings.Clone(value))
	return dst
}

// add puts a field into the dynamic table.
func (e *Encoder) add(name, value string) {
	size := len(name) + len(value) + 32
	e.evict(size)
	if e.n == maxEntries {
		e.drop()
	}
	e.table[(e.first+e.n)%maxEntries] = entry{name, value}
	e.n++
	e.size += size
}

// evict makes room for size bytes.
func (e *Encoder) evict(size int) {
	for e.n > 0 && e.size+size > e.max {
		e.drop()
	}
}

// drop forgets the oldest field. The peer may remember it; what it remembers beyond ours is
// never referred to.
func (e *Encoder) drop() {
	x := &e.table[e.first]
	e.size -= len(x.name) + len(x.value) + 32
	*x = entry{}
	e.first = (e.first + 1) % maxEntries
	e.n--
}

// AppendLiteral appends a field without regard to any table: such a block can be made at one
// time and sent at another.
func AppendLiteral(dst []byte, name, value string) []byte {
	var buf [64]byte
	return literal(dst, 0, 0x00, 4, lower(buf[:0], name), value)
}

func lower(dst []byte, name string) []byte {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func literal(dst []byte, index int, pattern byte, bits uint, name []byte, value string) []byte {
	dst = appendInt(dst, pattern, bits, index)
	if index == 0 {
		dst = appendInt(dst, 0, 7, len(name))
		dst = append(dst, name...)
	}
	dst = appendInt(dst, 0, 7, len(value))
	return append(dst, value...)
}

// appendInt appends an integer with a prefix of bits bits (RFC 7541 §5.1).
func appendInt(dst []byte, pattern byte, bits uint, n int) []byte {
	limit := 1<<bits - 1
	if n < limit {
		return append(dst, pattern|byte(n))
	}
	dst = append(dst, pattern|byte(limit))
	n -= limit
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}
