package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/telemetry"
)

// maxExplainBody bounds the body of an explain request, in bytes.
const maxExplainBody = 1 << 20

// Status is the answer of /api/sluice/status.
type Status struct {
	Version string `json:"version"`
	// Generation counts published configurations; At is when the live one was published and
	// AgeSeconds how long ago that is.
	Generation uint64             `json:"generation"`
	At         *time.Time         `json:"at,omitempty"`
	AgeSeconds float64            `json:"ageSeconds"`
	StartedAt  time.Time          `json:"startedAt"`
	Problems   problemTally       `json:"problems"`
	Overview   Overview           `json:"overview"`
	Counters   telemetry.Counters `json:"counters"`
}

type problemTally struct {
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
}

func (s *server) status(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.now()) }

func (s *server) now() Status {
	rt := s.runtime()
	st := Status{
		Version: s.Version, Generation: rt.Generation, StartedAt: s.Start,
		Overview: s.count(), Counters: s.counters(),
	}
	if !rt.At.IsZero() {
		st.At, st.AgeSeconds = &rt.At, time.Since(rt.At).Seconds()
	}
	for _, p := range rt.Problems {
		if p.Severity == config.Warning {
			st.Problems.Warnings++
		} else {
			st.Problems.Errors++
		}
	}
	return st
}

func (s *server) counters() telemetry.Counters {
	var c telemetry.Counters
	if s.Counters != nil {
		c = s.Counters()
	}
	// Empty rather than null: readers index them.
	if c.Classes == nil {
		c.Classes = map[string]uint64{}
	}
	if c.Reasons == nil {
		c.Reasons = map[string]uint64{}
	}
	if c.Connections == nil {
		c.Connections = map[string]int64{}
	}
	return c
}

// problems lists what is wrong with the configuration; the parameters code, severity,
// provider and search filter.
func (s *server) problems(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	keep := func(p config.Problem) bool {
		for key, value := range map[string]string{
			"code": p.Code, "severity": string(p.Severity), "provider": p.Provider,
		} {
			if want := q.Get(key); want != "" && !strings.EqualFold(want, value) {
				return false
			}
		}
		search := strings.ToLower(q.Get("search"))
		return search == "" || strings.Contains(strings.ToLower(p.String()), search)
	}
	kept := []config.Problem{}
	for _, p := range s.runtime().Problems {
		if keep(p) {
			kept = append(kept, p)
		}
	}
	// Errors first, else in the order of the sources.
	slices.SortStableFunc(kept, func(a, b config.Problem) int {
		return strings.Compare(string(a.Severity), string(b.Severity))
	})
	writeJSON(w, kept)
}

func (s *server) reasons(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.counters().Reasons) }

// static shows the effective configuration of the start, without secrets.
func (s *server) static(w http.ResponseWriter, _ *http.Request) { writeJSON(w, redact(s.Static)) }

func (s *server) explainGet(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	req := ExplainRequest{
		Method: q.Get("method"), URL: q.Get("url"), EntryPoint: q.Get("entryPoint"), Client: q.Get("client"),
	}
	for _, line := range q["header"] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			writeError(w, http.StatusBadRequest, fmt.Sprintf("header %q has no colon", line))
			return
		}
		if req.Headers == nil {
			req.Headers = map[string][]string{}
		}
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		req.Headers[name] = append(req.Headers[name], strings.TrimSpace(value))
	}
	s.explain(w, r, req)
}

func (s *server) explainPost(w http.ResponseWriter, r *http.Request) {
	var req ExplainRequest
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxExplainBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&req); err != nil {
		writeError(w, http.StatusBadRequest, "the body is not an explain request: "+err.Error())
		return
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		writeError(w, http.StatusBadRequest, "the body holds more than one value")
		return
	}
	s.explain(w, r, req)
}

func (s *server) explain(w http.ResponseWriter, r *http.Request, req ExplainRequest) {
	if s.Explain == nil {
		writeError(w, http.StatusNotFound, "explain is not available")
		return
	}
	if req.URL == "" {
		writeError(w, http.StatusBadRequest, "url is missing; give for example https://app.example/path")
		return
	}
	if !strings.Contains(req.URL, "://") {
		req.URL = "http://" + req.URL
	}
	if req.Method == "" {
		req.Method = http.MethodGet
	}
	answer, err := s.Explain(r.Context(), req)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	writeJSON(w, answer)
}
