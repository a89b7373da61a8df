package body

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/expr"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

const (
	// defaultMemory is how much of a body is kept in memory.
	defaultMemory = 1 << 20
	// maxRepeats bounds what a retryExpression asks for, as the reference does.
	maxRepeats = 10
)

// attempt is what a retryExpression can ask for.
type attempt struct {
	number, status int
	method         string
}

func bufferingFuncs() map[string]expr.Func[attempt] {
	return map[string]expr.Func[attempt]{
		"Attempts":      {Call: func(a attempt, _ []float64) float64 { return float64(a.number) }},
		"ResponseCode":  {Call: func(a attempt, _ []float64) float64 { return float64(a.status) }},
		"RequestMethod": {Text: true, Call: func(a attempt, _ []float64) float64 { return expr.Text(a.method) }},
		"IsNetworkError": {Logic: true, Call: func(a attempt, _ []float64) float64 {
			if a.status == http.StatusBadGateway || a.status == http.StatusGatewayTimeout {
				return 1
			}
			return 0
		}},
	}
}

type buffering struct {
	maxRequest, memRequest   int64
	maxResponse, memResponse int64
	again                    expr.Cond[attempt] // nil: never
}

// NewBuffering reads whole bodies before it passes them on, in both directions.
func NewBuffering(cfg *config.Buffering) (exchange.Stage, error) {
	b := &buffering{maxRequest: cfg.MaxRequestBodyBytes, maxResponse: cfg.MaxResponseBodyBytes,
		memRequest: defaultMemory, memResponse: defaultMemory}
	for _, f := range []struct {
		field string
		value int64
	}{
		{"maxRequestBodyBytes", cfg.MaxRequestBodyBytes}, {"memRequestBodyBytes", cfg.MemRequestBodyBytes},
		{"maxResponseBodyBytes", cfg.MaxResponseBodyBytes}, {"memResponseBodyBytes", cfg.MemResponseBodyBytes},
	} {
		if f.value < 0 {
			return nil, option.Errorf(f.field, "write zero for any size", "%d is negative", f.value)
		}
	}
	if cfg.MemRequestBodyBytes > 0 {
		b.memRequest = cfg.MemRequestBodyBytes
	}
	if cfg.MemResponseBodyBytes > 0 {
		b.memResponse = cfg.MemResponseBodyBytes
	}
	if cfg.RetryExpression != "" {
		var err error
		if b.again, err = expr.Compile(cfg.RetryExpression, bufferingFuncs()); err != nil {
			return nil, option.Errorf("retryExpression", "write for example IsNetworkError() && Attempts() < 3", "%v", err)
		}
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.serve(w, r, next) })
	}, nil
}

func (b *buffering) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	ex := exchange.FromContext(r.Context())
	if ex == nil {
		ex = new(exchange.Exchange)
	}
	in := &spool{memory: b.memRequest, limit: b.maxRequest}
	defer in.close()
	if status := b.read(in, r, ex); status != 0 {
		refuse(w, status)
		return
	}
	out := &spool{memory: b.memResponse, limit: b.maxResponse}
	defer out.close()
	for n := 1; ; n++ {
		rec := &recorder{w: w, header: http.Header{}, body: out}
		rec.run(next, repeat(r, in))
		switch {
		case rec.passed:
			return
		case rec.err != nil:
			// Too large, or the disk is full: what came is not what the server said.
			ex.Reason = exchange.Failure
			refuse(w, http.StatusInternalServerError)
			return
		case b.again == nil || n > maxRepeats || r.Context().Err() != nil || !b.again(attempt{n, rec.status, r.Method}):
			rec.send()
			return
		}
		ex.Log.Retries++
		out.reset()
	}
}

// read fills in with the request's body. A status other than zero refuses the request.
func (b *buffering) read(in *spool, r *http.Request, ex *exchange.Exchange) int {
	if !hasBody(r) {
		return 0
	}
	if b.maxRequest > 0 && r.ContentLength > b.maxRequest {
		ex.Reason = exchange.BodyTooLarge
		return http.StatusRequestEntityTooLarge
	}
	_, err := io.Copy(in, r.Body)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errTooLarge):
		ex.Reason = exchange.BodyTooLarge
		return http.StatusRequestEntityTooLarge
	case r.Context().Err() != nil:
		ex.Reason = exchange.ClientGone
		return exchange.StatusClientGone
	}
	ex.Reason = exchange.BadRequest
	return http.StatusBadRequest
}

func refuse(w http.ResponseWriter, status int) {
	text := http.StatusText(status)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// repeat is r with the body that in holds.
func repeat(r *http.Request, in *spool) *http.Request {
	if !hasBody(r) {
		return r
	}
	r2 := r.WithContext(r.Context())
	r2.Header = r.Header.Clone()
	r2.Body = io.NopCloser(in.reader())
	if len(r.Trailer) > 0 {
		return r2 // trailers follow chunks only
	}
	r2.ContentLength, r2.TransferEncoding = in.size, nil
	if in.size == 0 {
		r2.Body = http.NoBody
	}
	return r2
}

// recorder keeps an answer whole. Answers that have no end, which are those that change
// the protocol, pass.
type recorder struct {
	w      http.ResponseWriter
	header http.Header
	status int
	body   *spool
	err    error
	passed bool
}

// Header implements http.ResponseWriter.
func (rec *recorder) Header() http.Header {
	if rec.passed {
		return rec.w.Header()
	}
	return rec.header
}

// WriteHeader implements http.ResponseWriter.
func (rec *recorder) WriteHeader(status int) {
	switch {
	case rec.status != 0:
	case informational(status):
		inform(rec.w, rec.header, status)
	case status == http.StatusSwitchingProtocols:
		rec.status, rec.passed = status, true
		addHeader(rec.w.Header(), rec.header)
		rec.w.WriteHeader(status)
	default:
		rec.status = status
	}
}

// Write implements http.ResponseWriter.
func (rec *recorder) Write(p []byte) (int, error) {
	rec.WriteHeader(http.StatusOK)
	if rec.passed {
		return rec.w.Write(p)
	}
	if rec.err != nil {
		return 0, rec.err
	}
	n, err := rec.body.Write(p)
	rec.err = err
	return n, err
}

// Flush implements http.Flusher: it is what buffering takes away.
func (rec *recorder) Flush() {}

// Unwrap serves http.ResponseController.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.w }

// FlushError is what http.ResponseController calls.
func (rec *recorder) FlushError() error { return nil }

// run records next's answer. A panic that follows from the recorder's own error ends here.
func (rec *recorder) run(next http.Handler, r *http.Request) {
	defer func() {
		if rec.err == nil {
			return
		}
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the documented sentinel
			panic(p)
		}
	}()
	next.ServeHTTP(rec, r)
	rec.WriteHeader(http.StatusOK)
}

// send sends what was recorded.
func (rec *recorder) send() {
	h := rec.w.Header()
	addHeader(h, rec.header)
	trailers := false
	for k := range rec.header {
		trailers = trailers || strings.HasPrefix(k, http.TrailerPrefix) || k == "Trailer"
	}
	// The answer to HEAD says how long that to GET would be.
	if rec.body.size > 0 && !trailers {
		h.Set("Content-Length", strconv.FormatInt(rec.body.size, 10))
	}
	rec.w.WriteHeader(rec.status)
	_, _ = io.Copy(rec.w, rec.body.reader())
}
