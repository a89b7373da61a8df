package body

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

const (
	// defaultMinimum is the least size of a body worth compressing.
	defaultMinimum = 1024
	// hesitation is how long a streamed answer that has not reached the minimum is held
	// back to see whether it ends there. Event streams are never held back.
	hesitation = 5 * time.Millisecond
)

type compress struct {
	included, excluded []string
	minimum            int
	codings            []string
	standard           string
	encoders           *encoders
}

// NewCompress compresses answers for clients that accept it.
func NewCompress(cfg *config.Compress, warn option.Warn) (exchange.Stage, error) {
	c := &compress{minimum: cfg.MinResponseBodyBytes, codings: cfg.Encodings, standard: cfg.DefaultEncoding, encoders: newEncoders()}
	if len(cfg.IncludedContentTypes) > 0 && len(cfg.ExcludedContentTypes) > 0 {
		return nil, option.Errorf("includedContentTypes", "keep one of them", "includedContentTypes and excludedContentTypes exclude each other")
	}
	if c.minimum <= 0 {
		if c.minimum < 0 {
			warn.Say("minResponseBodyBytes", "write zero or more", "%d is negative; 1024 is used", c.minimum)
		}
		c.minimum = defaultMinimum
	}
	if len(c.codings) == 0 {
		c.codings = []string{codingGzip, codingBrotli, codingZstd}
	}
	for _, name := range c.codings {
		if name != codingGzip && name != codingBrotli && name != codingZstd {
			return nil, option.Errorf("encodings", "write gzip, br or zstd", "%q is not an encoding", name)
		}
	}
	if c.standard != "" && !slices.Contains(c.codings, c.standard) {
		return nil, option.Errorf("defaultEncoding", "name one of encodings", "%q is not one of them", c.standard)
	}
	var err error
	if c.included, err = mediaTypes("includedContentTypes", cfg.IncludedContentTypes); err != nil {
		return nil, err
	}
	if c.excluded, err = mediaTypes("excludedContentTypes", cfg.ExcludedContentTypes); err != nil {
		return nil, err
	}
	c.excluded = append(c.excluded, "application/grpc")
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, next) })
	}, nil
}

func mediaTypes(field string, list []string) ([]string, error) {
	var out []string
	for _, text := range list {
		t, _, err := mime.ParseMediaType(text)
		if err != nil {
			return nil, option.Errorf(field, "write for example text/html", "%q is not a media type", text)
		}
		out = append(out, t)
	}
	return out, nil
}

func (c *compress) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	// Requests of an excluded type are left alone in both directions: gRPC is one.
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method == http.MethodHead || slices.Contains(c.excluded, kind) {
		next.ServeHTTP(w, r)
		return
	}
	accept, ok := r.Header["Accept-Encoding"]
	coding, named := c.standard, false
	if ok {
		coding, named = negotiate(accept, c.codings, c.standard)
	}
	if coding == "" || coding == identity {
		next.ServeHTTP(w, r)
		return
	}
	cw := &compressWriter{c: c, w: w, coding: coding}
	// As with the reference only clients that name gzip get it: neither a wildcard nor the
	// absence of Accept-Encoding will do, whatever defaultEncoding says.
	cw.leave = coding == codingGzip && !named
	defer cw.abandon()
	next.ServeHTTP(cw, r)
	cw.finish()
}

// compressible reports whether an answer with these fields may be compressed, its size
// left aside.
func (c *compress) compressible(status int, h http.Header) bool {
	if bodyless(status) || h.Get("Content-Encoding") != "" || h.Get("Content-Range") != "" {
		return false
	}
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if len(c.included) > 0 {
		return slices.Contains(c.included, kind)
	}
	return !slices.Contains(c.excluded, kind)
}

type compressState uint8

const (
	undecided compressState = iota
	plain
	compressing
)

// compressWriter decides once about an answer and then compresses it or lets it pass. The
// lock is for the timer of late, which decides where the server hesitates.
type compressWriter struct {
	c      *compress
	w      http.ResponseWriter
	coding string
	leave  bool // the answer is not compressed, though another client's would be

	mu     sync.Mutex
	status int // 0: no head yet
	state  compressState
	buf    []byte
	enc    *packer
	timer  *time.Timer
	gone   bool
}

// Header implements http.ResponseWriter.
func (w *compressWriter) Header() http.Header { return w.w.Header() }

// Unwrap serves http.ResponseController.
func (w *compressWriter) Unwrap() http.ResponseWriter { return w.w }

// WriteHeader implements http.ResponseWriter.
func (w *compressWriter) WriteHeader(status int) {
	if informational(status) {
		w.w.WriteHeader(status)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head(status)
}

func (w *compressWriter) head(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	h := w.w.Header()
	vary(h)
	if status == http.StatusNotModified {
		h.Del("Content-Type") // it describes no body (RFC 9110 §15.4.5)
	}
	if w.leave || !w.c.compressible(status, h) {
		w.decide(plain)
		return
	}
	// The size is known: no need to wait for the body.
	if n, err := strconv.Atoi(h.Get("Content-Length")); err == nil {
		if n < w.c.minimum {
			w.decide(plain)
		} else {
			w.decide(compressing)
		}
	}
}

// vary says that the answer depends on Accept-Encoding, before what the server says.
func vary(h http.Header) {
	have := h["Vary"]
	for _, v := range have {
		for item := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(item), "Accept-Encoding") {
				return
			}
		}
	}
	h["Vary"] = append([]string{"Accept-Encoding"}, have...)
}

// decide sends the head and what has been held back.
func (w *compressWriter) decide(s compressState) {
	w.state = s
	if w.timer != nil {
		w.timer.Stop()
	}
	if s == compressing {
		h := w.w.Header()
		h.Set("Content-Encoding", w.coding)
		h.Del("Content-Length")
		h.Del("Accept-Ranges") // the ranges would be those of the other form
		w.enc = w.c.encoders.get(w.coding)
	}
	w.w.WriteHeader(w.status)
	if len(w.buf) > 0 {
		_, _ = w.pass(w.buf)
		w.buf = nil
	}
}

func (w *compressWriter) pass(p []byte) (int, error) {
	if w.state == compressing {
		return w.enc.write(p, w.w)
	}
	return w.w.Write(p)
}

// Write implements http.ResponseWriter.
func (w *compressWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head(http.StatusOK)
	if w.state != undecided {
		return w.pass(p)
	}
	w.buf = append(w.buf, p...)
	if len(w.buf) >= w.c.minimum {
		w.decide(compressing)
	}
	return len(p), nil
}

// Flush implements http.Flusher.
func (w *compressWriter) Flush() { _ = w.FlushError() }

// FlushError sends what was written so far. An answer that has not reached the minimum may
// still end there: it gets a moment to do so, unless it is an event stream.
func (w *compressWriter) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head(http.StatusOK)
	if w.state == undecided {
		if !strings.HasPrefix(w.w.Header().Get("Content-Type"), "text/event-stream") {
			if w.timer == nil {
				w.timer = time.AfterFunc(hesitation, w.late)
			}
			return nil
		}
		w.decide(compressing)
	}
	return w.flush()
}

func (w *compressWriter) flush() error {
	if w.state == compressing {
		if err := w.enc.flush(w.w); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.w).Flush()
}

// late decides for an answer that is neither large enough nor at its end.
func (w *compressWriter) late() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == undecided && !w.gone {
		w.decide(compressing)
		_ = w.flush()
	}
}

// finish ends the answer.
func (w *compressWriter) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head(http.StatusOK)
	switch w.state {
	case undecided:
		w.decide(plain)
	case compressing:
		_ = w.enc.end(w.w)
		w.c.encoders.put(w.coding, w.enc)
		w.enc = nil
	}
	w.gone = true
}

// abandon keeps the timer from an answer that ended in a panic.
func (w *compressWriter) abandon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
	if w.timer != nil {
		w.timer.Stop()
	}
}
