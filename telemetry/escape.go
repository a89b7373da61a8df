package telemetry

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
	"unsafe"
)

const hexDigits = "0123456789abcdef"

// appendText appends s for a line of text: control characters become \xNN, so that a
// value can neither end its line nor steer a terminal. Within quotes a tab stays and a
// quote gets a backslash, as in the reference; a backslash before it, or at the end, is
// doubled, so that the quote ends where it seems to.
func appendText(dst []byte, s string, quoted bool) []byte {
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && quoted {
			run := slashes(s[i:])
			if i+run == len(s) || s[i+run] == '"' {
				dst = append(append(dst, s[start:i+run]...), s[i:i+run]...)
				start = i + run
			}
			i += run - 1
			continue
		}
		if c >= 0x20 && c != 0x7f && (c != '"' || !quoted) || quoted && c == '\t' {
			continue
		}
		dst = append(dst, s[start:i]...)
		if c == '"' {
			dst = append(dst, '\\', '"')
		} else {
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		}
		start = i + 1
	}
	return append(dst, s[start:]...)
}

// slashes counts the backslashes that s begins with.
func slashes(s string) int { return len(s) - len(strings.TrimLeft(s, `\`)) }

// appendWord is appendText for what stands between blanks: it has no blanks and no quotes.
func appendWord(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= 0x20 || c == 0x7f || c == '"' {
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendTarget appends a request target for a line of text: what would end the quoted
// request line is escaped as in a URL.
func appendTarget(dst []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= 0x20 || c == '"' || c == 0x7f {
			dst = append(dst, s[start:i]...)
			dst = append(dst, '%', upperHex(c>>4), upperHex(c&15))
			start = i + 1
		}
	}
	return append(dst, s[start:]...)
}

func upperHex(n byte) byte {
	if n < 10 {
		return '0' + n
	}
	return 'A' + n - 10
}

// isPlain reports whether s stands for itself in a JSON string: ASCII without control
// characters, quotes and backslashes. It looks at eight bytes at a time. A borrow between
// bytes can make a plain byte look otherwise, but only behind one that is not plain.
func isPlain(s string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		quote, slash, del := w^(ones*'"'), w^(ones*'\\'), w^(ones*0x7f)
		if (w|(w-ones*0x20)|(quote-ones)|(slash-ones)|(del-ones))&tops != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendJSON appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendJSON(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if isPlain(s) {
		return append(append(dst, s...), '"')
	}
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendJSONEscape(dst, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\ufffd`...)
			i++
			start = i
			continue
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendJSONEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
