package otlp

import (
	"encoding/binary"
	"math"
)

// The wire types of protocol buffers.
const (
	varint  = 0
	fixed64 = 1
	bytes   = 2
	fixed32 = 5
)

func tag(b []byte, field, kind int) []byte {
	return binary.AppendUvarint(b, uint64(field)<<3|uint64(kind))
}

// AppendUint appends a field of the types uint and enum, and bool as 0 or 1.
func AppendUint(b []byte, field int, v uint64) []byte {
	return binary.AppendUvarint(tag(b, field, varint), v)
}

// AppendFixed64 appends a field of the type fixed64.
func AppendFixed64(b []byte, field int, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(tag(b, field, fixed64), v)
}

// AppendFixed32 appends a field of the type fixed32.
func AppendFixed32(b []byte, field int, v uint32) []byte {
	return binary.LittleEndian.AppendUint32(tag(b, field, fixed32), v)
}

// AppendDouble appends a field of the type double.
func AppendDouble(b []byte, field int, v float64) []byte {
	return AppendFixed64(b, field, math.Float64bits(v))
}

// AppendBytes appends a field of the type bytes, or a message that is complete.
func AppendBytes(b []byte, field int, v []byte) []byte {
	return append(binary.AppendUvarint(tag(b, field, bytes), uint64(len(v))), v...)
}

// AppendString appends a field of the type string. The text must be UTF-8.
func AppendString(b []byte, field int, v string) []byte {
	return append(binary.AppendUvarint(tag(b, field, bytes), uint64(len(v))), v...)
}

// Open begins a message that is a field of another one; Close ends it, with the place that
// Open gave.
func Open(b []byte, field int) ([]byte, int) {
	b = tag(b, field, bytes)
	return b, len(b)
}

// Close ends a message, see Open.
func Close(b []byte, at int) []byte {
	n := uint64(len(b) - at)
	var size [binary.MaxVarintLen64]byte
	k := binary.PutUvarint(size[:], n)
	b = append(b, size[:k]...)
	copy(b[at+k:], b[at:at+int(n)])
	copy(b[at:], size[:k])
	return b
}
