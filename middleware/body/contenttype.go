package body

import (
	"net/http"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// NewContentType guesses the Content-Type of answers that have none from the beginning of
// their bodies. With the deprecated autoDetect=false it does nothing: the stage is nil.
func NewContentType(cfg *config.ContentType, warn option.Warn) exchange.Stage {
	if cfg.AutoDetect != nil {
		warn.Say("autoDetect", "leave it out; without the middleware nothing is guessed", "is deprecated")
		if !*cfg.AutoDetect {
			return nil
		}
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := &sniffer{w: w}
			next.ServeHTTP(s, r)
			s.release(nil)
		})
	}
}

// sniffer holds the head of an untyped answer back until its body begins.
type sniffer struct {
	w       http.ResponseWriter
	status  int // held back; 0: no head yet, or released
	through bool
}

// Header implements http.ResponseWriter.
func (s *sniffer) Header() http.Header { return s.w.Header() }

// Unwrap serves http.ResponseController.
func (s *sniffer) Unwrap() http.ResponseWriter { return s.w }

// WriteHeader implements http.ResponseWriter.
func (s *sniffer) WriteHeader(status int) {
	switch h := s.w.Header(); {
	case s.through || s.status != 0:
	case informational(status):
		s.w.WriteHeader(status)
	case bodyless(status) || len(h["Content-Type"]) > 0 || len(h["Content-Encoding"]) > 0 || h.Get("Content-Length") == "0":
		s.through = true
		s.w.WriteHeader(status)
	default:
		s.status = status
	}
}

// release sends the head, typed by the body's first bytes if there are any.
func (s *sniffer) release(first []byte) {
	if s.through {
		return
	}
	s.through = true
	if s.status == 0 {
		return // nothing was written: the server's own 200 follows
	}
	if len(first) > 0 {
		s.w.Header().Set("Content-Type", http.DetectContentType(first))
	}
	s.w.WriteHeader(s.status)
}

// Write implements http.ResponseWriter.
func (s *sniffer) Write(p []byte) (int, error) {
	if !s.through {
		s.WriteHeader(http.StatusOK)
	}
	if !s.through && len(p) > 0 {
		s.release(p)
	}
	return s.w.Write(p)
}

// Flush implements http.Flusher.
func (s *sniffer) Flush() { _ = s.FlushError() }

// FlushError is what http.ResponseController calls.
func (s *sniffer) FlushError() error {
	s.release(nil)
	return http.NewResponseController(s.w).Flush()
}
