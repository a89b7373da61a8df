package wire

import (
	"unsafe"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

const (
	isToken  = 1 << iota // RFC 9110 §5.6.2 tchar
	isValue              // field value: HTAB, SP, VCHAR, obs-text
	isTarget             // what a target may contain as sent; some of it is encoded later
	isHost               // an authority's host and port
	isPath               // path bytes that are forwarded as they are
	isHex
)

const (
	tokenPunct = "!#$%&'*+-.^_`|~"
	hostPunct  = "!$%&'()*+-.:;=[]_~"
	pathPunct  = "-._~!$&'()*+,;=:@/[]%"
)

// class tells of every byte where it may stand.
var class = makeClass()

func makeClass() (t [256]uint8) {
	for c := 0; c < 256; c++ {
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		in := func(set string) bool {
			for i := 0; i < len(set); i++ {
				if int(set[i]) == c {
					return true
				}
			}
			return false
		}
		if alnum || in(tokenPunct) {
			t[c] |= isToken
		}
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= isValue
		}
		if c > ' ' && c != 0x7f {
			t[c] |= isTarget
		}
		if alnum || in(hostPunct) {
			t[c] |= isHost
		}
		if alnum || in(pathPunct) {
			t[c] |= isPath
		}
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' {
			t[c] |= isHex
		}
	}
	return t
}

// str makes a string of b without copying.
func str(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf is the reverse of str; the result must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// all reports whether every byte of s has the class.
func all(s string, want uint8) bool {
	for i := 0; i < len(s); i++ {
		if class[s[i]]&want == 0 {
			return false
		}
	}
	return true
}

// is reports whether s is name, which is given in lower case, whatever the case of s.
func is(s, name string) bool { return exchange.EqualFold(s, name) }

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

func trimString(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// nextToken cuts the first element off a comma-separated list.
func nextToken(list string) (token, rest string) {
	for i := 0; i < len(list); i++ {
		if list[i] == ',' {
			return trimString(list[:i]), list[i+1:]
		}
	}
	return trimString(list), ""
}

// hasToken reports whether a comma-separated list has the element.
func hasToken(list, token string) bool {
	for list != "" {
		var t string
		if t, list = nextToken(list); is(t, token) {
			return true
		}
	}
	return false
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}
