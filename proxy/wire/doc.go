// Package wire reads and writes HTTP/1.1 heads, chunked bodies, PROXY headers and the
// beginning of a TLS ClientHello, and holds the rules by which a proxy changes heads. It is
// pure: bytes in, bytes and events out, no I/O, no clock, no allocation on the common path.
//
// # Strings
//
// Strings that a parser returns alias its input (the caller keeps that memory unchanged for
// as long as the exchange lives, usually by Exchange.Hold before it parses).
//
// # Strictness
//
// Both lanes parse with this package only, so a request means the same in both. Where
// RFC 9112 leaves a choice the stricter one is taken, because a message that two programs
// read differently is a smuggled request:
//
//   - Lines end in CRLF. A bare LF or CR, NUL and other control bytes are refused.
//   - No line folding, no blank before a colon; field names are tokens.
//   - One Host field in HTTP/1.1; it may be empty. An absolute target replaces it.
//   - One Content-Length of 1 to 18 digits. Transfer-Encoding is exactly "chunked", in
//     HTTP/1.1 only, once, and never beside Content-Length.
//   - Chunk sizes are 1 to 15 hex digits; extensions are bounded and consist of token
//     bytes, '=', ';' and blanks; trailers are bounded and announced ones only are passed on.
//
// # Differences from net/http
//
// Refused here, accepted by net/http: bare LF line ends; folded lines; a Content-Length
// repeated with an equal value in a request; Content-Length beside Transfer-Encoding (net/http lets the latter win);
// HTTP/1.2 to 1.9; a user in an absolute target; "," in Host; blanks after a chunk size and
// quoted strings in chunk extensions in requests; a fragment in a target; more fields than Limits.MaxFields;
// an Expect other than 100-continue (net/http refuses it later, with the same 417).
//
// Accepted here, refused by net/http: up to two empty lines before any request line
// (RFC 9112 §2.2 asks for at least one; net/http skips them after a POST only); field names
// that net/http's client would refuse to send but RFC 9110 calls tokens; response status
// codes 100 to 999 with any reason phrase of field bytes.
//
// An upgrade to h2c is never passed on (RFC 9113 §3.1 withdrew it, and a tunnel behind it
// would escape routing): such a request is an ordinary one.
package wire
