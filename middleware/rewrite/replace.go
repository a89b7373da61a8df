package rewrite

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// ReplacedPath tells the server which path the client had asked for.
const ReplacedPath = "X-Replaced-Path"

// settle returns raw as a path that may stand in a request: an escaped path with a
// leading slash, or "". What raw says as a URL is kept where it is one; a "?" in it belongs to
// the path, as with the reference.
func settle(raw string) (string, error) {
	plain, err := url.PathUnescape(raw)
	if err != nil {
		return "", err
	}
	p := (&url.URL{Path: plain, RawPath: raw}).EscapedPath()
	if p != "" && p[0] != '/' {
		p = "/" + p
	}
	return p, nil
}

type replacePath struct{ path string }

// NewReplacePath replaces the path and reports the old one in X-Replaced-Path.
func NewReplacePath(cfg *config.ReplacePath, warn option.Warn) (exchange.Op, error) {
	p, err := settle(cfg.Path)
	if err != nil {
		return nil, option.Errorf("path", "write % as %25", "%q: %v", cfg.Path, err)
	}
	if strings.Contains(cfg.Path, "?") {
		warn.Say("path", "a query cannot be set here", "the ? in %q becomes a part of the path", cfg.Path)
	}
	return &replacePath{path: p}, nil
}

func (r *replacePath) Request(ex *exchange.Exchange) exchange.Verdict {
	ex.Req.Fields.Add(ReplacedPath, pathOf(ex))
	setPath(ex, r.path)
	return exchange.Next
}

type replacePathRegex struct {
	regex       *regexp.Regexp
	replacement string
}

// NewReplacePathRegex rewrites what the expression matches in the escaped path and reports the old
// path in X-Replaced-Path.
func NewReplacePathRegex(cfg *config.ReplacePathRegex) (exchange.Op, error) {
	if strings.TrimSpace(cfg.Regex) == "" {
		return nil, option.Errorf("regex", "write for example regex=^/old/(.*) and replacement=/new/$1", "is empty")
	}
	re, err := compile("regex", strings.TrimSpace(cfg.Regex))
	if err != nil {
		return nil, err
	}
	return &replacePathRegex{regex: re, replacement: strings.TrimSpace(cfg.Replacement)}, nil
}

func (r *replacePathRegex) Request(ex *exchange.Exchange) exchange.Verdict {
	old := pathOf(ex)
	if !r.regex.MatchString(old) {
		return exchange.Next
	}
	raw := r.regex.ReplaceAllString(old, r.replacement)
	path, err := settle(raw)
	if err != nil {
		return ex.Reply(500, exchange.Failure, "")
	}
	// Captured text can put dots where the configuration did not mean them ("/x../y").
	if raw != "" && raw[0] != '/' || !normal(path) {
		return refusePath(ex)
	}
	ex.Req.Fields.Add(ReplacedPath, old)
	setPath(ex, path)
	return exchange.Next
}
