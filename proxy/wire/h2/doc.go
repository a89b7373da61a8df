// Package h2 reads and writes the frames of HTTP/2 (RFC 9113) and their field blocks
// (RFC 7541), for a server. It is pure as package wire is: bytes in, events out, bytes
// appended. It knows frames, not streams: windows, states and the life of a stream are its
// caller's.
//
// What a peer can make a Reader keep is bounded: the dynamic table and the decoded head; its
// caller holds a frame until it is whole, of at most 16 KiB, or twice the largest head for
// HEADERS and CONTINUATION. DATA comes in pieces and is never held.
package h2

// Type is the type of a frame.
type Type uint8

// The types (RFC 9113 §6).
const (
	TypeData Type = iota
	TypeHeaders
	TypePriority
	TypeReset
	TypeSettings
	TypePush
	TypePing
	TypeGoAway
	TypeWindow
	TypeContinuation
)

// The flags of frames.
const (
	FlagEndStream  = 0x1
	FlagAck        = 0x1
	FlagEndHeaders = 0x4
	FlagPadded     = 0x8
	FlagPriority   = 0x20
)

// Code says why a stream or a connection ends (RFC 9113 §7).
type Code uint32

// The codes that a server of ours sends.
const (
	NoError            Code = 0x0
	ProtocolError      Code = 0x1
	InternalError      Code = 0x2
	FlowControlError   Code = 0x3
	StreamClosed       Code = 0x5
	FrameSizeError     Code = 0x6
	RefusedStream      Code = 0x7
	Cancel             Code = 0x8
	CompressionError   Code = 0x9
	EnhanceYourCalm    Code = 0xb
	HTTP11Required     Code = 0xd
	frameHead               = 9
	defaultWindow           = 65535
	defaultHeaderTable      = 4096
)

const (
	// MaxFrame is the largest payload that a server of ours sends: the value that every peer takes.
	MaxFrame = 16 << 10
	// maxTaken is the largest payload it takes, as the reference.
	maxTaken = 1 << 20
	// DefaultWindow is the window of a connection, and of its streams until SETTINGS say otherwise.
	DefaultWindow = defaultWindow
	// MaxWindow bounds every window.
	MaxWindow = 1<<31 - 1
	// DefaultTable is the size of a dynamic table that nobody has changed, in bytes.
	DefaultTable = defaultHeaderTable
)

// Error ends a connection. Errors of this package are shared values.
type Error struct {
	Code Code
	// Text is for logs and GOAWAY.
	Text string
}

func (e *Error) Error() string { return e.Text }

// What a Reader and Peer.Apply report.
var (
	ErrPreface      = &Error{ProtocolError, "the connection preface is not whole"}
	ErrFirst        = &Error{ProtocolError, "the first frame is not SETTINGS"}
	ErrSize         = &Error{FrameSizeError, "frame of a wrong size"}
	ErrInterleaved  = &Error{ProtocolError, "field block is not continued"}
	ErrContinuation = &Error{ProtocolError, "CONTINUATION without a field block"}
	ErrStream       = &Error{ProtocolError, "frame on a stream it must not be on"}
	ErrPadding      = &Error{ProtocolError, "padding longer than its frame"}
	ErrPush         = &Error{ProtocolError, "PUSH_PROMISE from a client"}
	ErrCompression  = &Error{CompressionError, "field block cannot be decoded"}
	ErrBlock        = &Error{EnhanceYourCalm, "field block too large"}
	ErrWindow       = &Error{ProtocolError, "WINDOW_UPDATE of zero"}
	ErrSetting      = &Error{ProtocolError, "setting out of range"}
	ErrSettingFlow  = &Error{FlowControlError, "initial window too large"}
	ErrOverflow     = &Error{FlowControlError, "window too large"}
	ErrOverrun      = &Error{FlowControlError, "more DATA than the window allows"}
	ErrStreamID     = &Error{ProtocolError, "stream identifier not to be used"}
	ErrFlood        = &Error{EnhanceYourCalm, "too many frames that move nothing"}
	ErrResets       = &Error{EnhanceYourCalm, "too many streams are reset"}
)
