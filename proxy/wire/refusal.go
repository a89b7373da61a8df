package wire

import "net/http"

// Body is the body of the answer to a request that was refused for e, as the reference has
// it; "" means the status's name. Both lanes use it.
func (e *Error) Body() string {
	switch {
	case e == ErrUnderscore:
		return "Bad Request\n"
	case e.Status == http.StatusBadRequest:
		return "400 Bad Request"
	case e.Status == http.StatusRequestHeaderFieldsTooLarge:
		return "431 Request Header Fields Too Large"
	}
	return ""
}
