package wire

import "github.com/sluice-edge/sluice/proxy/exchange"

// MaxTrailers bounds a trailer section, in bytes.
const MaxTrailers = 16 << 10

// trailersAllowed reports whether a Trailer field names none that frames or routes a message (RFC 9110 §6.5.1).
func trailersAllowed(list string) bool {
	for list != "" {
		var t string
		t, list = nextToken(list)
		if framesOrRoutes(t) {
			return false
		}
	}
	return true
}

func framesOrRoutes(name string) bool {
	switch len(name) {
	case 4:
		return is(name, "host")
	case 7:
		return is(name, "trailer") || is(name, "upgrade")
	case 10:
		return is(name, "connection")
	case 14:
		return is(name, "content-length")
	case 17:
		return is(name, "transfer-encoding")
	}
	return false
}

// ParseTrailers reads the trailer section at the beginning of b, with the empty line that
// ends the message, and adds the fields to out. It returns like ParseRequest. Fields that
// frame or route are dropped. Strings alias b.
func ParseTrailers(b []byte, out *exchange.Fields) (n int, err error) {
	cut := len(b) >= MaxTrailers
	if len(b) > MaxTrailers {
		b = b[:MaxTrailers]
	}
	mark := out.Len()
	for {
		l, k, e := line(b[n:])
		if e == nil && k > 0 {
			n += k
			if len(l) == 0 {
				return n, nil
			}
			var f exchange.Field
			if f, e = field(l); e == nil {
				if !framesOrRoutes(f.Name) {
					out.Add(f.Name, f.Value)
				}
				continue
			}
		}
		for i := mark; i < out.Len(); i++ {
			*out.At(i) = exchange.Field{}
		}
		out.Truncate(mark)
		switch {
		case e != nil:
			return 0, e
		case cut:
			return 0, ErrTrailerLarge
		}
		return 0, nil
	}
}

// AppendTrailers appends the trailer section of fields, with the empty line. Where announced
// is not nil, only fields that a Trailer field in it names are written, and none of the
// forwarded fields: a client must not say by a trailer what it may not say by a head.
func AppendTrailers(dst []byte, fields, announced *exchange.Fields) []byte {
	for i := range fields.Len() {
		f := fields.At(i)
		if announced != nil && (!announced.HasToken("Trailer", f.Name) || forwardedName(f.Name)) {
			continue
		}
		dst = appendField(dst, f.Name, f.Value)
	}
	return append(dst, '\r', '\n')
}
