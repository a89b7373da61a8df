package api

import (
	"io"
	"net/http"

	"github.com/sluice-edge/sluice/config"
)

// Ping answers /ping: 200 and "OK", or the terminating status once draining reports true.
// Any method is answered, as in the reference.
func Ping(c *config.Ping, draining func() bool) http.Handler {
	terminating := http.StatusServiceUnavailable
	if c != nil && c.TerminatingStatusCode != 0 {
		terminating = c.TerminatingStatusCode
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status := http.StatusOK
		if draining != nil && draining() {
			status = terminating
		}
		// The reference sends no type here, and none is guessed.
		w.Header()["Content-Type"] = nil
		w.WriteHeader(status)
		_, _ = io.WriteString(w, http.StatusText(status))
	})
}
