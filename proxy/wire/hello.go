package wire

import (
	"encoding/binary"
	"errors"
)

// Hello is what a TLS ClientHello asks for, before anything is decided.
type Hello struct {
	// SNI is the server name as sent, or "".
	SNI string
	// ALPN are the protocols offered, in order.
	ALPN []string
}

// Errors of PeekHello.
var (
	// ErrNotTLS means that the bytes are not a TLS handshake record.
	ErrNotTLS = errors.New("not TLS")
	// ErrHello means that a ClientHello is malformed or too large.
	ErrHello = errors.New("malformed ClientHello")
)

// OpensTLS reports whether a connection that begins with this byte is for crypto/tls: a handshake
// record (RFC 8446 §5.1), or a record of SSL 2.0, which crypto/tls refuses with an alert.
func OpensTLS(first byte) bool { return first == HandshakeRecord || first == 0x80 }

// HandshakeRecord is the first byte of a TLS handshake record.
const HandshakeRecord = 22

// maxHello bounds a ClientHello, in bytes. With post-quantum key shares it has about 2 KiB.
const maxHello = 64 << 10

// PeekHello reads the ClientHello at the beginning of b without using it up. more is set
// where b is too short to tell. The hello may be split over several records.
func PeekHello(b []byte) (h Hello, more bool, err error) {
	msg, more, err := helloMessage(b)
	if err != nil || more {
		return h, more, err
	}
	h, ok := parseHello(msg)
	if !ok {
		return Hello{}, false, ErrHello
	}
	return h, false, nil
}

// helloMessage gathers the handshake message from its records (RFC 8446 §5.1).
func helloMessage(b []byte) (msg []byte, more bool, err error) {
	var joined []byte
	for {
		if len(b) > 0 && b[0] != HandshakeRecord || len(b) > 1 && b[1] != 3 {
			if joined == nil {
				return nil, false, ErrNotTLS
			}
			return nil, false, ErrHello
		}
		if len(b) < 5 {
			return nil, true, nil
		}
		n := int(binary.BigEndian.Uint16(b[3:]))
		if n == 0 || n > 16<<10+2048 {
			return nil, false, ErrHello
		}
		part := b[5:min(len(b), 5+n)]
		msg = part
		if joined != nil {
			msg = append(joined, part...)
		}
		if len(msg) > 0 && msg[0] != 1 {
			return nil, false, ErrHello
		}
		if len(msg) >= 4 {
			size := 4 + (int(msg[1])<<16 | int(msg[2])<<8 | int(msg[3]))
			if size > maxHello {
				return nil, false, ErrHello
			}
			if len(msg) >= size {
				return msg[4:size], false, nil
			}
		}
		if len(b) < 5+n {
			return nil, true, nil
		}
		if joined == nil {
			joined = make([]byte, 0, 4<<10)
			msg = append(joined, part...)
		}
		joined, b = msg, b[5+n:]
	}
}

// cut takes a vector with a length prefix of size bytes off b.
func cut(b []byte, size int) (v, rest []byte, ok bool) {
	if len(b) < size {
		return nil, nil, false
	}
	n := 0
	for _, x := range b[:size] {
		n = n<<8 | int(x)
	}
	if len(b) < size+n {
		return nil, nil, false
	}
	return b[size : size+n], b[size+n:], true
}

func parseHello(m []byte) (h Hello, ok bool) {
	if len(m) < 34 {
		return h, false
	}
	m = m[34:] // version and random
	for _, size := range []int{1, 2, 1} {
		// session, cipher suites, compression methods
		if _, m, ok = cut(m, size); !ok {
			return h, false
		}
	}
	if len(m) == 0 {
		return h, true // no extensions
	}
	ext, _, ok := cut(m, 2)
	if !ok {
		return h, false
	}
	for len(ext) > 0 {
		if len(ext) < 4 {
			return h, false
		}
		kind := binary.BigEndian.Uint16(ext)
		var v []byte
		if v, ext, ok = cut(ext[2:], 2); !ok {
			return h, false
		}
		switch kind {
		case 0:
			h.SNI, ok = helloName(v)
		case 16:
			h.ALPN, ok = helloProtos(v)
		}
		if !ok {
			return h, false
		}
	}
	return h, true
}

// helloName reads server_name (RFC 6066 §3).
func helloName(v []byte) (string, bool) {
	list, _, ok := cut(v, 2)
	if !ok {
		return "", false
	}
	for len(list) > 0 {
		kind := list[0]
		var name []byte
		if name, list, ok = cut(list[1:], 2); !ok {
			return "", false
		}
		if kind == 0 {
			return string(name), true
		}
	}
	return "", true
}

// helloProtos reads application_layer_protocol_negotiation (RFC 7301 §3.1).
func helloProtos(v []byte) ([]string, bool) {
	list, _, ok := cut(v, 2)
	if !ok {
		return nil, false
	}
	var out []string
	for len(list) > 0 {
		var p []byte
		if p, list, ok = cut(list, 1); !ok || len(p) == 0 {
			return nil, false
		}
		out = append(out, string(p))
	}
	return out, true
}
