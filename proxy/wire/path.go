package wire

import "github.com/sluice-edge/sluice/proxy/exchange"

// Encoded is a set of encoded characters that a path must not have.
type Encoded uint8

// The members of Encoded.
const (
	EncodedSlash     Encoded = 1 << iota // %2F
	EncodedBackSlash                     // %5C
	EncodedNull                          // %00
	EncodedSemicolon                     // %3B
	EncodedPercent                       // %25
	EncodedQuestion                      // %3F
	EncodedHash                          // %23
)

// HasEncoded reports whether path has an encoded character of the set.
func HasEncoded(path string, set Encoded) bool {
	if set == 0 {
		return false
	}
	for i := 0; i+2 < len(path); i++ {
		if path[i] != '%' {
			continue
		}
		var m Encoded
		switch unhex(path[i+1])<<4 | unhex(path[i+2]) {
		case '/':
			m = EncodedSlash
		case '\\':
			m = EncodedBackSlash
		case 0:
			m = EncodedNull
		case ';':
			m = EncodedSemicolon
		case '%':
			m = EncodedPercent
		case '?':
			m = EncodedQuestion
		case '#':
			m = EncodedHash
		}
		if set&m != 0 {
			return true
		}
		i += 2
	}
	return false
}

// NormalizePath returns path with unreserved characters decoded, the hex digits of other
// escapes in upper case and bytes that may not stand in a path encoded (RFC 3986 §6.2.2).
// Escapes of path must be well-formed, as ParseRequest makes sure. A path that is normal
// already is returned as it is; else the new one is kept by hold.
func NormalizePath(path string, hold *exchange.Exchange) string {
	if normal(path) {
		return path
	}
	const hex = "0123456789ABCDEF"
	var small [256]byte
	out := small[:0]
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '%':
			x := unhex(path[i+1])<<4 | unhex(path[i+2])
			if unreserved(x) {
				out = append(out, x)
			} else {
				out = append(out, '%', hex[x>>4], hex[x&15])
			}
			i += 2
		case class[c]&isPath == 0:
			out = append(out, '%', hex[c>>4], hex[c&15])
		default:
			out = append(out, c)
		}
	}
	return str(hold.Hold(out))
}

func normal(path string) bool {
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			x, y := path[i+1], path[i+2]
			if x >= 'a' || y >= 'a' || unreserved(unhex(x)<<4|unhex(y)) {
				return false
			}
		} else if class[c]&isPath == 0 {
			return false
		}
	}
	return true
}

// unreserved characters mean the same encoded or not (RFC 3986 §2.3).
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// SanitizePath returns path without dot segments and empty segments; a slash at the end
// stays. Escaped dots count only after NormalizePath. A clean path is returned as it is.
func SanitizePath(path string, hold *exchange.Exchange) string {
	if len(path) == 0 || path[0] != '/' || clean(path) {
		return path
	}
	var small [256]byte
	out := small[:0]
	for i := 0; i < len(path); {
		for i < len(path) && path[i] == '/' {
			i++
		}
		j := i
		for j < len(path) && path[j] != '/' {
			j++
		}
		switch seg := path[i:j]; seg {
		case "", ".":
		case "..":
			for len(out) > 0 && out[len(out)-1] != '/' {
				out = out[:len(out)-1]
			}
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, '/')
			out = append(out, seg...)
		}
		i = j
	}
	if len(out) == 0 || path[len(path)-1] == '/' {
		out = append(out, '/')
	}
	return str(hold.Hold(out))
}

// clean reports whether no segment but the last is empty, and none is "." or "..".
func clean(path string) bool {
	for i := 0; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		rest := path[i+1:]
		if len(rest) > 0 && (rest[0] == '/' || rest[0] == '.' && dots(rest)) {
			return false
		}
	}
	return true
}

func dots(s string) bool {
	n := 1
	if len(s) > 1 && s[1] == '.' {
		n = 2
	}
	return len(s) == n || s[n] == '/'
}
