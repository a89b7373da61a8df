package wire

const (
	// maxChunkDigits bounds a chunk size, so that it fits an int64 with room to spare.
	maxChunkDigits = 15
	// maxChunkExt bounds the extensions of one chunk, in bytes.
	// RFC 9112 §7.1.1 asks for a limit and names none; longer ones get 400.
	maxChunkExt = 256
	// maxChunkCost bounds what framing may cost beyond the data it carries: one-byte chunks
	// with long extensions make a receiver work for nothing.
	maxChunkCost = 16 << 10
)

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExt
	chunkPad
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer // at the beginning of the first trailer line or the last empty line
	chunkEndLF
	chunkDone
)

// Chunks follows the framing of a chunked body (RFC 9112 §7.1), whatever pieces it comes in.
// The zero value is at the beginning of a body.
//
// Scan and Decode stop before trailer fields: AtTrailers then reports true and the caller
// reads them with ParseTrailers, which ends the message.
type Chunks struct {
	left   int64
	total  int64
	cost   int32
	ext    int16
	digits uint8
	state  chunkState
	// AllowPad lets blanks follow a chunk size. Old servers pad it; requests must not.
	AllowPad bool
}

// Scan returns how many bytes of b belong to the body, for passing them on as they are, and
// whether the message ended with them. err is an *Error; the n bytes before it were good.
func (c *Chunks) Scan(b []byte) (n int, done bool, err error) {
	for n < len(b) {
		if c.state == chunkData {
			k := min(int64(len(b)-n), c.left)
			n += int(k)
			if c.left -= k; c.left == 0 {
				c.state = chunkDataCR
			}
			continue
		}
		used, e := c.framing(b[n])
		if e != nil {
			return n, false, e
		}
		n += used
		if c.state == chunkDone {
			return n, true, nil
		}
		if used == 0 {
			return n, false, nil // at the trailers
		}
	}
	return n, false, nil
}

// Decode returns the next data of the body, a part of b, and how many bytes of b it used
// with their framing. It is called again with the rest until n is len(b), done is set or
// AtTrailers reports true; data may be empty before.
func (c *Chunks) Decode(b []byte) (data []byte, n int, done bool, err error) {
	for n < len(b) {
		if c.state == chunkData {
			k := int(min(int64(len(b)-n), c.left))
			data = b[n : n+k]
			n += k
			if c.left -= int64(k); c.left == 0 {
				c.state = chunkDataCR
			}
			return data, n, false, nil
		}
		used, e := c.framing(b[n])
		if e != nil {
			return nil, n, false, e
		}
		n += used
		if c.state == chunkDone {
			return nil, n, true, nil
		}
		if used == 0 {
			return nil, n, false, nil
		}
	}
	return nil, n, false, nil
}

// AtTrailers reports that the data has ended and trailer fields follow.
func (c *Chunks) AtTrailers() bool { return c.state == chunkTrailer && c.digits == trailersSeen }

// trailersSeen in digits marks that a trailer byte, not the last empty line, was met.
const trailersSeen = 255

// Pending returns how many bytes of the current chunk's data are still to come.
func (c *Chunks) Pending() int64 { return c.left }

// Total is how much data the chunks so far have announced.
func (c *Chunks) Total() int64 { return c.total }

// framing takes one byte that is not data; used is 0 only before trailers.
func (c *Chunks) framing(x byte) (used int, e *Error) {
	switch c.state {
	case chunkSize:
		return 1, c.size(x)
	case chunkPad, chunkExt:
		return 1, c.extension(x)
	case chunkSizeLF:
		if x != '\n' {
			return 0, ErrChunkSize
		}
		return 1, c.sizeEnd()
	case chunkDataCR:
		if x != '\r' {
			return 0, ErrChunkEnd
		}
		c.state = chunkDataLF
	case chunkDataLF:
		if x != '\n' {
			return 0, ErrChunkEnd
		}
		c.state = chunkSize
	case chunkTrailer:
		if x != '\r' {
			c.digits = trailersSeen
			return 0, nil
		}
		c.state = chunkEndLF
	case chunkEndLF:
		if x != '\n' {
			return 0, ErrChunkEnd
		}
		c.state = chunkDone
	}
	return 1, nil
}

func (c *Chunks) size(x byte) *Error {
	switch {
	case class[x]&isHex != 0:
		if c.digits++; c.digits > maxChunkDigits {
			return ErrChunkSize
		}
		c.left = c.left<<4 | int64(unhex(x))
	case c.digits == 0:
		return ErrChunkSize
	case x == '\r':
		c.state = chunkSizeLF
	case x == ';':
		c.state, c.ext = chunkExt, 1
	case c.AllowPad && (x == ' ' || x == '\t'):
		c.state, c.ext = chunkPad, 1
	default:
		return ErrChunkSize
	}
	return nil
}

// extension allows what tokens and their separators consist of; a quoted string could hide a
// line end from another reader, so it is refused.
func (c *Chunks) extension(x byte) *Error {
	if c.ext++; c.ext > maxChunkExt {
		return ErrChunkExt
	}
	switch {
	case x == '\r':
		c.state = chunkSizeLF
	case x == ' ' || x == '\t':
	case x == ';':
		c.state = chunkExt
	case c.state == chunkPad:
		return ErrChunkSize
	case x == '=' || class[x]&isToken != 0:
	default:
		return ErrChunkExt
	}
	return nil
}

func (c *Chunks) sizeEnd() *Error {
	// Each chunk may cost 16 bytes and as much as twice its data; what is beyond adds up.
	over := int64(c.digits) + int64(c.ext) + 4 - 16 - 2*c.left
	c.cost = int32(max(0, int64(c.cost)+max(over, -maxChunkCost)))
	if c.cost > maxChunkCost {
		return ErrChunkCost
	}
	c.digits, c.ext = 0, 0
	c.total += c.left
	c.state = chunkData
	if c.left == 0 {
		c.state = chunkTrailer
	}
	return nil
}

// AppendChunk appends the framing before data of n bytes; after the data goes "\r\n". n is not 0.
func AppendChunk(dst []byte, n int) []byte {
	const hex = "0123456789abcdef"
	shift := 0
	for v := n >> 4; v > 0; v >>= 4 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		dst = append(dst, hex[n>>shift&15])
	}
	return append(dst, '\r', '\n')
}

// LastChunk ends a chunked body without trailers.
const LastChunk = "0\r\n\r\n"
