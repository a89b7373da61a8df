package answer

import (
	"bytes"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/middleware/source"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// defaultMessage is what visitors read where no message is set.
const defaultMessage = "We are working on this site. Please come back in a little while."

type maintenance struct {
	allow            *source.Ranges // nil: nobody
	peer             *source.Strategy
	retryAfter       string
	html, json, text []byte
}

// NewMaintenance answers 503 with a page for browsers, JSON or text for other clients, but
// lets the addresses allowed through. Switched off it does nothing: the op is nil.
func NewMaintenance(cfg *config.Maintenance) (exchange.Op, error) {
	m := &maintenance{}
	if cfg.RetryAfter < 0 {
		return nil, option.Errorf("retryAfter", "write a number of seconds", "%d is negative", cfg.RetryAfter)
	}
	if cfg.RetryAfter > 0 {
		m.retryAfter = strconv.Itoa(cfg.RetryAfter)
	}
	var err error
	if len(cfg.Allow) > 0 {
		if m.allow, err = source.ParseRanges("allow", cfg.Allow); err != nil {
			return nil, err
		}
	}
	if m.peer, err = source.NewStrategy("allow", nil, nil); err != nil {
		return nil, err
	}
	message := cfg.Message
	if message == "" {
		message = defaultMessage
	}
	m.text = []byte(message + "\n")
	if m.json, err = json.Marshal(map[string]any{"status": http.StatusServiceUnavailable, "error": "maintenance", "message": message}); err != nil {
		return nil, option.Errorf("message", "", "%v", err)
	}
	m.json = append(m.json, '\n')
	page, err := template.New("maintenance").Parse(maintenancePage)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := page.Execute(&b, message); err != nil {
		return nil, option.Errorf("message", "", "%v", err)
	}
	m.html = b.Bytes()
	if cfg.Enabled != nil && !*cfg.Enabled {
		return nil, nil
	}
	return m, nil
}

// Request implements exchange.Op.
func (m *maintenance) Request(ex *exchange.Exchange) exchange.Verdict {
	if m.allow != nil && m.allow.Contains(m.peer.Addr(ex)) {
		return exchange.Next
	}
	kind, body := "text/plain; charset=utf-8", m.text
	switch accept := ex.Req.Fields.Get("Accept"); {
	case strings.Contains(accept, "text/html"):
		kind, body = "text/html; charset=utf-8", m.html
	case strings.Contains(accept, "json"):
		kind, body = "application/json", m.json
	}
	ex.Resp.Status, ex.Resp.StatusText, ex.Reason = http.StatusServiceUnavailable, "", exchange.InMaintenance
	f := &ex.Resp.Fields
	f.Reset()
	f.Add("Content-Type", kind)
	f.Add("Cache-Control", "no-store")
	f.Add("Vary", "Accept")
	if m.retryAfter != "" {
		f.Add("Retry-After", m.retryAfter)
	}
	ex.Body = body
	ex.Resp.Framing, ex.Resp.Length = exchange.Sized, int64(len(body))
	return exchange.Answer
}

// maintenancePage loads nothing: it must stand while everything behind it is down.
const maintenancePage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Maintenance</title>
<style>
:root { color-scheme: light dark; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; font: 1.05rem/1.6 system-ui, sans-serif;
  background: Canvas; color: CanvasText; }
main { max-width: 34rem; padding: 2rem; text-align: center; }
h1 { font-size: 1.5rem; font-weight: 600; margin: 0 0 .75rem; }
p { margin: 0; white-space: pre-line; opacity: .8; }
</style>
</head>
<body><main><h1>Maintenance</h1><p>{{.}}</p></main></body>
</html>
`
