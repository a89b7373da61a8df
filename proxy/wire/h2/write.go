package h2

import "encoding/binary"

// AppendFrame appends the head of a frame with a payload of n bytes.
func AppendFrame(dst []byte, n int, typ Type, flags byte, stream uint32) []byte {
	return append(dst, byte(n>>16), byte(n>>8), byte(n), byte(typ), flags,
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// AppendReset appends RST_STREAM.
func AppendReset(dst []byte, stream uint32, c Code) []byte {
	return binary.BigEndian.AppendUint32(AppendFrame(dst, 4, TypeReset, 0, stream), uint32(c))
}

// AppendWindow appends WINDOW_UPDATE; stream 0 means the connection.
func AppendWindow(dst []byte, stream uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(AppendFrame(dst, 4, TypeWindow, 0, stream), uint32(n))
}

// AppendGoAway appends GOAWAY: streams above last were not and will not be served.
func AppendGoAway(dst []byte, last uint32, c Code) []byte {
	dst = binary.BigEndian.AppendUint32(AppendFrame(dst, 8, TypeGoAway, 0, 0), last)
	return binary.BigEndian.AppendUint32(dst, uint32(c))
}

// AppendPong answers a PING.
func AppendPong(dst, payload []byte) []byte {
	return append(AppendFrame(dst, len(payload), TypePing, FlagAck, 0), payload...)
}

// AppendSettingsAck acknowledges SETTINGS.
func AppendSettingsAck(dst []byte) []byte { return AppendFrame(dst, 0, TypeSettings, FlagAck, 0) }

const (
	setTable      = 1
	setPush       = 2
	setStreams    = 3
	setWindow     = 4
	setFrame      = 5
	setHeaderList = 6
)

// Own are the settings a server announces. Fields that are zero are left out.
type Own struct {
	// Table is the size of the dynamic table of the Reader.
	Table uint32
	// Streams is how many streams may be open at once.
	Streams uint32
	// Window is the initial window of streams.
	Window uint32
	// HeadSize bounds the size of heads, as far as peers care.
	HeadSize uint32
}

// Append appends the SETTINGS frame.
func (o *Own) Append(dst []byte) []byte {
	at := len(dst)
	dst = AppendFrame(dst, 0, TypeSettings, 0, 0)
	for _, s := range [...]struct {
		id  uint16
		val uint32
	}{{setTable, o.Table}, {setStreams, o.Streams}, {setWindow, o.Window}, {setFrame, maxTaken}, {setHeaderList, o.HeadSize}} {
		if s.val == 0 || s.id == setTable && s.val == DefaultTable {
			continue
		}
		dst = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(dst, s.id), s.val)
	}
	dst[at+2] = byte(len(dst) - at - frameHead)
	return dst
}

// Peer are the settings of the other side, as far as a server minds them.
type Peer struct {
	// Window is the initial window of streams.
	Window int32
	// Table is the largest dynamic table an Encoder may use; Least the smallest it was on the
	// way there in the last Apply, which an Encoder must heed too (RFC 7541 §4.2).
	Table, Least uint32
}

// Apply reads the payload of a SETTINGS frame.
func (p *Peer) Apply(b []byte) *Error {
	p.Least = p.Table
	for ; len(b) >= 6; b = b[6:] {
		v := binary.BigEndian.Uint32(b[2:])
		switch binary.BigEndian.Uint16(b) {
		case setTable:
			p.Table, p.Least = v, min(p.Least, v)
		case setPush:
			if v > 1 {
				return ErrSetting
			}
		case setWindow:
			if v > MaxWindow {
				return ErrSettingFlow
			}
			p.Window = int32(v)
		case setFrame:
			if v < MaxFrame || v > 1<<24-1 {
				return ErrSetting
			}
		}
	}
	return nil
}

// AppendData appends DATA frames that hold b, with END_STREAM on the last if end is set.
func AppendData(dst []byte, stream uint32, b []byte, end bool) []byte {
	for len(b) > MaxFrame {
		dst = append(AppendFrame(dst, MaxFrame, TypeData, 0, stream), b[:MaxFrame]...)
		b = b[MaxFrame:]
	}
	flags := byte(0)
	if end {
		flags = FlagEndStream
	}
	return append(AppendFrame(dst, len(b), TypeData, flags, stream), b...)
}

// BeginHead appends the head of a HEADERS frame whose field block is appended next;
// EndHead, with the length before it, completes it.
func BeginHead(dst []byte, stream uint32, end bool) []byte {
	flags := byte(FlagEndHeaders)
	if end {
		flags |= FlagEndStream
	}
	return AppendFrame(dst, 0, TypeHeaders, flags, stream)
}

// EndHead completes the HEADERS frame that begins at at: its length, and CONTINUATION
// frames for what is too much for one.
func EndHead(dst []byte, at int) []byte {
	n := len(dst) - at - frameHead
	if n <= MaxFrame {
		dst[at], dst[at+1], dst[at+2] = byte(n>>16), byte(n>>8), byte(n)
		return dst
	}
	rest := append([]byte(nil), dst[at+frameHead+MaxFrame:]...)
	dst = dst[:at+frameHead+MaxFrame]
	dst[at], dst[at+1], dst[at+2] = byte(MaxFrame>>16), byte(MaxFrame>>8&0xff), byte(MaxFrame&0xff)
	dst[at+4] &^= FlagEndHeaders
	stream := binary.BigEndian.Uint32(dst[at+5:])
	for len(rest) > 0 {
		k := min(len(rest), MaxFrame)
		flags := byte(0)
		if k == len(rest) {
			flags = FlagEndHeaders
		}
		dst = append(AppendFrame(dst, k, TypeContinuation, flags, stream), rest[:k]...)
		rest = rest[k:]
	}
	return dst
}
