package trace

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"unsafe"
)

// id is the number of a trace, span that of a span.
type (
	traceID [16]byte
	spanID  [8]byte
)

func newTraceID() (id traceID) {
	for id == (traceID{}) {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}

func newSpanID() (id spanID) {
	for id == (spanID{}) {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// parent is where a trace comes from, as fields of a request tell it.
type parent struct {
	trace   traceID
	span    spanID
	sampled bool
	// state is the value of tracestate.
	state string
}

func (p *parent) valid() bool { return p.trace != (traceID{}) && p.span != (spanID{}) }

// parseTrace reads a trace's number of 32 hexadecimal digits, or of 16 as older systems have it.
func parseTrace(s string) (id traceID, ok bool) {
	at := 0
	if len(s) == 16 {
		at = 8
	}
	return id, decodeHex(id[at:], s) && id != (traceID{})
}

func parseSpan(s string) (id spanID, ok bool) {
	return id, decodeHex(id[:], s) && id != (spanID{})
}

// decodeHex fills dst from exactly its length of digits.
func decodeHex(dst []byte, s string) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	_, err := hex.Decode(dst, unsafe.Slice(unsafe.StringData(s), len(s)))
	return err == nil
}

func lower(s string) bool {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'F' {
			return false
		}
	}
	return true
}
