// Package body holds the middlewares that are stages: they read, keep, repeat or replace
// bodies, or ask for an answer more than once.
package body

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/middleware/option"
)

// statusSet is a list of statuses and ranges of them.
type statusSet [][2]int

// parseStatuses reads entries such as "404" and "500-599".
func parseStatuses(field string, list []string, warn option.Warn) (statusSet, error) {
	var out statusSet
	for _, text := range list {
		low, high, ranged := strings.Cut(text, "-")
		if !ranged {
			high = low
		}
		a, err1 := strconv.Atoi(strings.TrimSpace(low))
		b, err2 := strconv.Atoi(strings.TrimSpace(high))
		if err1 != nil || err2 != nil || a < 0 || b < 0 {
			return nil, option.Errorf(field, "write for example 404 or 500-599", "%q is neither a status nor a range", text)
		}
		if a > b {
			warn.Say(field, "write "+strconv.Itoa(b)+"-"+strconv.Itoa(a), "the range %q is reversed and matches nothing", text)
		}
		out = append(out, [2]int{a, b})
	}
	return out, nil
}

func (s statusSet) has(status int) bool {
	for _, r := range s {
		if status >= r[0] && status <= r[1] {
			return true
		}
	}
	return false
}

// informational reports whether status announces a later answer.
func informational(status int) bool {
	return status >= 100 && status < 200 && status != http.StatusSwitchingProtocols
}

// bodyless reports whether an answer of that status never has a body.
func bodyless(status int) bool {
	return status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
}

type gateState uint8

const (
	waiting gateState = iota
	open
	shut
)

// maxDropped is how much of an unwanted body is read before its server is cut off.
const maxDropped = 256 << 10

var errUnwanted = errors.New("the answer is not wanted")

// gate holds the head of an answer back until its status says whether the answer is
// wanted. A wanted one passes as it comes; the other is dropped.
type gate struct {
	w      http.ResponseWriter
	wanted func(status int) bool
	header http.Header
	state  gateState
	status int
	drop   int
}

func newGate(w http.ResponseWriter, wanted func(status int) bool) *gate {
	return &gate{w: w, wanted: wanted, header: http.Header{}}
}

// Header implements http.ResponseWriter.
func (g *gate) Header() http.Header {
	if g.state == open {
		return g.w.Header() // trailers come after the body
	}
	return g.header
}

// WriteHeader implements http.ResponseWriter.
func (g *gate) WriteHeader(status int) {
	if g.state != waiting {
		return
	}
	if informational(status) {
		inform(g.w, g.header, status)
		return
	}
	g.status = status
	if !g.wanted(status) {
		g.state = shut
		return
	}
	g.state = open
	addHeader(g.w.Header(), g.header)
	g.w.WriteHeader(status)
}

// addHeader adds the fields of from to those that outer middlewares have set.
func addHeader(to, from http.Header) {
	for k, v := range from {
		to[k] = append(to[k], v...)
	}
}

// inform passes an interim answer on; its fields are not those of the final answer.
func inform(w http.ResponseWriter, fields http.Header, status int) {
	h := w.Header()
	saved := h.Clone()
	clear(h)
	addHeader(h, fields)
	w.WriteHeader(status)
	clear(h)
	addHeader(h, saved)
}

// Write implements http.ResponseWriter.
func (g *gate) Write(p []byte) (int, error) {
	if g.state == waiting {
		g.WriteHeader(http.StatusOK)
	}
	if g.state == open {
		return g.w.Write(p)
	}
	if g.drop += len(p); g.drop > maxDropped {
		return 0, errUnwanted
	}
	return len(p), nil
}

// FlushError is what http.ResponseController calls.
func (g *gate) FlushError() error {
	if g.state == waiting {
		g.WriteHeader(http.StatusOK)
	}
	if g.state == open {
		return http.NewResponseController(g.w).Flush()
	}
	return nil
}

// Flush implements http.Flusher.
func (g *gate) Flush() { _ = g.FlushError() }

// Unwrap serves http.ResponseController.
func (g *gate) Unwrap() http.ResponseWriter { return g.w }

// run lets next answer through g. It reports whether the answer was wanted. A handler that
// was cut off because its answer is not wanted ends here; any other panic goes on.
func (g *gate) run(next http.Handler, r *http.Request) (passed bool) {
	defer func() {
		if g.state != shut {
			return
		}
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the documented sentinel
			panic(p)
		}
	}()
	next.ServeHTTP(g, r)
	if g.state == waiting {
		g.WriteHeader(http.StatusOK)
	}
	return g.state == open
}
