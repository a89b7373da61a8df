// Package rest takes dynamic configuration by PUT: a document replaces the one before. It is
// kept in memory, so it is gone after a restart, as with the reference.
package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/provider"
)

// maxBody bounds a document, in bytes.
const maxBody = 64 << 20

const path = "/api/providers/"

// patience is how long a document waits to be taken: Run may have ended.
const patience = 5 * time.Second

// Options tune a Provider. The zero value is ready to use.
type Options struct {
	Log zerolog.Logger
}

// Provider is a provider and the handler that feeds it. It is safe for concurrent use.
type Provider struct {
	log  zerolog.Logger
	next chan document
}

type document struct {
	dyn      *config.Dynamic
	problems []config.Problem
	at       time.Time
	taken    chan struct{}
}

// New returns a Provider without a configuration.
func New(opts Options) *Provider {
	return &Provider{log: opts.Log, next: make(chan document)}
}

// Name implements provider.Provider.
func (*Provider) Name() string { return "rest" }

// Run implements provider.Provider. Before the first document there is nothing, and it says so.
func (p *Provider) Run(ctx context.Context, out chan<- provider.Update) error {
	update := provider.Update{Provider: p.Name(), Config: &config.Dynamic{}, At: time.Now()} // nobody need wait for it
	var taken chan struct{}
	for {
		select {
		case out <- update:
		case <-ctx.Done():
			return nil
		}
		if taken != nil {
			close(taken)
		}
		select {
		case d := <-p.next:
			provider.Reuse(update.Config, d.dyn)
			update = provider.Update{Provider: p.Name(), Config: d.dyn, Problems: d.problems, At: d.at}
			taken = d.taken
		case <-ctx.Done():
			return nil
		}
	}
}

// ServeHTTP takes PUT /api/providers/rest. A document that cannot be used is answered with
// 400 and what is wrong, and changes nothing.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, path)
	switch {
	case !ok || name == "" || strings.Contains(name, "/"):
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPut:
		w.Header().Set("Allow", http.MethodPut)
		http.Error(w, "use PUT", http.StatusMethodNotAllowed)
		return
	case name != p.Name():
		http.Error(w, "only the provider rest takes its configuration here", http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		status := http.StatusBadRequest
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, "the document cannot be read", status)
		return
	}
	if len(bytes.TrimSpace(body)) == 0 { // as in the reference: it would take everything away; {} says that
		http.Error(w, "the document is empty", http.StatusBadRequest)
		return
	}
	d := document{at: time.Now(), taken: make(chan struct{})}
	if d.dyn, d.problems = decode.Document("document", extension(r.Header.Get("Content-Type")), body); d.dyn == nil {
		var text strings.Builder
		for _, q := range d.problems {
			text.WriteString(q.String() + "\n")
		}
		p.log.Warn().Int("problems", len(d.problems)).Msg("document refused, keeping the one before")
		http.Error(w, text.String(), http.StatusBadRequest)
		return
	}
	// Encoded before it is given away: what is sent to the Manager belongs to it.
	answer, err := json.Marshal(d.dyn)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	if !p.give(r.Context(), d) {
		http.Error(w, "the router is busy or stopping", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_, _ = w.Write(answer) //nolint:gosec // JSON, not markup
}

// give hands a document to Run, and reports whether it was sent on.
func (p *Provider) give(ctx context.Context, d document) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case p.next <- d:
	case <-ctx.Done():
		return false
	}
	select {
	case <-d.taken:
		return true
	case <-ctx.Done():
		return false
	}
}

// extension is the format of a content type: JSON unless another is named.
func extension(contentType string) string {
	switch t, _, _ := mime.ParseMediaType(contentType); t {
	case "application/yaml", "text/yaml", "application/x-yaml":
		return ".yaml"
	case "application/toml", "text/toml":
		return ".toml"
	}
	return ".json"
}
