package balance

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// errorFailover repeats a request on the fallback where the main service answers with
// one of the named statuses.
type errorFailover struct {
	*failover
	mainH, fallbackH http.Handler
	status           config.StatusRanges
	max              int64
}

func newErrorFailover(cfg *config.FailoverErrors, f *failover, mainH, fallbackH http.Handler) (*errorFailover, error) {
	st, err := config.ParseStatusRanges(cfg.Status)
	if err != nil {
		return nil, err
	}
	e := &errorFailover{failover: f, mainH: mainH, fallbackH: fallbackH, status: st, max: -1}
	if cfg.MaxRequestBodyBytes != nil {
		e.max = *cfg.MaxRequestBodyBytes
	}
	return e, nil
}

// ServeHTTP tries the main service, then the fallback. A body larger than the limit gets
// 413, as in the reference: it could not be repeated.
func (e *errorFailover) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now().UnixNano()
	switch {
	case childUp(e.main, now):
	case e.lost(now):
		refuse(w, r, exchange.NoServerUp)
		return
	default:
		e.fallbackH.ServeHTTP(w, r)
		return
	}
	var body []byte
	if r.Body != nil && r.Body != http.NoBody {
		b, whole, err := keepBody(r.Body, e.max)
		if err != nil {
			refuse(w, r, exchange.BadRequest)
			return
		}
		if !whole {
			refuse(w, r, exchange.BodyTooLarge)
			return
		}
		body = b
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	first := &sieve{ResponseWriter: w, drop: e.status, header: http.Header{}}
	e.mainH.ServeHTTP(first, r)
	if !first.dropped {
		return
	}
	if body != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	e.fallbackH.ServeHTTP(w, r)
}

func refuse(w http.ResponseWriter, r *http.Request, why exchange.Reason) {
	exchangeOf(r).Reason = why
	http.Error(w, http.StatusText(why.Status()), why.Status())
}

// sieve passes an answer on unless its status is one to drop.
type sieve struct {
	http.ResponseWriter
	drop    config.StatusRanges
	header  http.Header
	decided bool
	dropped bool
}

// Header is the answer's own header until it is known to pass.
func (s *sieve) Header() http.Header { return s.header }

// WriteHeader decides.
func (s *sieve) WriteHeader(status int) {
	if s.decided {
		return
	}
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	s.decided = true
	if s.drop.Contains(status) {
		s.dropped = true
		return
	}
	h := s.ResponseWriter.Header()
	for k, v := range s.header {
		h[k] = v
	}
	s.header = h
	s.ResponseWriter.WriteHeader(status)
}

// Write passes or drops b.
func (s *sieve) Write(b []byte) (int, error) {
	if !s.decided {
		s.WriteHeader(http.StatusOK)
	}
	if s.dropped {
		return len(b), nil
	}
	return s.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController the writer below.
func (s *sieve) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Flush sends what was written.
func (s *sieve) Flush() {
	if s.decided && !s.dropped {
		_ = http.NewResponseController(s.ResponseWriter).Flush()
	}
}
