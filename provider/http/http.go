// Package http polls an endpoint for dynamic configuration: the document that the file
// provider reads, as YAML, TOML or JSON.
package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
	"github.com/sluice-edge/sluice/provider"
	"github.com/sluice-edge/sluice/telemetry"
)

const (
	// defaultInterval and defaultTimeout are used where the configuration says zero.
	defaultInterval = 5 * time.Second
	defaultTimeout  = 5 * time.Second
	// maxBody bounds an answer where maxResponseBodySize does not, in bytes.
	maxBody = 256 << 20
)

// Options tune a Provider. The zero value is ready to use.
type Options struct {
	Log zerolog.Logger
}

// Provider polls one endpoint.
type Provider struct {
	cfg    config.HTTPProvider
	log    zerolog.Logger
	reload chan struct{}

	// What follows belongs to Run.
	client   *http.Client
	etag     string
	body     []byte // of the last answer that was dealt with
	kind     string // its extension
	config   *config.Dynamic
	problems []config.Problem
	trouble  *config.Problem
}

// New returns a Provider of the endpoint that cfg names.
func New(cfg *config.HTTPProvider, opts Options) *Provider {
	return &Provider{cfg: *cfg, log: opts.Log, reload: make(chan struct{}, 1)}
}

// Name implements provider.Provider.
func (*Provider) Name() string { return "http" }

// Reload implements provider.Reloader.
func (p *Provider) Reload() {
	select {
	case p.reload <- struct{}{}:
	default:
	}
}

// Run implements provider.Provider.
func (p *Provider) Run(ctx context.Context, out chan<- provider.Update) error {
	u, err := url.Parse(p.cfg.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("providers.http.endpoint %q is not an http or https address", p.cfg.Endpoint)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: 90 * time.Second}
	if p.cfg.TLS != nil {
		if transport.TLSClientConfig, err = provider.ClientTLS(p.cfg.TLS); err != nil {
			return fmt.Errorf("providers.http: %w", err)
		}
	}
	p.client = &http.Client{Transport: transport}
	defer transport.CloseIdleConnections()
	interval := time.Duration(p.cfg.PollInterval)
	if interval <= 0 {
		interval = defaultInterval
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if p.poll(ctx) {
			update := provider.Update{Provider: p.Name(), Config: p.config, Problems: p.problems, At: time.Now()}
			if p.trouble != nil {
				update.Problems = append(slices.Clone(p.problems), *p.trouble)
			}
			select {
			case out <- update:
			case <-ctx.Done():
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-p.reload:
			p.etag = ""
		}
	}
}

// poll asks once; it reports whether there is something new to say.
func (p *Provider) poll(ctx context.Context) bool {
	body, kind, err := p.fetch(ctx)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		problem := config.Problem{Source: "endpoint " + p.source(), Code: config.CodeUnreachable, Severity: config.Error,
			Text: err.Error(), Suggestion: "what it said last is kept; it is asked again"}
		if p.trouble != nil && *p.trouble == problem {
			return false
		}
		p.log.Warn().Str("endpoint", p.source()).Str(telemetry.Code, problem.Code).Msg("endpoint: " + err.Error())
		p.trouble = &problem
		return true
	}
	recovered := p.trouble != nil
	p.trouble = nil
	if body == nil || (bytes.Equal(body, p.body) && kind == p.kind) {
		return recovered
	}
	p.body, p.kind = body, kind
	next, problems := p.decode(kind, body)
	if next != nil {
		provider.Reuse(p.config, next)
		p.config = next
	}
	p.problems = problems
	return true
}

// fetch gives the body and the extension that tells its format, or a nil body where the
// endpoint says that nothing changed.
func (p *Provider) fetch(ctx context.Context) ([]byte, string, error) {
	timeout := time.Duration(p.cfg.PollTimeout)
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.cfg.Endpoint, nil)
	if err != nil {
		return nil, "", errors.New("is not an address")
	}
	req.Header.Set("User-Agent", "sluice")
	for k, v := range p.cfg.Headers {
		if http.CanonicalHeaderKey(k) == "Host" {
			req.Host = v
			continue
		}
		req.Header.Set(k, v)
	}
	if p.etag != "" {
		req.Header.Set("If-None-Match", p.etag)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("cannot be asked: %w", withoutURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified && p.etag != "" {
		return nil, "", nil
	}
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("answers with status %d, not 200", resp.StatusCode)
	}
	limit := p.cfg.MaxResponseBodySize
	if limit < 0 || limit > maxBody {
		limit = maxBody
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, "", fmt.Errorf("its answer breaks off: %w", withoutURL(err))
	}
	if int64(len(body)) > limit {
		return nil, "", fmt.Errorf("its answer is longer than %d bytes", limit)
	}
	if body == nil {
		body = []byte{}
	}
	p.etag = resp.Header.Get("ETag")
	return body, extension(resp.Header.Get("Content-Type"), body), nil
}

// withoutURL drops the address, with the secrets it may hold, from an error.
func withoutURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// extension is the format of a content type. YAML also reads JSON and what is not named; the
// reference takes everything as YAML, so a document is not JSON for being called so alone.
func extension(contentType string, body []byte) string {
	switch t, _, _ := mime.ParseMediaType(contentType); t {
	case "application/json", "text/json":
		if trimmed := bytes.TrimSpace(body); len(trimmed) > 0 && trimmed[0] != '{' && trimmed[0] != '[' {
			return ".yaml"
		}
		return ".json"
	case "application/toml", "text/toml", "text/x-toml":
		return ".toml"
	}
	return ".yaml"
}

// source names the endpoint without a password.
func (p *Provider) source() string {
	u, err := url.Parse(p.cfg.Endpoint)
	if err != nil {
		return "providers.http.endpoint"
	}
	return u.Redacted()
}

// decode gives the configuration, or nil and why the document cannot be used.
func (p *Provider) decode(kind string, body []byte) (*config.Dynamic, []config.Problem) {
	dyn, problems := decode.Document("endpoint "+p.source(), kind, body)
	if dyn == nil {
		p.log.Warn().Str("endpoint", p.source()).Int("problems", len(problems)).Msg("document cannot be used, keeping the one before")
	}
	return dyn, problems
}
