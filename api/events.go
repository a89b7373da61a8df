package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	// maxEventClients bounds the event streams that are open at once; more get 503.
	maxEventClients = 64
	// watchEvery is how soon a change of the configuration is told.
	watchEvery = 200 * time.Millisecond
	// countEvery is how often counters are told.
	countEvery = time.Second
	// eventWrite bounds a write to a reader that does not read.
	eventWrite = 10 * time.Second
)

// limiter bounds what runs at once.
type limiter chan struct{}

func newLimiter(n int) limiter { return make(limiter, n) }

func (l limiter) enter() bool {
	select {
	case l <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l limiter) leave() { <-l }

// change is the event that tells of a new configuration.
type change struct {
	Generation uint64       `json:"generation"`
	At         time.Time    `json:"at"`
	Overview   Overview     `json:"overview"`
	Problems   problemTally `json:"problems"`
}

// stream sends server-sent events: "change" at once and whenever another configuration
// is live, "counters" every second. It ends with the client or the program.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	if !s.events.enter() {
		w.Header().Set("Retry-After", "5")
		writeError(w, http.StatusServiceUnavailable, "too many event streams are open")
		return
	}
	defer s.events.leave()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	// Keeps proxies of nginx's kind from holding the events back.
	h.Set("X-Accel-Buffering", "no")
	out := &eventWriter{w: w, control: http.NewResponseController(w)}

	watch, count := time.NewTicker(watchEvery), time.NewTicker(countEvery)
	defer watch.Stop()
	defer count.Stop()
	last := s.runtime().Generation
	ok := out.send("change", last, s.change()) && out.send("counters", 0, s.counters())
	for ok {
		select {
		case <-r.Context().Done():
			return
		case <-watch.C:
			if g := s.runtime().Generation; g != last {
				last = g
				ok = out.send("change", g, s.change())
			}
		case <-count.C:
			ok = out.send("counters", 0, s.counters())
		}
	}
}

func (s *server) change() change {
	st, rt := s.now(), s.runtime()
	return change{Generation: rt.Generation, At: rt.At, Overview: st.Overview, Problems: st.Problems}
}

type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// send writes one event and reports whether more may follow. An id of zero is left out.
func (e *eventWriter) send(name string, id uint64, data any) bool {
	b, err := json.Marshal(data)
	if err != nil {
		return false
	}
	// Not every server can bound a write; then its own time-outs hold.
	_ = e.control.SetWriteDeadline(time.Now().Add(eventWrite))
	if id != 0 {
		_, err = fmt.Fprintf(e.w, "id: %d\n", id)
	}
	if err == nil {
		_, err = fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", name, b)
	}
	return err == nil && e.control.Flush() == nil
}
