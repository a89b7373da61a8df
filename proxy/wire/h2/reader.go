package h2

import (
	"encoding/binary"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-edge/sluice/proxy/wire"
)

// Kind is what an Event tells.
type Kind uint8

// The kinds.
const (
	// Nothing: more bytes are needed, or (with bytes used) a frame that means nothing here.
	Nothing Kind = iota
	// Head: the head of a request, or trailers, is in Reader.Head.
	Head
	// Data: a piece of a DATA frame.
	Data
	// Reset: the peer ends a stream.
	Reset
	// Settings: Payload is for Peer.Apply and must be acknowledged.
	Settings
	// SettingsAck: our settings hold from here on.
	SettingsAck
	// Ping: Payload must be sent back.
	Ping
	// GoAway: the peer opens no more streams, or will not take ours.
	GoAway
	// Window: Increment more may be sent on Stream, or on the connection for 0.
	Window
	// Fault: the peer did wrong on Stream, which is to be reset with Code.
	Fault
)

// Event is what a piece of input means. Payload is good until the input changes.
type Event struct {
	Kind   Kind
	Stream uint32
	// End is set where the peer sends nothing more on the stream, with the last piece of Data.
	End bool
	// Flow is how much of a DATA frame counts for the windows: all of it, padding
	// included, told with its first piece.
	Flow int
	// Pad is how much of Flow is not payload, told with it.
	Pad       int
	Payload   []byte
	Code      Code
	Increment uint32
}

// Reader reads what a client sends. Make one by NewReader.
type Reader struct {
	// Head is the last field block, decoded; it may be changed and is used again.
	Head Block

	dec   *hpack.Decoder
	began bool // the preface was read
	first bool // so was the first frame
	// cont is the stream whose field block is under way, 0 for none; end its END_STREAM.
	cont  uint32
	end   bool
	block int // bytes of the field block so far
	limit int
	// What is left of a DATA frame.
	data    uint32
	dataEnd bool
	left    int
	pad     int
	unsaid  int // Flow that was not told yet
	unpad   int // Pad likewise
	inData  bool
}

// NewReader returns a Reader whose dynamic table takes table bytes (which the SETTINGS
// must announce) and whose heads are as large as lim says.
func NewReader(table uint32, lim *wire.Limits) *Reader {
	r := &Reader{}
	r.Head.max, r.Head.fields = wire.DefaultMaxHead, wire.DefaultMaxFields
	if lim != nil && lim.MaxHead > 0 {
		r.Head.max = lim.MaxHead
	}
	if lim != nil && lim.MaxFields > 0 {
		r.Head.fields = lim.MaxFields
	}
	r.limit = 2*r.Head.max + MaxFrame
	r.dec = hpack.NewDecoder(table, r.Head.take)
	r.dec.SetAllowedMaxDynamicTableSize(table)
	r.dec.SetMaxStringLength(r.limit) // a head that is too large is told from one that cannot be read
	r.Head.mute = r.dec.SetEmitEnabled
	return r
}

// Partial reports that a field block has begun that is not whole.
func (r *Reader) Partial() bool { return r.cont != 0 }

// Next takes the next event off b and returns how many bytes it used; with none used more
// are needed, and b is to be given again with them. After an error the connection is lost.
func (r *Reader) Next(b []byte) (ev Event, n int, err *Error) {
	if !r.began {
		k := min(len(b), len(wire.Preface))
		if string(b[:k]) != wire.Preface[:k] {
			return ev, 0, ErrPreface
		}
		if k < len(wire.Preface) {
			return ev, 0, nil
		}
		r.began = true
		return ev, k, nil
	}
	if r.inData {
		ev, n = r.piece(b)
		return ev, n, nil
	}
	if len(b) < frameHead {
		return ev, 0, nil
	}
	size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	typ, flags, id := Type(b[3]), b[4], binary.BigEndian.Uint32(b[5:])&0x7fffffff
	switch {
	case size > maxTaken:
		return ev, 0, ErrSize
	case !r.first && typ != TypeSettings:
		return ev, 0, ErrFirst
	case r.cont != 0 && (typ != TypeContinuation || id != r.cont):
		return ev, 0, ErrInterleaved
	case typ == TypeData:
		return r.beginData(b, size, flags, id)
	case typ > TypeContinuation: // RFC 9113 §5.5: unknown types are ignored
		r.inData, r.pad = size > 0, size
		return ev, frameHead, nil
	case size > r.limit:
		return ev, 0, ErrBlock
	case size > MaxFrame && typ != TypeHeaders && typ != TypeContinuation:
		return ev, 0, ErrSize
	case len(b) < frameHead+size:
		return ev, 0, nil
	}
	r.first = true
	ev, err = r.frame(typ, flags, id, b[frameHead:frameHead+size])
	return ev, frameHead + size, err
}

// frame reads a frame that is here as a whole.
func (r *Reader) frame(typ Type, flags byte, id uint32, p []byte) (Event, *Error) {
	switch typ {
	case TypeHeaders:
		return r.headers(flags, id, p)
	case TypeContinuation:
		if r.cont == 0 {
			return Event{}, ErrContinuation
		}
		return r.fragment(flags, p)
	case TypePriority:
		switch {
		case id == 0:
			return Event{}, ErrStream
		case len(p) != 5:
			return Event{Kind: Fault, Stream: id, Code: FrameSizeError}, nil
		case binary.BigEndian.Uint32(p)&0x7fffffff == id:
			return Event{Kind: Fault, Stream: id, Code: ProtocolError}, nil
		}
	case TypeReset:
		switch {
		case id == 0:
			return Event{}, ErrStream
		case len(p) != 4:
			return Event{}, ErrSize
		}
		return Event{Kind: Reset, Stream: id, Code: Code(binary.BigEndian.Uint32(p))}, nil
	case TypePush:
		return Event{}, ErrPush
	case TypeWindow:
		return window(id, p)
	case TypeSettings, TypePing, TypeGoAway:
		if id != 0 {
			return Event{}, ErrStream
		}
		return control(typ, flags, p)
	}
	return Event{}, nil
}

func control(typ Type, flags byte, p []byte) (Event, *Error) {
	ack := flags&FlagAck != 0
	switch {
	case typ == TypeSettings && (ack && len(p) != 0 || len(p)%6 != 0), typ == TypePing && len(p) != 8, typ == TypeGoAway && len(p) < 8:
		return Event{}, ErrSize
	case typ == TypeSettings && ack:
		return Event{Kind: SettingsAck}, nil
	case typ == TypeSettings:
		return Event{Kind: Settings, Payload: p}, nil
	case typ == TypePing && ack:
		return Event{}, nil
	case typ == TypePing:
		return Event{Kind: Ping, Payload: p}, nil
	}
	return Event{Kind: GoAway, Code: Code(binary.BigEndian.Uint32(p[4:]))}, nil
}

func window(id uint32, p []byte) (Event, *Error) {
	if len(p) != 4 {
		return Event{}, ErrSize
	}
	inc := binary.BigEndian.Uint32(p) & 0x7fffffff
	switch {
	case inc > 0:
		return Event{Kind: Window, Stream: id, Increment: inc}, nil
	case id == 0:
		return Event{}, ErrWindow
	}
	return Event{Kind: Fault, Stream: id, Code: ProtocolError}, nil
}

// beginData reads the beginning of a DATA frame.
func (r *Reader) beginData(b []byte, size int, flags byte, id uint32) (Event, int, *Error) {
	n, pad := frameHead, 0
	if id == 0 {
		return Event{}, 0, ErrStream
	}
	if flags&FlagPadded != 0 {
		if size == 0 {
			return Event{}, 0, ErrSize
		}
		if len(b) <= n {
			return Event{}, 0, nil
		}
		pad = int(b[n])
		n++
		if pad >= size {
			return Event{}, 0, ErrPadding
		}
	}
	r.inData, r.data, r.dataEnd, r.unsaid = true, id, flags&FlagEndStream != 0, size
	r.pad, r.left, r.unpad = pad, size-pad-(n-frameHead), pad+n-frameHead
	ev, k := r.piece(b[n:])
	return ev, n + k, nil
}

// piece takes what there is of a DATA frame.
func (r *Reader) piece(b []byte) (ev Event, n int) {
	if r.left == 0 && r.unsaid == 0 && !r.dataEnd { // only padding is left
		n = min(r.pad, len(b))
		r.pad -= n
		r.inData = r.pad > 0
		return ev, n
	}
	n = min(r.left, len(b))
	if n == 0 && r.left > 0 {
		return ev, 0
	}
	ev = Event{Kind: Data, Stream: r.data, Payload: b[:n], Flow: r.unsaid, Pad: r.unpad}
	r.left -= n
	r.unsaid, r.unpad = 0, 0
	if r.left == 0 {
		ev.End, r.dataEnd = r.dataEnd, false
		k := min(r.pad, len(b)-n)
		r.pad -= k
		n += k
		r.inData = r.pad > 0
	}
	return ev, n
}

// headers begins a field block.
func (r *Reader) headers(flags byte, id uint32, p []byte) (Event, *Error) {
	if id == 0 {
		return Event{}, ErrStream
	}
	pad := 0
	if flags&FlagPadded != 0 {
		if len(p) == 0 {
			return Event{}, ErrSize
		}
		pad, p = int(p[0]), p[1:]
	}
	self := false
	if flags&FlagPriority != 0 {
		if len(p) < 5 {
			return Event{}, ErrSize
		}
		self = binary.BigEndian.Uint32(p)&0x7fffffff == id
		p = p[5:]
	}
	if pad > len(p) {
		return Event{}, ErrPadding
	}
	r.Head.begin()
	if self { // RFC 9113 has no such rule any more, RFC 7540 §5.3.1 had
		r.Head.Bad = true
	}
	r.cont, r.end, r.block = id, flags&FlagEndStream != 0, 0
	return r.fragment(flags, p[:len(p)-pad])
}

// fragment decodes a part of a field block.
func (r *Reader) fragment(flags byte, p []byte) (Event, *Error) {
	if r.block += len(p); r.block > r.limit {
		return Event{}, ErrBlock
	}
	if _, err := r.dec.Write(p); err != nil {
		return Event{}, ErrCompression
	}
	if flags&FlagEndHeaders == 0 {
		return Event{}, nil
	}
	id := r.cont
	r.cont = 0
	if err := r.dec.Close(); err != nil {
		return Event{}, ErrCompression
	}
	return Event{Kind: Head, Stream: id, End: r.end}, nil
}
