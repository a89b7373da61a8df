// Package header holds the middlewares that set, remove and check fields of requests and
// responses.
package header

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// set is one field to set, or to remove where value is empty.
type set struct{ name, value string }

// headers is one op for the custom, CORS and security options. The custom and CORS parts
// stand outside the security part, as with the reference: they have the last word on
// responses.
type headers struct {
	request  []set
	host     string
	noXFF    bool
	response []set
	cors     *cors
	secure   *secure
	// answers is set where the response must be seen.
	answers bool
}

// New builds the headers middleware.
func New(cfg *config.Headers, warn option.Warn) (exchange.Op, error) {
	h := &headers{}
	if err := h.custom(cfg, warn); err != nil {
		return nil, err
	}
	var err error
	if h.cors, err = newCORS(cfg); err != nil {
		return nil, err
	}
	if h.secure, err = newSecure(cfg, warn); err != nil {
		return nil, err
	}
	some := len(cfg.CustomRequestHeaders)+len(cfg.CustomResponseHeaders) > 0 || h.cors != nil || h.secure != nil
	if !some && !deprecatedOnly(cfg) {
		return nil, option.Errorf("headers", "set at least one option, for example customResponseHeaders", "has no option set")
	}
	h.answers = len(h.response) > 0 || h.cors != nil || h.secure != nil
	return h, nil
}

// deprecatedOnly reports whether options are set that have no effect any more.
func deprecatedOnly(cfg *config.Headers) bool {
	return cfg.SSLRedirect != nil || cfg.SSLTemporaryRedirect != nil || cfg.SSLHost != nil || cfg.SSLForceHost != nil || cfg.FeaturePolicy != nil
}

func (h *headers) custom(cfg *config.Headers, warn option.Warn) error {
	for _, name := range slices.Sorted(maps.Keys(cfg.CustomRequestHeaders)) {
		value, err := checkField("customRequestHeaders", name, cfg.CustomRequestHeaders[name])
		if err != nil {
			return err
		}
		switch {
		case framing(name):
			warn.Say("customRequestHeaders."+name, "leave it out", "the length of a body is not for a middleware to say; ignored")
		case strings.EqualFold(name, "Host") && value != "":
			h.host = value
		default:
			h.noXFF = h.noXFF || value == "" && strings.EqualFold(name, "X-Forwarded-For")
			h.request = append(h.request, set{http.CanonicalHeaderKey(name), value})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.CustomResponseHeaders)) {
		value, err := checkField("customResponseHeaders", name, cfg.CustomResponseHeaders[name])
		if err != nil {
			return err
		}
		if framing(name) {
			warn.Say("customResponseHeaders."+name, "leave it out", "the length of a body is not for a middleware to say; ignored")
			continue
		}
		h.response = append(h.response, set{http.CanonicalHeaderKey(name), value})
	}
	return nil
}

// framing reports whether a field says where a body ends; only the lanes write those.
func framing(name string) bool {
	return strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding")
}

// checkField returns the value as it is sent: trimmed, on one line.
func checkField(field, name, value string) (string, error) {
	if !token(name) {
		return "", option.Errorf(field, "use letters, digits and dashes", "%q is not the name of a field", name)
	}
	return oneLine(field+"."+name, value)
}

// oneLine joins the lines of a value; files like to fold long ones.
func oneLine(field, value string) (string, error) {
	value = strings.TrimSpace(strings.NewReplacer("\r\n", " ", "\r", " ", "\n", " ").Replace(value))
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "", option.Errorf(field, "remove it", "the value has a control character")
		}
	}
	return value, nil
}

// token reports whether s is a field name (RFC 9110 §5.6.2).
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return false
	}
	return s != ""
}

// Flags in the argument of Response.
const (
	withSecure = 1 << iota // the request reached what is behind the security part
	overTLS                // the request came by TLS, maybe to a proxy before
)

// Request implements exchange.Op.
func (h *headers) Request(ex *exchange.Exchange) exchange.Verdict {
	if h.cors != nil && h.cors.preflight(ex) {
		return exchange.Answer
	}
	for _, s := range h.request {
		if s.value == "" {
			ex.Req.Fields.Del(s.name)
		} else {
			ex.Req.Fields.Set(s.name, s.value)
		}
	}
	if h.host != "" {
		ex.Req.Host = h.host
	}
	if h.noXFF {
		ex.Req.NoForwardedFor = true
	}
	if !h.answers {
		return exchange.Next
	}
	if h.secure == nil {
		ex.OnResponse(h, 0)
		return exchange.Next
	}
	if !h.secure.hostAllowed(ex) {
		ex.OnResponse(h, 0)
		return h.secure.badHost(ex)
	}
	arg := uint64(withSecure)
	if h.secure.isTLS(ex) {
		arg |= overTLS
	}
	ex.OnResponse(h, arg)
	return exchange.Next
}

// Response implements exchange.ResponseOp.
func (h *headers) Response(ex *exchange.Exchange, arg uint64) {
	if arg&withSecure != 0 {
		h.secure.respond(ex, arg&overTLS != 0)
	}
	for _, s := range h.response {
		if s.value == "" {
			ex.Resp.Fields.Del(s.name)
		} else {
			ex.Resp.Fields.Set(s.name, s.value)
		}
	}
	if h.cors != nil {
		h.cors.respond(ex)
	}
}
