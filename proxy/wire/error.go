package wire

import "github.com/sluice-edge/sluice/proxy/exchange"

// Error says why a message was refused. Errors of this package are shared values: compare by pointer, never change one.
type Error struct {
	// Status is what a client is answered: 4xx and 5xx for requests, 502 for responses.
	Status int
	Reason exchange.Reason
	// Text is for logs; clients do not see it.
	Text string
}

func (e *Error) Error() string { return e.Text }

func bad(text string) *Error { return &Error{400, exchange.BadRequest, text} }

func broken(text string) *Error { return &Error{502, exchange.UpstreamBad, text} }

// What ParseRequest and PrepareRequest report.
var (
	ErrRequestLine     = bad("malformed request line")
	ErrMethod          = bad("method is not a token")
	ErrTarget          = bad("malformed request target")
	ErrEscape          = bad("malformed percent-encoding in the path")
	ErrFragment        = bad("fragment in the request target")
	ErrVersion         = &Error{505, exchange.BadVersion, "HTTP version is not 1.0 or 1.1"}
	ErrConnect         = &Error{501, exchange.NoConnect, "method CONNECT"}
	ErrLineEnd         = bad("line does not end in CRLF")
	ErrFold            = bad("folded field line")
	ErrFieldName       = bad("malformed field name")
	ErrFieldValue      = bad("control byte in a field value")
	ErrNoHost          = bad("no Host field")
	ErrHosts           = bad("more than one Host field")
	ErrHost            = bad("malformed Host field")
	ErrLength          = bad("malformed Content-Length")
	ErrLengths         = bad("more than one Content-Length")
	ErrCoding          = &Error{501, exchange.BadRequest, "Transfer-Encoding is not exactly chunked"}
	ErrCodings         = bad("more than one Transfer-Encoding, or one in HTTP/1.0")
	ErrLengthAndCoding = bad("both Content-Length and Transfer-Encoding")
	ErrOptions         = bad("too many connection options")
	ErrExpect          = &Error{417, exchange.BadRequest, "unknown expectation"}
	ErrHeadTooLarge    = &Error{431, exchange.HeadTooLarge, "head too large"}
	ErrManyFields      = &Error{431, exchange.HeadTooLarge, "too many fields"}
	ErrConnectionField = bad("connection-specific field in a protocol of frames") // RFC 9113 §8.2.2
	ErrTrailerName     = bad("trailer announces a field that frames or routes")
	ErrEncodedChar     = &Error{400, exchange.PathRefused, "encoded character that the entry point refuses"}
	ErrLoop            = &Error{508, exchange.Loop, "the request goes round in circles"}
	ErrUnderscore      = &Error{400, exchange.NotTerminated, "a field name that may stand for another one"}
)

// What Chunks and ParseTrailers report for either direction; for a response the lane answers 502.
var (
	ErrChunkSize    = bad("malformed chunk size")
	ErrChunkExt     = bad("malformed or oversized chunk extension")
	ErrChunkEnd     = bad("chunk does not end in CRLF")
	ErrChunkCost    = bad("chunk framing outweighs its data")
	ErrTrailerLarge = &Error{431, exchange.HeadTooLarge, "trailers too large"}
)

// What ParseResponse reports.
var (
	ErrStatusLine       = broken("malformed status line")
	ErrStatus           = broken("status code out of range")
	ErrResponseVersion  = broken("server's HTTP version is not 1.0 or 1.1")
	ErrResponseLarge    = broken("head of the answer too large")
	ErrResponseField    = broken("malformed field in the answer")
	ErrResponseLength   = broken("malformed Content-Length in the answer")
	ErrResponseCoding   = broken("Transfer-Encoding of the answer is not exactly chunked")
	ErrResponseFraming  = broken("both Content-Length and Transfer-Encoding in the answer")
	ErrSwitchingUnasked = broken("101 without a fitting Upgrade")
)
