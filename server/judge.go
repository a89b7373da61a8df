package server

import (
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/sluice-edge/sluice/cert"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware"
)

// JudgeMiddleware builds a middleware as the router would and says what is wrong with its settings.
// A file that is not there is a warning: another machine, or a container, may have it.
func JudgeMiddleware(m *config.Middleware) []config.Problem {
	var out []config.Problem
	note := func(severity config.Severity, field, text, remedy string) {
		out = append(out, config.Problem{Field: field, Code: config.CodeInvalidMiddleware, Text: text, Suggestion: remedy, Severity: severity})
	}
	_, err := middleware.Build("", m, middleware.Deps{
		Service: func(string) (http.Handler, error) { return http.NotFoundHandler(), nil },
		Warn:    func(field, text, remedy string) { note(config.Warning, field, text, remedy) },
	})
	if err == nil {
		return out
	}
	severity := blame(err)
	if o := (*middleware.OptionError)(nil); errors.As(err, &o) {
		note(severity, o.Field, o.Text, o.Remedy)
	} else {
		note(severity, "", err.Error(), "")
	}
	return out
}

// JudgeTLSOptions says why TLS options cannot be used, or what of them is not heeded.
func JudgeTLSOptions(o *config.TLSOptions) (out []config.Problem) {
	if err := cert.Check(o); err != nil {
		return []config.Problem{{Code: config.CodeInvalidValue, Text: err.Error(), Severity: blame(err)}}
	}
	doubts := cert.Doubts(o)
	for _, field := range slices.Sorted(maps.Keys(doubts)) {
		out = append(out, config.Problem{Field: field, Code: config.CodeInvalidValue, Text: doubts[field], Severity: config.Error})
	}
	return out
}

// blame is a warning for a file that is not there, which some settings tell in words only.
func blame(err error) config.Severity {
	if errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), syscall.ENOENT.Error()) {
		return config.Warning
	}
	return config.Error
}
