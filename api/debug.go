package api

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"expvar"
	"net/http"
	"net/http/pprof"
	"time"
)

// mountDebug opens the paths of api.debug.
func mountDebug(mux *http.ServeMux) {
	mux.Handle("GET /debug/vars", expvar.Handler())
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// supportDump packs version, static and runtime configuration, secrets redacted in both.
func (s *server) supportDump(w http.ResponseWriter, _ *http.Request) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zip)
	err := writeEntries(archive, time.Now(), []entry{
		{"version.json", struct {
			Version   string    `json:"version"`
			Codename  string    `json:"codename,omitempty"`
			StartDate time.Time `json:"startDate"`
		}{s.Version, s.Codename, s.Start}},
		{"static-config.json", redact(s.Static)},
		{"runtime-config.json", redact(s.everything())},
		{"problems.json", s.runtime().Problems},
	})
	if err == nil {
		err = archive.Close()
	}
	if err == nil {
		err = zip.Close()
	}
	if err != nil {
		writeError(w, http.StatusInternalServerError, "the dump cannot be packed")
		return
	}
	w.Header().Set("Content-Type", "application/gzip")
	w.Header().Set("Content-Disposition", "attachment; filename=support-dump.tar.gz")
	_, _ = w.Write(packed.Bytes())
}

type entry struct {
	name string
	body any
}

func writeEntries(archive *tar.Writer, now time.Time, entries []entry) error {
	for _, e := range entries {
		b, err := json.MarshalIndent(e.body, "", "  ")
		if err != nil {
			return err
		}
		head := &tar.Header{Name: e.name, Mode: 0o600, Size: int64(len(b)), ModTime: now}
		if err := archive.WriteHeader(head); err != nil {
			return err
		}
		if _, err := archive.Write(b); err != nil {
			return err
		}
	}
	return nil
}
