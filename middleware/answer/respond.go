// Package answer holds the middlewares that answer in place of the service.
package answer

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

type respond struct {
	status int
	body   []byte
	fields []exchange.Field
}

// NewRespond answers every request with the same status, fields and body.
func NewRespond(cfg *config.Respond) (exchange.Op, error) {
	r := &respond{status: cfg.Status, body: []byte(cfg.Body)}
	if r.status == 0 {
		r.status = http.StatusOK
	}
	if r.status < 200 || r.status > 999 {
		return nil, option.Errorf("status", "write a number from 200 to 599", "%d is not the status of an answer", cfg.Status)
	}
	if len(r.body) > 0 && (r.status == http.StatusNoContent || r.status == http.StatusNotModified) {
		return nil, option.Errorf("body", "leave it out", "an answer %d has no body", r.status)
	}
	typed := false
	for _, name := range slices.Sorted(maps.Keys(cfg.Headers)) {
		value := cfg.Headers[name]
		if name == "" || strings.ContainsAny(name, " \t\r\n:") || strings.ContainsAny(value, "\r\n\x00") {
			return nil, option.Errorf("headers", "write names of letters, digits and dashes, and values on one line", "%q cannot be sent", name)
		}
		if strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding") {
			return nil, option.Errorf("headers", "leave it out", "%s is set by the edge", name)
		}
		typed = typed || strings.EqualFold(name, "Content-Type")
		r.fields = append(r.fields, exchange.Field{Name: http.CanonicalHeaderKey(name), Value: value})
	}
	if !typed && len(r.body) > 0 {
		r.fields = append(r.fields, exchange.Field{Name: "Content-Type", Value: http.DetectContentType(r.body)})
	}
	return r, nil
}

// Request implements exchange.Op.
func (r *respond) Request(ex *exchange.Exchange) exchange.Verdict {
	ex.Resp.Status, ex.Resp.StatusText, ex.Reason = r.status, "", exchange.Responded
	ex.Resp.Fields.Reset()
	for _, f := range r.fields {
		ex.Resp.Fields.Add(f.Name, f.Value)
	}
	ex.Body = r.body
	ex.Resp.Framing, ex.Resp.Length = exchange.Sized, int64(len(r.body))
	return exchange.Answer
}
